use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::config;

const SECOND: Duration = Duration::from_secs(1);
const SPREAD: Duration = Duration::from_secs(12);

struct Bench {
    link: Link,
    now: Instant,
    rng: StdRng,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        let backoff = Backoff::new(&config::Backoff {
            initial: Duration::from_secs(5),
            max: Duration::from_secs(120),
        });
        Self {
            link: Link::new(backoff, SPREAD, Start::After(Duration::ZERO), now),
            now,
            rng: StdRng::seed_from_u64(7),
        }
    }

    fn online() -> Self {
        let mut bench = Self::new();
        bench.link.attempt(bench.now);
        bench.answered();
        bench.link.ramped(bench.now);
        assert_eq!(bench.link.state(), LinkState::Online);
        bench
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn answered(&mut self) {
        self.link.answered(self.link.era(), self.now);
    }

    fn down(&mut self) {
        let era = self.link.era();
        self.link.down(era, "refused", self.now, &mut self.rng);
    }

    fn silent(&mut self) {
        let era = self.link.era();
        self.link.silent(era, "deadline", self.now, &mut self.rng);
    }

    /// Waits until the next probe is permitted and lets it leave.
    fn probe(&mut self) {
        if let Permit::Wait(at) = self.link.permit(self.now) {
            self.now = at;
        }
        match self.link.permit(self.now) {
            Permit::Bare => self.link.attempt_bare(self.now),
            permit => {
                assert!(matches!(permit, Permit::Probe { .. }));
                self.link.attempt(self.now);
            }
        }
        assert_eq!(self.link.permit(self.now), Permit::Never, "one at a time");
    }
}

#[test]
fn an_outage_goes_through_offline_probing_ramping_online() {
    let mut bench = Bench::online();
    bench.down();
    assert_eq!(bench.link.state(), LinkState::Offline);
    let began = bench.now;
    bench.probe();
    assert_eq!(bench.link.state(), LinkState::Probing);
    bench.down();
    bench.probe();
    assert_eq!(bench.link.since, began, "probes do not restart the outage");
    bench.answered();
    assert_eq!(bench.link.state(), LinkState::Ramping);
    let turn = bench.link.failed_at + SPREAD;
    assert_eq!(bench.link.permit(bench.now), Permit::Wait(turn));
    assert_eq!(bench.link.first_send_at(bench.now), Some(turn));
    assert!(bench.link.urgent_from(bench.now).is_some_and(|at| at < turn), "priority lanes");
    bench.link.ramped(bench.now);
    assert_eq!(bench.link.state(), LinkState::Ramping, "not before its turn");
    bench.pass(SPREAD);
    assert_eq!(bench.link.permit(bench.now), Permit::Flow);
    assert_eq!(bench.link.urgent_from(bench.now), None);
    bench.link.ramped(bench.now);
    assert_eq!((bench.link.state(), bench.link.reason()), (LinkState::Online, ""));
}

#[test]
fn after_a_record_failed_the_link_is_asked_without_one_and_in_turn() {
    let mut bench = Bench::online();
    bench.down();
    let mut kinds = Vec::new();
    for _ in 0..4 {
        bench.probe();
        kinds.push(bench.link.bare);
        bench.down();
    }
    assert_eq!(kinds, [true, false, true, false]);
}

#[test]
fn a_link_that_only_opens_connections_is_asked_ever_more_rarely() {
    let mut bench = Bench::online();
    for n in 0..10 {
        bench.down();
        assert_eq!(bench.link.failures, n, "a record fails each time");
        bench.probe();
        bench.link.reached(bench.link.era(), bench.now);
        assert!(bench.link.is_up());
        assert_eq!((bench.link.is_proven(), bench.link.session()), (false, 1));
    }
    bench.answered();
    assert_eq!((bench.link.is_proven(), bench.link.session()), (true, 2));
    bench.down();
    assert_eq!(bench.link.failures, 0, "one was answered");
}

#[test]
fn a_cut_connection_that_the_first_probe_mends_is_not_spread_again() {
    let mut bench = Bench::online();
    bench.down();
    bench.probe();
    bench.answered();
    assert_eq!(bench.link.permit(bench.now), Permit::Flow);
}

#[test]
fn a_new_installation_waits_for_no_slot_until_it_has_been_up_once() {
    let mut bench = Bench::new();
    bench.link = Link::new(bench.link.backoff.clone(), SPREAD, Start::Fresh, bench.now);
    for _ in 0..2 {
        bench.probe();
        bench.down();
    }
    bench.probe();
    bench.answered();
    assert_eq!(bench.link.permit(bench.now), Permit::Flow);
    for _ in 0..2 {
        bench.down();
        bench.probe();
    }
    bench.answered();
    assert_eq!(bench.link.permit(bench.now), Permit::Wait(bench.link.failed_at + SPREAD));
}

#[test]
fn waits_grow_with_failed_probes_and_stay_under_the_maximum() {
    let mut bench = Bench::online();
    bench.down();
    let mut longest = Duration::ZERO;
    for n in 1..200_u32 {
        bench.probe();
        bench.down();
        let Permit::Wait(at) = bench.link.permit(bench.now) else {
            continue;
        };
        let wait = at - bench.now;
        assert!(wait <= Duration::from_secs(5) * 2_u32.pow(n.min(5)));
        longest = longest.max(wait);
    }
    assert!(longest > Duration::from_secs(110) && longest <= Duration::from_secs(120));
}

#[test]
fn failures_of_requests_from_before_the_verdict_change_nothing() {
    let mut bench = Bench::online();
    let era = bench.link.era();
    bench.down();
    let next = bench.link.next_attempt_at;
    for _ in 0..63 {
        bench.link.down(era, "reset", bench.now, &mut bench.rng);
        bench.link.silent(era, "deadline", bench.now, &mut bench.rng);
    }
    assert_eq!((bench.link.next_attempt_at, bench.link.failures), (next, 0));
}

#[test]
fn a_late_answer_while_offline_calls_for_a_probe_at_once() {
    let mut bench = Bench::online();
    let era = bench.link.era();
    bench.down();
    bench.link.answered(era, bench.now);
    assert_eq!(bench.link.state(), LinkState::Offline);
    assert_eq!(bench.link.permit(bench.now), Permit::Bare);
}

#[test]
fn silence_needs_four_in_a_row_and_five_seconds() {
    let mut bench = Bench::online();
    for _ in 0..10 {
        bench.silent();
    }
    assert_eq!(bench.link.state(), LinkState::Online, "count alone");
    bench.answered();
    bench.pass(SECOND * 6);
    for _ in 0..3 {
        bench.silent();
    }
    assert_eq!(bench.link.state(), LinkState::Online, "time alone");
    bench.silent();
    assert_eq!(bench.link.state(), LinkState::Offline);
    assert!(bench.link.reason().contains("4 requests without an answer"));
}

#[test]
fn a_mistake_is_probed_at_once_then_every_minute_by_a_record_until_put_right() {
    let mut bench = Bench::online();
    let wrong = |bench: &mut Bench| {
        let era = bench.link.era();
        bench.link.misconfigured(era, "credentials", "no such key", bench.now, &mut bench.rng);
    };
    wrong(&mut bench);
    let since = bench.now;
    assert_eq!(bench.link.permit(bench.now), Permit::Probe { record_only: true });
    let mut waits = Vec::new();
    for _ in 0..200 {
        bench.probe();
        assert_eq!(bench.link.state(), LinkState::Held);
        bench.pass(SECOND);
        wrong(&mut bench);
        let Permit::Wait(at) = bench.link.permit(bench.now) else {
            panic!("it waits");
        };
        waits.push((at - bench.now).as_secs());
    }
    let mean = waits.iter().sum::<u64>() / 200;
    assert!(waits.iter().all(|s| (30..90).contains(s)) && (55..65).contains(&mean), "{waits:?}");
    assert_eq!((bench.link.since, bench.link.held.as_ref().unwrap().code), (since, "credentials"));
    bench.probe();
    bench.answered();
    assert_eq!((bench.link.state(), bench.link.held()), (LinkState::Ramping, None));
    assert_eq!(bench.link.permit(bench.now), Permit::Wait(bench.now + SPREAD), "a fleet's return");
    bench.pass(SPREAD);
    wrong(&mut bench);
    bench.probe();
    bench.answered();
    assert_eq!(bench.link.permit(bench.now), Permit::Flow, "a short hold");
}

#[test]
fn the_start_waits_for_its_slot_and_without_an_upstream_for_ever() {
    let bench = Bench::new();
    let start = |start| Link::new(bench.link.backoff.clone(), SPREAD, start, bench.now);
    let slotted = start(Start::After(SPREAD));
    assert_eq!(slotted.permit(bench.now), Permit::Wait(bench.now + SPREAD));
    assert_eq!(slotted.first_send_at(bench.now), Some(bench.now + SPREAD));
    assert_eq!(slotted.status(bench.now, 5).next_attempt_in_s, Some(12));
    let none = start(Start::Unconfigured);
    assert_eq!((none.permit(bench.now), none.state()), (Permit::Never, LinkState::Unconfigured));
}

/// The kernel says that there is no way, and after a while that there is.
fn lose_the_way(bench: &mut Bench, while_: Duration) {
    bench.link.unrouted("eth0 has no carrier", bench.now, &mut bench.rng);
    bench.pass(while_);
    bench.link.way_came(bench.now, &mut bench.rng);
}

#[test]
fn a_lost_way_is_offline_at_once_and_one_that_came_is_tried_within_a_second() {
    let mut bench = Bench::online();
    let era = bench.link.era();
    bench.link.unrouted("eth0 has no carrier", bench.now, &mut bench.rng);
    assert_eq!(
        (bench.link.state(), bench.link.reason()),
        (LinkState::Offline, "eth0 has no carrier")
    );
    let Permit::Wait(at) = bench.link.permit(bench.now) else { panic!("it waits") };
    assert!(at >= bench.now + SECOND * 30, "no attempts into nowhere");
    bench.link.silent(era, "deadline", bench.now, &mut bench.rng);
    bench.pass(SECOND * 20);
    bench.link.way_came(bench.now, &mut bench.rng);
    let Permit::Wait(at) = bench.link.permit(bench.now) else { panic!("it waits") };
    assert!(at <= bench.now + SECOND);
    bench.probe();
    bench.link.reached(bench.link.era(), bench.now);
    assert_eq!(bench.link.permit(bench.now), Permit::Flow, "a short one needs no slot");
}

#[test]
fn a_way_that_was_lost_for_long_or_not_there_at_the_start_ends_in_the_slot() {
    let mut bench = Bench::online();
    lose_the_way(&mut bench, SECOND * 90);
    bench.probe();
    bench.answered();
    assert_eq!(bench.link.permit(bench.now), Permit::Wait(bench.now + SPREAD));
    let mut bench = Bench::new();
    bench.link.unrouted("no default route", bench.now, &mut bench.rng);
    bench.probe();
    bench.down();
    lose_the_way(&mut bench, SECOND);
    bench.probe();
    bench.answered();
    assert_eq!(bench.link.permit(bench.now), Permit::Wait(bench.now + SPREAD));
}

#[test]
fn a_start_keeps_its_slot_though_a_way_comes() {
    let mut bench = Bench::new();
    let start = Start::After(SPREAD);
    bench.link = Link::new(bench.link.backoff.clone(), SPREAD, start, bench.now);
    lose_the_way(&mut bench, SECOND);
    assert_eq!(bench.link.permit(bench.now), Permit::Wait(bench.now - SECOND + SPREAD));
}

#[test]
fn a_link_that_flaps_is_tried_every_few_seconds_and_makes_progress_each_time() {
    let mut bench = Bench::online();
    let (mut attempts, mut flows) = (0, 0);
    let began = bench.now;
    // Three seconds there, three seconds not, for ten minutes; then at a mad pace.
    for flap in 0..300 {
        let (away, there) = match flap {
            0..100 => (SECOND * 3, SECOND * 3),
            _ => (SECOND / 10, SECOND / 10),
        };
        lose_the_way(&mut bench, away);
        let end = bench.now + there;
        while let Permit::Wait(at) = bench.link.permit(bench.now)
            && at < end
        {
            attempts += 1;
            bench.probe();
            bench.answered();
            flows += u32::from(bench.link.permit(bench.now) == Permit::Flow);
        }
        bench.now = end;
    }
    let seconds = (bench.now - began).as_secs();
    assert!((95..=seconds / 5 + 2).contains(&attempts), "{attempts} in {seconds} s");
    assert_eq!(u64::from(flows), attempts, "none waits for a slot");
}

#[test]
fn an_attempt_that_went_another_way_is_made_again() {
    let mut bench = Bench::online();
    bench.down();
    bench.probe();
    let era = bench.link.era();
    bench.link.way_came(bench.now, &mut bench.rng);
    bench.link.down(era, "too late", bench.now, &mut bench.rng);
    assert_eq!(bench.link.failures, 0);
    bench.probe();
    bench.answered();
    assert!(bench.link.is_up());
}

proptest! {
    /// Whatever happens, there is always a way on: a permit now, a time, or an attempt under way.
    #[test]
    fn it_never_gets_stuck(events in prop::collection::vec((0_u8..10, 0_u64..90), 1..200)) {
        let mut bench = Bench::new();
        for (event, seconds) in events {
            bench.pass(Duration::from_secs(seconds));
            let era = bench.link.era() - u64::from(seconds % 7 == 0 && bench.link.era() > 0);
            match event {
                0 => bench.link.answered(era, bench.now),
                1 => bench.link.down(era, "x", bench.now, &mut bench.rng),
                2 => bench.link.silent(era, "x", bench.now, &mut bench.rng),
                3 => {
                    bench.link.misconfigured(era, "clock", "x", bench.now, &mut bench.rng);
                }
                4 => bench.link.ramped(bench.now),
                5 => bench.link.reached(era, bench.now),
                8 => bench.link.unrouted("x", bench.now, &mut bench.rng),
                9 => bench.link.way_came(bench.now, &mut bench.rng),
                6 => if bench.link.permit(bench.now) == Permit::Bare {
                    bench.link.attempt_bare(bench.now);
                },
                _ => if matches!(bench.link.permit(bench.now), Permit::Probe { .. }) {
                    bench.link.attempt(bench.now);
                },
            }
            let permit = bench.link.permit(bench.now);
            prop_assert_eq!(permit == Permit::Never, bench.link.attempting);
            if bench.link.attempting {
                let state = bench.link.state();
                prop_assert!(matches!(state, LinkState::Probing | LinkState::Held));
            }
            if let Permit::Wait(at) = permit {
                prop_assert!(at <= bench.now + Duration::from_secs(120));
            }
        }
    }
}

#[test]
fn a_link_without_bytes_rests_whatever_happens_and_then_begins_as_after_a_start() {
    let mut bench = Bench::online();
    let era = bench.link.era();
    let until = bench.now + SECOND * 1000;
    bench.link.spent("all is used", until, bench.now);
    assert_eq!(bench.link.state(), LinkState::Budget);
    let (link, now, rng) = (&mut bench.link, bench.now, &mut bench.rng);
    // What was under way ends in all ways there are.
    link.answered(era, now);
    link.reached(era, now);
    link.down(era, "cut", now, rng);
    link.silent(era, "deadline", now, rng);
    link.misconfigured(era, "credentials", "no", now, rng);
    link.unrouted("no route", now, rng);
    link.way_came(now, rng);
    assert_eq!((link.state(), link.permit(now)), (LinkState::Budget, Permit::Wait(until)));
    // The clock was put right.
    link.spent("all is used", now + SECOND, now);
    assert_eq!(link.permit(now), Permit::Wait(now + SECOND));
    assert!(!link.is_up() && link.held().is_none());

    bench.pass(SECOND);
    bench.link.replenished(bench.now);
    assert_eq!(bench.link.state(), LinkState::Offline);
    assert_eq!(bench.link.first_send_at(bench.now), Some(bench.now + SPREAD));
    bench.probe();
    bench.answered();
    assert_eq!(bench.link.permit(bench.now), Permit::Flow);
}

#[test]
fn nothing_rests_that_is_not_configured_and_only_what_rests_is_replenished() {
    let mut bench = Bench::online();
    bench.link.replenished(bench.now);
    assert_eq!(bench.link.state(), LinkState::Online);
    let backoff = bench.link.backoff.clone();
    let mut link = Link::new(backoff, SPREAD, Start::Unconfigured, bench.now);
    link.spent("all is used", bench.now + SECOND, bench.now);
    assert_eq!((link.state(), link.permit(bench.now)), (LinkState::Unconfigured, Permit::Never));
}
