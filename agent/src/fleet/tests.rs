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
