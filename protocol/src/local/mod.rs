//! The agent's Unix socket: HTTP/1.1 with JSON (the stable contract) and binary frames.
//!
//! - [`json`] and [`headers`]: a record as an HTTP client writes it
//! - [`Receipt`] and [`Refusal`]: the two answers a record can get, the same on both dialects
//! - [`frame`]: the binary dialect, private to this crate and its client
//! - [`client`] (feature `client`): the async client of the binary dialect
//! - [`status`]: what `GET /v1/status` answers

#[cfg(feature = "client")]
pub mod client;
pub mod frame;
pub mod headers;
pub mod json;
mod receipt;
mod refusal;
pub mod status;

pub use receipt::{Level, Receipt};
pub use refusal::{Code, Refusal};

use crate::record::Draft;

/// One record as a client handed it over, unproven, and where it is to go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The record.
    pub draft: Draft,
    /// Lane as written; the default lane where there is none.
    pub lane: Option<String>,
    /// When to answer.
    pub level: Level,
}
