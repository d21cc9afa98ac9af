//! The intake's HTTP on loopback TCP, for apps without Unix sockets. The kernel does not say who is
//! at the other end, so each request brings a token, and pages in a browser are not served.

mod gate;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Request, Response};
use spillway_protocol::local::{Code, Refusal};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::gate::Gate;
use super::admission::{CONNECTION_BYTES, overloaded};
use super::bearer::{self, Digest, digest};
use super::http::{Out, answer, converse, refuse_unread, turned_away};
use super::listener::{Reception, say};
use super::seats::{Seat, Seats, User};
use super::wire::Wire;
use super::{Intake, Who};
use crate::attendance::Visit;

/// Most connections at a time: whoever reaches loopback must not take the memory of the apps at the
/// socket.
const CONNECTIONS_MAX: usize = 128;

/// See the module. It stands before an intake and shares its queue and its budget of memory.
pub struct Tcp {
    intake: Intake,
    gate: Gate,
    /// Of the token that lets in to everything.
    own: RwLock<Option<Digest>>,
}

impl Tcp {
    /// Before `intake`, on `address`. `token` lets in to all lanes, those of clients to theirs.
    pub fn new(intake: Intake, address: SocketAddr, token: Option<&str>) -> Self {
        Self { intake, gate: Gate::new(address), own: RwLock::new(token.map(digest)) }
    }

    /// From the next request on `token` lets in instead.
    pub fn change(&self, token: Option<&str>) {
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = token.map(digest);
    }

    /// The intake with what this request may.
    ///
    /// # Errors
    /// It is a stranger's, or a web page's.
    fn admit(&self, request: &Request<Incoming>) -> Result<Intake, Refusal> {
        self.gate.check(request.uri(), request.headers())?;
        let token = bearer::brought(request.headers()).ok_or_else(no_token)?;
        let own = *self.own.read().unwrap_or_else(PoisonError::into_inner);
        let peer = match own == Some(digest(token)) {
            true => Some(Who::Trusted),
            false => self.intake.in_force().clients.holder(token).map(Who::Holder),
        };
        let peer = peer.ok_or_else(wrong_token)?;
        Ok(Intake { peer, ..self.intake.clone() })
    }
}

fn no_token() -> Refusal {
    let message =
        "send the token of [listen.http], or of your [[client]]: Authorization: Bearer TOKEN";
    Refusal::new(Code::NoToken, message)
}

fn wrong_token() -> Refusal {
    let message = "nobody here has this token; send that of [listen.http], or of your [[client]]";
    Refusal::new(Code::NoToken, message)
}

/// Serves `listener` until `stop`, as [`super::serve`] does the socket.
pub async fn serve_tcp(listener: TcpListener, tcp: Arc<Tcp>, stop: CancellationToken) {
    let reception = Reception {
        seats: Seats::new(CONNECTIONS_MAX),
        grace: tcp.intake.options.grace,
        files: tcp.intake.options.files.clone(),
        // Each request says who it is.
        user: |_: &TcpStream| User::Unknown,
        admit: |_: &TcpStream| Ok(()),
        session: |stream, (), seat| session(stream, Arc::clone(&tcp), seat, stop.clone()),
        turn_away,
    };
    reception.receive(listener, &stop).await;
}

async fn turn_away(stream: TcpStream, refusal: Refusal) {
    say(stream, turned_away(&refusal).as_bytes()).await;
}

/// What is known of a connection.
struct Caller {
    /// It has brought a token.
    known: watch::Sender<bool>,
    visit: Mutex<Option<Visit>>,
}

impl Caller {
    /// A request of `intake`'s client has come.
    fn came(&self, intake: &Intake) {
        if !self.known.send_replace(true) {
            *self.visit() = intake.visit();
        }
    }

    fn visit(&self) -> std::sync::MutexGuard<'_, Option<Visit>> {
        self.visit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn session(stream: TcpStream, tcp: Arc<Tcp>, seat: Seat, stop: CancellationToken) {
    let Some(_held) = tcp.intake.budget.try_hold(CONNECTION_BYTES) else {
        return turn_away(stream, overloaded()).await;
    };
    // Without it only latency suffers.
    let _ = stream.set_nodelay(true);
    let options = Arc::clone(&tcp.intake.options);
    let caller = Arc::new(Caller { known: watch::Sender::new(false), visit: Mutex::default() });
    let (asked, asking) = (stop.clone(), Arc::clone(&caller));
    let service = service_fn(move |request| {
        let (tcp, caller, stop) = (Arc::clone(&tcp), Arc::clone(&asking), asked.clone());
        async move { Ok::<_, Infallible>(one(request, &tcp, &caller, stop).await) }
    });
    let wire = Wire::plain(stream, options.stall_max);
    let mut known = caller.known.subscribe();
    let stranger = async {
        if timeout(options.stranger_max, known.wait_for(|known| *known)).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let conversation = Box::pin(converse(wire, service, options.patience(), &seat, stop.clone()));
    let orderly = tokio::select! {
        biased;
        orderly = conversation => orderly,
        // Connections are few: who does not say who it is makes room.
        () = stranger => false,
    };
    let visit = caller.visit().take();
    if let Some(visit) = visit.filter(|_| orderly && !stop.is_cancelled()) {
        visit.close();
    }
}

async fn one(
    request: Request<Incoming>,
    tcp: &Tcp,
    caller: &Caller,
    stop: CancellationToken,
) -> Response<Out> {
    match tcp.admit(&request) {
        Ok(intake) => {
            caller.came(&intake);
            answer(request, &intake, stop).await
        }
        Err(refusal) => {
            tracing::debug!(%refusal, "not served over TCP");
            let mut response = refuse_unread(request, &refusal);
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
            if refusal.code == Code::NoToken {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            response
        }
    }
}
