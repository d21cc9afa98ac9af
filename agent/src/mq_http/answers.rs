//! Answers with the headers that MQ sends, and an id for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use spillway_protocol::rocketmq::http::{self, REQUEST_ID_HEADER, VERSION, VERSION_HEADER};

use super::Refusal;
use crate::clock::WallClock;

/// Makes answers.
pub(crate) struct Answers {
    host: String,
    clock: Arc<dyn WallClock>,
    requests: AtomicU64,
}

impl Answers {
    /// `host` is what errors name as the one that answered; `clock` dates the answers.
    pub(crate) fn new(host: String, clock: Arc<dyn WallClock>) -> Self {
        Self { host, clock, requests: AtomicU64::new(0) }
    }

    /// An answer with a document, or without one where `xml` is empty.
    pub(crate) fn xml(&self, status: u16, xml: String) -> Response<Full<Bytes>> {
        self.with_id(status, xml, &self.next_id())
    }

    /// An answer that refuses.
    pub(crate) fn refusal(&self, refusal: &Refusal) -> Response<Full<Bytes>> {
        let id = self.next_id();
        let mut response = self.with_id(refusal.status, refusal.to_xml(&id, &self.host), &id);
        if let Some(seconds) = refusal.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn next_id(&self) -> String {
        format!("{:024X}", self.requests.fetch_add(1, Ordering::Relaxed))
    }

    fn with_id(&self, status: u16, xml: String, id: &str) -> Response<Full<Bytes>> {
        let now = UNIX_EPOCH + Duration::from_millis(self.clock.now_ms());
        let mut response = Response::builder()
            .status(status)
            .header(REQUEST_ID_HEADER, id)
            .header(VERSION_HEADER, VERSION)
            .header(DATE, httpdate::fmt_http_date(now));
        if !xml.is_empty() {
            response = response.header(CONTENT_TYPE, http::CONTENT_TYPE);
        }
        response.body(Full::from(xml)).unwrap_or_else(|_| internal_error())
    }
}

/// All parts above are valid; should one ever not be, this is.
fn internal_error() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
