//! What gateways told of themselves: tombstones, reports and answers, each written in a transaction of the
//! message that told it.

use spillway_protocol::control::{Answer, State};
use spillway_protocol::message::StreamId;
use spillway_protocol::report::{Lane, Report};
use spillway_protocol::tombstone::{Reason, Tombstones};

use crate::database::Database;
use crate::fault::Fault;
use crate::lanes::{Lanes, Place};
use crate::ranges::Range;

mod writing;

/// What a message told, ready to be written.
#[derive(Debug, Default)]
pub struct Told {
    ranges: Vec<Explained>,
    tops: Vec<Top>,
    report: Option<(Report, u64)>,
}

/// The newest number of a place, and how many records wait there.
#[derive(Debug, Clone, Copy)]
struct Top {
    lane: u32,
    accepted_seq: u64,
    waiting: u64,
    stored_ms: u64,
}

/// Numbers that will not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// Number of the place.
    pub lane: u32,
    /// Which.
    pub range: Range,
    /// Why.
    pub reason: Reason,
    /// The multiples of this were kept, and arrive like any; 0 where none was.
    pub kept_every: u32,
    /// When the first was given up, ms since 1970 by the gateway's clock.
    pub first_ms: u64,
    /// When the last was.
    pub last_ms: u64,
    /// What an operator wrote.
    pub note: Option<String>,
}

/// The name of a reason, as it is in tombstones.
pub fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::Dead => "dead",
        Reason::Replayed => "replayed",
        Reason::Expired => "expired",
        Reason::Dropped => "dropped",
        Reason::Thinned => "thinned",
        Reason::Purged => "purged",
        Reason::Damaged => "damaged",
        Reason::Other => "other",
    }
}

/// The reason of a name; one that this build does not know is another.
pub fn reason_named(name: &str) -> Reason {
    let known = [
        Reason::Dead,
        Reason::Replayed,
        Reason::Expired,
        Reason::Dropped,
        Reason::Thinned,
        Reason::Purged,
        Reason::Damaged,
    ];
    known.into_iter().find(|reason| reason_name(*reason) == name).unwrap_or(Reason::Other)
}

fn stream(text: &str) -> Result<StreamId, Fault> {
    text.parse().map_err(|_| Fault::Record(format!("the stream {text:?} is not 8 hex digits")))
}

impl Told {
    /// From tombstones. The gateway is the one that the message itself names (`sw_gw`).
    ///
    /// # Errors
    /// [`Fault::Record`] for a range that is none; else what the database answers.
    pub async fn tombstones(
        database: &Database,
        lanes: &Lanes,
        gateway: &str,
        tombstones: &Tombstones,
    ) -> Result<Self, Fault> {
        let mut told = Self::default();
        for range in &tombstones.ranges {
            if range.from == 0 || range.from > range.to {
                let text = format!("a tombstone from {} to {}", range.from, range.to);
                return Err(Fault::Record(text));
            }
            if range.kept_every == Some(0) {
                return Err(Fault::Record("a tombstone that keeps every 0th number".to_owned()));
            }
            let place = Place {
                gateway: gateway.to_owned(),
                lane: range.lane.clone(),
                stream: stream(&range.stream)?,
            };
            told.ranges.push(Explained {
                lane: lanes.id(database, &place).await?,
                range: Range { first: range.from, last: range.to },
                reason: range.reason,
                kept_every: range.kept_every.unwrap_or(0),
                first_ms: range.first_ms,
                last_ms: range.last_ms,
                note: None,
            });
        }
        Ok(told)
    }

    /// From a report; `stored_ms` is when the broker stored it.
    ///
    /// # Errors
    /// [`Fault::Record`] for a stream that is none; else what the database answers.
    pub async fn report(
        database: &Database,
        lanes: &Lanes,
        gateway: &str,
        report: Report,
        stored_ms: u64,
    ) -> Result<Self, Fault> {
        let mut told = Self::default();
        for lane in report.lanes.iter().chain(&report.own) {
            let waiting = waiting(lane);
            let known = lane.streams.iter().zip(waiting);
            for (known, waiting) in known.filter(|(known, _)| known.accepted_seq > 0) {
                let place = Place {
                    gateway: gateway.to_owned(),
                    lane: lane.name.clone(),
                    stream: stream(&known.stream)?,
                };
                let (lane, accepted_seq) = (lanes.id(database, &place).await?, known.accepted_seq);
                told.tops.push(Top { lane, accepted_seq, waiting, stored_ms });
            }
        }
        told.report = Some((report, stored_ms));
        Ok(told)
    }

    /// From the gateway's answer to a request; `stored_ms` is when the broker stored it. What is not
    /// kept any more, or never was, will not come.
    ///
    /// # Errors
    /// [`Fault::Record`] for a range or stream that is none; else what the database answers.
    pub async fn answer(
        database: &Database,
        lanes: &Lanes,
        gateway: &str,
        answer: &Answer,
        stored_ms: u64,
    ) -> Result<Self, Fault> {
        let place = Place {
            gateway: gateway.to_owned(),
            lane: answer.lane.clone(),
            stream: stream(&answer.stream)?,
        };
        let mut told = Self::default();
        for unsent in &answer.unsent {
            let note = match unsent.state {
                State::Expired => "lost on the way; the gateway does not keep it any more",
                State::NeverExisted => "the gateway never gave this number to a record",
                // It comes, or a tombstone tells of it.
                _ => continue,
            };
            if unsent.from == 0 || unsent.from > unsent.to {
                let text = format!("an answer from {} to {}", unsent.from, unsent.to);
                return Err(Fault::Record(text));
            }
            told.ranges.push(Explained {
                lane: lanes.id(database, &place).await?,
                range: Range { first: unsent.from, last: unsent.to },
                reason: Reason::Other,
                kept_every: 0,
                first_ms: stored_ms,
                last_ms: stored_ms,
                note: Some(note.to_owned()),
            });
        }
        Ok(told)
    }

    /// What an operator says of numbers that will not come.
    pub fn by_hand(explained: Explained) -> Self {
        Self { ranges: vec![explained], ..Self::default() }
    }
}

/// What waits of each stream. It is counted for the lane; the newest stream has the newest records,
/// and what it cannot have is of the one before.
fn waiting(lane: &Lane) -> Vec<u64> {
    let mut left = lane.waiting;
    let mut waiting: Vec<u64> = lane
        .streams
        .iter()
        .rev()
        .map(|stream| {
            let of_stream = left.min(stream.accepted_seq);
            left -= of_stream;
            of_stream
        })
        .collect();
    waiting.reverse();
    waiting
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_newest_stream_cannot_have_waits_in_the_one_before() {
        let vector = include_str!("../../../protocol/vectors/report.json");
        let mut lane = Report::from_json(vector.as_bytes()).unwrap().lanes.remove(0);
        let mut of = |waiting_now, accepted: [u64; 2]| {
            lane.waiting = waiting_now;
            (0..2).for_each(|n| lane.streams[n].accepted_seq = accepted[n]);
            waiting(&lane)
        };
        assert_eq!(of(5, [900, 42]), [0, 5]);
        assert_eq!(of(505, [900, 5]), [500, 5]);
        assert_eq!(of(7, [900, 0]), [7, 0]);
    }
}
