//! A gate between an agent and `RocketMQ`'s proxy that passes gRPC on and keeps book of every
//! message: what the server said to it, and whether the agent heard. It can keep answers back and
//! cut connections, so that replies are lost and it is known which.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::pending;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use spillway_protocol::dial::wire::Wire;
use spillway_protocol::rocketmq::grpc::code::OK;
use spillway_protocol::rocketmq::grpc::v2;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::sleep;
use tonic::body::Body;
use tower_service::Service;

/// An answer of the far end, whole, and its trailers.
type Answer = (Response<Bytes>, Option<HeaderMap>);

const SEND: &str = "/apache.rocketmq.v2.MessagingService/SendMessage";
/// Of the length before each gRPC message.
const PREFIX_BYTES: usize = 5;
/// Nothing comes any more for so long: the agent waits for answers.
const QUIET: Duration = Duration::from_millis(300);
const POLL: Duration = Duration::from_millis(10);

/// One message on its way through the gate.
#[derive(Debug, Clone)]
pub struct Call {
    /// Message id.
    pub id: String,
    /// Message group.
    pub order_key: String,
    /// Whether the server said that it is stored; `None` if it said nothing.
    pub stored: Option<bool>,
    /// Whether that was passed on to the agent.
    pub answered: bool,
    /// How many agents have died before it came.
    pub life: u64,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    holding: bool,
    swallow: usize,
    life: u64,
    /// How often connections were cut: each belongs to the era in which it came.
    era: u64,
    connections: Vec<AbortHandle>,
    /// Calls that the agent waits for, by their numbers.
    under_way: BTreeMap<usize, String>,
    keys_most: usize,
    crossed: BTreeSet<String>,
    calls: Vec<Call>,
    last_at: Option<Instant>,
}

impl State {
    /// How many answers are kept back, if that is all that the agent waits for.
    fn quiet(&self) -> Option<usize> {
        let waits = |number: &usize| self.calls[*number].stored.is_none();
        let still = self.last_at.is_some_and(|at| at.elapsed() > QUIET);
        let held = self.under_way.len();
        (held > 0 && still && !self.under_way.keys().any(waits)).then_some(held)
    }
}

/// See the module. Dropped, it takes no more connections.
#[derive(Debug)]
pub struct Gate {
    port: u16,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Gate {
    /// One that leads to `port` of 127.0.0.1.
    pub async fn start(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let accepting = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let mut state = lock(&accepting);
                if !state.closed {
                    let serving = serve(near, port, Arc::clone(&accepting), state.era);
                    state.connections.push(tokio::spawn(serving).abort_handle());
                }
            }
        });
        Self { port: own, state, task }
    }

    /// Its near end on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's answers are kept back until the next cut.
    pub fn hold(&self) {
        lock(&self.state).holding = true;
    }

    /// The next `count` answers are never passed on, and nothing is cut: a deadline has to end it.
    pub fn swallow(&self, count: usize) {
        lock(&self.state).swallow = count;
    }

    /// Until answers are kept back and the agent, waiting for them, sends nothing any more.
    /// Returns how many they are.
    pub async fn until_quiet(&self) -> usize {
        loop {
            if let Some(held) = lock(&self.state).quiet() {
                return held;
            }
            sleep(POLL).await;
        }
    }

    /// Cuts all connections, with the answers that were kept back; new ones are taken.
    pub fn cut(&self) {
        let mut state = lock(&self.state);
        state.connections.drain(..).for_each(|connection| connection.abort());
        state.under_way.clear();
        state.holding = false;
        state.era += 1;
    }

    /// Cuts all connections and takes none.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.cut();
    }

    /// Takes connections again.
    pub fn open(&self) {
        lock(&self.state).closed = false;
    }

    /// The agent was killed: what it waited for is nobody's any more.
    pub fn agent_died(&self) {
        self.cut();
        lock(&self.state).life += 1;
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.state).calls.clone()
    }

    /// The most order keys that were under way at a time.
    pub fn keys_most(&self) -> usize {
        lock(&self.state).keys_most
    }

    /// Order keys of which two messages were under way at a time.
    pub fn crossed(&self) -> BTreeSet<String> {
        lock(&self.state).crossed.clone()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One connection, with one of its own to the far end.
async fn serve(near: TcpStream, port: u16, state: Arc<Mutex<State>>, era: u64) {
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let Ok(far) = Wire::open(Box::new(far)).await else { return };
    let pass = service_fn(move |request: Request<Incoming>| {
        let (far, state) = (far.clone(), Arc::clone(&state));
        async move {
            match request.uri().path() {
                SEND => Ok::<_, Infallible>(send(request, far, &state, era).await),
                _ => Ok(other(request, far).await),
            }
        }
    });
    let server = http2::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(near), pass).await;
}

/// What is not about a message goes through as it is, in both directions as it comes.
async fn other(request: Request<Incoming>, mut far: Wire) -> Response<Body> {
    match far.call(request.map(Body::new)).await {
        Ok(answer) => answer.map(Body::new),
        Err(_) => pending().await,
    }
}

/// A message: noted, brought to the far end whatever becomes of the agent, and answered if the gate
/// lets answers through.
async fn send(
    request: Request<Incoming>,
    far: Wire,
    state: &Arc<Mutex<State>>,
    era: u64,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    // An agent that is gone hears nothing.
    let Ok(body) = body.collect().await else { return pending().await };
    let body = body.to_bytes();
    let number = begin(state, &body, era);
    let request = Request::from_parts(head, Body::new(Full::new(body)));
    let noting = Arc::clone(state);
    let carried = tokio::spawn(async move {
        let answer = carry(request, far).await;
        lock(&noting).calls[number].stored = answer.as_ref().and_then(stored);
        answer
    });
    match carried.await {
        Ok(Some(answer)) if let_through(state, number, era) => whole(answer),
        _ => pending().await,
    }
}

async fn carry(request: Request<Body>, mut far: Wire) -> Option<Answer> {
    let (head, body) = far.call(request).await.ok()?.into_parts();
    let body = body.collect().await.ok()?;
    let trailers = body.trailers().cloned();
    Some((Response::from_parts(head, body.to_bytes()), trailers))
}

fn whole((answer, trailers): Answer) -> Response<Body> {
    answer.map(|bytes| Body::new(Full::new(bytes).with_trailers(async { trailers.map(Ok) })))
}

/// Whether the server says that the message is stored.
fn stored((answer, _): &Answer) -> Option<bool> {
    let response = v2::SendMessageResponse::decode(answer.body().get(PREFIX_BYTES..)?).ok()?;
    let entry = response.entries.first().and_then(|entry| entry.status.as_ref());
    entry.or(response.status.as_ref()).map(|status| status.code == OK)
}

/// Notes a message. What comes late, over a connection that is cut, nobody waits for.
fn begin(state: &Mutex<State>, body: &[u8], era: u64) -> usize {
    let request = v2::SendMessageRequest::decode(&body[PREFIX_BYTES..]).unwrap();
    let system = request.messages[0].system_properties.clone().unwrap_or_default();
    let (id, order_key) = (system.message_id, system.message_group.unwrap_or_default());
    let state = &mut *lock(state);
    let number = state.calls.len();
    if state.era == era {
        if state.under_way.values().any(|key| *key == order_key) {
            state.crossed.insert(order_key.clone());
        }
        state.under_way.insert(number, order_key.clone());
        state.keys_most = state.keys_most.max(state.under_way.len());
        state.last_at = Some(Instant::now());
    }
    state.calls.push(Call { id, order_key, stored: None, answered: false, life: state.life });
    number
}

/// Whether the agent is to hear the answer.
fn let_through(state: &Mutex<State>, number: usize, era: u64) -> bool {
    let mut state = lock(state);
    if state.holding || state.era != era {
        return false;
    }
    if state.swallow > 0 {
        state.swallow -= 1;
        // The agent gives it up at its deadline, and may send it again then.
        state.under_way.remove(&number);
        return false;
    }
    state.calls[number].answered = true;
    state.under_way.remove(&number);
    true
}
