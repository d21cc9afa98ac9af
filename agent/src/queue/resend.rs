//! Delivered records sent again under the numbers they had, as far as they are kept.

use spillway_protocol::message::{Flags, Stamp, StreamId};
use spillway_protocol::record::{IdOrigin, LaneName, Record};

use super::api::{Place, Resent, SettleError, Ticket};
use super::entry::{Copied, Origin, Stored};
use super::handle::Queue;

/// Copies that are stored before the next are read.
const BATCH: usize = 64;

impl Queue {
    /// Puts copies of the records `from..=to` of `lane` and `stream` into the lane `into`, whose
    /// drain sends them under their old numbers with the flag `resend`. Says of each number what
    /// became of it. Blocks.
    ///
    /// # Errors
    /// The disk; numbers before the last that [`Resent`] would have named are copied.
    pub fn resend(
        &self,
        into: &LaneName,
        lane: &LaneName,
        stream: StreamId,
        from: u64,
        to: u64,
    ) -> Result<Resent, SettleError> {
        let mut resent = Resent::default();
        // No number after the newest was ever given.
        let newest = self.newest_numbers(lane).into_iter().find(|(known, _)| *known == stream);
        let newest = newest.map_or(0, |(_, newest)| newest);
        if to > newest {
            resent.unknown.push((from.max(newest + 1), to));
        }
        let last = to.min(newest);
        for first in (from..=last).step_by(BATCH) {
            // Between two batches the queue may be changed.
            let _steady = self.steady();
            let mut tickets = Vec::new();
            for seq in first..=last.min(first + BATCH as u64 - 1) {
                match self.find_seq(lane, stream, seq) {
                    Place::Unknown => note(&mut resent.unknown, seq),
                    Place::Waiting { .. } => note(&mut resent.waiting, seq),
                    Place::Dead { .. } => note(&mut resent.dead, seq),
                    Place::Dropped { .. } | Place::Expired { .. } => note(&mut resent.dropped, seq),
                    Place::Delivered { .. } => match self.copy(into, lane, stream, seq)? {
                        Some(ticket) => tickets.push((seq, ticket)),
                        None => note(&mut resent.expired, seq),
                    },
                }
            }
            for (seq, ticket) in tickets {
                ticket.wait().map_err(|error| SettleError::Disk(error.to_string()))?;
                note(&mut resent.sent, seq);
            }
        }
        Ok(resent)
    }

    fn copy(
        &self,
        into: &LaneName,
        lane: &LaneName,
        stream: StreamId,
        seq: u64,
    ) -> Result<Option<Ticket>, SettleError> {
        let kept = self.kept(lane, stream, seq);
        let kept = kept.map_err(|error| SettleError::Disk(error.to_string()))?;
        Ok(kept.map(|(stamp, record)| {
            let origin =
                Origin { lane: stamp.lane.clone(), stream: stamp.stream.0, seq: stamp.seq };
            // Its id was noted when it was accepted.
            let record = Record { id_origin: IdOrigin::Agent, ..record };
            self.submit_copy(into, copied(origin, &stamp, record))
        }))
    }
}

fn copied(origin: Origin, stamp: &Stamp, record: Record) -> Copied<Record> {
    let flags = stamp.flags.with(Flags::RESEND).bits();
    let (accepted_ms, clock_set) = (stamp.accepted_ms, stamp.clock_set);
    Copied { origin, stored: Stored { accepted_ms, clock_set, flags, record } }
}

/// Adds a number to ranges that grow at their end.
fn note(ranges: &mut Vec<(u64, u64)>, seq: u64) {
    match ranges.last_mut() {
        Some((_, to)) if *to + 1 == seq => *to = seq,
        _ => ranges.push((seq, seq)),
    }
}
