//! What became of one record, and what is stored of a lane, for who asks.

use std::io;
use std::ops::ControlFlow;

use tokio::time::Instant;

use super::{Accepted, Lane, decode};
use crate::queue::api::{Entry, Lot, Walked, Whereabouts};
use crate::queue::chain::{Pack, Read};

/// Who is shown what is stored.
type Visit<'a> = &'a mut dyn FnMut(&Entry) -> ControlFlow<()>;

impl Lane {
    /// See [`Queue::whereabouts`](crate::queue::Queue::whereabouts).
    pub(in crate::queue) fn whereabouts(&self, position: u64) -> io::Result<Whereabouts> {
        let stored = self.stored_at(position)?;
        let (stream, seq) = self.numbering.number(position);
        let key = stored.as_ref().map_or(0, |(_, stored)| self.key_hash(&stored.record));
        let lot = self.lot(position, (stream.0, seq), key, stored.is_some());
        let accepted = |ms: u64, clock_set: bool| self.age(position, Accepted { ms, clock_set });
        let age = stored.as_ref().map(|(_, s)| accepted(s.accepted_ms, s.clock_set));
        let entry = stored.map(|(stamp, stored)| Entry { position, record: stored.record, stamp });
        Ok(Whereabouts { lane: self.name.clone(), position, stream, seq, lot, age, entry })
    }

    fn lot(&self, position: u64, (stream, seq): (u32, u64), key: u64, stored: bool) -> Lot {
        let head = self.head();
        if head.waits(position) {
            let turn = head.turn(position, key, Instant::now());
            return Lot::Waiting { turn, ahead: head.ahead_of(position) };
        }
        if head.is_lost(position) {
            return Lot::GivenUp(head.lost_by(position, stream, seq));
        }
        let forgotten = head.is_forgotten(position);
        drop(head);
        match self.dead.holds(&self.name, position) {
            true => Lot::Dead,
            false if forgotten => Lot::Forgotten,
            false => Lot::Delivered { stored },
        }
    }

    /// Shows `visit` what is stored, oldest first, until it breaks off or the time is over: what
    /// waits, or what does not any more. Nothing of the other kind is read.
    pub(in crate::queue) fn walk(
        &self,
        waiting: bool,
        until: Instant,
        visit: Visit<'_>,
    ) -> io::Result<Walked> {
        let mut walked = Walked::default();
        let mut next = self.next_of(waiting, if waiting { 0 } else { self.chain.first() });
        while let Some(position) = next {
            if Instant::now() >= until {
                return Ok(walked);
            }
            let read = self.chain.read(position)?;
            walked.looked += u64::from(!matches!(read, Read::End));
            next = match read {
                Read::Pack(pack) => {
                    if self.show(&pack, position, visit).is_break() {
                        return Ok(walked);
                    }
                    self.next_of(waiting, position + 1)
                }
                Read::Hole { until } | Read::Locked { until, .. } => self.next_of(waiting, until),
                Read::End => None,
            };
        }
        Ok(Walked { whole: true, ..walked })
    }

    /// The first position from `from` on that waits, or does not.
    fn next_of(&self, waiting: bool, from: u64) -> Option<u64> {
        let head = self.head();
        if waiting { Some(head.next_waiting(from)) } else { head.next_gone(from) }
    }

    fn show(&self, pack: &Pack, position: u64, visit: Visit<'_>) -> ControlFlow<()> {
        let Some(found) = decode(pack, position) else { return ControlFlow::Continue(()) };
        let stamp = self.stamp(pack, position, &found);
        visit(&Entry { position, record: found.0.record, stamp })
    }
}
