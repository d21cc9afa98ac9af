//! Saves the lanes' states from time to time: often enough that a crash repeats little, seldom
//! enough that an idle agent writes nothing.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::time::Instant;

use super::ids::Ids;
use super::lane::Lane;
use crate::logs::Repeated;

/// What was delivered within this time before a crash may be sent again.
pub const SAVE_EVERY: Duration = Duration::from_millis(200);

/// Runs until the other end of `stop` is dropped.
pub(super) fn run(lanes: &[Arc<Lane>], ids: &Ids, stop: &Receiver<()>) {
    let mut faults = Repeated::default();
    while stop.recv_timeout(SAVE_EVERY) == Err(RecvTimeoutError::Timeout) {
        // Nothing is lost by an error: what was delivered meanwhile would be sent again.
        if let Err(error) = save(lanes, ids)
            && let Some(times_before) = faults.note(&error.to_string(), Instant::now())
        {
            tracing::warn!(%error, times_before, "the state could not be saved; it is tried again");
        }
    }
}

/// Saves what moved, of every lane, and returns the first error.
pub(super) fn save(lanes: &[Arc<Lane>], ids: &Ids) -> io::Result<()> {
    let moved = lanes.iter().filter(|lane| lane.wants_saving());
    moved.map(|lane| save_lane(lane, ids)).fold(Ok(()), io::Result::and)
}

fn save_lane(lane: &Lane, ids: &Ids) -> io::Result<()> {
    for folder in lane.save()? {
        tracing::warn!(lane = %lane.name, folder = %folder.display(), "a damaged segment was put aside");
    }
    let watermark = lane.head().settled().watermark();
    ids.expire(lane.index, watermark, lane.now_ms())
}
