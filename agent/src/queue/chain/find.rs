//! Finds the pack that holds a position among those of one segment, and joins the parts of an
//! entry that is larger than a pack.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::Pack;
use crate::queue::pack::{HEADER_BYTES, Header, Kind, entries, intact};
use crate::queue::store::{PackRef, SegmentId, SegmentReader};

/// What a search for a position found.
pub(super) enum Found {
    At(Arc<Pack>),
    /// Not there; the next pack begins here.
    Before(u64),
    Nothing,
}

/// The last pack that is whole. A commit that was cut short may have left some parts of an entry
/// behind it: that one never was.
pub(super) fn last_whole(
    reader: &dyn SegmentReader,
    id: SegmentId,
    packs: &[PackRef],
) -> io::Result<Option<Arc<Pack>>> {
    for pack in packs.iter().rev() {
        if let Found::At(pack) = pick(reader, id, packs, pack.first)? {
            return Ok(Some(pack));
        }
    }
    Ok(None)
}

/// Reads the pack of `packs` that holds `position`, with all its parts.
pub(super) fn pick(
    reader: &dyn SegmentReader,
    id: SegmentId,
    packs: &[PackRef],
    position: u64,
) -> io::Result<Found> {
    let from = packs.partition_point(|p| p.first + u64::from(p.count) <= position);
    let Some(next) = packs.get(from) else {
        return Ok(Found::Nothing);
    };
    if next.first > position {
        return Ok(Found::Before(next.first));
    }
    let after = packs[from..]
        .iter()
        .find(|p| p.first > position)
        .map_or(Found::Nothing, |p| Found::Before(p.first));
    let same = packs[from..].iter().take_while(|p| p.first == next.first);
    let bytes = same.map(|p| reader.read(p)).collect::<io::Result<Vec<_>>>()?;
    Ok(open(bytes, id.nonce).map_or(after, |pack| Found::At(Arc::new(pack))))
}

/// Opens a pack, or joins the parts of one entry; `None` if anything is missing or damaged.
fn open(packs: Vec<Vec<u8>>, nonce: u64) -> Option<Pack> {
    let headers: Vec<Header> = packs
        .iter()
        .map(|p| Header::parse(p, nonce).filter(|_| intact(p)))
        .collect::<Option<_>>()?;
    let head = *headers.first()?;
    let pack = |entries| Pack { first: head.first, stream: head.stream, base: head.base, entries };
    match head.kind {
        Kind::Entries => {
            let bytes = Bytes::from(packs.into_iter().next()?);
            let found = entries(&bytes[HEADER_BYTES..])
                .map(|entry| bytes.slice_ref(entry))
                .collect::<Vec<_>>();
            (found.len() == head.count as usize).then(|| pack(found))
        }
        Kind::Part { parts, .. } => {
            let whole = headers.len() == usize::from(parts)
                && headers.iter().zip(0..).all(|(h, part)| h.kind == Kind::Part { part, parts });
            whole.then(|| {
                pack(vec![packs.iter().flat_map(|p| &p[HEADER_BYTES..]).copied().collect()])
            })
        }
    }
}
