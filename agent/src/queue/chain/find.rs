//! Finds the pack that holds a position among those of one segment, and joins the parts of an
//! entry that is larger than a pack.

use std::io;
use std::sync::Arc;

use super::{Newest, Pack};
use crate::queue::cipher::{KeyId, KeyMissing, Keys};
use crate::queue::format::unsupported;
use crate::queue::pack::{Header, Kind, Unopened, entries, headers, payload};
use crate::queue::store::{PackRef, SegmentId, SegmentReader, Store};

/// What a search for a position found.
pub(in crate::queue) enum Found {
    At(Arc<Pack>),
    /// It is whole up to `until`, and sealed with a key that is not here.
    Locked {
        key: KeyId,
        until: u64,
    },
    /// Not there; the next pack begins here.
    Before(u64),
    Nothing,
}

/// The packs of one position, as they lie on disk: whole, and with their headers.
struct Whole {
    packs: Vec<Vec<u8>>,
    headers: Vec<Header>,
}

/// What the last pack that is whole knows, and the position after it. A commit that was cut short
/// may have left some parts of an entry behind it: that one never was. Needs no key.
pub(in crate::queue) fn last_whole(
    reader: &dyn SegmentReader,
    id: SegmentId,
    packs: &[PackRef],
) -> io::Result<Option<(Newest, u64)>> {
    for pack in packs.iter().rev() {
        let whole = whole_at(reader, id, packs, pack.first)?;
        if let Some(head) = whole.ok().and_then(|whole| whole.headers.first().copied()) {
            let newest = Newest { stream: head.stream, base: head.base };
            return Ok(Some((newest, head.end())));
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
    keys: &Keys,
) -> io::Result<Found> {
    let whole = match whole_at(reader, id, packs, position)? {
        Ok(whole) => whole,
        Err(found) => return Ok(found),
    };
    Ok(match open(whole, keys) {
        Ok(pack) => Found::At(Arc::new(pack)),
        Err((head, Unopened::Locked(KeyMissing(key)))) => Found::Locked { key, until: head.end() },
        Err((head, Unopened::Damaged)) => after(packs, head.first),
    })
}

/// The packs that hold `position`, or else what there is instead.
fn whole_at(
    reader: &dyn SegmentReader,
    id: SegmentId,
    packs: &[PackRef],
    position: u64,
) -> io::Result<Result<Whole, Found>> {
    let from = packs.partition_point(|p| p.first + u64::from(p.count) <= position);
    let Some(next) = packs.get(from) else {
        return Ok(Err(Found::Nothing));
    };
    if next.first > position {
        return Ok(Err(Found::Before(next.first)));
    }
    let same = packs[from..].iter().take_while(|p| p.first == next.first);
    let bytes = same.map(|p| read_patiently(reader, p)).collect::<io::Result<Option<Vec<_>>>>()?;
    let whole = bytes.and_then(|packs| {
        let headers = headers(&packs, id.nonce)?;
        Some(Whole { packs, headers })
    });
    Ok(whole.ok_or_else(|| after(packs, next.first)))
}

/// Where it goes on behind the packs at `first`.
fn after(packs: &[PackRef], first: u64) -> Found {
    let next = packs.iter().find(|p| p.first > first);
    next.map_or(Found::Nothing, |p| Found::Before(p.first))
}

/// Opens a pack, or joins the parts of one entry.
fn open(whole: Whole, keys: &Keys) -> Result<Pack, (Header, Unopened)> {
    let Whole { packs, headers } = whole;
    let head = headers[0];
    let payload = payload(packs, &headers, keys).map_err(|why| (head, why))?;
    let entries = match head.kind {
        Kind::Entries => {
            entries(&payload).map(|entry| payload.slice_ref(entry)).collect::<Vec<_>>()
        }
        Kind::Part { .. } => vec![payload],
    };
    match entries.len() == head.count as usize {
        true => Ok(Pack { first: head.first, stream: head.stream, base: head.base, entries }),
        false => Err((head, Unopened::Damaged)),
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
pub(in crate::queue) fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
    ) || error.raw_os_error() == Some(libc::EIO)
}
