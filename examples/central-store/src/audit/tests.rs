use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const DAY: u64 = 20_000;

fn seen(first: u64, last: u64, since_ms: u64) -> Seen {
    Seen { day: DAY, range: Range { first, last }, since_ms, until_ms: since_ms }
}

fn told(accepted_seq: u64, waiting: u64, at_ms: u64) -> Reported {
    Reported { accepted_seq, waiting, since_ms: at_ms, until_ms: at_ms, stored_ms: at_ms }
}

fn explained(first: u64, last: u64, reason: Reason) -> Explained {
    let range = Range { first, last };
    Explained { lane: 1, range, reason, kept_every: 0, first_ms: 0, last_ms: 0, note: None }
}

fn gaps(gaps: &[Gap]) -> Vec<String> {
    gaps.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_missing_is_named_and_what_is_explained_is_not() {
    let books = Books {
        seen: vec![seen(8, 10, 50), seen(2, 3, 40), seen(20, 20, 60)],
        explained: vec![explained(5, 6, Reason::Dead), explained(6, 8, Reason::Purged)],
        reported: vec![],
    };
    let audit = &books.audit(1000)[&DAY];
    assert_eq!((audit.accepted, audit.stored), (20, 6));
    // 8 arrived; 6 was dead first and then purged.
    assert_eq!(audit.explained, BTreeMap::from([(Reason::Dead, 1), (Reason::Purged, 2)]));
    assert_eq!(gaps(&audit.missing), ["1", "4", "11-19"]);
    assert!(audit.young.is_empty());
}

#[test]
fn of_a_thinned_range_the_kept_are_expected_like_any_and_the_rest_is_explained() {
    let thinned = |kept_every| Explained { kept_every, ..explained(1, 30, Reason::Thinned) };
    let mut books = Books {
        seen: vec![seen(10, 10, 50), seen(31, 33, 50)],
        explained: vec![thinned(10)],
        reported: vec![],
    };
    let audit = &books.audit(1000)[&DAY];
    assert_eq!((audit.accepted, audit.stored), (33, 4));
    assert_eq!(audit.explained, BTreeMap::from([(Reason::Thinned, 27)]));
    assert_eq!(gaps(&audit.missing), ["20-30 (multiples of 10)"]);
    assert_eq!(audit.missing_count(), 2);

    // Thinned again, and one of what was kept then is dead.
    books.explained.extend([thinned(20), explained(20, 20, Reason::Dead)]);
    let audit = &books.audit(1000)[&DAY];
    let explained = [(Reason::Thinned, 28), (Reason::Dead, 1)];
    assert_eq!(audit.explained, BTreeMap::from(explained));
    assert!(audit.missing.is_empty() && audit.young.is_empty());
}

#[test]
fn what_was_kept_of_a_thinned_range_may_still_wait_at_the_gateway() {
    let thinned = Explained { kept_every: 10, ..explained(1, 40, Reason::Thinned) };
    let reported = told(45, 7, 60);
    let books =
        Books { seen: vec![seen(10, 10, 50)], explained: vec![thinned], reported: vec![reported] };
    let audit = &books.audit(1000)[&DAY];
    assert_eq!((audit.stored, audit.explained_count()), (1, 36));
    assert_eq!((audit.waiting, gaps(&audit.missing)), (7, vec!["20".to_owned()]));
}

#[test]
fn a_backlog_behind_live_records_that_arrived_waits_and_is_not_missing() {
    let books = Books {
        seen: vec![seen(1, 100, 10), seen(901, 950, 20), seen(951, 1000, 20), seen(300, 300, 90)],
        explained: vec![explained(500, 509, Reason::Dead)],
        reported: vec![told(1000, 780, 50)],
    };
    let audit = &books.audit(1000)[&DAY];
    // One of the 780 has come since; ten more that neither came nor wait are lost.
    assert_eq!((audit.stored, audit.waiting), (201, 779));
    assert_eq!(gaps(&audit.missing), ["101-110"]);
}

#[test]
fn what_waits_is_reckoned_from_the_last_time_that_the_gateway_said_so() {
    // 101 to 900 are the backlog of a lane that makes nothing new; its end came first.
    let mut books = Books {
        seen: vec![seen(1, 100, 10), seen(901, 1000, 60), seen(701, 900, 80)],
        explained: vec![],
        reported: vec![Reported { until_ms: 90, ..told(1000, 600, 50) }],
    };
    let audit = &books.audit(1000)[&DAY];
    assert_eq!((audit.waiting, gaps(&audit.missing)), (600, vec![]));
    // An old report that comes again says nothing new.
    books.reported.push(Reported { until_ms: 95, ..told(1000, 900, 20) });
    assert_eq!(books.audit(1000)[&DAY].waiting, 600);
}

/// Two rows stay apart for this: see [`crate::compaction`].
#[test]
fn one_that_is_lost_in_a_steady_flow_is_missing_although_others_always_wait() {
    let books = Books {
        seen: vec![seen(1, 40, 10), seen(42, 97, 10), seen(98, 120, 60)],
        explained: vec![],
        reported: vec![told(100, 3, 50)],
    };
    let audit = &books.audit(40)[&DAY];
    assert_eq!((audit.waiting, gaps(&audit.missing)), (0, vec!["41".into()]));
}

#[test]
fn what_left_the_gateway_within_the_grace_time_is_on_its_way_however_long_it_is_known() {
    let mut books = Books {
        // The row of what came in between has grown since.
        seen: vec![Seen { until_ms: 99, ..seen(1, 600, 10) }],
        explained: vec![],
        reported: vec![told(1000, 500, 20), told(1010, 60, 80)],
    };
    let audit = &books.audit(50)[&DAY];
    assert_eq!((audit.waiting, gaps(&audit.young)), (60, vec!["601-950".into()]));
    assert!(audit.missing.is_empty());
    // Since 80 it has been known that they are gone; 951 and so on wait, as the last report says.
    let audit = &books.audit(81)[&DAY];
    assert_eq!((audit.waiting, gaps(&audit.missing)), (60, vec!["601-950".into()]));
    // What the gateway had sent before is missing for as long as it is known.
    books.seen = vec![seen(1, 300, 10), Seen { until_ms: 99, ..seen(400, 600, 10) }];
    assert_eq!(gaps(&books.audit(50)[&DAY].missing), ["301-399"]);
}

#[test]
fn a_gap_is_as_old_as_the_first_news_above_it() {
    let books =
        Books { seen: vec![seen(1, 1, 10), seen(3, 3, 500), seen(5, 5, 90)], ..Books::default() };
    let audit = &books.audit(100)[&DAY];
    // 2 has been known to exist since 5 arrived, as 4 has.
    assert_eq!((gaps(&audit.missing), gaps(&audit.young)), (vec!["2".into(), "4".into()], vec![]));
    assert!(audit.missing.iter().all(|gap| gap.since_ms == 90));
    assert_eq!(gaps(&books.audit(90)[&DAY].young), ["2", "4"]);
}

#[test]
fn a_report_shows_the_missing_tail_and_what_still_waits_is_not_missing() {
    let books = Books {
        seen: vec![seen(1, 10, 10)],
        explained: vec![],
        reported: vec![told(14, 0, 20), told(20, 3, 80)],
    };
    let audit = &books.audit(50)[&DAY];
    assert_eq!((audit.accepted, audit.waiting), (20, 3));
    assert_eq!(
        (gaps(&audit.missing), gaps(&audit.young)),
        (vec!["11-14".into()], vec!["15-17".into()])
    );
}

#[test]
fn a_number_that_never_came_belongs_to_the_day_before_it() {
    let next = Seen { day: DAY + 1, ..seen(6, 9, 10) };
    let books = Books { seen: vec![seen(2, 4, 10), next], ..Books::default() };
    let days = books.audit(100);
    assert_eq!(gaps(&days[&DAY].missing), ["1", "5"]);
    assert_eq!((days[&(DAY + 1)].accepted, days[&(DAY + 1)].missing_count()), (4, 0));
}

#[test]
fn a_place_that_only_its_report_knows_is_all_missing() {
    let reported = vec![told(3, 0, 20 * 86_400_000)];
    let books = Books { reported, ..Books::default() };
    let days = books.audit(u64::MAX);
    assert_eq!(gaps(&days[&20].missing), ["1-3"]);
}

proptest! {
    /// Whatever arrives in whatever pieces: the sum holds, and exactly the numbers that neither
    /// arrived nor were explained are missing.
    #[test]
    fn the_sum_holds_and_the_missing_ones_are_exact(
        arrived in prop::collection::vec((1_u64..60, 0_u64..6, 0_u64..3, 0_u64..1000), 1..30),
        told in prop::collection::vec((1_u64..60, 0_u64..6, prop::bool::ANY), 0..8),
    ) {
        let books = Books {
            seen: arrived.iter().map(|(first, more, day, since_ms)| Seen {
                day: DAY + day, ..seen(*first, first + more, *since_ms)
            }).collect(),
            explained: told.iter().map(|(first, more, dead)| {
                explained(*first, first + more, if *dead { Reason::Dead } else { Reason::Expired })
            }).collect(),
            reported: vec![],
        };
        let mut sum = Audit::default();
        books.audit(u64::MAX).values().for_each(|day| sum.add(day));
        let numbers = |ranges: Vec<Range>| -> BTreeSet<u64> {
            ranges.iter().flat_map(|range| range.first..=range.last).collect()
        };
        let came = numbers(books.seen.iter().map(|seen| seen.range).collect());
        let given_up = numbers(books.explained.iter().map(|told| told.range).collect());
        let top = came.union(&given_up).max().copied().unwrap();
        let expected: BTreeSet<u64> =
            (1..=top).filter(|n| !came.contains(n) && !given_up.contains(n)).collect();
        let gaps: Vec<Range> =
            sum.missing.iter().chain(&sum.young).map(|gap| gap.range).collect();
        prop_assert_eq!(gaps.iter().map(Range::count).sum::<u64>(), expected.len() as u64);
        prop_assert_eq!(numbers(gaps), expected);
        prop_assert_eq!((sum.stored, sum.accepted), (came.len() as u64, top));
        prop_assert_eq!(sum.accepted, sum.stored + sum.explained_count() + sum.missing_count() + sum.young_count());
    }
}
