//! Publish: from the request's XML to a record on disk.

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use spillway_protocol::local::{Code as Kind, Level, Request};
use spillway_protocol::record::Draft;
use spillway_protocol::rocketmq::http::delay;
use spillway_protocol::rocketmq::http::digest::body_md5;
use spillway_protocol::rocketmq::http::fault::Code;
use spillway_protocol::rocketmq::http::properties::{
    self, SHARDING_KEY, START_DELIVER_TIME, Sorted,
};
use spillway_protocol::rocketmq::http::publish::{Publish, Published};
use spillway_protocol::rocketmq::http::resource::Parsed;

use super::Front;
use crate::intake::admission::overloaded;
use crate::intake::verdict::Proven;
use crate::intake::{LaneInfo, body};
use crate::mq_http::{REQUEST_MAX, Refusal, check_digest, text};
use crate::queue::Ordering;

/// What a request costs in memory while it is read, in times its size: itself, and its body
/// taken out of the XML piece by piece.
const READING_COST: usize = 3;
/// Longest text of properties that is taken apart, in bytes: far more than a record may have, far
/// less than a body.
const PROPERTIES_MAX: usize = 64 * 1024;
/// When to come back with a delayed message while the clock is not set.
const CLOCK_RETRY_S: u64 = 30;

/// Stores the message of a request whose head was right.
pub(super) async fn publish(
    front: &Front,
    parts: &Parts,
    target: &Parsed,
    incoming: &mut Incoming,
) -> Result<Published, Refusal> {
    let intake = &front.intake;
    let max = REQUEST_MAX.min(intake.budget.max_bytes() / READING_COST);
    let received = body::receive(incoming, (max, body::too_long), intake).await;
    let (xml, mut held) = received.map_err(|refusal| match refusal.code {
        Kind::TooLarge if max < REQUEST_MAX => too_large_for_memory(max),
        _ => refusal.into(),
    })?;
    check_digest(parts, &xml)?;
    if !held.try_resize(xml.len() * READING_COST) {
        return Err(overloaded().into());
    }
    let proven = read(front, target, &xml)?;
    drop((xml, held));
    let body_md5 = Some(body_md5(&proven.record.body));
    let receipt = intake.store(proven).await?;
    Ok(Published { message_id: receipt.id.to_string(), body_md5 })
}

/// Coming back later would not help.
fn too_large_for_memory(max: usize) -> Refusal {
    Refusal::argument(format!(
        "the request has more than the {max} bytes that [limits] memory allows; split it, or raise \
         the limit"
    ))
}

/// The record of a request, and its lane.
fn read(front: &Front, target: &Parsed, xml: &Bytes) -> Result<Proven, Refusal> {
    let message = Publish::parse(text(xml)?)?;
    let pairs = match message.properties.as_ref() {
        "" => Vec::new(),
        long if long.len() > PROPERTIES_MAX => {
            let message = format!("the properties have {} bytes, at most 14 KiB fit", long.len());
            return Err(Refusal::argument(message));
        }
        joined => properties::split(joined)?,
    };
    let sorted = Sorted::of(&pairs)?;
    let start_deliver_ms =
        sorted.start_deliver.map(|at| start_deliver(front, at, message.body.len())).transpose()?;
    let (lane, topic) = lane(&front.intake.queue.lanes(), &target.topic);
    let owned = |text: &str| text.to_owned();
    let draft = Draft {
        id: None,
        key: sorted.key.map(owned),
        topic,
        tag: message.tag.as_deref().map(owned),
        order_key: sorted.sharding_key.map(owned),
        properties: sorted.custom.iter().map(|(n, v)| (owned(n), owned(v))).collect(),
        body: message.body.into_owned().into(),
    };
    let mut proven = front.intake.prove(Request { draft, lane, level: Level::Disk })?;
    check_order(&proven)?;
    if let Some(at_ms) = start_deliver_ms {
        let properties = &mut proven.record.properties;
        *properties = std::mem::take(properties).with_start_deliver(at_ms);
    }
    Ok(proven)
}

/// The lane of that topic, the default one first; else the default lane, for which the record
/// has to name its topic.
fn lane(lanes: &[LaneInfo], topic: &str) -> (Option<String>, Option<String>) {
    let mut own = lanes.iter().filter(|lane| lane.topic.as_str() == topic);
    let found = own.clone().find(|lane| lane.default).or_else(|| own.next());
    match found {
        Some(lane) => (Some(lane.name.to_string()), None),
        None => (None, Some(topic.to_owned())),
    }
}

/// An app that gives a sharding key relies on its order, and its consumers see the key.
fn check_order(proven: &Proven) -> Result<(), Refusal> {
    if proven.record.order_key.is_none() || proven.lane.ordering == Ordering::Key {
        return Ok(());
    }
    Err(Refusal::argument(format!(
        "{SHARDING_KEY} cannot be kept in lane {}: write order = \"key\" in that [[lane]], or give \
         the topic a lane of its own",
        proven.lane.name
    )))
}

/// Only the MQ HTTP API carries a time of delivery as it is, and only a clock that is set says
/// what it means.
fn start_deliver(front: &Front, at: &str, body_bytes: usize) -> Result<u64, Refusal> {
    if !front.intake.in_force().delays {
        return Err(Refusal::argument(format!(
            "{START_DELIVER_TIME} cannot be kept: this agent's [upstream] is not the MQ HTTP API; \
             send the message without it, when it is due"
        )));
    }
    if !front.clock.is_set() {
        let message = format!(
            "{START_DELIVER_TIME} means nothing yet: this machine's clock has not been set since \
             power-on; send the message again later, or without it"
        );
        return Err(Refusal::new(Code::InternalError, message).after(CLOCK_RETRY_S));
    }
    Ok(delay::parse(at, body_bytes, front.clock.now_ms())?)
}
