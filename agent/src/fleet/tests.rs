use std::time::Duration;

use super::*;

fn ours(scenario: &Scenario, seed: u64) -> Outcome {
    simulate(scenario, Policy::SelfAnchored, seed)
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let mut scenario = Scenario::outage(50, 2.0);
    scenario.horizon = Duration::from_secs(60);
    let first = ours(&scenario, 7);
    assert_eq!(first, ours(&scenario, 7));
    assert_ne!(first.trace, ours(&scenario, 8).trace);
}

/// The rush itself, with the bounds for a thousand gateways: seeds that nothing was tuned with.
#[test]
fn a_thousand_gateways_come_back_and_the_broker_does_not_notice() {
    for (capacity, seed) in [(2.0, 100), (2.0, 101), (1.2, 100), (1.2, 101)] {
        let mut scenario = Scenario::outage(1000, capacity);
        scenario.horizon = Duration::from_secs(120);
        let outcome = ours(&scenario, seed);
        let told = format!("{capacity} {seed}: {:.3} {:.3}", outcome.peak, outcome.peak_work);
        assert!(outcome.peak <= 1.08 && outcome.peak_work <= 1.12, "{told}");
        assert_eq!(outcome.rejected, 0, "{told}");
        assert!(outcome.peak > 0.95, "the capacity is used: {told}");
    }
}

/// All of it: a quarter of an hour without optimisation, so only in the long run.
#[test]
fn a_thousand_gateways_drain_in_nearly_the_ideal_time() {
    if std::env::var_os("SPILLWAY_FULL").is_none() {
        return;
    }
    for (capacity, seed) in [(2.0, 100), (2.0, 101), (1.2, 100), (1.2, 101)] {
        let outcome = ours(&Scenario::outage(1000, capacity), seed);
        let told = format!("{capacity} {seed}: {:.3} {:?}", outcome.peak, outcome.drained);
        assert!(outcome.peak <= 1.08 && outcome.peak_work <= 1.12, "{told}");
        assert!(outcome.drained.is_some_and(|time| time <= 1.13), "{told}");
        assert_eq!(outcome.rejected, 0, "{told}");
    }
}

#[test]
fn a_small_fleet_drains_and_its_live_and_critical_records_come_long_before_its_backlog() {
    let outcome = ours(&Scenario::outage(40, 2.0), 100);
    assert!(outcome.drained.is_some_and(|time| time < 1.4), "{:?}", outcome.drained);
    assert!(outcome.live.p99_s < 20.0, "{:?}", outcome.live);
    assert!(outcome.critical.p99_s < 150.0, "{:?}", outcome.critical);
    assert!(outcome.backlog.p50_s > 200.0, "{:?}", outcome.backlog);
}

/// What waits leaves in a sixteenth of the messages, and all of it arrives.
#[test]
fn a_backlog_in_bundles_is_a_shorter_one() {
    let alone = Scenario::outage(40, 2.0);
    let together = Scenario { together: 16, ..alone.clone() };
    assert_eq!(together.ideal(), alone.ideal() / 16);
    let (alone, together) = (ours(&alone, 100), ours(&together, 100));
    let seconds = |outcome: &Outcome, ideal_s: f64| outcome.drained.unwrap() * ideal_s;
    assert!(seconds(&together, 37.5) < 0.5 * seconds(&alone, 600.0), "{:?}", together.drained);
    let records = |outcome: &Outcome, until_s: usize| {
        outcome.load.delivered.iter().take(until_s * 10).sum::<f32>()
    };
    let end_s = together.load.delivered.len() / 10;
    let waiting = together.live_per_s as f32 * 600.0;
    assert!(
        records(&together, end_s) > 0.99 * waiting,
        "{} of {waiting}",
        records(&together, end_s)
    );
    assert!(together.offered < alone.offered / 3, "{} {}", together.offered, alone.offered);
}

/// With one request at a time a gateway sends one record a round trip, whatever the broker takes.
#[test]
fn one_request_at_a_time_is_bound_by_the_round_trip() {
    let round_trip = Duration::from_millis(400);
    let many = Scenario {
        own_rate_per_s: (1.0, 1.0),
        heavy_part: 0.0,
        round_trip: (round_trip, round_trip),
        loss: (0.0, 0.0),
        horizon: Duration::from_secs(1200),
        ..Scenario::outage(20, 8.0)
    };
    let one = Scenario { in_flight: 1, ..many.clone() };
    let (many, one) = (ours(&many, 100), ours(&one, 100));
    assert!(
        one.drained.unwrap() > 2.0 * many.drained.unwrap(),
        "{:?}",
        (one.drained, many.drained)
    );
}

#[test]
fn a_naive_fleet_floods_the_same_broker() {
    let mut scenario = Scenario::outage(200, 2.0);
    scenario.horizon = Duration::from_secs(20);
    let outcome = simulate(&scenario, Policy::Naive, 100);
    assert!(outcome.peak > 4.0 && outcome.rejected > outcome.offered / 2, "{}", outcome.peak);
}

/// Whatever happens meanwhile, every gateway gets its records through.
#[test]
fn disturbances_end_in_drained_gateways() {
    let seconds = Duration::from_secs;
    let second = Disturbance::SecondOutage { from: seconds(300), to: seconds(400) };
    let restart = Disturbance::Restart { from: seconds(200), to: seconds(220) };
    let halved = Disturbance::Halved { from: seconds(200), to: seconds(300) };
    for disturbance in [second, restart, halved] {
        let scenario = Scenario { disturbance, ..Scenario::outage(20, 2.0) };
        let outcome = ours(&scenario, 100);
        assert_eq!(outcome.drained_part, 1.0, "{disturbance:?}");
    }
    for limit in [Limit::Policer, Limit::Late(Duration::from_millis(200))] {
        let outcome = ours(&Scenario { limit, ..Scenario::outage(20, 2.0) }, 100);
        assert_eq!(outcome.drained_part, 1.0, "{limit:?}");
    }
}
