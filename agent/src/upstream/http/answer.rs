//! What an answer means. Pure: everything is decided from status, a few headers and the body.

use std::time::Duration;

use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use spillway_protocol::rocketmq::http::digest::md5_matches;
use spillway_protocol::rocketmq::http::fault::{Code, ErrorBody, Meaning};
use spillway_protocol::rocketmq::http::publish::Published;
use spillway_protocol::rocketmq::http::{REQUEST_ID_HEADER, VERSION_HEADER};
use spillway_protocol::rocketmq::skew::http_date_ms;

use crate::upstream::{Outcome, Scope};

/// More of a body than this is nothing that MQ says to a publish.
const BODY_MAX: usize = 64 * 1024;
/// A refused request whose date was further off than this is taken to be refused for its date;
/// MQ's own limit is 15 minutes.
const DATE_SUSPECT_MS: u64 = 5 * 60 * 1000;
/// "Network Authentication Required", which only portals say.
const NETWORK_LOGIN: u16 = 511;
/// How MQ's word on a published message begins, whatever is wrong with the rest.
const MESSAGE: &str = "<Message";
/// Longest piece of a stranger's answer that goes into a reason.
const WORDS_MAX: usize = 200;

/// An answer as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Carries a header that only MQ sends.
    pub(super) mq_header: bool,
    pub(super) date_ms: Option<u64>,
    pub(super) retry_after: Option<Duration>,
    pub(super) content_type: String,
    pub(super) location: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Reads a response, of a large body only the beginning.
    pub(super) async fn read(response: Response<Incoming>) -> Result<Self, hyper::Error> {
        let mut answer = Self::of_head(response.status().as_u16(), response.headers());
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let chunk = frame?.into_data().unwrap_or_default();
            let room = BODY_MAX - answer.body.len();
            answer.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if answer.body.len() == BODY_MAX {
                break;
            }
        }
        Ok(answer)
    }

    fn of_head(status: u16, headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let owned = |name: &str| text(name).unwrap_or_default().chars().take(WORDS_MAX).collect();
        let date_ms = text("date").and_then(http_date_ms);
        Self {
            status,
            mq_header: headers.contains_key(REQUEST_ID_HEADER)
                || headers.contains_key(VERSION_HEADER),
            date_ms,
            retry_after: text("retry-after").and_then(|after| retry_after(after, date_ms)),
            content_type: owned("content-type"),
            location: owned("location"),
            body: Vec::new(),
        }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }

    fn error(&self) -> Option<ErrorBody> {
        ErrorBody::parse(self.text()).ok()
    }

    /// Whether its code is `code`.
    pub(super) fn says(&self, code: Code) -> bool {
        self.error().is_some_and(|error| Code::parse(&error.code) == Some(code))
    }

    /// Whether RocketMQ said this, rather than a portal, proxy or another server on the way.
    pub(super) fn is_mq(&self) -> bool {
        self.mq_header || self.error().is_some()
    }

    /// The server's clock, if it is the server's.
    pub(super) fn trusted_date_ms(&self) -> Option<u64> {
        self.date_ms.filter(|_| self.is_mq())
    }

    /// What an error answer means.
    pub(super) fn meaning(&self) -> Meaning {
        let error = self.error();
        Meaning::of(self.status, error.as_ref().map(|error| error.code.as_str()))
    }

    /// Whether the request was refused because of its date, which was `signed_ms`. Only then may
    /// it be sent again: nothing was stored.
    pub(super) fn refuses_date(&self, signed_ms: u64) -> bool {
        let far = |server_ms: u64| server_ms.abs_diff(signed_ms) > DATE_SUSPECT_MS;
        match self.status {
            _ if !self.is_mq() => false,
            0..=299 | 500.. => false,
            _ if self.meaning() == Meaning::Clock => true,
            403 | 408 => self.date_ms.is_some_and(far),
            _ => false,
        }
    }

    /// What became of a publish of `body`.
    pub(super) fn outcome(&self, body: &[u8]) -> Outcome {
        match self.status {
            201 => self.published(body),
            429 => self.throttled(),
            503 if self.retry_after.is_some() => self.throttled(),
            _ if !self.is_mq() => self.stranger(),
            0..=299 => Outcome::Unknown { reason: self.words(), link: false },
            _ => self.refused(),
        }
    }

    /// 201 alone proves nothing: the id and the digest do.
    fn published(&self, body: &[u8]) -> Outcome {
        let unknown = |reason: String| Outcome::Unknown { reason, link: false };
        let published = match Published::parse(self.text()) {
            Ok(published) => published,
            Err(_) if !self.mq_header && !self.text().contains(MESSAGE) => return self.stranger(),
            Err(error) => return unknown(format!("answered 201, but {error}")),
        };
        match published.body_md5.as_deref() {
            Some(md5) if md5_matches(md5, body) => {
                Outcome::Delivered { message_id: published.message_id }
            }
            Some(md5) => unknown(format!(
                "answered 201 with message {} but the MD5 of another body ({})",
                published.message_id,
                cut(md5)
            )),
            None => unknown(format!(
                "answered 201 with message {} but without the body's MD5",
                published.message_id
            )),
        }
    }

    /// A gateway before the broker that failed may have passed the request on; a portal says with 511
    /// that it did not.
    fn stranger(&self) -> Outcome {
        let passed_on = self.status >= 500 && self.status != NETWORK_LOGIN;
        Outcome::Stranger { reason: self.words(), passed_on }
    }

    fn refused(&self) -> Outcome {
        let reason = self.words();
        match self.meaning() {
            Meaning::Throttle => self.throttled(),
            Meaning::Clock => misconfigured(Scope::Link, "clock", reason),
            Meaning::Credentials => misconfigured(Scope::Link, "credentials", reason),
            Meaning::Forbidden => misconfigured(Scope::Topic, "permission", reason),
            Meaning::Missing => misconfigured(Scope::Topic, "topic_missing", reason),
            Meaning::Server | Meaning::Empty => Outcome::Unknown { reason, link: false },
            // No code of this API can mean the record alone: each could as well be a fault of
            // this agent or of the topic's settings, so the breaker counts them all.
            Meaning::Refused | Meaning::Handle => Outcome::Rejected {
                code: self
                    .error()
                    .map_or_else(|| self.status.to_string(), |error| cut(&error.code)),
                reason,
                own: false,
            },
        }
    }

    fn throttled(&self) -> Outcome {
        Outcome::Throttled { after: self.retry_after, reason: self.words() }
    }

    /// The answer in a person's words.
    pub(super) fn words(&self) -> String {
        if let Some(error) = self.error() {
            let ErrorBody { code, message, request_id, .. } = error;
            return format!("{} {code}: {} (request {request_id})", self.status, cut(&message));
        }
        if self.is_mq() {
            return format!("answered {} without an error code", self.status);
        }
        let to = if self.location.is_empty() { "" } else { ", pointing to " };
        format!(
            "what answered is not RocketMQ (status {}, {}{to}{}): a captive portal or proxy on the way, or a wrong endpoint",
            self.status,
            if self.content_type.is_empty() { "no content type" } else { &self.content_type },
            self.location
        )
    }
}

fn misconfigured(scope: Scope, code: &'static str, reason: String) -> Outcome {
    Outcome::Misconfigured { scope, code, reason }
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect()
}

/// `Retry-After` in seconds, or as a date, which only means something beside the answer's own.
fn retry_after(text: &str, date_ms: Option<u64>) -> Option<Duration> {
    match text.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let wait_ms = http_date_ms(text)?.saturating_sub(date_ms?);
            Some(Duration::from_millis(wait_ms))
        }
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
