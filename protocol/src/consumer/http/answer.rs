//! What an answer says.

use reqwest::Response;

use super::messages;
use super::request::failure;

use crate::consumer::{AckFailure, Delivery, FeedError, Receipt};
use crate::rocketmq::http::ack;
use crate::rocketmq::http::fault::{Code, ErrorBody, Meaning};
use crate::rocketmq::http::{REQUEST_ID_HEADER, VERSION_HEADER};
use crate::rocketmq::skew::http_date_ms;

/// 16 bodies of 4 MiB, some of them escaped.
const BODY_MAX: usize = 128 * 1024 * 1024;
/// A refused request whose date was further off than this is taken to be refused for its date;
/// MQ's own limit is 15 minutes.
const DATE_SUSPECT_MS: u64 = 5 * 60 * 1000;
/// Longest piece of a stranger's answer that goes into a reason.
const WORDS_MAX: usize = 200;

/// An answer as it came.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// It has a header that only MQ sends.
    pub(super) mq_header: bool,
    pub(super) date_ms: Option<u64>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) async fn read(mut response: Response) -> Result<Self, FeedError> {
        let headers = response.headers();
        let date = headers.get("date").and_then(|date| date.to_str().ok());
        let mut answer = Self {
            status: response.status().as_u16(),
            mq_header: headers.contains_key(REQUEST_ID_HEADER)
                || headers.contains_key(VERSION_HEADER),
            date_ms: date.and_then(http_date_ms),
            body: Vec::new(),
        };
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
            if answer.body.len() + chunk.len() > BODY_MAX {
                return Err(FeedError::Link(format!("an answer of more than {BODY_MAX} bytes")));
            }
            answer.body.extend_from_slice(&chunk);
        }
        Ok(answer)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }

    fn error(&self) -> Option<ErrorBody> {
        ErrorBody::parse(self.text()).ok()
    }

    /// Whether RocketMQ said this, rather than a portal or proxy on the way.
    fn is_mq(&self) -> bool {
        self.mq_header || self.error().is_some()
    }

    /// The server's clock, if it is the server's.
    pub(super) fn trusted_date_ms(&self) -> Option<u64> {
        self.date_ms.filter(|_| self.is_mq())
    }

    fn meaning(&self) -> Meaning {
        Meaning::of(self.status, self.error().as_ref().map(|error| error.code.as_str()))
    }

    /// Whether the request was refused for its date, which was `signed_ms`.
    pub(super) fn refuses_date(&self, signed_ms: u64) -> bool {
        let far = |server_ms: u64| server_ms.abs_diff(signed_ms) > DATE_SUSPECT_MS;
        match self.status {
            0..=299 | 500.. => false,
            _ if !self.is_mq() => false,
            _ if self.meaning() == Meaning::Clock => true,
            403 | 408 => self.date_ms.is_some_and(far),
            _ => false,
        }
    }

    /// The messages of an answer to a receive; `server_ms` is the server's time.
    pub(super) fn messages(&self, topic: &str, server_ms: u64) -> Result<Vec<Delivery>, FeedError> {
        match self.status {
            200 => messages::read(&self.body, topic, server_ms)
                .ok_or_else(|| FeedError::Link(self.words())),
            _ if self.is_mq() && self.meaning() == Meaning::Empty => Ok(Vec::new()),
            _ => Err(self.refusal()),
        }
    }

    /// Which of `receipts` were not acknowledged.
    pub(super) fn ack_failures(&self, receipts: &[Receipt]) -> Result<Vec<AckFailure>, FeedError> {
        if self.status == 204 || (self.status == 200 && self.is_mq()) {
            return Ok(Vec::new());
        }
        let Ok(failures) = ack::parse_failures(self.text()) else {
            return match self.meaning() {
                Meaning::Handle | Meaning::Empty if self.is_mq() => {
                    Err(FeedError::Receipt(self.words()))
                }
                _ => Err(self.refusal()),
            };
        };
        let of = |receipt: &Receipt| {
            let failure = failures.iter().find(|failure| failure.handle == receipt.handle)?;
            let meaning = Code::parse(&failure.code).map(Code::meaning);
            Some(AckFailure {
                receipt: receipt.clone(),
                reason: format!("{}: {}", failure.code, failure.message),
                again: matches!(meaning, Some(Meaning::Server | Meaning::Throttle)),
            })
        };
        Ok(receipts.iter().filter_map(of).collect())
    }

    fn refusal(&self) -> FeedError {
        let words = self.words();
        match self.meaning() {
            _ if !self.is_mq() => FeedError::Link(words),
            Meaning::Throttle | Meaning::Server => FeedError::Busy(words),
            _ => FeedError::Refused(words),
        }
    }

    fn words(&self) -> String {
        match self.error() {
            Some(error) => format!("{} {}", error.code, error.message),
            None => {
                let text = String::from_utf8_lossy(&self.body);
                let begin: String = text.chars().take(WORDS_MAX).collect();
                format!("status {}, and not in RocketMQ's words: {begin:?}", self.status)
            }
        }
    }
}
