//! What the centre asks of a gateway, and what the gateway answers.
//!
//! Asked for is a *page*, one for each gateway, which the agent pulls from `[control] url`. It is
//! wrapped in an [`Envelope`]: `payload` is the page's JSON as a text, `signature` the base64 of an
//! Ed25519 signature over the bytes of `spillway-control-1`, one line feed, and the UTF-8 bytes of
//! that text as they stand.
//!
//! ```json
//! {"payload":"{\"gateway\":\"gw-0042\",\"serial\":1700000000123,\"requests\":[{\"id\":\"r-1\",
//!  \"lane\":\"critical\",\"stream\":\"00c0ffee\",\"from\":41,\"to\":43}]}","signature":"wK3h..."}
//! ```
//!
//! What a centre keeps to:
//! - `serial` grows whenever the page changes, and stays while it does not: the time of the change
//!   in ms since 1970 serves. A gateway does nothing for a page older than one it has seen.
//! - Each request is done once, by its id. Asking for the same numbers again takes a new id.
//! - A request stays on the page until what it asked for is there or explained, or nobody wants
//!   it any more: one that leaves the page is not worked on any further, and forgotten.
//! - A page with its envelope has at most [`PAGE_BYTES_MAX`] bytes; what does not fit comes later.
//!
//! Records are sent under their old numbers with `sw_flags=resend`. For what cannot be sent, the
//! gateway writes an [`Answer`] to `[report] topic`, with `sw_flags=answer`.

mod answer;
#[cfg(feature = "control")]
mod seal;

use serde::{Deserialize, Serialize};

pub use answer::{Answer, State, Unsent};
#[cfg(feature = "control")]
pub use seal::{OpenError, PUBLIC_KEY_BYTES, PublicKey, SEED_BYTES, SealError, Sealer};

/// Longest envelope that a gateway reads, in bytes.
pub const PAGE_BYTES_MAX: usize = 64 << 10;
/// Longest id of a request, in bytes.
pub const REQUEST_ID_MAX: usize = 64;

/// What the centre asks of one gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The gateway's id: no other does anything for this page.
    pub gateway: String,
    /// Grows with every change of the page.
    pub serial: u64,
    /// What is to be done, in this order.
    pub requests: Vec<Request>,
}

/// Records that are to be sent again: `from` to `to`, both included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its id, drawn by the centre: 1 to [`REQUEST_ID_MAX`] bytes.
    pub id: String,
    /// Lane.
    pub lane: String,
    /// Stream, 8 hex digits.
    pub stream: String,
    /// First number.
    pub from: u64,
    /// Last number.
    pub to: u64,
}

/// A signed page as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The page's JSON.
    pub payload: String,
    /// Base64 of the signature: see the module.
    pub signature: String,
}
