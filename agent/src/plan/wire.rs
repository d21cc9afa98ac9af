//! Bytes on the wire, from what was measured: docs/benchmarks.md, "Bytes on the wire" (TCP's bytes
//! out and back for a body of 256 bytes, TLS off).

use super::{Company, Question};
use crate::config::Transport;

/// Body of the measured records.
const BODY: f64 = 256.0;
/// A single message, out and back, over HTTP and over gRPC.
const SINGLE: (f64, f64) = (827.0 + 405.0, 579.0 + 138.0);
/// A batch of 64: bytes for each of its messages.
const OF_BATCH: f64 = 471.0 + 3.0;
const BATCH: f64 = 64.0;
/// What a bundle adds to a body before it is compressed: 285 + 3 bytes a record over gRPC with
/// compress = "none", less the message's own 461 shared by 64.
const PART: f64 = 25.0;
/// What is left of a bundle of 64 when it is compressed: 71 + 8 bytes a record over HTTP, 51 + 3
/// over gRPC; and of text of which little can be saved: 286 + 8, 213 + 3.
const LEFT: (f64, f64) = (0.17, 0.744);
const LEFT_OF: f64 = 64.0;
/// Over HTTP a bundle is base64.
const BASE64: f64 = 4.0 / 3.0;
/// What TCP and TLS add is not in it, nor what is sent twice.
const SECONDS_OF_DAY: f64 = 86_400.0;

/// What bodies are like, for compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The same names and other values each time, such as JSON from a sensor.
    Telemetry,
    /// Text of which at most a quarter can be saved.
    Noise,
}

impl Question {
    /// Bytes of one request that carries `records`, answer included.
    pub(super) fn request_bytes(&self, records: f64) -> f64 {
        let size = self.record_bytes as f64;
        let message = match self.transport {
            Transport::Http => SINGLE.0 - BODY,
            Transport::Grpc => SINGLE.1 - BODY,
        };
        match self.company {
            Company::Bundle { .. } if records > 1.0 => message + self.message_body_bytes(records),
            Company::Batch { .. } if records > 1.0 => {
                // What a request costs once is what a message in a batch saves.
                let once = (SINGLE.1 - OF_BATCH) * BATCH / (BATCH - 1.0);
                once + records * (message - once + size)
            }
            _ => message + size,
        }
    }

    /// Bytes of the body of a message of `records`, as it goes over the wire.
    pub(super) fn message_body_bytes(&self, records: f64) -> f64 {
        let size = self.record_bytes as f64;
        if records <= 1.0 || !matches!(self.company, Company::Bundle { .. }) {
            return size;
        }
        let left = match self.content {
            Content::Telemetry => LEFT.0,
            Content::Noise => LEFT.1,
        };
        // Few records have little in common; what lies between is not measured.
        let few = 1.0 - (records.ln() / LEFT_OF.ln()).min(1.0);
        let left = left + (1.0 - left) * few;
        let text = if self.transport == Transport::Http { BASE64 } else { 1.0 };
        records * (size + PART) * left * text
    }

    /// Requests and bytes of the backlog.
    pub(super) fn backlog_wire(&self) -> (f64, f64) {
        let requests = self.backlog() / self.in_request();
        (requests, requests * self.request_bytes(self.in_request()))
    }

    /// Requests and bytes of a day on which all is well. What leaves at once leaves alone, and a
    /// batch waits for nothing.
    pub(super) fn daily_wire(&self) -> (f64, f64) {
        let requests = self.live_messages_per_s() * SECONDS_OF_DAY;
        (requests, requests * self.request_bytes(self.in_live_message()))
    }
}
