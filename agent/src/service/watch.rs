//! Whether the agent turns: made of what was seen of its parts; pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A part of the agent at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it does.
    pub name: String,
    /// It has something to do; one that has not is never late.
    pub busy: bool,
    /// Moves while it turns.
    pub rounds: u64,
}

/// The agent at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its parts.
    pub parts: Vec<Part>,
    /// Moves whenever the disk has what it was given.
    pub synced: u64,
    /// Threads of this process that sleep in the kernel and cannot be woken: for a disk.
    pub asleep: BTreeSet<u32>,
}

/// What to make of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All turn.
    Turning,
    /// A part waits for a disk that does not answer: to be killed would not help it.
    Disk {
        /// The part.
        part: String,
        /// How long it has not turned.
        since: Duration,
    },
    /// A part does not turn, and nothing explains it: a new process would.
    Stuck {
        /// The part.
        part: String,
        /// How long it has not turned.
        since: Duration,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Watch {
    patience: Duration,
    parts: BTreeMap<String, Turned>,
    asleep: BTreeSet<u32>,
    /// How often the disk had what it was given, and when that was last seen to move.
    synced: Option<(u64, Instant)>,
}

/// When a part was last seen to turn.
#[derive(Debug, Clone, Copy)]
struct Turned {
    rounds: u64,
    at: Instant,
}

impl Watch {
    /// A part may take `patience` for one round.
    pub fn new(patience: Duration) -> Self {
        Self { patience, parts: BTreeMap::new(), asleep: BTreeSet::new(), synced: None }
    }

    /// Judges what is seen at `now`.
    pub fn look(&mut self, now: Instant, seen: &Seen) -> Verdict {
        let mut late: Option<(&Part, Turned)> = None;
        for part in &seen.parts {
            let fresh = Turned { rounds: part.rounds, at: now };
            let turned = self.parts.entry(part.name.clone()).or_insert(fresh);
            if !part.busy || turned.rounds != part.rounds {
                *turned = fresh;
            }
            let later = late.is_none_or(|(_, latest)| turned.at < latest.at);
            if now - turned.at > self.patience && later {
                late = Some((part, *turned));
            }
        }
        let sleeps_on = seen.asleep.intersection(&self.asleep).next().is_some();
        self.asleep.clone_from(&seen.asleep);
        let moved = self.synced.filter(|(synced, _)| *synced == seen.synced);
        let (_, moved_at) = *self.synced.insert(moved.unwrap_or((seen.synced, now)));
        let Some((part, turned)) = late else { return Verdict::Turning };
        let (part, since) = (part.name.clone(), now - turned.at);
        // What another part had under way when the disk began to hang may still have come.
        match sleeps_on && now - moved_at > self.patience / 2 {
            true => Verdict::Disk { part, since },
            false => Verdict::Stuck { part, since },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// The agent with one part that has something to do.
    fn seen(rounds: u64, synced: u64, asleep: &[u32]) -> Seen {
        let part = Part { name: "storing a".to_owned(), busy: true, rounds };
        Seen { parts: vec![part], synced, asleep: asleep.iter().copied().collect() }
    }

    /// What is made of the last of these, seen every ten seconds.
    fn judged(all: &[Seen]) -> Verdict {
        let (mut watch, begun) = (Watch::new(PATIENCE), Instant::now());
        let looks = all.iter().zip((0..).step_by(10));
        let verdicts = looks.map(|(seen, s)| watch.look(begun + Duration::from_secs(s), seen));
        verdicts.last().unwrap()
    }

    fn stuck(since_s: u64) -> Verdict {
        let since = Duration::from_secs(since_s);
        Verdict::Stuck { part: "storing a".to_owned(), since }
    }

    #[test]
    fn who_turns_at_least_within_the_patience_is_well() {
        let slow = [1, 1, 1, 1, 2, 2, 2, 2].map(|rounds| seen(rounds, 0, &[]));
        assert_eq!(judged(&slow), Verdict::Turning);
    }

    #[test]
    fn who_has_nothing_to_do_is_well() {
        let idle = Part { name: "storing a".to_owned(), busy: false, rounds: 3 };
        let idle = Seen { parts: vec![idle], ..Seen::default() };
        assert_eq!(judged(&vec![idle.clone(); 9]), Verdict::Turning);
        // Its time begins with its work.
        let late = [vec![idle; 9], vec![seen(3, 0, &[]); 3]].concat();
        assert_eq!(judged(&late), Verdict::Turning);
    }

    #[test]
    fn who_does_not_turn_is_stuck_and_who_turns_again_is_well() {
        let mut looks = vec![seen(1, 0, &[]); 5];
        assert_eq!(judged(&looks), stuck(40));
        looks.push(seen(2, 0, &[]));
        assert_eq!(judged(&looks), Verdict::Turning);
    }

    #[test]
    fn a_disk_that_answers_nobody_explains_it() {
        let since = Duration::from_secs(40);
        let disk = Verdict::Disk { part: "storing a".to_owned(), since };
        assert_eq!(judged(&vec![seen(1, 7, &[42]); 5]), disk);
    }

    #[test]
    fn what_another_part_got_as_the_disk_began_to_hang_changes_nothing() {
        let since = Duration::from_secs(40);
        let disk = Verdict::Disk { part: "storing a".to_owned(), since };
        let looks = [vec![seen(1, 7, &[42])], vec![seen(1, 8, &[42]); 4]].concat();
        assert_eq!(judged(&looks), disk);
    }

    #[test]
    fn a_disk_that_others_get_answers_from_does_not() {
        let looks: Vec<Seen> = (0..5).map(|synced| seen(1, synced, &[42])).collect();
        assert_eq!(judged(&looks), stuck(40));
    }

    #[test]
    fn threads_that_sleep_for_a_moment_do_not() {
        let looks: Vec<Seen> = (0..5).map(|thread| seen(1, 0, &[thread])).collect();
        assert_eq!(judged(&looks), stuck(40));
    }
}
