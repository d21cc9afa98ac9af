//! The audit against a model that looks at each number by itself, and with ranges of any size.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A tombstone's first number, how many more, its reason, and what it keeps.
type Told = (u64, u64, Reason, u32);

fn told(numbers: std::ops::Range<u64>, length: u64) -> impl Strategy<Value = Told> {
    (numbers, 0..length, prop::sample::select(&REASONS[..]), prop::sample::select(&KEPT[..]))
}

const REASONS: [Reason; 4] = [Reason::Dead, Reason::Expired, Reason::Thinned, Reason::Purged];
const KEPT: [u32; 8] = [0, 0, 1, 2, 3, 4, 6, 7];

fn explained((first, more, reason, kept_every): Told) -> Explained {
    let range = Range { first, last: first + more };
    Explained { lane: 1, range, reason, kept_every, first_ms: 0, last_ms: 0, note: None }
}

/// Arrived by 10, or at 50.
fn seen((first, more, late): (u64, u64, bool)) -> Seen {
    let since_ms = if late { 50 } else { 10 };
    Seen { day: 1, range: Range { first, last: first + more }, since_ms, until_ms: since_ms }
}

/// What is said of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    Stored,
    Explained(Reason),
    Waiting,
    Missing,
}

impl Books {
    fn gives_up(&self, number: u64) -> Option<Reason> {
        let covers = |told: &&Explained| told.range.first <= number && number <= told.range.last;
        let keeps = |told: &&Explained| {
            told.kept_every > 0 && number.is_multiple_of(told.kept_every.into())
        };
        let told = self.explained.iter().filter(covers).filter(|told| !keeps(told));
        told.map(|told| told.reason).max_by_key(|reason| (reason.rank(), *reason))
    }

    fn arrived(&self, number: u64, by_ms: u64) -> bool {
        let seen = self.seen.iter().filter(|seen| seen.since_ms <= by_ms);
        seen.into_iter().any(|seen| seen.range.first <= number && number <= seen.range.last)
    }

    /// One report, at 20, of so many that wait.
    fn words(&self, waiting: u64) -> BTreeMap<u64, Word> {
        let told = self.reported[0];
        let here = (1..=told.accepted_seq).rev();
        let here = here.filter(|n| !self.arrived(*n, 20) && self.gives_up(*n).is_none());
        let waits_from = match waiting {
            0 => u64::MAX,
            _ => here.take(waiting as usize).last().unwrap_or(1),
        };
        let top = self.seen.iter().map(|seen| seen.range.last);
        let top = top.chain(self.explained.iter().map(|told| told.range.last)).max().unwrap_or(0);
        let word = |n: u64| match self.gives_up(n) {
            _ if self.arrived(n, 50) => Word::Stored,
            Some(reason) => Word::Explained(reason),
            None if n >= waits_from => Word::Waiting,
            None => Word::Missing,
        };
        (1..=top.max(told.accepted_seq)).map(|n| (n, word(n))).collect()
    }
}

fn books(seen_: Vec<(u64, u64, bool)>, told: Vec<Told>, reported: Reported) -> Books {
    Books {
        seen: seen_.into_iter().map(seen).collect(),
        explained: told.into_iter().map(explained).collect(),
        reported: vec![reported],
    }
}

fn reported(accepted_seq: u64, waiting: u64) -> Reported {
    Reported { accepted_seq, waiting, since_ms: 20, until_ms: 20, stored_ms: 20 }
}

fn whole(books: &Books) -> Audit {
    let mut sum = Audit::default();
    books.audit(u64::MAX).values().for_each(|day| sum.add(day));
    sum
}

fn adds_up(audit: &Audit) -> bool {
    let elsewhere = audit.young_count() + audit.missing_count();
    audit.accepted == audit.stored + audit.explained_count() + audit.waiting + elsewhere
}

proptest! {
    #[test]
    fn every_number_is_where_one_would_put_it_by_hand(
        arrived in prop::collection::vec((1_u64..90, 0_u64..8, any::<bool>()), 0..12),
        told in prop::collection::vec(told(1..90, 40), 0..6),
        accepted in 1_u64..110,
        waiting in 0_u64..30,
    ) {
        let books = books(arrived, told, reported(accepted, waiting));
        let (audit, words) = (whole(&books), books.words(waiting));
        let count = |word: Word| words.values().filter(|said| **said == word).count() as u64;
        prop_assert_eq!(audit.stored, count(Word::Stored));
        prop_assert_eq!(audit.waiting, count(Word::Waiting));
        for (reason, said) in &audit.explained {
            prop_assert_eq!(*said, count(Word::Explained(*reason)));
        }
        let numbers = |gap: &Gap| (gap.range.first..=gap.range.last).step_by(gap.every as usize);
        let mut gaps: Vec<u64> =
            audit.missing.iter().chain(&audit.young).flat_map(numbers).collect();
        gaps.sort_unstable();
        let missing = words.iter().filter(|(_, word)| **word == Word::Missing);
        prop_assert_eq!(gaps, missing.map(|(n, _)| *n).collect::<Vec<_>>());
        prop_assert_eq!(audit.accepted, words.len() as u64);
        prop_assert!(adds_up(&audit));
    }

    #[test]
    fn ranges_of_any_size_cost_no_more_and_add_up(
        arrived in prop::collection::vec((1_u64..1 << 60, 0_u64..1000, any::<bool>()), 0..12),
        told in prop::collection::vec(told(1..1 << 60, 1 << 60), 1..12),
        accepted in 1_u64..1 << 60,
        waiting in 0_u64..1 << 60,
    ) {
        let audit = whole(&books(arrived, told, reported(accepted, waiting)));
        prop_assert!(adds_up(&audit), "{audit:?}");
        prop_assert!(audit.missing.len() < 200, "{}", audit.missing.len());
    }
}

#[test]
fn a_thinned_range_without_end_is_reckoned_at_once() {
    let last = 1_000_000_000_000_000_000;
    let thinned = (1, last - 1, Reason::Thinned, 10);
    let audit = whole(&books(vec![], vec![thinned], reported(last, 5)));
    assert_eq!(audit.explained[&Reason::Thinned], last / 10 * 9);
    assert_eq!((audit.waiting, audit.missing_count()), (5, last / 10 - 5));
    assert_eq!(audit.missing.len(), 1);
}

#[test]
fn numbers_up_to_the_last_there_is_do_not_overflow() {
    let all = (1, u64::MAX - 1, Reason::Thinned, 7);
    let books = books(vec![(u64::MAX, 0, false)], vec![all, all], reported(u64::MAX, u64::MAX));
    let mut twice = whole(&books);
    twice.add(&whole(&books));
    assert_eq!(twice.accepted, u64::MAX);
}
