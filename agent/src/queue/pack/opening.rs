//! What is in packs that were read whole: opened, joined, inflated.

use bytes::Bytes;
use lz4_flex::block::decompress_into;

use super::{CODED_HEADER_BYTES, Coding, Header, Kind, intact};
use crate::queue::cipher::{KeyMissing, Keys, NONCE_BYTES, TAG_BYTES};

/// Nothing that lz4 has compressed becomes longer than so many times its bytes.
const LZ4_RATIO_MAX: usize = 256;

/// Why there is no payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::queue) enum Unopened {
    /// It is whole, and sealed with a key that is not here.
    Locked(KeyMissing),
    /// It is not what was written.
    Damaged,
}

/// The headers of the packs of one position, if they are whole and all there: one pack of entries,
/// or all parts of one.
pub(in crate::queue) fn headers(packs: &[Vec<u8>], nonce: u64) -> Option<Vec<Header>> {
    let header = |pack: &Vec<u8>| {
        Header::parse(pack, nonce).filter(|header| header.len() == pack.len() && intact(pack))
    };
    let headers: Vec<Header> = packs.iter().map(header).collect::<Option<_>>()?;
    let head = headers.first()?;
    let whole = match head.kind {
        Kind::Entries => true,
        Kind::Part { parts, .. } => {
            let form = |header: &Header| header.coding.map(|c| (c.lz4, c.raw_bytes));
            headers.len() == usize::from(parts)
                && headers.iter().zip(0..).all(|(header, part)| {
                    header.kind == Kind::Part { part, parts } && form(header) == form(head)
                })
        }
    };
    whole.then_some(headers)
}

/// The payload of packs whose `headers` were read: of entries, or of one entry.
pub(in crate::queue) fn payload(
    mut packs: Vec<Vec<u8>>,
    headers: &[Header],
    keys: &Keys,
) -> Result<Bytes, Unopened> {
    let head = headers.first().ok_or(Unopened::Damaged)?;
    let mut texts = Vec::new();
    for (pack, header) in packs.iter_mut().zip(headers) {
        texts.push(unseal(pack, header, keys)?);
    }
    let joined = match head.kind {
        Kind::Entries => {
            let (pack, text) = (packs.into_iter().next(), texts.first());
            let (pack, text) = pack.zip(text.cloned()).ok_or(Unopened::Damaged)?;
            Bytes::from(pack).slice(text)
        }
        Kind::Part { .. } => {
            let mut whole = Vec::with_capacity(texts.iter().map(ExactSizeIterator::len).sum());
            packs.iter().zip(texts).for_each(|(pack, text)| whole.extend_from_slice(&pack[text]));
            Bytes::from(whole)
        }
    };
    match head.coding {
        None => Ok(joined),
        Some(Coding { lz4: false, raw_bytes, .. }) => {
            (joined.len() == raw_bytes as usize).then_some(joined).ok_or(Unopened::Damaged)
        }
        Some(Coding { raw_bytes, .. }) => inflate(&joined, raw_bytes as usize),
    }
}

/// Opens a pack where it stands and says where its text lies.
fn unseal(
    pack: &mut [u8],
    header: &Header,
    keys: &Keys,
) -> Result<std::ops::Range<usize>, Unopened> {
    let Some(id) = header.coding.and_then(|coding| coding.key) else {
        return Ok(header.payload_at()..pack.len());
    };
    let key = keys.find(id).map_err(Unopened::Locked)?;
    let mut opened = || {
        let (head, sealed) = pack.split_at_mut_checked(CODED_HEADER_BYTES)?;
        let (nonce, sealed) = sealed.split_first_chunk_mut::<NONCE_BYTES>()?;
        let (text, tag) = sealed.split_last_chunk_mut::<TAG_BYTES>()?;
        key.open(&head[..CODED_HEADER_BYTES - 4], nonce, text, tag)?;
        let from = CODED_HEADER_BYTES + NONCE_BYTES;
        Some(from..from + text.len())
    };
    opened().ok_or(Unopened::Damaged)
}

/// The header's word for the length is bounded where it is read, and here by what there is.
fn inflate(block: &[u8], raw_bytes: usize) -> Result<Bytes, Unopened> {
    if raw_bytes > block.len().saturating_mul(LZ4_RATIO_MAX) {
        return Err(Unopened::Damaged);
    }
    let mut raw = vec![0; raw_bytes];
    match decompress_into(block, &mut raw) {
        Ok(length) if length == raw_bytes => Ok(Bytes::from(raw)),
        _ => Err(Unopened::Damaged),
    }
}
