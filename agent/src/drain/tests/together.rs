//! Bundles and batches: what leaves together, and what becomes of it.

use std::collections::HashSet;
use std::sync::Mutex;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use spillway_protocol::bundle::Compress;

use super::fake::{Seen, Spec, ids_of};
use super::*;

fn bundled(order: Order) -> config::Lane {
    let bundle =
        config::Bundle { records: 10, bytes: 4096, linger: MS * 200, compress: Compress::Deflate };
    config::Lane { bundle: Some(bundle), ..lane("a", order) }
}

fn spec(key: usize) -> Spec {
    Spec { order_key: Some(format!("key-{key}")), ..Spec::default() }
}

#[test]
fn many_lanes_share_what_is_leased_ahead_but_a_group_always_fits() {
    let stocks = |count: usize| {
        let mut lanes = vec![bundled(Order::None); count];
        let large =
            lanes[0].bundle.clone().map(|bundle| config::Bundle { bytes: 512 << 10, ..bundle });
        lanes.push(config::Lane { bundle: large, ..lane("b", Order::None) });
        let options = Options { ahead_bytes: 2 << 20, ..options(lanes) };
        [0, count].map(|lane| options.stock_bytes(&options.lanes[lane]) >> 10)
    };
    assert_eq!([1, 3, 63].map(stocks), [[1024, 1024], [512, 512], [64, 512]]);
}

/// The online link without history: groups from the first record on.
async fn online(handle: &DrainHandle) {
    until(handle, LinkState::Online).await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_in_order_sends_a_bundle_a_round_trip_and_keeps_its_order() {
    let options = options(vec![bundled(Order::Lane)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, _| (MS * 100, delivered()));
    let handle = spawn(options, &queue, &upstream);
    online(&handle).await;
    queue.fill(0, 1000);
    let took = drained(&queue, SECOND * 30).await;
    assert!(took < SECOND * 14, "{took:?} for 100 round trips of 100 ms");
    let seen = upstream.seen();
    let places: Vec<String> = seen.into_iter().flat_map(|seen| seen.ids).collect();
    assert_eq!(places, (0..1000).map(|n| format!("0-{n}")).collect::<Vec<_>>());
    assert_eq!(queue.delivered().len(), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_bundle_in_flight_counts_with_its_records_and_not_only_its_bytes() {
    let options = Options { in_flight_bytes: 32 << 10, ..options(vec![bundled(Order::None)]) };
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, _| (MS * 100, delivered()));
    let handle = spawn(options, &queue, &upstream);
    online(&handle).await;
    queue.fill(0, 1000);
    drained(&queue, SECOND * 30).await;
    // Ten records are 5 KiB at least, and one topic may have 24 and what it begins below them.
    let most = *upstream.most_in_flight.lock().unwrap();
    assert!((2..=5).contains(&most), "{most}");
}

#[tokio::test(start_paused = true)]
async fn keys_are_bundled_each_for_itself_side_by_side() {
    let options = options(vec![bundled(Order::Key)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, _| (MS * 100, delivered()));
    let handle = spawn(options, &queue, &upstream);
    online(&handle).await;
    (0..1000).for_each(|n| queue.submit(0, spec(n % 20)));
    drained(&queue, SECOND * 30).await;
    let seen = upstream.seen();
    assert!(seen.len() < 250, "{}", seen.len());
    assert!(*upstream.most_in_flight.lock().unwrap() > 5);
    for key in 0..20 {
        let name = Some(format!("key-{key}"));
        let of_key = seen.iter().filter(|seen| seen.order_key == name);
        let ids: Vec<_> = of_key.flat_map(|seen| seen.ids.clone()).collect();
        let expected = (key..1000).step_by(20).map(|n| format!("0-{n}")).collect::<Vec<_>>();
        assert_eq!(ids, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bundle_has_one_topic_and_tag_and_keeps_its_bounds() {
    let options = options(vec![bundled(Order::None)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|message, _| {
        let expected = message.tag.as_ref().map(|tag| tag.as_str().to_owned());
        for id in ids_of(message) {
            let place: usize = id[2..].parse().unwrap();
            assert_eq!(expected.as_deref(), [None, Some("t1"), Some("t2")][place % 3]);
        }
        (MS * 50, delivered())
    });
    let handle = spawn(options, &queue, &upstream);
    online(&handle).await;
    for n in 0..300 {
        let tag = [None, Some("t1".to_owned()), Some("t2".to_owned())][n % 3].clone();
        let bytes = if n < 150 { 10 } else { 1500 };
        queue.submit(0, Spec { tag, bytes, ..Spec::default() });
    }
    drained(&queue, SECOND * 30).await;
    let seen = upstream.seen();
    let bytes = |id: &String| if id[2..].parse::<usize>().unwrap() < 150 { 10 } else { 1500 };
    let sums = seen.iter().map(|seen| seen.ids.iter().map(bytes).sum::<usize>());
    assert!(sums.max().unwrap() <= 4096);
    assert_eq!(seen.iter().map(|seen| seen.ids.len()).max(), Some(10));
}

#[tokio::test(start_paused = true)]
async fn a_lone_record_lingers_and_leaves_as_an_ordinary_message() {
    let options = options(vec![bundled(Order::Lane)]);
    let queue = queue(&options);
    let plain = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&plain);
    let upstream = FakeUpstream::new(move |message, _| {
        let flagged = message.properties.iter().any(|(name, _)| name == "sw_flags");
        noted.lock().unwrap().push((message.id.to_string(), flagged));
        (MS * 10, delivered())
    });
    let handle = spawn(options, &queue, &upstream);
    online(&handle).await;
    sleep(SECOND).await;
    let begun = upstream.start_elapsed();
    queue.submit(0, Spec::default());
    drained(&queue, SECOND).await;
    let left = upstream.seen()[0].at - begun;
    assert!((MS * 200..MS * 260).contains(&left), "{left:?}");
    // Those that come meanwhile go along; a whole bundle waits for nothing.
    queue.submit(0, Spec::default());
    sleep(MS * 100).await;
    queue.submit(0, Spec::default());
    drained(&queue, SECOND).await;
    let full = upstream.start_elapsed();
    queue.fill(0, 10);
    drained(&queue, SECOND).await;
    let seen = upstream.seen();
    let counts: Vec<usize> = seen.iter().map(|seen| seen.ids.len()).collect();
    assert_eq!(counts, [1, 2, 10]);
    assert!(seen[2].at - full < MS * 150, "{:?}", seen[2].at - full);
    let expected = [("0-0", false), ("0-1", true), ("0-3", true)].map(|(id, b)| (id.to_owned(), b));
    assert_eq!(*plain.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn only_the_bad_record_of_a_refused_bundle_is_dead_and_nothing_is_held() {
    for order in [Order::None, Order::Key, Order::Lane] {
        let options = options(vec![bundled(order)]);
        let queue = queue(&options);
        let upstream = FakeUpstream::new(|message, _| {
            let bad = ids_of(message).iter().any(|id| id.ends_with("-37"));
            (MS * 20, if bad { refused("own", true) } else { delivered() })
        });
        let handle = spawn(options, &queue, &upstream);
        online(&handle).await;
        (0..200).for_each(|n| queue.submit(0, spec(n % 2)));
        drained(&queue, SECOND * 60).await;
        assert_eq!(queue.dead(), [(0, 37, "own".to_owned())], "{order:?}");
        let status = handle.status();
        assert!(status.lanes[0].hold.is_none(), "{:?}", status.lanes[0]);
        let alone = upstream.seen().iter().filter(|seen| seen.ids.len() == 1).count();
        assert!((2..=22).contains(&alone), "{order:?}: {alone} were sent alone");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_of_a_bundle_comes_again_and_stays_in_order() {
    let options = options(vec![bundled(Order::Lane)]);
    let queue = queue(&options);
    let mut count = 0;
    let upstream = FakeUpstream::new(move |_, _| {
        count += 1;
        let reason = "no answer".to_owned();
        match count % 4 {
            0 => (MS * 20, Outcome::Unknown { reason, link: count % 8 == 0 }),
            _ => (MS * 20, delivered()),
        }
    });
    let handle = spawn(options, &queue, &upstream);
    online(&handle).await;
    queue.fill(0, 300);
    drained(&queue, SECOND * 4000).await;
    let delivered: Vec<usize> = queue.delivered().into_iter().map(|(_, at)| at).collect();
    assert_eq!(delivered, (0..300).collect::<Vec<_>>());
    assert!(queue.dead().is_empty());
    handle.stop(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_carries_whole_messages_and_its_bad_one_is_found() {
    let batch = Some(config::Batch { records: 16 });
    let options = options(vec![config::Lane { batch, ..lane("a", Order::None) }]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|message, _| {
        let bad = message.id.as_str() == "0-37";
        (MS * 20, if bad { refused("own", true) } else { delivered() })
    });
    let handle = spawn(options, &queue, &upstream);
    online(&handle).await;
    queue.fill(0, 200);
    drained(&queue, SECOND * 60).await;
    assert_eq!(queue.dead(), [(0, 37, "own".to_owned())]);
    let sizes = upstream.batches.lock().unwrap().clone();
    assert!(sizes.contains(&16) && sizes.iter().all(|size| *size <= 16), "{sizes:?}");
    handle.stop(SECOND).await;
}

/// Runs a seeded script over lanes of all three orders, all with bundles.
async fn run(seed: u64) -> (Vec<Seen>, FakeQueue) {
    let mut rng = StdRng::seed_from_u64(seed);
    let orders = [Order::None, Order::Key, Order::Lane];
    let lanes = ["a", "b", "c"]
        .iter()
        .zip(orders)
        .map(|(name, order)| config::Lane { bundle: bundled(order).bundle, ..lane(name, order) });
    let mut options = options(lanes.collect());
    options.drain.reconnect_spread = Some(SECOND);
    options.backoff.max = SECOND * 10;
    let queue = queue(&options);
    for n in 0..600 {
        let tag = rng.random_bool(0.1).then(|| "t".to_owned());
        queue.submit(n % 3, Spec { tag, bytes: rng.random_range(1..900), ..spec(n % 5) });
    }
    let upstream = FakeUpstream::new(move |message, at| {
        let reason = "trouble".to_owned();
        let outcome = match rng.random_range(0..100) {
            _ if ids_of(message).iter().any(|id| id.starts_with("0-") && id.ends_with("55")) => {
                refused("own", true)
            }
            _ if at > SECOND * 120 => delivered(),
            0 => link_down(),
            1..5 => Outcome::Unknown { reason, link: true },
            5..9 => Outcome::Unknown { reason, link: false },
            9..14 => Outcome::Throttled { after: None, reason },
            14..18 => refused("ambiguous", false),
            _ => delivered(),
        };
        (MS * rng.random_range(1..300), outcome)
    });
    let handle = spawn(options, &queue, &upstream);
    drained(&queue, SECOND * 20_000).await;
    handle.stop(SECOND).await;
    (upstream.seen(), queue)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Everything is settled once; what the far end sees of one order never goes back behind a
    /// record that was not sent yet.
    #[test]
    fn with_bundles_too_nothing_is_lost_and_order_is_kept(seed: u64) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        let (seen, queue) = runtime.block_on(run(seed));
        let delivered = queue.delivered();
        let settled: HashSet<_> =
            delivered.iter().copied().chain(queue.dead().into_iter().map(|(l, at, _)| (l, at))).collect();
        prop_assert_eq!((settled.len(), queue.leased()), (600, 0));
        prop_assert_eq!(delivered.len() + queue.dead().len(), 600);
        for lane in [1, 2] {
            // The first sight of each record of one order is in order.
            let mut newest = std::collections::BTreeMap::new();
            for seen in &seen {
                for id in seen.ids.iter().filter(|id| id.starts_with(&format!("{lane}-"))) {
                    let at: usize = id[2..].parse().unwrap();
                    let last = newest.entry(seen.order_key.clone()).or_insert(0);
                    let step = if lane == 1 { 5 } else { 1 };
                    prop_assert!(at <= *last + step, "{lane}-{at} overtook what follows {last}");
                    *last = at.max(*last);
                }
            }
        }
    }
}
