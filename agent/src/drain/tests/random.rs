//! Properties over random scripts: nothing is lost, order is kept, runs repeat.

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::fake::{Seen, Spec, lane_of};
use super::*;
use crate::upstream::Scope;

const LANES: [Order; 3] = [Order::None, Order::Key, Order::Lane];
/// After this the far end is well.
const TROUBLE: Duration = Duration::from_secs(120);

/// Anything may happen while there is trouble; what is plainly wrong stays so.
fn outcome(rng: &mut StdRng, at: Duration, wrong: bool) -> Outcome {
    if wrong {
        return refused("own", true);
    }
    if at > TROUBLE {
        return delivered();
    }
    let reason = "trouble".to_owned();
    let misconfigured =
        |scope, code| Outcome::Misconfigured { scope, code, reason: "trouble".to_owned() };
    match rng.random_range(0..100) {
        0 => link_down(),
        1..4 => Outcome::Unknown { reason, link: true },
        4..8 => Outcome::Unknown { reason, link: false },
        8..14 => Outcome::Throttled { after: rng.random_bool(0.2).then_some(SECOND), reason },
        14..24 => refused("ambiguous", false),
        24 => misconfigured(Scope::Topic, "topic_missing"),
        25 => misconfigured(Scope::Link, "credentials"),
        26..28 => Outcome::OtherKey { reason },
        _ => delivered(),
    }
}

/// Runs a seeded script to its end: what the far end saw, the queue, and when it was drained.
async fn run(seed: u64) -> (Vec<Seen>, FakeQueue, Duration) {
    let mut rng = StdRng::seed_from_u64(seed);
    let names = ["a", "b", "c"];
    let lanes: Vec<_> = names.iter().zip(LANES).map(|(n, order)| lane(n, order)).collect();
    let mut options = options(lanes);
    options.drain.reconnect_spread = Some(SECOND * 2);
    options.backoff.max = SECOND * 10;
    let queue = queue(&options);
    for n in 0..240 {
        let order_key = rng.random_bool(0.9).then(|| format!("key-{}", rng.random_range(0..5)));
        queue.submit(n % 3, Spec { order_key, ..Spec::default() });
    }
    let mut script = StdRng::seed_from_u64(seed ^ 1);
    let upstream = FakeUpstream::new(move |message, at| {
        let latency = MS * script.random_range(1..400);
        let wrong = lane_of(message) == 0 && message.id.as_str().ends_with('7');
        (latency, outcome(&mut script, at, wrong))
    });
    let handle = spawn(options, &queue, &upstream);
    let took = drained(&queue, SECOND * 20_000).await;
    handle.stop(SECOND).await;
    (upstream.seen(), queue, took)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(future)
}

/// Settled in order: within a key, or within the lane.
fn in_order(queue: &FakeQueue, seen: &[Seen], lane: usize) -> bool {
    let prefix = format!("{lane}-");
    let mut last_of_key = std::collections::BTreeMap::new();
    seen.iter().filter(|seen| seen.id.starts_with(&prefix)).all(|seen| {
        let place: usize = seen.id[prefix.len()..].parse().unwrap();
        let last = last_of_key.insert(seen.order_key.clone(), place);
        last.is_none_or(|last| last <= place)
    }) && queue.leased() == 0
}

/// Deferred records that are due, behind a full stock of held ones: once a loop without end.
#[test]
fn due_records_behind_a_full_stock_do_not_keep_the_loop_busy() {
    let (_, queue, _) = block_on(run(9_278_966_705_694_081_250));
    assert_eq!(queue.waiting(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// delivered + dead + waiting = submitted, nothing twice; records of one key go one after
    /// the other and never back (that none are in flight together the far end asserts).
    #[test]
    fn nothing_is_lost_and_order_is_kept(seed: u64) {
        let (seen, queue, _) = block_on(run(seed));
        let delivered = queue.delivered().into_iter();
        let dead = queue.dead().into_iter().map(|(lane, at, _)| (lane, at));
        let mut settled: Vec<_> = delivered.chain(dead).collect();
        settled.sort_unstable();
        settled.dedup();
        prop_assert_eq!(settled.len(), 240);
        prop_assert_eq!(queue.delivered().len() + queue.dead().len(), 240);
        prop_assert!(in_order(&queue, &seen, 1), "by key");
        prop_assert!(in_order(&queue, &seen, 2), "by lane");
    }

    /// The same seed and the same answers give the same run, to the millisecond.
    #[test]
    fn a_run_repeats_itself(seed: u64) {
        let first = block_on(run(seed));
        let second = block_on(run(seed));
        prop_assert_eq!(first.0, second.0);
        prop_assert_eq!(first.2, second.2);
    }
}
