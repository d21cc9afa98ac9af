//! Whether numbers may have been given of which nothing tells any more: what was stored last is
//! damaged, or all that was saved of a lane is. Given again, the far side would take new records for
//! some that it has. So a new stream begins there; for the old one nothing changes.
//!
//! A power cut in the middle of a commit leaves the same picture, and costs a stream that was not
//! needed. What leaves no trace at all cannot be told from what never was.

use std::io;

use rand::rngs::StdRng;
use spillway_protocol::message::StreamId;

use super::api::Options;
use super::chain::{EMPTY_BYTES_MAX, is_damage, last_whole};
use super::identity::{self, StreamOf};
use super::ids::told_end;
use super::pack::{Header, Kind};
use super::state::{self, LaneState};
use super::store::read_only::ReadOnly;
use super::store::{PackRef, SegmentId, SegmentReader, Store};

/// What numbers could have been lost with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// Both states.
    States,
    /// The end of this one.
    Segment(SegmentId),
}

/// The stream of new records: `now`, or another one if its newest numbers are in doubt. Comes
/// before recovery, which may put aside what tells.
pub(super) fn resolve(options: &Options, now: StreamOf, rng: &mut StdRng) -> io::Result<StreamOf> {
    for lane in &options.lanes {
        let folder = options.data_dir.join("lanes").join(lane.name.as_str());
        if let Some(doubt) = doubt(&ReadOnly::new(&folder), now.id)? {
            let renewed = identity::renew(options, now, rng);
            let name = &lane.name;
            match &renewed {
                Ok(new) => {
                    tracing::warn!(lane = %name, ?doubt, stream = %new.id, "what was stored last cannot be read: nobody knows which numbers were given, so new records begin a new stream");
                }
                Err(error) => {
                    tracing::error!(lane = %name, ?doubt, %error, "what was stored last cannot be read, and no new stream can begin: numbers may be given again");
                }
            }
            return Ok(renewed.unwrap_or(now));
        }
    }
    Ok(now)
}

fn doubt(store: &dyn Store, now: StreamId) -> io::Result<Option<Doubt>> {
    let state: Option<LaneState> = state::decode(store.load_state()?)?;
    let segments = store.segments()?;
    if state.is_none() && are_lost(store, &segments)? {
        return Ok(Some(Doubt::States));
    }
    let Some(&id) = segments.last() else { return Ok(None) };
    let known_end = state.as_ref().map_or(0, |state| state.end).max(told_end(store)?);
    let end = end(store, id, known_end)?;
    let of_now = match (end.stream, &state) {
        (Some(stream), _) => stream == now,
        (None, Some(state)) => began_before(state, now, id.first),
        (None, None) => true,
    };
    Ok((of_now && end.is_broken).then_some(Doubt::Segment(id)))
}

/// No state can be read; whether there was one, so that segments may have gone.
fn are_lost(store: &dyn Store, segments: &[SegmentId]) -> io::Result<bool> {
    // A lane that was being made.
    if segments.is_empty() && store.files("")?.is_empty() {
        return Ok(false);
    }
    if store.states_are_lost()? {
        return Ok(true);
    }
    match segments.first() {
        Some(first) => Ok(first.first > 1),
        None => Ok(!store.files("ids-")?.is_empty()),
    }
}

/// Whether `position` may have a number of `stream`, by what the state knows.
fn began_before(state: &LaneState, stream: StreamId, position: u64) -> bool {
    let known = state.streams.iter().find(|(known, _)| *known == stream.0);
    known.is_none_or(|(_, base)| position > *base)
}

/// How the newest segment ends.
struct End {
    /// Of what is whole there.
    stream: Option<StreamId>,
    /// Something was written behind it, or all of it is gone.
    is_broken: bool,
}

fn end(store: &dyn Store, id: SegmentId, known_end: u64) -> io::Result<End> {
    let reader = match store.open(id) {
        Err(error) if is_damage(&error) => return Ok(End { stream: None, is_broken: true }),
        reader => reader?,
    };
    let packs = reader.scan()?;
    let last = last_whole(reader.as_ref(), id, &packs)?;
    let end = last.map_or(id.first, |(_, end)| end).max(known_end);
    let torn = || Ok::<_, io::Error>(reader.broken()?.iter().any(|p| p.is_none_or(|p| p >= end)));
    let large = store.segment_bytes(id) > EMPTY_BYTES_MAX;
    let emptied = last.is_none() && (known_end > id.first || packs.is_empty() && large);
    let is_broken = emptied || has_gap(reader.as_ref(), id, &packs, end)? || torn()?;
    Ok(End { stream: last.map(|(newest, _)| newest.stream), is_broken })
}

/// Whether anything whole lies behind `end` but the first parts of the next entry, which a kill leaves
/// of a large one.
fn has_gap(
    reader: &dyn SegmentReader,
    id: SegmentId,
    packs: &[PackRef],
    end: u64,
) -> io::Result<bool> {
    let behind = packs.iter().filter(|pack| pack.first + u64::from(pack.count) > end);
    for (nth, pack) in (0..).zip(behind) {
        let header = match reader.read(pack) {
            Err(error) if is_damage(&error) => None,
            bytes => Header::parse(&bytes?, id.nonce),
        };
        let follows = header.is_some_and(|header| {
            header.first == end && matches!(header.kind, Kind::Part { part, .. } if part == nth)
        });
        if !follows {
            return Ok(true);
        }
    }
    Ok(false)
}
