//! The binary dialect: private to this crate and its client, so it may change with every version.
//!
//! A client first writes [`PREAMBLE`], which no HTTP request can begin with. Then both sides write
//! frames: a length (u32, big endian, at most [`FRAME_MAX`]) and that many bytes, which
//! [`crate::codec`] wrote: a version byte and bincode. The first frame each way, [`Hello`] and
//! [`HelloReply`], has the format [`HELLO_FORMAT`] for ever; all others have the version that the
//! reply chose. Appends are pipelined; answers come in the order in which records are stored, which
//! is any order, and carry the append's correlation.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Level, Receipt, Refusal, Request};
use crate::codec;
use crate::message::StreamId;
use crate::record::{BODY_MAX, Draft, LaneName, MessageKey, RecordId};

/// What a client of this dialect sends first.
pub const PREAMBLE: [u8; 4] = [0, b'S', b'P', b'W'];
/// Format of [`Hello`] and [`HelloReply`].
pub const HELLO_FORMAT: u8 = 0;
/// The version of the other messages that this build speaks.
pub const VERSION: u8 = 1;
/// Largest frame, in bytes, without its length: a body and everything a record may carry beside.
pub const FRAME_MAX: usize = BODY_MAX + 64 * 1024;
/// Bytes of a frame's length.
pub const LENGTH_BYTES: usize = 4;

/// The client's first frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest version it speaks.
    pub min: u8,
    /// Newest version it speaks.
    pub max: u8,
    /// Its name, for the agent's log.
    pub client: String,
}

impl Hello {
    /// The version to speak, or the refusal that says what this build speaks.
    pub fn choose(&self) -> Result<u8, Refusal> {
        if (self.min..=self.max).contains(&VERSION) {
            return Ok(VERSION);
        }
        let message = format!(
            "the client speaks frame versions {} to {}, this agent {VERSION}; update the older one",
            self.min, self.max
        );
        Err(Refusal::new(super::Code::IncompatibleVersion, message))
    }
}

/// The agent's first frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HelloReply {
    /// Go on.
    Welcome {
        /// Version of every further frame, both ways.
        version: u8,
        /// Version of the agent.
        agent: String,
    },
    /// The connection is closed.
    Refused(Refusal),
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToAgent {
    /// Store a record.
    Append(Append),
}

/// A record to store. The correlation comes first, so that it can be read off a frame whose rest
/// is thrown away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// The client's own number for this append; its answer carries it.
    pub correlation: u64,
    /// Lane; the default lane where there is none.
    pub lane: Option<String>,
    /// When to answer.
    pub level: Level,
    /// As in [`Draft`].
    pub id: Option<String>,
    /// As in [`Draft`].
    pub key: Option<String>,
    /// As in [`Draft`].
    pub topic: Option<String>,
    /// As in [`Draft`].
    pub tag: Option<String>,
    /// As in [`Draft`].
    pub order_key: Option<String>,
    /// As in [`Draft`].
    pub properties: BTreeMap<String, String>,
    /// As in [`Draft`].
    pub body: Bytes,
}

impl Append {
    /// An append of `request`.
    pub fn new(correlation: u64, request: Request) -> Self {
        let Request { draft, lane, level } = request;
        Self {
            correlation,
            lane,
            level,
            id: draft.id,
            key: draft.key,
            topic: draft.topic,
            tag: draft.tag,
            order_key: draft.order_key,
            properties: draft.properties,
            body: draft.body,
        }
    }

    /// The record and its correlation.
    pub fn into_request(self) -> (u64, Request) {
        let draft = Draft {
            id: self.id,
            key: self.key,
            topic: self.topic,
            tag: self.tag,
            order_key: self.order_key,
            properties: self.properties,
            body: self.body,
        };
        let request = Request { draft, lane: self.lane, level: self.level };
        (self.correlation, request)
    }
}

/// What the agent sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToClient {
    /// What became of an append.
    Answer {
        /// The append's.
        correlation: u64,
        /// Stored, or why not.
        result: Result<Stored, Refusal>,
    },
    /// The agent closes the connection. What has no answer may or may not be stored.
    Bye(Refusal),
}

/// A [`Receipt`] as frames carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    id: RecordId,
    key: MessageKey,
    lane: LaneName,
    stream: u32,
    seq: u64,
    level: Level,
    duplicate: bool,
}

impl From<Receipt> for Stored {
    fn from(receipt: Receipt) -> Self {
        Self {
            id: receipt.id,
            key: receipt.key,
            lane: receipt.lane,
            stream: receipt.stream.0,
            seq: receipt.seq,
            level: receipt.level,
            duplicate: receipt.duplicate,
        }
    }
}

impl From<Stored> for Receipt {
    fn from(stored: Stored) -> Self {
        Self {
            id: stored.id,
            key: stored.key,
            lane: stored.lane,
            stream: StreamId(stored.stream),
            seq: stored.seq,
            level: stored.level,
            duplicate: stored.duplicate,
        }
    }
}

/// Bytes that are not a frame of this dialect, or a message that does not fit one.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length is beyond [`FRAME_MAX`].
    #[error("a frame of {bytes} bytes; at most {FRAME_MAX} fit")]
    TooLong {
        /// The length.
        bytes: usize,
    },
    /// The frame's content is not what its version says.
    #[error("a frame could not be read: {0}")]
    Malformed(#[from] codec::DecodeError),
    /// There is more in the frame than its message.
    #[error("a frame has {bytes} bytes behind its message")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// The message could not be written.
    #[error("a frame could not be written: {0}")]
    Encode(#[from] bincode::error::EncodeError),
}

/// Appends `message` as one frame to `out`; on an error nothing is appended.
pub fn put<T: Serialize>(version: u8, message: &T, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let start = out.len();
    out.extend([0; LENGTH_BYTES]);
    let written = codec::encode_into(version, message, out).map_err(FrameError::from);
    let bytes = out.len() - start - LENGTH_BYTES;
    let fits = written.and_then(|()| match u32::try_from(bytes) {
        Ok(length) if bytes <= FRAME_MAX => Ok(length),
        _ => Err(FrameError::TooLong { bytes }),
    });
    match fits {
        Ok(length) => {
            out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// The length of the frame that `buffer` begins with, once it is there.
pub fn length(buffer: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(length) = buffer.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    // Every platform this runs on has at least 32 bits of address.
    let bytes = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    match bytes {
        0..=FRAME_MAX => Ok(Some(bytes)),
        _ => Err(FrameError::TooLong { bytes }),
    }
}

/// Takes the first frame's content off `buffer`, once it is whole.
pub fn take(buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
    match length(buffer)? {
        Some(bytes) if buffer.len() >= LENGTH_BYTES + bytes => {
            buffer.advance(LENGTH_BYTES);
            Ok(Some(buffer.split_to(bytes).freeze()))
        }
        _ => Ok(None),
    }
}

/// Reads a frame's content, all of it.
pub fn read<T: DeserializeOwned>(version: u8, content: &[u8]) -> Result<T, FrameError> {
    let (message, used) = codec::decode(version, content)?;
    match content.len() - used {
        0 => Ok(message),
        bytes => Err(FrameError::Trailing { bytes }),
    }
}

/// The correlation of an append, read off the beginning of its content.
pub fn correlation(version: u8, beginning: &[u8]) -> Option<u64> {
    // An enum is its variant's number and then its fields: `Append` is number 0.
    match codec::decode::<(u32, u64)>(version, beginning) {
        Ok(((0, correlation), _)) => Some(correlation),
        _ => None,
    }
}

/// Most bytes that [`correlation`] needs: the version byte and two varints.
pub const CORRELATION_BYTES: usize = 1 + 5 + 9;

#[cfg(test)]
mod tests;
