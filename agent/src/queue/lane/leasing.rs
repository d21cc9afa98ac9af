//! One call of [`Lane::lease`]: what may be sent, and in ordered lanes what may go with it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, MutexGuard};

use tokio::time::Instant;

use super::{Found, Lane};
use crate::queue::api::{Ordering, Run};
use crate::queue::chain::Pack;
use crate::queue::head::{Head, KeyHash, Next};
use crate::queue::lease::Lease;

/// Most entries that one call looks at, so that it ends soon.
pub(super) const LOOKS_MAX: usize = 4096;

/// A call under way.
struct Leasing<'a> {
    lane: &'a Arc<Lane>,
    head: MutexGuard<'a, Head>,
    leases: Vec<Lease>,
    /// Only from this position on.
    from: u64,
    count: usize,
    /// Bytes that may still be leased.
    room: usize,
    looks: usize,
    run: Run,
    /// Records and bytes leased of each order key, of which more may join.
    runs: HashMap<KeyHash, (usize, usize)>,
}

impl Lane {
    /// See [`Queue::lease_runs`](crate::queue::Queue::lease_runs).
    pub(in crate::queue) fn lease(
        self: &Arc<Self>,
        from: u64,
        count: usize,
        bytes: usize,
        run: Run,
        now: Instant,
    ) -> io::Result<Vec<Lease>> {
        let (leases, runs) = (Vec::new(), HashMap::new());
        let head = self.head();
        let lane = self;
        let leasing = Leasing { lane, head, leases, from, count, room: bytes, looks: 0, run, runs };
        leasing.work(now)
    }
}

impl Leasing<'_> {
    fn work(mut self, now: Instant) -> io::Result<Vec<Lease>> {
        while self.has_room() {
            self.looks += 1;
            let (position, new) = match self.head.next(now, self.from, self.lane.chain.end()) {
                Next::Nothing => break,
                Next::Refill(refill) => {
                    self.looks += self.lane.refill(&mut self.head, refill)?;
                    continue;
                }
                Next::Again(position) => (position, false),
                Next::Look(position) => (position, true),
            };
            let (pack, found) = match self.lane.look(&mut self.head, position) {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                // What was leased before the unreadable one may go.
                Err(_) if !self.leases.is_empty() => break,
                Err(error) => return Err(error),
            };
            let size = found.0.record.size_bytes();
            if !self.leases.is_empty() && size > self.room {
                break;
            }
            let key = self.lane.key_hash(&found.0.record);
            let joins = self.joins(key, size);
            if new && !self.head.found(position, key, joins) {
                continue;
            }
            self.push(position, key, &pack, found);
            self.follow(key);
        }
        Ok(self.leases)
    }

    fn has_room(&self) -> bool {
        self.leases.len() < self.count && self.looks < LOOKS_MAX
    }

    /// Whether a record of the key, of `size` bytes, may go with those leased in this call.
    fn joins(&self, key: KeyHash, size: usize) -> bool {
        let joins = |(records, bytes): &(usize, usize)| {
            *records < self.run.records && bytes + size <= self.run.bytes
        };
        self.runs.get(&key).is_some_and(joins)
    }

    fn push(&mut self, position: u64, key: KeyHash, pack: &Pack, found: Found) {
        let size = found.0.record.size_bytes();
        self.room = self.room.saturating_sub(size);
        if self.run.records > 1 && self.head.ordering() != Ordering::None {
            let (records, bytes) = self.runs.entry(key).or_default();
            (*records, *bytes) = (*records + 1, *bytes + size);
        }
        let attempts = self.head.lease(position);
        let stamp = self.lane.stamp(pack, position, &found);
        let lease = Lease::new(self.lane.clone(), position, found.0.record, stamp, attempts);
        self.leases.push(lease);
    }

    /// Leases what comes next in the order of the record that was leased last.
    fn follow(&mut self, key: KeyHash) {
        while self.has_room() && self.joins(key, 0) {
            self.looks += 1;
            let Some(position) = self.head.follower(key, self.lane.chain.end()) else { return };
            let next = self.lane.look(&mut self.head, position);
            let fits = |found: &Found| {
                let size = found.0.record.size_bytes();
                // In a lane of one order each record may be of another key.
                size <= self.room && self.joins(key, size)
            };
            match next {
                Ok(Some((pack, found))) if fits(&found) => self.push(position, key, &pack, found),
                // It does not fit or cannot be read; where it is damaged, it is settled already.
                _ => return self.head.defer(position, None, false),
            }
        }
    }
}
