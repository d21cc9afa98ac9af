//! Finds the pack that holds a position among those of one segment, and joins the parts of an
//! entry that is larger than a pack.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::Pack;
use crate::queue::format::unsupported;
use crate::queue::pack::{HEADER_BYTES, Header, Kind, entries, intact};
use crate::queue::store::{PackRef, SegmentId, SegmentReader, Store};

/// What a search for a position found.
pub(in crate::queue) enum Found {
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
pub(in crate::queue) fn pick(
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
    let bytes = same.map(|p| read_patiently(reader, p)).collect::<io::Result<Option<Vec<_>>>>()?;
    let pack = bytes.and_then(|bytes| open(bytes, id.nonce));
    Ok(pack.map_or(after, |pack| Found::At(Arc::new(pack))))
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

/// Reads a pack; `None` if its bytes are gone. A card that fails once gets two more tries.
fn read_patiently(reader: &dyn SegmentReader, pack: &PackRef) -> io::Result<Option<Vec<u8>>> {
    let mut result = reader.read(pack);
    for _ in 0..2 {
        match &result {
            Err(error) if is_damage(error) => result = reader.read(pack),
            _ => break,
        }
    }
    match result {
        Err(error) if is_damage(&error) => Ok(None),
        result => result.map(Some),
    }
}

/// Of two segments that begin at the same position, the one that was filled; the other is put
/// aside. They come from a crash between giving one up and removing it for good.
pub(super) fn choose(store: &dyn Store, one: SegmentId, other: SegmentId) -> io::Result<SegmentId> {
    let end = |id: SegmentId| {
        let packs = store.open(id)?.scan()?;
        Ok::<u64, io::Error>(packs.last().map_or(0, |p| p.first + u64::from(p.count)))
    };
    known(store, one)?;
    known(store, other)?;
    let end = |id| end(id).or_else(|error| if is_damage(&error) { Ok(0) } else { Err(error) });
    let (keep, aside) = if end(one)? >= end(other)? { (one, other) } else { (other, one) };
    let folder = store.quarantine(aside)?;
    tracing::warn!(folder = %folder.display(), "a segment was given up; it is kept there");
    Ok(keep)
}

/// An error if a newer agent wrote into a segment.
pub(super) fn known(store: &dyn Store, id: SegmentId) -> io::Result<()> {
    match store.open(id).and_then(|reader| reader.newer()) {
        Ok(Some(version)) => Err(unsupported(id.folder(), version)),
        Err(error) if !is_damage(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Errors that will not pass: the bytes are gone.
pub(super) fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
    ) || error.raw_os_error() == Some(libc::EIO)
}
