//! Publish, consume and acknowledge, with the faults that may hit them.

use std::time::Duration;

use hyper::Method;
use hyper::http::request::Parts;
use spillway_protocol::rocketmq::http::digest::body_md5;
use spillway_protocol::rocketmq::http::fault::Code;
use spillway_protocol::rocketmq::http::publish::{Publish, Published};
use spillway_protocol::rocketmq::http::resource::Parsed;
use spillway_protocol::rocketmq::http::{ack, consume};
use tokio::time::Instant;

use super::faults::{Kind, Operation, Request};
use super::query::{self, group, instance};
use super::server::{Server, stopped};
use super::store::{Ask, Draft, Now, TopicId};
use crate::mq_http::{Refusal, only, resource, text};

/// Longest topic of a 4.x instance.
const TOPIC_MAX: usize = 64;

/// How an operation ended that was not refused.
pub(super) enum Done {
    /// With this status and body.
    Answer(u16, String),
    /// With a cut connection.
    Cut,
}

/// Runs the operation of a request that passed the gate.
pub(super) async fn run(server: &Server, parts: &Parts, body: &[u8]) -> Result<Done, Refusal> {
    let target = resource(parts)?;
    if target.topic.len() > TOPIC_MAX {
        return Err(Refusal::argument("a topic has at most 64 characters"));
    }
    let id = TopicId::new(instance(&target)?, &target.topic);
    match parts.method {
        Method::POST => publish(server, &target, &id, body).await,
        Method::GET => receive(server, &target, &id).await,
        Method::DELETE => acknowledge(server, &target, &id, body),
        _ => Err(Refusal::new(Code::InvalidRequestURL, "only POST, GET and DELETE are known")),
    }
}

async fn publish(
    server: &Server,
    target: &Parsed,
    id: &TopicId,
    body: &[u8],
) -> Result<Done, Refusal> {
    only(target, &["ns"])?;
    let draft = Draft::check(Publish::parse(text(body)?)?, server.now_ms())?;
    let kind = trip(server, Operation::Publish, id, draft.key())?;
    if kind == Some(Kind::Cut) {
        return Ok(Done::Cut);
    }
    let now = Instant::now();
    let served_at = server.faults.serve(now).ok_or_else(|| {
        Refusal::new(Code::QpsLimitExceeded, "the broker's queue is full (capacity on request)")
    })?;
    let md5 = match kind {
        Some(Kind::WrongMd5) => body_md5(b"another body"),
        _ => body_md5(draft.body.as_bytes()),
    };
    let message_id = match kind {
        Some(Kind::Lose) => server.store.next_message_id(),
        _ => server.store.publish(id, draft, server.now_ms()).map_err(folder)?,
    };
    // Not even a timer's tick where there is no capacity.
    if served_at > now {
        tokio::time::sleep_until(served_at).await;
    }
    if kind == Some(Kind::LostReply) {
        return Ok(Done::Cut);
    }
    let published = Published { message_id, body_md5: Some(md5) };
    Ok(Done::Answer(201, published.to_xml()))
}

async fn receive(server: &Server, target: &Parsed, id: &TopicId) -> Result<Done, Refusal> {
    let (ask, wait) = query::ask(target, &server.options)?;
    let kind = trip(server, Operation::Consume, id, "")?;
    if kind == Some(Kind::Cut) {
        return Ok(Done::Cut);
    }
    let messages = wait_for_messages(server, id, &ask, wait).await;
    if kind == Some(Kind::LostReply) {
        return Ok(Done::Cut);
    }
    if messages.is_empty() {
        return Err(Refusal::new(Code::MessageNotExist, "there is no message to consume"));
    }
    Ok(Done::Answer(200, consume::to_xml(&messages)))
}

/// Takes messages as soon as there are any: published, redelivered or due; none after `wait`.
async fn wait_for_messages(
    server: &Server,
    id: &TopicId,
    ask: &Ask<'_>,
    wait: Duration,
) -> Vec<consume::Consumed> {
    let deadline = Instant::now() + wait;
    let mut stop = server.stop.clone();
    loop {
        let mut changed = server.store.watch(id);
        let now = Now { instant: Instant::now(), wall_ms: server.now_ms() };
        let received = server.store.receive(id, ask, now);
        if !received.messages.is_empty() || now.instant >= deadline {
            return received.messages;
        }
        let next = received.next_due.map_or(deadline, |due| due.min(deadline));
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return Vec::new(),
            _ = changed.changed() => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

fn acknowledge(
    server: &Server,
    target: &Parsed,
    id: &TopicId,
    body: &[u8],
) -> Result<Done, Refusal> {
    only(target, &["consumer", "ns", "trans"])?;
    if target.get("trans").is_some_and(|trans| trans != "order") {
        return Err(Refusal::argument("this broker has no transactions"));
    }
    let group = group(target)?;
    let handles = ack::parse_request(text(body)?)?;
    let kind = trip(server, Operation::Ack, id, "")?;
    if handles.is_empty() {
        return Err(Refusal::new(Code::MissingReceiptHandle, "no receipt handle is given"));
    }
    if kind == Some(Kind::Cut) {
        return Ok(Done::Cut);
    }
    let failures = server.store.ack(id, group, &handles, Instant::now()).map_err(folder)?;
    Ok(match kind {
        Some(Kind::LostReply) => Done::Cut,
        _ if failures.is_empty() => Done::Answer(204, String::new()),
        _ => Done::Answer(404, ack::failures_xml(&failures)),
    })
}

fn folder(error: std::io::Error) -> Refusal {
    Refusal::new(Code::InternalError, format!("the broker's folder: {error}"))
}

/// The fault that hits a request; those that are mere refusals come as such.
fn trip(
    server: &Server,
    operation: Operation,
    id: &TopicId,
    key: &str,
) -> Result<Option<Kind>, Refusal> {
    let request = Request { operation, topic: &id.topic, key };
    let Some(rule) = server.faults.trip(request) else {
        return Ok(None);
    };
    let code = match rule.kind {
        Kind::Throttle => Code::QpsLimitExceeded,
        Kind::ServerError => Code::InternalError,
        Kind::RefuseSignature => Code::SignatureDoesNotMatch,
        Kind::TopicMissing => Code::TopicNotExist,
        Kind::RefuseRecord => Code::MalformedXML,
        Kind::LostReply | Kind::Cut | Kind::WrongMd5 | Kind::Lose => return Ok(Some(rule.kind)),
    };
    let refusal = Refusal::new(code, "a fault on request");
    Err(match rule.retry_after_s {
        Some(seconds) => refusal.after(seconds),
        None => refusal,
    })
}
