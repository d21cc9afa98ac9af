use proptest::prelude::*;

use super::*;

const QUIET: Quiet = Quiet { base_s: 0.1, deviation_s: 0.005, known: 16 };

/// A controller with answers every `step_ms`, each saying the same.
struct Bench {
    controller: Controller,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self { controller: Controller::new(QUIET, now), now }
    }

    fn run(&mut self, answer: Answer, response_ms: u64, step_ms: u64, seconds: u64, pressed: bool) {
        for _ in 0..seconds * 1000 / step_ms {
            self.now += Duration::from_millis(step_ms);
            let response = Duration::from_millis(response_ms);
            self.controller.answered(answer, response, pressed, self.now);
        }
    }
}

#[test]
fn a_clear_line_doubles_the_share_in_twelve_seconds() {
    let mut bench = Bench::new();
    bench.run(Answer::Accepted, 100, 100, 12, true);
    assert!((1.9..2.1).contains(&bench.controller.share()), "{}", bench.controller.share());
    bench.run(Answer::Accepted, 100, 100, 24, true);
    assert!((5.0..9.0).contains(&bench.controller.share()), "{}", bench.controller.share());
}

#[test]
fn the_share_follows_time_and_not_the_number_of_answers() {
    let shares = [20, 200, 1000].map(|step_ms| {
        let mut bench = Bench::new();
        bench.run(Answer::Accepted, 100, step_ms, 20, true);
        bench.controller.share()
    });
    assert!(shares.iter().all(|share| (2.9..3.2).contains(share)), "{shares:?}");
}

#[test]
fn where_nothing_waits_the_share_does_not_grow() {
    let mut bench = Bench::new();
    bench.run(Answer::Accepted, 60, 100, 600, false);
    assert!(bench.controller.share() <= 1.0, "{}", bench.controller.share());
}

#[test]
fn delay_stops_growth_and_takes_off_the_rate_at_once() {
    let mut bench = Bench::new();
    bench.run(Answer::Accepted, 100, 100, 30, true);
    let (share, rate) = (bench.controller.share(), bench.controller.rate_per_s(1.0));
    bench.run(Answer::Accepted, 400, 100, 3, true);
    assert!(bench.controller.rate_per_s(1.0) < rate * 0.8);
    bench.run(Answer::Accepted, 400, 100, 10, true);
    assert!(bench.controller.share() < share);
    assert_eq!(bench.controller.mood(bench.now), Mood::Delayed);
}

#[test]
fn rejects_without_delay_are_a_limit_and_the_share_sinks_below_the_own_rate_only_if_many() {
    let mut bench = Bench::new();
    bench.run(Answer::Rejected, 100, 100, 20, true);
    assert!((SHARE_LEAST..0.1).contains(&bench.controller.share()));
    assert_eq!(bench.controller.mood(bench.now), Mood::Policed);
    assert!(bench.controller.rate_per_s(10.0) > 0.0, "never stops");
    let mut bench = Bench::new();
    for _ in 0..600 {
        bench.run(Answer::Rejected, 100, 1000, 1, true);
        bench.run(Answer::Accepted, 100, 1000, 19, true);
    }
    assert!(bench.controller.rate_per_s(1.0) >= 0.9, "one in twenty");
}

#[test]
fn an_outage_takes_the_share_back_to_the_own_rate() {
    let mut bench = Bench::new();
    bench.run(Answer::Accepted, 100, 100, 60, true);
    bench.controller.restart(bench.now);
    assert_eq!(bench.controller.share(), 1.0);
    bench.run(Answer::Rejected, 100, 100, 30, true);
    bench.controller.restart(bench.now);
    assert_eq!(bench.controller.share(), 0.5);
}

proptest! {
    /// Whatever is answered, a reject never raises the share, no single answer moves it beyond
    /// its bounds, and the rate stays above nothing and below what the share allows.
    #[test]
    fn no_answer_moves_the_share_beyond_its_bounds(
        answers in prop::collection::vec((any::<bool>(), 0_u64..5000, 0_u64..20_000, any::<bool>()), 1..300),
    ) {
        let mut bench = Bench::new();
        for (rejected, response_ms, gap_ms, pressed) in answers {
            bench.now += Duration::from_millis(gap_ms);
            let before = bench.controller.share();
            let answer = if rejected { Answer::Rejected } else { Answer::Accepted };
            let response = Duration::from_millis(response_ms);
            bench.controller.answered(answer, response, pressed, bench.now);
            let after = bench.controller.share();
            prop_assert!(after.is_finite() && after >= SHARE_LEAST);
            prop_assert!(after <= before * 1.062 && after >= before * 0.86);
            prop_assert!(after <= before || (pressed && !rejected));
            let rate = bench.controller.rate_per_s(2.0);
            prop_assert!(rate > 0.0 && rate <= 2.0 * after.max(ENTITLED));
            let reference = bench.controller.delay();
            prop_assert!(reference.quick_s().is_finite() && reference.quiet().base_s >= 0.0);
        }
    }
}
