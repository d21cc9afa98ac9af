//! What an operator sees of a lane: page by page what waits, and whether all of it can be read.

use std::io;

use tokio::time::Instant;

use super::{Lane, decode};
use crate::queue::api::{Entry, LaneFigures};
use crate::queue::chain::Read;
use crate::queue::inspect::{Checked, Page, Room, lock_out};

impl Lane {
    /// See [`LaneFigures`].
    pub(in crate::queue) fn figures(&self) -> LaneFigures {
        let missing_key = self.missing_key();
        LaneFigures {
            accounts: self.accounts(),
            oldest_accepted_ms: self.oldest_accepted_ms(),
            oldest_age: self.oldest_age(),
            live_bytes: self.live_bytes(),
            disk_bytes: self.chain.disk_bytes(),
            in_flight: self.head().in_flight(),
            missing_key,
        }
    }

    /// Waiting records from `from` on, as far as there is room.
    pub(in crate::queue) fn page(&self, from: u64, room: Room) -> io::Result<Page> {
        let (mut page, mut body_bytes) = (Page::default(), 0);
        let mut position = self.head().next_waiting(from);
        loop {
            if page.entries.len() >= room.records || body_bytes >= room.body_bytes {
                page.next = Some(position).filter(|next| *next < self.chain.end());
                return Ok(page);
            }
            position = match self.chain.read(position)? {
                Read::Pack(pack) => {
                    match decode(&pack, position) {
                        Some(found) => {
                            let stamp = self.stamp(&pack, position, &found);
                            body_bytes += found.0.record.body.len();
                            page.entries.push(Entry { position, record: found.0.record, stamp });
                        }
                        None => page.lost.push((position, position + 1)),
                    }
                    position + 1
                }
                Read::Hole { until } => {
                    page.lost.extend(self.waiting_between(position, until));
                    until
                }
                Read::Locked { key, until } => {
                    let waiting = self.waiting_between(position, until);
                    waiting.into_iter().for_each(|range| lock_out(&mut page.locked, (range, key)));
                    until
                }
                Read::End => return Ok(page),
            };
            position = self.head().next_waiting(position);
        }
    }

    /// Reads what is stored from `from` on, until the time is over.
    pub(in crate::queue) fn check(&self, from: u64, until: Instant) -> io::Result<Checked> {
        let mut checked = Checked::default();
        let oldest = self.head().next_waiting(0);
        let mut position = from.max(self.chain.first().min(oldest));
        loop {
            if Instant::now() >= until {
                checked.next = Some(position).filter(|next| *next < self.chain.end());
                return Ok(checked);
            }
            position = match self.chain.read(position)? {
                Read::Pack(pack) => {
                    for position in position..pack.end() {
                        match decode(&pack, position) {
                            Some(_) => checked.records += 1,
                            None => {
                                let lost = self.waiting_between(position, position + 1);
                                checked.lost.extend(lost);
                            }
                        }
                    }
                    pack.end()
                }
                Read::Hole { until } => {
                    checked.lost.extend(self.waiting_between(position, until));
                    until
                }
                Read::Locked { key, until } => {
                    *checked.locked.entry(key).or_default() += until - position;
                    until
                }
                Read::End => return Ok(checked),
            };
        }
    }

    /// What waits in `from..to`.
    fn waiting_between(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let (head, to) = (self.head(), to.min(self.chain.end()));
        let mut found = Vec::new();
        let mut start = head.next_waiting(from);
        while start < to {
            let end = head.next_gone(start).map_or(to, |gone| gone.min(to));
            found.push((start, end));
            start = head.next_waiting(end);
        }
        found
    }
}
