//! What became of one record, and what is stored of a lane, for who asks.

use std::io;
use std::ops::ControlFlow;

use tokio::time::Instant;

use super::{Lane, decode};
use crate::queue::api::{Entry, Lot, Whereabouts};
use crate::queue::chain::Read;

impl Lane {
    /// See [`Queue::whereabouts`](crate::queue::Queue::whereabouts).
    pub(in crate::queue) fn whereabouts(&self, position: u64) -> io::Result<Whereabouts> {
        let stored = self.stored_at(position)?;
        let (stream, seq) = self.numbering.number(position);
        let key = stored.as_ref().map_or(0, |(_, stored)| self.key_hash(&stored.record));
        let head = self.head();
        let waiting = head.waits(position).then(|| {
            let (turn, attempts) = head.turn(position, key, Instant::now());
            Lot::Waiting { turn, attempts, ahead: head.ahead_of(position) }
        });
        let lost = head.is_lost(position).then(|| head.lost_by(position, stream.0, seq));
        drop(head);
        let lot = waiting.or(lost.map(Lot::GivenUp)).unwrap_or_else(|| {
            match self.dead.holds(&self.name, position) {
                true => Lot::Dead,
                false => Lot::Delivered { stored: stored.is_some() },
            }
        });
        let entry = stored.map(|(stamp, stored)| Entry { position, record: stored.record, stamp });
        Ok(Whereabouts { lane: self.name.clone(), position, stream, seq, lot, entry })
    }

    /// Shows `visit` what is stored, oldest first, until it breaks off: what waits, or what does
    /// not any more.
    pub(in crate::queue) fn walk(
        &self,
        waiting: bool,
        visit: &mut dyn FnMut(&Entry) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let next = |from: u64| if waiting { self.head().next_waiting(from) } else { from };
        let mut position = next(if waiting { 0 } else { self.chain.first() });
        loop {
            position = match self.chain.read(position)? {
                Read::Pack(pack) => {
                    let found = (waiting || !self.head().waits(position))
                        .then(|| decode(&pack, position))
                        .flatten();
                    if let Some(found) = found {
                        let stamp = self.stamp(&pack, position, &found);
                        let entry = Entry { position, record: found.0.record, stamp };
                        if visit(&entry).is_break() {
                            return Ok(());
                        }
                    }
                    next(position + 1)
                }
                Read::Hole { until } => next(until),
                Read::End => return Ok(()),
            };
        }
    }
}
