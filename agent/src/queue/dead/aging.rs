//! Letters leave by themselves: those that are too old, and the oldest where there is no room for
//! new ones and `[dead] when_full` says so. They are purged, as an operator does it.
//!
//! A letter may leave once its lane's saved state knows that its record is dead: else a crash would
//! have it wait there again, after it was told to be given up.

use std::io;

use spillway_protocol::record::LaneName;
use tokio::time::Instant;

use super::{Dead, Inner, Leave};
use crate::clock::{WallClock, was_set};
use crate::config::WhenFull;
use crate::queue::timeline::Accepted;

/// Most letters that leave at a time because of their age.
const EXPIRED_MAX: usize = 1000;
/// Room is made for more than one letter: one part in so many of what may be kept.
const ROOM_PART: u64 = 32;

impl Dead {
    /// The position after the newest letter; the lanes have settled the records of all before it.
    pub(in crate::queue) fn end(&self) -> u64 {
        let _inner = self.lock();
        self.chain.end()
    }

    /// The lanes' saved states know that the letters before `position` are dead.
    pub(in crate::queue) fn noted(&self, position: u64) {
        let mut inner = self.lock();
        inner.noted = inner.noted.max(position);
    }

    /// Purges letters that are older than they may be.
    pub(in crate::queue) fn expire(&self, clock: &dyn WallClock) -> io::Result<()> {
        let Some(keep_for) = self.limits.keep_for else { return Ok(()) };
        let mut inner = self.lock();
        let (wall_ms, now) = (clock.now_ms(), Instant::now());
        let Inner { letters, timeline, noted, .. } = &mut *inner;
        let old = letters.range(..*noted).take_while(|(number, origin)| {
            let died = Accepted { ms: origin.died_ms, clock_set: was_set(origin.died_ms) };
            u128::from(timeline.age_ms(**number, died, wall_ms, now)) > keep_for.as_millis()
        });
        let old: Vec<u64> = old.map(|(number, _)| *number).take(EXPIRED_MAX).collect();
        self.purge(&mut inner, &old, wall_ms)
    }

    /// Whether `bytes` more fit, after the oldest letters have left if that is their way.
    pub(super) fn make_room(&self, inner: &mut Inner, bytes: u64, at_ms: u64) -> bool {
        let fits = |inner: &Inner| inner.bytes + bytes <= self.keep_bytes;
        if fits(inner) || self.limits.when_full == WhenFull::Reject || bytes > self.keep_bytes {
            return fits(inner);
        }
        let more = (inner.bytes + bytes - self.keep_bytes).max(self.keep_bytes / ROOM_PART);
        let (mut freed, mut oldest) = (0, Vec::new());
        for (number, origin) in inner.letters.range(..inner.noted) {
            if freed >= more {
                break;
            }
            freed += u64::from(origin.bytes);
            oldest.push(*number);
        }
        if inner.bytes - freed + bytes > self.keep_bytes {
            return false;
        }
        if let Err(error) = self.purge(inner, &oldest, at_ms) {
            tracing::warn!(%error, "the oldest dead letters could not be purged");
        }
        fits(inner)
    }

    fn purge(&self, inner: &mut Inner, numbers: &[u64], at_ms: u64) -> io::Result<()> {
        if numbers.is_empty() {
            return Ok(());
        }
        let home = |number| inner.letters.get(number).map(|o| (o.lane.clone(), o.position));
        let homes: Vec<(LaneName, u64)> = numbers.iter().filter_map(home).collect();
        let removed = self.remove_from(inner, numbers, Leave::Purged, at_ms);
        if !inner.letters.contains_key(&numbers[0]) {
            inner.purged.extend(homes);
            tracing::info!(count = numbers.len(), "dead letters were purged at a limit of [dead]");
        }
        for folder in removed? {
            tracing::warn!(folder = %folder.display(), "a damaged segment of dead letters was put aside");
        }
        Ok(())
    }

    /// Records whose letters were purged here since the last call, for their lanes.
    pub(in crate::queue) fn purged(&self) -> Vec<(LaneName, u64)> {
        self.lock().purged.clone()
    }

    /// Their lanes know it.
    pub(in crate::queue) fn purged_is_known(&self, count: usize) {
        self.lock().purged.drain(..count);
    }
}
