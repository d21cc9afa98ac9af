//! HTTP/1.1 with JSON on one connection.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/records` | one record (`application/json`, `application/octet-stream`), or many (`application/x-ndjson`) |
//! | `GET /v1/records/{id}` | where the record with the app's own id is |
//! | `GET /v1/records?lane=&stream=&seq=` | where the record with this number is; without `stream`, the current one |
//! | `GET /v1/status` | the agent's state |

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{
    ALLOW, CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HeaderMap, HeaderValue, RETRY_AFTER,
};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use spillway_protocol::local::{self, Code, Level, Receipt, Refusal, headers, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::ndjson::{self, AnswerBody};
use super::seats::Seat;
use super::verdict::stopping;
use super::wire::Wire;
use super::{Intake, Options, body};

mod lookup;
mod reading;
mod repeat;
mod underway;

use self::reading::{hold_for_reading, request_max};
use self::underway::Underway;

/// Largest request head, and the largest piece of a body that is read at once.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long one who has to make room may still read his answers, or bring the head of a request that he
/// has begun.
const LEAVING_MAX: Duration = Duration::from_secs(1);
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer's body: there at once, or coming line by line.
pub(super) type Out = Either<Full<Bytes>, AnswerBody>;

/// Serves one connection until the client goes, or the agent stops; whether it ended as it should.
pub(super) async fn serve(
    wire: Wire,
    intake: Intake,
    seat: &Seat,
    stop: CancellationToken,
) -> bool {
    let asked = stop.clone();
    let patience = intake.options.patience();
    let service = service_fn(move |request| {
        let (intake, stop) = (intake.clone(), asked.clone());
        async move { Ok::<_, Infallible>(answer(request, &intake, stop).await) }
    });
    converse(wire, service, patience, seat, stop).await
}

/// How long a connection may say nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Before the head of a request is there.
    pub(crate) head_max: Duration,
    /// After an answer.
    pub(crate) idle_max: Duration,
}

impl Options {
    pub(super) fn patience(&self) -> Patience {
        Patience { head_max: self.head_max, idle_max: self.idle_max }
    }
}

/// Serves one connection by `service`, within the limits that hold for every client; whether it
/// ended between two requests.
pub(crate) async fn converse<W, S, B>(
    wire: Wire<W>,
    service: S,
    patience: Patience,
    seat: &Seat,
    stop: CancellationToken,
) -> bool
where
    W: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let pulse = seat.pulse.clone();
    let service = service_fn(|request| {
        let (working, answered) = (pulse.begin(), service.call(request));
        async move {
            let response = answered.await?;
            Ok::<_, Infallible>(response.map(|body| Underway::new(body, working)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // `pulse` knows a head that does not come on from a client that rests.
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES)
        .half_close(true)
        .serve_connection(TokioIo::new(wire.heard_by(pulse.clone())), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        ended = connection.as_mut() => ended,
        () = seat.leave.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let patient = async {
                // What is answered may not be with him yet.
                sleep(LEAVING_MAX).await;
                pulse.overdue(LEAVING_MAX, LEAVING_MAX).await;
            };
            tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                () = patient => return false,
            }
        }
        () = pulse.overdue(patience.head_max, patience.idle_max) => {
            tracing::debug!("a connection said nothing for too long");
            return false;
        }
    };
    if let Err(error) = &ended {
        tracing::debug!(%error, "an HTTP connection broke off");
    }
    ended.is_ok()
}

pub(super) async fn answer(
    request: Request<Incoming>,
    intake: &Intake,
    stop: CancellationToken,
) -> Response<Out> {
    let path = request.uri().path();
    let id = path.strip_prefix("/v1/records/").filter(|id| !id.is_empty());
    match (request.method().as_str(), path, id) {
        ("POST", "/v1/records", _) => post(request, intake, stop).await,
        ("GET", "/v1/records", _) => {
            let query = request.uri().query().unwrap_or("").to_owned();
            look(intake, move |intake| lookup::by_number(&query, intake)).await
        }
        ("GET", "/v1/status", _) => look(intake, lookup::status).await,
        ("GET", _, Some(id)) => {
            let id = id.to_owned();
            look(intake, move |intake| lookup::by_id(&id, intake)).await
        }
        (_, "/v1/records", _) => wrong_method(request, "GET, POST"),
        (_, "/v1/status", _) | (_, _, Some(_)) => wrong_method(request, "GET"),
        _ => {
            let message = format!("there is nothing at {path}; POST /v1/records stores a record");
            refuse_unread(request, &Refusal::new(Code::NotFound, message))
        }
    }
}

/// Asks where blocking is allowed.
async fn look(
    intake: &Intake,
    question: impl FnOnce(&Intake) -> Response<Out> + Send + 'static,
) -> Response<Out> {
    let intake = intake.clone();
    match tokio::task::spawn_blocking(move || question(&intake)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "a question could not be answered");
            let message = "the agent failed at this question; its log says why";
            refused(&Refusal::new(Code::DiskFailed, message))
        }
    }
}

fn wrong_method(request: Request<Incoming>, allowed: &'static str) -> Response<Out> {
    let message = format!("{} is not for this path; {allowed} is", request.method());
    let refusal = Refusal::new(Code::MethodNotAllowed, message);
    let mut response = refuse_unread(request, &refusal);
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// How the body of a POST is to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Lines,
    Plain,
}

async fn post(
    request: Request<Incoming>,
    intake: &Intake,
    stop: CancellationToken,
) -> Response<Out> {
    let form = match check_head(request.headers()) {
        Ok(_) if stop.is_cancelled() => return refuse_unread(request, &stopping()),
        Ok(form) => form,
        Err(refusal) => return refuse_unread(request, &refusal),
    };
    if form == Form::Lines {
        return ndjson::answer(request.into_body(), intake.clone(), stop).await;
    }
    let expects = request.headers().contains_key(EXPECT);
    let (head, mut incoming) = request.into_parts();
    match one(form, &head.headers, &mut incoming, intake, stop).await {
        Ok((receipt, asked)) if receipt.duplicate => repeat::answer(receipt, asked, intake).await,
        Ok((receipt, asked)) => json_response(status_of(&receipt, asked), receipt.to_json()),
        Err(refusal) => {
            // Of a body that stopped coming there is no rest.
            if !expects && refusal.code != Code::Timeout {
                body::drain(incoming);
            }
            refused(&refusal)
        }
    }
}

fn check_head(headers: &HeaderMap) -> Result<Form, Refusal> {
    let form = form(headers)?;
    check_encoding(headers)?;
    let stray = headers.keys().find(|name| name.as_str().starts_with(headers::PREFIX));
    match stray {
        Some(name) if form != Form::Plain => {
            let message = "belongs to application/octet-stream; put the field into the JSON";
            Err(Refusal::of(name.as_str(), Code::BadRecord, message))
        }
        _ => Ok(form),
    }
}

/// What is compressed would be stored as it is, and no consumer would know.
fn check_encoding(headers: &HeaderMap) -> Result<(), Refusal> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let mut codings = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
    match codings.find(|coding| !coding.trim().eq_ignore_ascii_case("identity")) {
        None => Ok(()),
        Some(coding) => {
            let message = format!("\"{coding}\" is not undone here; send the body as it is");
            let refusal =
                Refusal::of(CONTENT_ENCODING.as_str(), Code::UnsupportedMediaType, message);
            Err(refusal)
        }
    }
}

fn form(headers: &HeaderMap) -> Result<Form, Refusal> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = given.split(';').next().unwrap_or("").trim();
    match kind.to_ascii_lowercase().as_str() {
        "application/json" => Ok(Form::Json),
        "application/x-ndjson" => Ok(Form::Lines),
        "application/octet-stream" => Ok(Form::Plain),
        _ => {
            let message = format!(
                "\"{kind}\" is no form of a record; application/json, application/x-ndjson and \
                 application/octet-stream are"
            );
            Err(Refusal::of("content-type", Code::UnsupportedMediaType, message))
        }
    }
}

/// One record: received, proven, stored; and the level that was asked for.
async fn one(
    form: Form,
    headers: &HeaderMap,
    incoming: &mut Incoming,
    intake: &Intake,
    stop: CancellationToken,
) -> Result<(Receipt, Level), Refusal> {
    let (text, mut held) = body::receive(incoming, request_max(form, intake), intake).await?;
    let request = match form {
        Form::Json => {
            hold_for_reading(&text, &mut held, intake)?;
            let mut request = json::parse(&text).map_err(|unreadable| unreadable.refusal)?;
            add_trace(&mut request, headers)?;
            request
        }
        _ => {
            let pairs = headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes()));
            headers::parse(pairs, text.clone())?
        }
    };
    let proven = intake.prove(request)?;
    drop((text, held));
    let asked = proven.level;
    let receipt = match asked {
        Level::Disk => intake.store(proven).await?,
        Level::Broker => {
            let (storing, held) = intake.submit(proven)?;
            intake.reach(storing, held, stop).await?
        }
    };
    Ok((receipt, asked))
}

/// A `traceparent` header counts where the JSON has none of its own.
fn add_trace(request: &mut local::Request, headers: &HeaderMap) -> Result<(), Refusal> {
    let properties = &mut request.draft.properties;
    if let Some(trace) = headers.get("traceparent").and_then(|v| v.to_str().ok())
        && !properties.contains_key("traceparent")
    {
        json::add_traceparent(properties, trace.to_owned())?;
    }
    Ok(())
}

fn status_of(receipt: &Receipt, asked: Level) -> StatusCode {
    match receipt.duplicate {
        _ if receipt.level != asked => StatusCode::ACCEPTED,
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    }
}

/// The answer to a request whose body nobody has read.
pub(super) fn refuse_unread(request: Request<Incoming>, refusal: &Refusal) -> Response<Out> {
    // Reading would invite the client to send the body after all.
    let expects = request.headers().contains_key(EXPECT);
    if !expects {
        body::drain(request.into_body());
    }
    refused(refusal)
}

/// A refusal with its status, and when to come back.
pub(super) fn refused(refusal: &Refusal) -> Response<Out> {
    let status = StatusCode::from_u16(refusal.code.status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json_response(status, refusal.to_json());
    if let Some(seconds) = refusal.retry_after_s() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// `text` and a line end, for whoever reads it on a terminal.
pub(super) fn json_response(status: StatusCode, mut text: String) -> Response<Out> {
    text.push('\n');
    let mut response = Response::new(Either::Left(Full::new(text.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// A whole answer for a connection that will not be served.
pub(super) fn turned_away(refusal: &Refusal) -> String {
    let retry = refusal.retry_after_s().map(u64::from);
    whole_answer(refusal.code.status(), "application/json", retry, &refusal.to_json())
}

/// An answer as it goes over the wire, after which the connection is closed.
pub(crate) fn whole_answer(
    status: u16,
    content_type: &str,
    retry_after_s: Option<u64>,
    body: &str,
) -> String {
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error");
    let retry =
        retry_after_s.map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
    format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: {content_type}\r\n{retry}\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}
