//! Records that are older than their lane's `ttl` are given up: here once a second, and whenever one
//! would be leased.
//!
//! What the centre asked for again stays, however old its record is: it was sent once, and is wanted.

use std::io;
use std::sync::Arc;

use super::{Found, Lane, Shared, decode};
use crate::queue::api::LaneOptions;
use crate::queue::chain::Read;
use crate::queue::head::{End, Head};
use crate::queue::lived::Lived;
use crate::queue::store::Store;
use crate::queue::timeline::Accepted;

/// Most positions that one search reads.
const SEARCH_MAX: usize = 20_000;
/// Most copies that it passes: they would be passed again and again.
const COPIES_MAX: usize = 1000;

/// What a lane of these options needs.
pub(super) fn recover(
    options: &LaneOptions,
    store: Arc<dyn Store>,
    end: u64,
    shared: &Shared,
) -> io::Result<Option<(u64, Lived)>> {
    let Some(ttl) = options.ttl else { return Ok(None) };
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    Ok(Some((ttl_ms, Lived::recover(store, end, shared.clock.clone())?)))
}

impl Lane {
    /// Gives up what is too old, as far as one look reaches. Returns how many. Reads the disk.
    pub(in crate::queue) fn expire(&self) -> io::Result<u64> {
        let Some((ttl_ms, _)) = &self.ttl else { return Ok(0) };
        if self.oldest().is_none_or(|(at, accepted)| self.age_ms(at, accepted) < *ttl_ms) {
            return Ok(0);
        }
        let ranges = self.too_old()?;
        let mut head = self.head();
        let before = head.tally().expired;
        for (from, to) in ranges {
            for range in head.expire(from, to) {
                self.give_up(&mut head, range, End::Expired, self.now_ms());
            }
        }
        let expired = head.tally().expired - before;
        drop(head);
        if expired > 0 {
            self.touch();
        }
        Ok(expired)
    }

    /// Ranges of which all that waits is too old, from the oldest on.
    fn too_old(&self) -> io::Result<Vec<(u64, u64)>> {
        let (mut ranges, mut open) = (Vec::new(), None);
        let mut position = self.head().next_waiting(0);
        let mut copies = 0;
        for _ in 0..SEARCH_MAX {
            let (next, old) = match self.chain.read(position)? {
                Read::Pack(pack) => match decode(&pack, position) {
                    Some(found) if self.is_too_old(position, &found) => (position + 1, true),
                    Some((_, None)) => break,
                    Some((_, Some(_))) if copies == COPIES_MAX => break,
                    Some(_) => {
                        copies += 1;
                        (position + 1, false)
                    }
                    None => (position + 1, false),
                },
                Read::Hole { until } => (until, false),
                Read::Locked { .. } | Read::End => break,
            };
            if old {
                open = Some((open.map_or(position, |(from, _)| from), next));
            } else {
                ranges.extend(open.take());
            }
            position = self.head().next_waiting(next);
        }
        ranges.extend(open);
        Ok(ranges)
    }

    /// Whether a record is too old to be sent.
    pub(super) fn is_too_old(&self, position: u64, (stored, copied): &Found) -> bool {
        let Some((ttl_ms, _)) = self.ttl.as_ref().filter(|_| copied.is_none()) else {
            return false;
        };
        let accepted = Accepted { ms: stored.accepted_ms, clock_set: stored.clock_set };
        self.age_ms(position, accepted) >= *ttl_ms
    }

    /// The record at `position`, which was to be leased, is too old.
    pub(super) fn give_up_old(&self, head: &mut Head, position: u64) {
        head.expire_looked_at(position);
        self.give_up(head, (position, position + 1), End::Expired, self.now_ms());
        self.touch();
    }

    /// Notes how the clocks go, of a lane with a `ttl`.
    ///
    /// # Errors
    /// The disk's; it is tried again.
    pub(in crate::queue) fn look_at_clocks(&self) -> io::Result<()> {
        self.ttl.as_ref().map_or(Ok(()), |(_, lived)| lived.look())
    }

    /// The same as records from the position `from` on are about to be stored.
    pub(super) fn note_lived(&self, from: u64) {
        let Some((_, lived)) = &self.ttl else { return };
        let settled = self.head().settled().watermark();
        if let Err(error) = lived.note(from, settled) {
            tracing::debug!(%error, lane = %self.name, "how old records are is not written yet");
        }
    }
}
