//! Publish, consume and acknowledge, with the faults that may hit them.

use std::time::Duration;

use hyper::Method;
use hyper::http::request::Parts;
use spillway_protocol::record::Topic;
use spillway_protocol::rocketmq::http::digest::body_md5;
use spillway_protocol::rocketmq::http::fault::Code;
use spillway_protocol::rocketmq::http::publish::{Publish, Published};
use spillway_protocol::rocketmq::http::resource::Parsed;
use spillway_protocol::rocketmq::http::{ack, consume};
use tokio::time::Instant;

use super::faults::{Kind, Operation, Request, Rule};
use super::refusal::Refusal;
use super::server::{Server, stopped};
use super::store::{Ask, Draft, Now, TopicId};

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
    let resource = parts.uri.path_and_query().map_or("/", |resource| resource.as_str());
    let target = Parsed::parse(resource)?;
    if Topic::parse(target.topic.as_str()).is_err() || target.topic.len() > TOPIC_MAX {
        return Err(Refusal::argument("a topic has 1 to 64 letters, digits, _ and -"));
    }
    let id = TopicId::new(instance(&target)?, &target.topic);
    match parts.method {
        Method::POST => publish(server, &target, &id, body),
        Method::GET => receive(server, &target, &id).await,
        Method::DELETE => acknowledge(server, &target, &id, body),
        _ => Err(Refusal::new(Code::InvalidRequestURL, "only POST, GET and DELETE are known")),
    }
}

fn publish(server: &Server, target: &Parsed, id: &TopicId, body: &[u8]) -> Result<Done, Refusal> {
    only(target, &["ns"])?;
    let draft = Draft::check(Publish::parse(text(body)?)?, server.now_ms())?;
    let request = Request { operation: Operation::Publish, topic: &id.topic, key: draft.key() };
    let hit = trip(server, request)?;
    let kind = hit.map(|rule| rule.kind);
    if kind == Some(Kind::Cut) {
        return Ok(Done::Cut);
    }
    let md5 = match kind {
        Some(Kind::WrongMd5) => body_md5(b"another body"),
        _ => body_md5(draft.body.as_bytes()),
    };
    let message_id = match kind {
        Some(Kind::Lose) => server.store.next_message_id(),
        _ => server.store.publish(id, draft, server.now_ms())?,
    };
    if kind == Some(Kind::LostReply) {
        return Ok(Done::Cut);
    }
    let published = Published { message_id, body_md5: Some(md5) };
    Ok(Done::Answer(201, published.to_xml()))
}

async fn receive(server: &Server, target: &Parsed, id: &TopicId) -> Result<Done, Refusal> {
    only(target, &["consumer", "ns", "tag", "numOfMessages", "waitseconds", "trans"])?;
    let orderly = match target.get("trans") {
        None => false,
        Some("order") => true,
        Some(_) => return Err(Refusal::argument("this broker has no transactions")),
    };
    let options = &server.options;
    let ask = Ask {
        group: group(target)?,
        tags: target.get("tag").filter(|tag| *tag != "*"),
        count: number(target, "numOfMessages", 1, 16)?
            .ok_or_else(|| Refusal::argument("numOfMessages is missing"))?,
        orderly,
        invisible: if orderly { options.invisible_orderly } else { options.invisible },
    };
    let wait = Duration::from_secs(number(target, "waitseconds", 0, 30)?.unwrap_or(0));
    let hit = trip(server, Request { operation: Operation::Consume, topic: &id.topic, key: "" })?;
    match hit.map(|rule| rule.kind) {
        Some(Kind::Cut) => return Ok(Done::Cut),
        Some(Kind::LostReply) => {
            wait_for_messages(server, id, &ask, wait).await;
            return Ok(Done::Cut);
        }
        _ => {}
    }
    let messages = wait_for_messages(server, id, &ask, wait).await;
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
    let hit = trip(server, Request { operation: Operation::Ack, topic: &id.topic, key: "" })?;
    let kind = hit.map(|rule| rule.kind);
    if handles.is_empty() {
        return Err(Refusal::new(Code::MissingReceiptHandle, "no receipt handle is given"));
    }
    if kind == Some(Kind::Cut) {
        return Ok(Done::Cut);
    }
    let failures = server.store.ack(id, group, &handles, Instant::now())?;
    Ok(match kind {
        Some(Kind::LostReply) => Done::Cut,
        _ if failures.is_empty() => Done::Answer(204, String::new()),
        _ => Done::Answer(404, ack::failures_xml(&failures)),
    })
}

/// The fault that hits a request; those that are mere refusals come as such.
fn trip(server: &Server, request: Request<'_>) -> Result<Option<Rule>, Refusal> {
    let Some(rule) = server.faults.trip(request) else {
        return Ok(None);
    };
    let code = match rule.kind {
        Kind::Throttle => Code::QpsLimitExceeded,
        Kind::ServerError => Code::InternalError,
        Kind::RefuseSignature => Code::SignatureDoesNotMatch,
        Kind::TopicMissing => Code::TopicNotExist,
        Kind::RefuseRecord => Code::MalformedXML,
        Kind::LostReply | Kind::Cut | Kind::WrongMd5 | Kind::Lose => return Ok(Some(rule)),
    };
    let refusal = Refusal::new(code, "a fault on request");
    Err(Refusal { retry_after_s: rule.retry_after_s, ..refusal })
}

fn text(body: &[u8]) -> Result<&str, Refusal> {
    let not_utf8 = |_| Refusal::new(Code::MalformedXML, "the body is not UTF-8");
    std::str::from_utf8(body).map_err(not_utf8)
}

fn only(target: &Parsed, known: &[&str]) -> Result<(), Refusal> {
    match target.query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, _)) => {
            let message = format!("{name} means nothing here");
            Err(Refusal::new(Code::InvalidQueryString, message))
        }
    }
}

fn instance(target: &Parsed) -> Result<Option<&str>, Refusal> {
    named(target, "ns")
}

fn group(target: &Parsed) -> Result<&str, Refusal> {
    let missing = || Refusal::new(Code::InvalidQueryString, "consumer is missing");
    named(target, "consumer")?.ok_or_else(missing)
}

fn named<'a>(target: &'a Parsed, name: &str) -> Result<Option<&'a str>, Refusal> {
    match target.get(name) {
        Some(value) if Topic::parse(value).is_err() => {
            Err(Refusal::argument(format!("{name} has letters, digits, _ and - only")))
        }
        value => Ok(value),
    }
}

fn number<T>(target: &Parsed, name: &str, min: T, max: T) -> Result<Option<T>, Refusal>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display + Copy,
{
    let Some(text) = target.get(name) else {
        return Ok(None);
    };
    match text.parse::<T>() {
        Ok(number) if (min..=max).contains(&number) => Ok(Some(number)),
        _ => Err(Refusal::argument(format!("{name} is a number from {min} to {max}"))),
    }
}
