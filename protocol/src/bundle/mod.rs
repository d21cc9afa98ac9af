//! Bundles: several records of one lane in one message, as docs/message-format.md says.
//!
//! The body is an [`Envelope`](envelope) (version, compression, size) around the records
//! ([`part`]). What all records of a bundle share is the message's: topic, tag, order key,
//! gateway, lane and stream. [`Message::bundle`](crate::message::Message::bundle) makes it, [`unpack`] reads it; what it reads
//! may come from anybody, so everything in it is bounded before it is believed.

mod bytes;
mod compose;
mod envelope;
mod part;

pub use envelope::Compress;
pub use part::Part;

use ::bytes::Bytes;

use self::bytes::{Reader, Writer};

/// Most records of a bundle.
pub const RECORDS_MAX: usize = 1024;
/// Most bytes of records that a sender puts into one (their bodies and texts, uncompressed).
pub const BYTES_MAX: usize = 1024 * 1024;
/// Most bytes that a reader inflates.
pub const CONTENT_MAX: usize = 4 * 1024 * 1024;

/// A body that is flagged as a bundle cannot be read as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Another version.
    #[error("a bundle of version {0}, and this build reads version 1; update the consumer")]
    Version(u8),
    /// Another compression.
    #[error("compressed by method {0}, which this build does not know; update the consumer")]
    Method(u8),
    /// It says that it is larger than a bundle may be.
    #[error("says that it has {found} {what}, and a bundle has at most {max}")]
    TooLarge {
        /// Records or bytes.
        what: &'static str,
        /// What it says.
        found: u64,
        /// What it may have.
        max: u64,
    },
    /// The compressed content cannot be inflated to the size that it says.
    #[error("its content cannot be inflated to the {0} bytes that it says")]
    Inflate(u64),
    /// It ends within a record.
    #[error("it ends within {0}")]
    Cut(&'static str),
    /// Something is not in its form.
    #[error("{0}")]
    Form(&'static str),
}

/// Packs `parts`: the body of a bundle.
pub fn pack(parts: &[Part], compress: Compress) -> Vec<u8> {
    let mut content = Writer::default();
    content.number(parts.len() as u64);
    let mut before = part::Before::default();
    parts.iter().for_each(|part| part.write(&mut before, &mut content));
    envelope::wrap(&content.into_bytes(), compress)
}

/// The records of a bundle, in their order.
///
/// # Errors
/// It is none: see [`BundleError`]. Nothing of it can then be trusted.
pub fn unpack(body: &[u8]) -> Result<Vec<Part>, BundleError> {
    let content = Bytes::from(envelope::unwrap(body)?);
    let mut reader = Reader::new(&content);
    let count = reader.number("the number of records")?;
    if count > RECORDS_MAX as u64 {
        let (what, max) = ("records", RECORDS_MAX as u64);
        return Err(BundleError::TooLarge { what, found: count, max });
    }
    let mut before = part::Before::default();
    let parts: Result<Vec<Part>, _> =
        (0..count).map(|_| Part::read(&mut before, &mut reader)).collect();
    match parts? {
        parts if parts.is_empty() => Err(BundleError::Form("it has no record")),
        _ if !reader.is_at_end() => Err(BundleError::Form("something follows its last record")),
        parts => Ok(parts),
    }
}

#[cfg(test)]
mod tests;
