//! Saves the lanes' states from time to time: often enough that a crash repeats little, seldom
//! enough that an idle agent writes nothing.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::time::Instant;

use super::api::Keep;
use super::dead::Dead;
use super::ids::Ids;
use super::lane::Lane;
use super::pulse::Pulse;
use super::recover;
use super::shelf::Shelf;
use crate::allocator;
use crate::clock::WallClock;
use crate::logs::Repeated;

/// What was delivered within this time before a crash may be sent again.
pub const SAVE_EVERY: Duration = Duration::from_millis(200);

/// Tables of ids that are read between two saves, after a start.
const TABLES_A_ROUND: u32 = 8;
/// Saves between two looks at what is kept for a resend.
const TIDY_EVERY: u32 = 5;
/// Saves after which what was freed meanwhile goes back to the kernel. Sooner, the next segments would
/// need it again.
const TRIM_EVERY: u32 = 5;

/// Segments of a lane that go in one round. A slow disk takes its time for each, and the states of other
/// lanes wait.
const REMOVALS_A_ROUND: usize = 64;

/// Runs until the other end of `stop` is dropped.
pub(super) fn run(
    lanes: &[Arc<Lane>],
    ids: &Ids,
    dead: &Dead,
    keep: Option<Keep>,
    clock: &dyn WallClock,
    (stop, pulse): (&Receiver<()>, &Pulse),
) {
    // Asked of the disk here, so that the first record of a run does not wait for it.
    for lane in lanes {
        lane.chain.closed_bytes();
    }
    let mut faults = Repeated::default();
    let mut shelf = keep.map(Shelf::new);
    let (mut rounds, mut tables_left, mut worked) = (0_u32, true, false);
    while stop.recv_timeout(SAVE_EVERY) == Err(RecvTimeoutError::Timeout) {
        pulse.begin();
        // Nothing is lost by an error: what was delivered meanwhile would be sent again.
        let buried = dead.end();
        worked |= tables_left || lanes.iter().any(|lane| lane.wants_saving());
        match save(lanes, ids, pulse) {
            Ok(()) => dead.noted(buried),
            Err(error) => {
                if let Some(times_before) = faults.note(&error.to_string(), Instant::now()) {
                    tracing::warn!(%error, times_before, "the state could not be saved; it is tried again");
                }
            }
        }
        rounds = rounds.wrapping_add(1);
        if tables_left {
            tables_left = read_tables(lanes, ids, &mut faults);
            pulse.step();
        }
        for lane in lanes {
            age(lane, rounds.is_multiple_of(TIDY_EVERY), &mut faults);
            pulse.step();
        }
        if rounds.is_multiple_of(TIDY_EVERY)
            && let Err(error) = dead.expire(clock)
            && faults.note("dead", Instant::now()).is_some()
        {
            tracing::warn!(%error, "old dead letters could not be purged; it is tried again");
        }
        pulse.step();
        note_purged(lanes, dead);
        pulse.step();
        if let Some(shelf) = shelf.as_mut().filter(|_| rounds.is_multiple_of(TIDY_EVERY)) {
            shelf.tidy(lanes, clock.now_ms());
            pulse.step();
            for lane in lanes {
                remove_released(lane);
                pulse.step();
            }
        }
        if rounds.is_multiple_of(TRIM_EVERY) && std::mem::take(&mut worked) {
            allocator::trim();
        }
        pulse.end();
    }
}

/// Reads some of the tables of ids for which the start did not wait. Returns whether there are more.
fn read_tables(lanes: &[Arc<Lane>], ids: &Ids, faults: &mut Repeated) -> bool {
    for _ in 0..TABLES_A_ROUND {
        let read = ids.read_one().and_then(|read| match read {
            None => Ok(false),
            Some(None) => Ok(true),
            Some(Some(damaged)) => {
                recover::read_ids_again(&lanes[damaged.lane], ids, damaged.end)?;
                ids.replace(&damaged).map(|()| true)
            }
        });
        match read {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                if let Some(times_before) = faults.note("tables", Instant::now()) {
                    tracing::warn!(%error, times_before, "a table of ids could not be read; it is tried again");
                }
                return true;
            }
        }
    }
    true
}

/// Notes how the clocks go, and (`expire`) gives up what is too old.
fn age(lane: &Lane, expire: bool, faults: &mut Repeated) {
    let expired = lane.look_at_clocks().and_then(|()| if expire { lane.expire() } else { Ok(0) });
    match expired {
        Ok(0) => {}
        Ok(count) => {
            if let Some(times_before) = faults.note("expired", Instant::now()) {
                tracing::info!(lane = %lane.name, count, times_before, "records were older than the lane's ttl and are given up");
            }
        }
        Err(error) => {
            if let Some(times_before) = faults.note("age", Instant::now()) {
                tracing::warn!(%error, times_before, lane = %lane.name, "what is too old stays for now");
            }
        }
    }
}

/// Saves what moved, of every lane, and returns the first error.
pub(super) fn save(lanes: &[Arc<Lane>], ids: &Ids, pulse: &Pulse) -> io::Result<()> {
    let save = |lane: &Arc<Lane>| {
        pulse.step();
        save_lane(lane, ids, REMOVALS_A_ROUND)
    };
    lanes.iter().filter(|lane| lane.wants_saving()).map(save).fold(Ok(()), io::Result::and)
}

/// Lanes know what became of records whose letters left at a limit.
fn note_purged(lanes: &[Arc<Lane>], dead: &Dead) {
    let purged = dead.purged();
    for (name, position) in &purged {
        let lane = lanes.iter().find(|lane| lane.name == *name);
        lane.into_iter().for_each(|lane| lane.note_purged(*position));
    }
    dead.purged_is_known(purged.len());
}

fn remove_released(lane: &Lane) {
    match lane.remove_released(REMOVALS_A_ROUND) {
        Ok(aside) => aside.iter().for_each(|folder| put_aside(lane, folder)),
        // It is tried again.
        Err(error) => tracing::debug!(%error, lane = %lane.name, "a kept segment stays"),
    }
}

fn put_aside(lane: &Lane, folder: &Path) {
    tracing::warn!(lane = %lane.name, folder = %folder.display(), "a damaged segment was put aside");
}

/// Saves one lane's state, and removes so many of its segments at most.
pub(super) fn save_lane(lane: &Lane, ids: &Ids, removals_max: usize) -> io::Result<()> {
    for folder in lane.save(removals_max)? {
        put_aside(lane, &folder);
    }
    let watermark = lane.head().settled().watermark();
    ids.expire(lane.index, watermark, lane.chain.first(), lane.now_ms())?;
    match lane.chain.has_gaps() {
        true => {
            let is_gone = |from, to| lane.chain.is_gone(from, to);
            ids.expire_gone(lane.index, is_gone, lane.now_ms())
        }
        false => Ok(()),
    }
}
