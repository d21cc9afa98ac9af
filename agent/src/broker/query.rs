//! The query of a request: which names it may have, and what their values may be.

use std::time::Duration;

use spillway_protocol::rocketmq::http::fault::Code;
use spillway_protocol::rocketmq::http::resource::Parsed;

use super::BrokerOptions;
use super::store::Ask;
use crate::mq_http::{Refusal, named, only};

/// What a consumer asks for, and how long it waits.
pub(super) fn ask<'a>(
    target: &'a Parsed,
    options: &BrokerOptions,
) -> Result<(Ask<'a>, Duration), Refusal> {
    let known = ["consumer", "ns", "tag", "numOfMessages", "waitseconds", "trans"];
    only(target, &known)?;
    let (orderly, invisible) = match target.get("trans") {
        None => (false, options.invisible),
        Some("order") => (true, options.invisible_orderly),
        Some(_) => return Err(Refusal::argument("this broker has no transactions")),
    };
    let count = number(target, "numOfMessages", 1, 16)?;
    let ask = Ask {
        group: group(target)?,
        tags: target.get("tag").filter(|tag| *tag != "*"),
        count: count.ok_or_else(|| Refusal::argument("numOfMessages is missing"))?,
        orderly,
        invisible,
    };
    let wait_s = number(target, "waitseconds", 0, 30)?.unwrap_or(0);
    Ok((ask, Duration::from_secs(wait_s)))
}

/// The instance, if one is named.
pub(super) fn instance(target: &Parsed) -> Result<Option<&str>, Refusal> {
    named(target, "ns")
}

/// The consumer group, which has to be named.
pub(super) fn group(target: &Parsed) -> Result<&str, Refusal> {
    let missing = || Refusal::new(Code::InvalidQueryString, "consumer is missing");
    named(target, "consumer")?.ok_or_else(missing)
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
