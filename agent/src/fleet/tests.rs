use super::*;

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let scenario = Scenario::outage(50, 2.0);
    let run = |seed| simulate(&scenario, Policy::SelfAnchored, seed);
    let first = run(7);
    assert_eq!(first, run(7));
    assert_ne!(first.trace, run(8).trace);
}
