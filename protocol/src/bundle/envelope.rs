//! What is around the records: a version, how they are compressed, and how many bytes they have
//! once they are not, so that a reader knows what it is in for.

use bytes::Bytes;
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;

use super::bytes::{Reader, Writer};
use super::{BundleError, CONTENT_MAX};

const VERSION: u8 = 1;
/// Version, method, and a number.
const HEAD_BYTES_MAX: usize = 12;
const AS_IT_IS: u8 = 0;
const DEFLATE: u8 = 1;
/// Beyond it little is gained for much more time.
const LEVEL: u8 = 6;

/// How the records of a bundle are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compress {
    /// Not at all.
    None,
    /// By DEFLATE (RFC 1951), without a header of zlib or gzip around it.
    Deflate,
}

/// `content` in its envelope. What does not become smaller stays as it is.
pub(super) fn wrap(content: &[u8], compress: Compress) -> Vec<u8> {
    let deflated = match compress {
        Compress::None => None,
        Compress::Deflate => Some(compress_to_vec(content, LEVEL)),
    };
    let deflated = deflated.filter(|deflated| deflated.len() < content.len());
    let stored = deflated.as_deref().unwrap_or(content);
    let mut out = Writer::with_capacity(HEAD_BYTES_MAX + stored.len());
    out.byte(VERSION);
    out.byte(if deflated.is_some() { DEFLATE } else { AS_IT_IS });
    out.number(content.len() as u64);
    out.raw(stored);
    out.into_bytes()
}

/// What is in the envelope. A size beyond the limit is refused before anything is inflated.
pub(super) fn unwrap(body: &[u8]) -> Result<Vec<u8>, BundleError> {
    let head = Bytes::copy_from_slice(&body[..body.len().min(HEAD_BYTES_MAX)]);
    let mut reader = Reader::new(&head);
    let version = reader.byte("its version")?;
    if version != VERSION {
        return Err(BundleError::Version(version));
    }
    let method = reader.byte("its head")?;
    let found = reader.number("its head")?;
    let max = CONTENT_MAX as u64;
    let size = usize::try_from(found).ok().filter(|size| *size <= CONTENT_MAX);
    let size = size.ok_or(BundleError::TooLarge { what: "bytes", found, max })?;
    let content = &body[reader.at()..];
    let content = match method {
        AS_IT_IS => content.to_vec(),
        DEFLATE => {
            decompress_to_vec_with_limit(content, size).map_err(|_| BundleError::Inflate(found))?
        }
        other => return Err(BundleError::Method(other)),
    };
    if content.len() == size { Ok(content) } else { Err(BundleError::Inflate(found)) }
}
