//! Records whose own requests break the connection: a body that always runs into the deadline, or that a
//! middlebox cuts. The link is judged by all requests; this tells the one that fails while others get
//! through. Pages in RocketMQ's place are another matter (`stranger`).

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::inquiry::Mishap;
use super::state::{LaneState, State};

/// Failures, with proof that the link works in between, after which a record is a suspect.
const SUSPECT: u32 = 2;
/// Suspects beyond which not they are to blame but the far end: that it can be reached says little
/// (a load balancer, say, before a broker that is gone) where no record is answered.
const SUSPECTS: usize = 3;
/// Records remembered per lane. Beyond it only those that failed once are forgotten.
const RECORDS: usize = 1000;

/// The records of a lane whose last request failed with the connection.
#[derive(Debug, Default)]
pub(super) struct Breakages(BTreeMap<u64, Breakage>);

#[derive(Debug)]
struct Breakage {
    failures: u32,
    /// Proofs that the link works, before the last failure that counts.
    proofs: u64,
    reason: String,
    since: Instant,
}

impl Breakages {
    /// The request of the record at `position` failed; so far the link proved `proofs` times that
    /// it works. Returns the failures that count: an outage, however long, counts once.
    pub(super) fn failed(&mut self, position: u64, proofs: u64, reason: &str, now: Instant) -> u32 {
        if self.0.len() >= RECORDS && !self.0.contains_key(&position) {
            self.0.retain(|_, breakage| breakage.failures >= SUSPECT);
        }
        if self.0.len() >= RECORDS && !self.0.contains_key(&position) {
            return 1;
        }
        let new = || Breakage { failures: 1, proofs, reason: String::new(), since: now };
        let breakage = self.0.entry(position).or_insert_with(new);
        if proofs > breakage.proofs {
            (breakage.failures, breakage.proofs) = (breakage.failures.saturating_add(1), proofs);
        }
        reason.clone_into(&mut breakage.reason);
        breakage.failures
    }

    /// A request of the record was answered.
    pub(super) fn passed(&mut self, position: u64) {
        self.0.remove(&position);
    }

    /// Forgets the records that do not wait any more.
    pub(super) fn retain(&mut self, waits: impl Fn(u64) -> bool) {
        self.0.retain(|position, _| waits(*position));
    }

    /// Whether no record is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the last request of the record failed with the connection.
    pub(super) fn knows(&self, position: u64) -> bool {
        self.0.contains_key(&position)
    }

    /// Suspects whose last failure that counts came after more than so many `proofs`.
    fn since(&self, proofs: u64) -> usize {
        let suspect = |b: &&Breakage| Self::is_suspect(b.failures) && b.proofs > proofs;
        self.0.values().filter(suspect).count()
    }

    /// Whether so many failures make a suspect.
    pub(super) fn is_suspect(failures: u32) -> bool {
        failures >= SUSPECT
    }

    /// The suspects: when each first failed, and how it last did.
    pub(super) fn suspects(&self) -> impl Iterator<Item = (Instant, &str)> {
        let suspects = self.0.values().filter(|breakage| Self::is_suspect(breakage.failures));
        suspects.map(|breakage| (breakage.since, breakage.reason.as_str()))
    }

    /// Where the suspects stand.
    pub(super) fn suspect_positions(&self) -> impl Iterator<Item = u64> {
        let suspects = self.0.iter().filter(|(_, breakage)| Self::is_suspect(breakage.failures));
        suspects.map(|(position, _)| *position)
    }

    /// The first suspect, and how it failed.
    pub(super) fn first_suspect(&self) -> Option<(u64, Mishap)> {
        let mut suspects = self.0.iter().filter(|(_, b)| Self::is_suspect(b.failures));
        suspects.next().map(|(position, breakage)| (*position, breakage.mishap()))
    }

    /// How the record at `position` failed, if it is a suspect.
    pub(super) fn mishap(&self, position: u64) -> Option<Mishap> {
        self.0.get(&position).filter(|b| Self::is_suspect(b.failures)).map(Breakage::mishap)
    }
}

impl Breakage {
    fn mishap(&self) -> Mishap {
        let (code, reason) = ("connection".to_owned(), self.reason.clone());
        Mishap { code, reason, tries: self.failures }
    }
}

impl State {
    /// RocketMQ answered a record. If it long answered none, those that failed meanwhile are not
    /// to blame: they are tried now.
    pub(super) fn acquit(&mut self) {
        let acquitted = self.is_mute();
        for lane in self.lanes.iter_mut().filter(|_| acquitted) {
            lane.hastened |= lane.breakages.suspects().next().is_some();
            lane.breakages = Breakages::default();
            lane.scattered.clear();
        }
        self.answered_proof = self.proofs;
    }

    /// Whether the far end can be reached and answers no record, whichever it is sent.
    pub(super) fn is_mute(&self) -> bool {
        let since = |lane: &LaneState| lane.breakages.since(self.answered_proof);
        !self.link.is_proven() && self.lanes.iter().map(since).sum::<usize>() > SUSPECTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_while_others_get_through_count() {
        let (mut lane, now) = (Breakages::default(), Instant::now());
        let counts = [0, 0, 0, 3, 3, 4].map(|proofs| lane.failed(7, proofs, "cut", now));
        assert_eq!(counts, [1, 1, 1, 2, 2, 3]);
        assert_eq!(lane.suspects().collect::<Vec<_>>(), [(now, "cut")]);
        lane.passed(7);
        assert_eq!((lane.suspects().count(), lane.failed(7, 9, "cut", now)), (0, 1));
    }

    #[test]
    fn memory_is_bounded_and_keeps_the_suspects() {
        let (mut lane, now) = (Breakages::default(), Instant::now());
        lane.failed(0, 0, "cut", now);
        lane.failed(0, 1, "cut", now);
        (1..5000).for_each(|position| _ = lane.failed(position, 1, "cut", now));
        assert!(lane.0.len() <= RECORDS && lane.0[&0].failures == 2);
    }
}
