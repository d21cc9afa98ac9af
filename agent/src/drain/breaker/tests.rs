use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// The longest time between two probes.
const LONGEST: Duration = Duration::from_secs(90);

/// Numbers sends as the drain does and keeps the time.
struct Bench {
    breaker: Breaker,
    now: Instant,
    issued: u64,
}

impl Bench {
    fn new(order: Order, on_reject: OnReject) -> Self {
        Self { breaker: Breaker::new(order, on_reject, 7), now: Instant::now(), issued: 0 }
    }

    fn send(&mut self, position: u64) -> u64 {
        self.breaker.sent(position, self.now);
        self.issued += 1;
        self.issued
    }

    fn refuse(&mut self, position: u64, code: &str) -> Verdict {
        self.send(position);
        self.refused(position, code, false)
    }

    fn refused(&mut self, position: u64, code: &str, own: bool) -> Verdict {
        let refusal = Refusal { code, reason: "no", own };
        let verdict = self.breaker.refused(position, &refusal, self.issued, self.now);
        if verdict == Verdict::Bury {
            self.breaker.buried(position, self.now);
        }
        verdict
    }

    fn pass(&mut self, position: u64) -> bool {
        let number = self.send(position);
        self.breaker.passed(position, number, self.now)
    }

    fn unknown(&mut self, position: u64) -> Verdict {
        self.send(position);
        self.breaker.unknown(position, "wrong MD5", self.issued, self.now)
    }

    fn code(&self) -> Option<&str> {
        self.breaker.held().map(|held| held.code)
    }

    fn may_send(&self, position: u64) -> bool {
        self.breaker.due(position, self.now).is_some_and(|at| at <= self.now)
    }
}

fn unordered() -> Bench {
    Bench::new(Order::None, OnReject::DeadLetter)
}

#[test]
fn nineteen_in_a_row_do_not_hold_and_twenty_do() {
    let mut bench = unordered();
    for position in 0..19 {
        assert!(matches!(bench.refuse(position, "X"), Verdict::Retry(1)));
    }
    assert_eq!(bench.code(), None);
    assert_eq!(bench.refuse(19, "X"), Verdict::Round);
    assert_eq!(bench.code(), Some("refused"));
    assert!(bench.breaker.held().unwrap().reason.contains("20 refused in a row; X: no"));
}

#[test]
fn a_run_is_broken_by_a_pass_and_by_another_code() {
    let mut bench = unordered();
    for position in 0..19 {
        bench.refuse(position, "X");
    }
    bench.pass(100);
    for position in 20..39 {
        bench.refuse(position, "X");
    }
    bench.refuse(39, "Y");
    for position in 40..59 {
        bench.refuse(position, "X");
    }
    assert_eq!(bench.code(), None);
}

#[test]
fn more_than_half_of_the_last_two_hundred_hold() {
    let mut bench = unordered();
    for position in 0..200 {
        match position % 2 {
            0 => _ = bench.refuse(position, "X"),
            _ => _ = bench.pass(position),
        }
    }
    assert_eq!(bench.code(), None, "half is not more than half");
    bench.refuse(1000, "X");
    assert_eq!(bench.code(), None, "100 of 200: the oldest refusal has left the window");
    bench.refuse(1001, "X");
    assert_eq!(bench.code(), Some("refused"));
}

#[test]
fn a_suspect_is_buried_only_after_another_sent_later_has_passed() {
    let mut bench = unordered();
    let overtaken = bench.send(2);
    bench.refuse(1, "X");
    bench.breaker.passed(2, overtaken, bench.now);
    assert_eq!(bench.refuse(1, "X"), Verdict::Retry(2), "that pass had left before");
    bench.pass(3);
    assert_eq!(bench.refuse(1, "X"), Verdict::Bury);
    assert!(!bench.breaker.suspects(1));
}

#[test]
fn a_retry_that_was_in_flight_when_another_passed_is_not_buried_yet() {
    let mut bench = unordered();
    bench.refuse(1, "X");
    bench.send(1);
    bench.pass(2);
    assert_eq!(bench.refused(1, "X", false), Verdict::Retry(2));
    assert_eq!(bench.refuse(1, "X"), Verdict::Bury);
}

#[test]
fn a_hold_ends_when_the_record_that_holds_is_dropped() {
    for order in [Order::None, Order::Lane] {
        let mut bench = Bench::new(order, OnReject::Hold);
        bench.refuse(1, "40004");
        bench.refuse(1, "40004");
        assert!(bench.code().is_some() && !bench.may_send(2));
        bench.breaker.forget(|_| true, bench.now);
        assert!(bench.code().is_some(), "it still waits");
        bench.breaker.forget(|position| position != 1, bench.now);
        assert!(bench.code().is_none() && bench.may_send(2));
    }
}

#[test]
fn what_is_plainly_the_records_own_is_buried_at_once_and_does_not_count() {
    let mut bench = unordered();
    for position in 0..100 {
        bench.send(position);
        assert_eq!(bench.refused(position, "too many properties", true), Verdict::Bury);
    }
    assert_eq!(bench.code(), None);
}

#[test]
fn a_hold_probes_with_another_record_at_once_and_with_one_of_each_kind_a_minute() {
    let mut bench = unordered();
    (0..20).for_each(|position| _ = bench.refuse(position, "X"));
    assert!(bench.may_send(100) && !bench.may_send(0));
    assert_eq!(bench.refuse(100, "X"), Verdict::Round);
    assert!(!bench.may_send(101), "one a minute");
    bench.now += LONGEST;
    assert!(bench.may_send(101) && bench.may_send(0));
    bench.refuse(0, "X");
    assert!(bench.may_send(101) && !bench.may_send(1));
    assert!(bench.pass(101), "ends the hold");
    assert!(bench.may_send(0) && bench.may_send(102));
    for position in 0..20 {
        assert_eq!(bench.refuse(position, "X"), Verdict::Bury, "{position}");
    }
}

#[test]
fn a_pass_that_left_before_the_hold_does_not_end_it() {
    let mut bench = unordered();
    let early = bench.send(500);
    (0..20).for_each(|position| _ = bench.refuse(position, "X"));
    assert!(!bench.breaker.passed(500, early, bench.now));
    assert_eq!(bench.code(), Some("refused"));
}

#[test]
fn nothing_is_buried_however_long_all_are_refused() {
    let mut bench = unordered();
    for round in 0..100 {
        for position in 0..50 {
            if bench.may_send(position) {
                assert_ne!(bench.refuse(position, "X"), Verdict::Bury, "round {round}");
            }
        }
        bench.now += LONGEST;
    }
}

#[test]
fn a_lone_refused_record_holds_in_the_end() {
    let mut bench = unordered();
    for n in 1..20 {
        assert_eq!(bench.refuse(1, "X"), Verdict::Retry(n));
    }
    assert_eq!((bench.refuse(1, "X"), bench.code()), (Verdict::Round, Some("refused")));
}

#[test]
fn an_operator_who_accepts_lets_dead_lettering_of_that_code_go_on_for_a_while() {
    let mut bench = unordered();
    assert!(!bench.breaker.accept(), "nothing to accept");
    (0..20).for_each(|position| _ = bench.refuse(position, "X"));
    assert!(bench.breaker.accept());
    assert_eq!(bench.code(), None);
    for position in 0..50 {
        assert_eq!(bench.refuse(position, "X"), Verdict::Bury);
    }
    assert!(matches!(bench.refuse(60, "Y"), Verdict::Retry(1)), "another code");
    (1000..1200).for_each(|position| _ = bench.pass(position));
    assert!(matches!(bench.refuse(2000, "X"), Verdict::Retry(1)), "over");
}

#[test]
fn with_on_reject_hold_the_first_refusal_holds_until_it_passes_or_is_accepted() {
    let mut bench = Bench::new(Order::None, OnReject::Hold);
    assert_eq!(bench.refuse(1, "X"), Verdict::Retry(1));
    assert_eq!(bench.code(), Some("refused"));
    assert_eq!(bench.breaker.due(2, bench.now), None, "others wait for it");
    assert!(bench.may_send(1), "asked again at once");
    assert_eq!(bench.refuse(1, "X"), Verdict::Round);
    assert!(!bench.may_send(1));
    bench.now += LONGEST;
    assert!(bench.may_send(1));
    assert!(bench.pass(1));
    assert_eq!(bench.refuse(3, "X"), Verdict::Retry(1));
    assert!(bench.breaker.accept());
    assert_eq!(bench.refuse(3, "X"), Verdict::Bury);
    assert!(bench.breaker.suspects.is_empty());
}

#[test]
fn in_a_lane_ordered_as_a_whole_the_head_holds() {
    let mut bench = Bench::new(Order::Lane, OnReject::DeadLetter);
    bench.refuse(1, "X");
    assert_eq!(bench.code(), Some("refused"));
    bench.send(1);
    assert_eq!(bench.refused(1, "own", true), Verdict::Bury);
    assert_eq!(bench.code(), None, "a record's own fault frees those behind it");
}

#[test]
fn in_a_lane_ordered_by_key_only_the_key_is_held() {
    for on_reject in [OnReject::DeadLetter, OnReject::Hold] {
        let mut bench = Bench::new(Order::Key, on_reject);
        bench.refuse(1, "X");
        assert_eq!((bench.code(), bench.breaker.held_keys()), (None, 1));
        assert!(bench.may_send(2));
        bench.pass(2);
        let buried = bench.refuse(1, "X") == Verdict::Bury;
        assert_eq!(buried, on_reject == OnReject::DeadLetter);
        assert_eq!(bench.breaker.held_keys(), usize::from(!buried));
        assert_eq!(bench.breaker.accept(), !buried);
    }
}

#[test]
fn heads_of_twenty_keys_refused_in_a_row_hold_the_lane_until_another_head_passes() {
    let mut bench = Bench::new(Order::Key, OnReject::Hold);
    (0..20).for_each(|position| _ = bench.refuse(position, "X"));
    assert_eq!((bench.code(), bench.breaker.held_keys()), (Some("refused"), 20));
    assert!(bench.may_send(50));
    assert!(bench.pass(50));
    assert_eq!(bench.breaker.held_keys(), 20);
}

#[test]
fn a_wrong_topic_holds_until_a_record_sent_later_passes() {
    let mut bench = unordered();
    let early = bench.send(1);
    bench.breaker.misconfigured("topic_type", "NORMAL expected", bench.issued, bench.now);
    assert!(bench.may_send(2), "a probe at once");
    bench.send(2);
    bench.breaker.misconfigured("topic_type", "NORMAL expected", bench.issued, bench.now);
    assert!(!bench.may_send(3));
    assert!(!bench.breaker.accept(), "no record is at fault");
    assert!(!bench.breaker.passed(1, early, bench.now));
    bench.now += LONGEST;
    assert!(bench.pass(3));
}

#[test]
fn an_unknown_fate_is_tried_three_times_then_holds_and_never_buries() {
    let mut bench = unordered();
    assert_eq!(bench.unknown(1), Verdict::Retry(1));
    assert_eq!(bench.unknown(1), Verdict::Retry(2));
    assert_eq!(bench.unknown(1), Verdict::Round);
    assert_eq!(bench.code(), Some("unknown"));
    assert!(bench.pass(2));
    for _ in 0..50 {
        assert_eq!(bench.unknown(1), Verdict::Round);
        assert_eq!(bench.code(), None, "others pass: it waits alone");
    }
    assert!(bench.breaker.accept());
    assert_eq!(bench.unknown(1), Verdict::Bury);
}

#[test]
fn full_dead_letters_hold_until_there_is_room() {
    let mut bench = unordered();
    bench.send(1);
    let refusal = Refusal { code: "size", reason: "", own: true };
    assert_eq!(bench.breaker.refused(1, &refusal, 1, bench.now), Verdict::Bury);
    bench.breaker.dead_full("dead_letters_full", 1, "size", "64 MiB kept", bench.issued, bench.now);
    assert_eq!(bench.code(), Some("dead_letters_full"));
    assert_eq!(bench.breaker.due(2, bench.now), None);
    assert!(!bench.may_send(1));
    bench.now += LONGEST;
    assert!(bench.may_send(1));
    bench.send(1);
    assert_eq!(bench.refused(1, "size", true), Verdict::Bury);
    assert_eq!(bench.code(), None);
    assert!(bench.breaker.is_clean());
}

#[test]
fn probes_come_once_a_minute_on_average_and_never_in_step() {
    let mut bench = unordered();
    bench.breaker.misconfigured("topic_missing", "x", 0, bench.now);
    let mut waits = Vec::new();
    for position in 0..200 {
        bench.send(position);
        let due = bench.breaker.due(1000, bench.now).unwrap();
        waits.push((due - bench.now).as_secs());
        bench.now = due;
    }
    let mean = waits.iter().sum::<u64>() / 200;
    assert!(waits.iter().all(|s| (30..90).contains(s)) && (55..65).contains(&mean), "{waits:?}");
}

#[derive(Debug, Clone)]
enum Fate {
    Pass,
    Refuse(&'static str, bool),
    Unknown,
    Topic,
    Accept,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Pass),
        8 => Just(Fate::Refuse("X", false)),
        1 => Just(Fate::Refuse("Y", false)),
        1 => Just(Fate::Refuse("own", true)),
        1 => Just(Fate::Unknown),
        1 => Just(Fate::Topic),
        1 => Just(Fate::Accept),
    ]
}

proptest! {
    /// Whatever the order of answers, a record is buried only for its own fault, by an operator's
    /// word, or after another one has proved that records pass.
    #[test]
    fn no_record_is_buried_without_proof(
        order in prop_oneof![Just(Order::None), Just(Order::Key), Just(Order::Lane)],
        hold: bool,
        steps in prop::collection::vec((0_u64..40, fate(), 0_usize..8), 1..400),
    ) {
        let on_reject = if hold { OnReject::Hold } else { OnReject::DeadLetter };
        let mut bench = Bench::new(order, on_reject);
        let mut flights: Vec<(u64, u64, Fate)> = Vec::new();
        let mut first_refused: BTreeMap<u64, u64> = BTreeMap::new();
        let mut passes: Vec<(u64, u64)> = Vec::new();
        let (mut accepted, mut gone) = (false, BTreeSet::new());
        for (position, fate, delay) in steps {
            let free = !gone.contains(&position) && flights.iter().all(|f| f.0 != position);
            if free && bench.may_send(position) {
                let number = bench.send(position);
                flights.push((position, number, fate));
            }
            if flights.len() <= delay {
                bench.now += Duration::from_secs(20);
                continue;
            }
            let (position, number, fate) = flights.remove(delay.min(flights.len() - 1));
            match fate {
                Fate::Pass => {
                    bench.breaker.passed(position, number, bench.now);
                    gone.insert(position);
                    passes.push((position, number));
                }
                Fate::Refuse(code, own) => {
                    let verdict = bench.refused(position, code, own);
                    let refused_at = *first_refused.entry(position).or_insert(bench.issued);
                    if verdict == Verdict::Bury {
                        gone.insert(position);
                        let proof = passes.iter().any(|(other, n)| *other != position && *n > refused_at);
                        let allowed = !hold && (own || (proof && order != Order::Lane));
                        prop_assert!(accepted || allowed);
                    }
                }
                Fate::Unknown => {
                    let verdict = bench.breaker.unknown(position, "?", bench.issued, bench.now);
                    prop_assert!(verdict != Verdict::Bury || accepted);
                    if verdict == Verdict::Bury {
                        bench.breaker.buried(position, bench.now);
                        gone.insert(position);
                    }
                }
                Fate::Topic => bench.breaker.misconfigured("topic_missing", "x", bench.issued, bench.now),
                Fate::Accept => accepted |= bench.breaker.accept(),
            }
        }
    }
}
