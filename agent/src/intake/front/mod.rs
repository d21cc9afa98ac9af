//! The MQ HTTP API on loopback, for apps written for its SDKs: they change their endpoint and
//! publish; the answer comes when the record is on disk.
//!
//! | request | answer |
//! |---|---|
//! | `POST /topics/{topic}/messages` | 201 with MessageId (the record's id) and MessageBodyMD5 |
//! | the same, wrong in itself | 400 `MalformedXML`, `InvalidArgument`, `InvalidDigest`, `InvalidQueryString`, `InvalidRequestURL` |
//! | a stranger's | 400 or 403 with MQ's code for it, before the body is read |
//! | too much at once | 503 `QpsLimitExceeded` with Retry-After |
//! | disk full, disk stalls, stopping | 503 `InternalError` with Retry-After |
//! | the body stops coming | 408 `RequestTimeout` |
//! | `GET`, `DELETE` (consume, acknowledge) | 403 `AccessDenied`, which says where to consume |
//!
//! The topic chooses the lane of that topic, else the default lane, where the record keeps it. MessageKey
//! is a key, never an id: no message is taken for a repeat of another. The date of a request is
//! signed but not compared with the clock: see `docs/adr/0006-the-mq-http-front.md`.

mod publish;
mod refusal;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::EXPECT;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use spillway_protocol::local;
use spillway_protocol::rocketmq::http::CONTENT_TYPE;
use spillway_protocol::rocketmq::http::fault::Code;
use spillway_protocol::rocketmq::http::resource::Parsed;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::admission::{CONNECTION_BYTES, overloaded};
use super::http::{converse, whole_answer};
use super::listener::{Reception, say};
use super::seats::{Seat, Seats, User};
use super::verdict::stopping;
use super::wire::Wire;
use super::{Intake, body};
use crate::clock::WallClock;
use crate::config::Secret;
use crate::mq_http::{Answers, Dates, Refusal, check, named, only, resource};

/// Most connections at a time. The SDKs use few; whoever may reach loopback must not take the
/// memory of the apps at the socket.
const CONNECTIONS_MAX: usize = 64;

/// Which instances apps may name (`ns`). Naming none is always right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instance {
    /// Any: what the upstream has is not an instance.
    Any,
    /// The upstream's, or, where it has none, none.
    Upstreams(Option<String>),
}

/// What a front is told.
#[derive(Debug, Clone)]
pub struct FrontOptions {
    /// Where it listens; errors name it.
    pub address: SocketAddr,
    /// Ids of access keys and their secrets.
    pub access_keys: Vec<(String, Secret)>,
    /// Instances that may be named.
    pub instance: Instance,
    /// Where messages can be consumed, for people, such as `https://host:443`.
    pub consume_at: String,
}

/// The front. It stands before an intake and shares its queue and its budget of memory.
pub struct Front {
    intake: Intake,
    options: RwLock<Arc<FrontOptions>>,
    clock: Arc<dyn WallClock>,
    answers: Answers,
}

impl Front {
    /// A front before `intake`. `clock` dates the answers and judges delays.
    pub fn new(intake: Intake, options: FrontOptions, clock: Arc<dyn WallClock>) -> Self {
        let answers = Answers::new(format!("http://{}", options.address), Arc::clone(&clock));
        Self { intake, options: RwLock::new(Arc::new(options)), clock, answers }
    }

    /// Has `options` from the next request on; where it listens stays.
    pub fn change(&self, options: FrontOptions) {
        *self.options.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(options);
    }

    fn options(&self) -> Arc<FrontOptions> {
        self.options.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        stop: &CancellationToken,
    ) -> Response<Full<Bytes>> {
        let (parts, mut incoming) = request.into_parts();
        let stored = match self.admit(&parts, stop) {
            Ok(target) => publish::publish(self, &parts, &target, &mut incoming).await,
            Err(refusal) => Err(refusal),
        };
        match stored {
            Ok(published) => self.answers.xml(201, published.to_xml()),
            Err(refusal) => {
                tracing::debug!(code = refusal.code.as_str(), refusal.message, "refused");
                // Of a body that stopped coming there is no rest, and reading one that was only
                // announced would invite it.
                if !parts.headers.contains_key(EXPECT) && refusal.code != Code::RequestTimeout {
                    body::drain(incoming);
                }
                self.answers.refusal(&refusal)
            }
        }
    }

    /// All that the head of a request says; its topic, if it is a publish that may go on.
    fn admit(&self, parts: &Parts, stop: &CancellationToken) -> Result<Parsed, Refusal> {
        check(parts, &self.options().access_keys, Dates::Any)?;
        let target = resource(parts)?;
        match parts.method {
            Method::POST => {}
            Method::GET | Method::DELETE => return Err(self.elsewhere(&target)),
            _ => return Err(Refusal::new(Code::InvalidRequestURL, "only POST publishes")),
        }
        only(&target, &["ns"])?;
        self.check_instance(&target)?;
        match stop.is_cancelled() {
            true => Err(stopping().into()),
            false => Ok(target),
        }
    }

    /// What an app is told that wants to consume or acknowledge.
    fn elsewhere(&self, target: &Parsed) -> Refusal {
        let message = format!(
            "this is a gateway's own agent: it takes messages in and hands none out; consume and \
             acknowledge topic {} at {}",
            target.topic,
            self.options().consume_at
        );
        Refusal::new(Code::AccessDenied, message)
    }

    /// A message for another instance than the upstream's would go astray in silence.
    fn check_instance(&self, target: &Parsed) -> Result<(), Refusal> {
        let asked = named(target, "ns")?;
        let options = self.options();
        let Instance::Upstreams(own) = &options.instance else {
            return Ok(());
        };
        if asked.is_none() || asked == own.as_deref() {
            return Ok(());
        }
        let own = own.as_deref().unwrap_or("none");
        Err(Refusal::argument(format!(
            "ns is {}, but this agent sends to another instance ([upstream] instance_id: {own})",
            asked.unwrap_or_default()
        )))
    }

    /// Says why a connection is not served, and closes it.
    async fn turn_away(&self, stream: TcpStream, refusal: local::Refusal) {
        let refusal = Refusal::from(refusal);
        let xml = refusal.to_xml("", &format!("http://{}", self.options().address));
        let answer = whole_answer(refusal.status, CONTENT_TYPE, refusal.retry_after_s, &xml);
        say(stream, answer.as_bytes()).await;
    }
}

/// Serves `listener` until `stop`, as [`super::serve`] does the socket.
pub async fn serve_mq_http(listener: TcpListener, front: Arc<Front>, stop: CancellationToken) {
    let reception = Reception {
        seats: Seats::new(CONNECTIONS_MAX),
        grace: front.intake.options.grace,
        files: front.intake.options.files.clone(),
        // Whoever has an access key; each request says so.
        user: |_: &TcpStream| User::Unknown,
        admit: |_: &TcpStream| Ok(()),
        session: |stream, (), seat| session(stream, Arc::clone(&front), seat, stop.clone()),
        turn_away: |stream, refusal| {
            let front = Arc::clone(&front);
            async move { front.turn_away(stream, refusal).await }
        },
    };
    reception.receive(listener, &stop).await;
}

async fn session(stream: TcpStream, front: Arc<Front>, seat: Seat, stop: CancellationToken) {
    let Some(_held) = front.intake.budget.try_hold(CONNECTION_BYTES) else {
        return front.turn_away(stream, overloaded()).await;
    };
    // Without it only latency suffers.
    let _ = stream.set_nodelay(true);
    let (patience, stall_max) = (front.intake.options.patience(), front.intake.options.stall_max);
    let asked = stop.clone();
    let service = service_fn(move |request| {
        let (front, stop) = (Arc::clone(&front), asked.clone());
        async move { Ok::<_, Infallible>(front.answer(request, &stop).await) }
    });
    Box::pin(converse(Wire::plain(stream, stall_max), service, patience, &seat, stop)).await;
}
