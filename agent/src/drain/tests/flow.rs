//! Pace, outages, shares, order, stopping.

use super::fake::{Spec, lane_of, place_of};
use super::*;

#[tokio::test(start_paused = true)]
async fn a_fresh_install_sends_its_first_record_at_once_and_grows_from_what_its_backlog_says() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, _| (MS * 50, delivered()));
    queue.fill(0, 2000);
    let handle = spawn(options, &queue, &upstream);
    drained(&queue, SECOND * 20).await;
    assert!(upstream.seen()[0].at < MS * 10);
    // 2,000 at once count as made within ten seconds.
    assert!((150..=230).contains(&upstream.sends_between(0.0, 1.0)), "its own rate");
    assert!((230..=510).contains(&upstream.sends_between(5.0, 6.0)), "more");
    assert_eq!(queue.delivered().len(), 2000);
    assert_eq!(handle.status().link.state, LinkState::Online);
    sleep(SECOND).await;
    assert_eq!(*upstream.flowing.lock().unwrap(), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_start_with_a_history_waits_for_its_slot() {
    let options = Options { fresh: false, ..options(vec![lane("a", Order::None)]) };
    let slot = spread::slot(spread::place(&options.gateway), spread::window(None, 1.0));
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, _| (MS, delivered()));
    queue.fill(0, 1);
    let handle = spawn(options, &queue, &upstream);
    let first = handle.status().first_send_in_s.unwrap();
    assert_eq!(first, slot.as_secs_f64().ceil() as u64);
    drained(&queue, SECOND * 31).await;
    assert!(upstream.seen()[0].at >= slot && upstream.seen()[0].at < slot + MS * 10);
    assert_eq!(handle.status().first_send_in_s, None);
}

#[tokio::test(start_paused = true)]
async fn an_outage_costs_no_attempts_is_probed_one_by_one_and_ends_in_a_slot_and_a_ramp() {
    let mut options = options(vec![lane("a", Order::None)]);
    // Its place is late in the window.
    options.gateway = "gw-0043".to_owned();
    options.drain.reconnect_spread = Some(SECOND * 300);
    let slot = spread::slot(spread::place(&options.gateway), SECOND * 300);
    let queue = queue(&options);
    let up = |at: Duration| !(10..400).contains(&at.as_secs());
    let upstream = FakeUpstream::reachable(up, move |_, at| match up(at) {
        true => (MS * 50, delivered()),
        false => (MS * 50, link_down()),
    });
    let handle = spawn(options, &queue, &upstream);
    let mut connection = handle.connection();
    until(&handle, LinkState::Online).await;
    assert_eq!(*connection.borrow_and_update(), Connection { up: true, session: 1 });
    sleep(SECOND * 12).await;
    queue.fill(0, 1000);
    until(&handle, LinkState::Offline).await;
    connection.changed().await.unwrap();
    assert_eq!(*connection.borrow_and_update(), Connection { up: false, session: 1 });
    sleep(SECOND * 60).await;
    let status = handle.status();
    assert!(status.link.next_attempt_in_s.is_some() && status.link.since_s >= 59);
    assert!(status.link.reason.contains("no route"));
    until(&handle, LinkState::Ramping).await;
    let back = upstream.start_elapsed();
    assert!(handle.status().first_send_in_s.is_some());
    connection.changed().await.unwrap();
    assert_eq!(*connection.borrow_and_update(), Connection { up: true, session: 2 });
    drained(&queue, SECOND * 500).await;
    assert_eq!(queue.most_attempts(), 0);
    assert!(upstream.sends_between(13.0, 400.0) < 50, "probes, one by one");
    let seen = upstream.seen();
    let first = seen.iter().find(|seen| seen.at > back).unwrap();
    // The slot counts from the last probe that failed.
    assert!(first.at > back && first.at <= back + slot + MS * 20, "{first:?} {back:?} {slot:?}");
    let flow = first.at.as_secs_f64();
    assert!(upstream.sends_between(flow, flow + 1.0) <= 12, "its own rate");
    assert_eq!(handle.status().link.state, LinkState::Online);
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_far_end_is_probed_for_ever_without_records() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::reachable(|_| false, |_, _| (MS, link_down()));
    let handle = spawn(options, &queue, &upstream);
    sleep(SECOND * 3600).await;
    let link = handle.status().link;
    assert!(matches!(link.state, LinkState::Offline | LinkState::Probing));
    assert_eq!((link.since_s, link.reason.as_str()), (3600, "no route"));
    assert!(upstream.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_an_upstream_records_wait_and_the_link_says_so() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    queue.fill(0, 10);
    let clock = Arc::new(SystemClock);
    let handle = Drain::spawn(options, Arc::new(queue.clone()), None, 1, clock);
    sleep(SECOND * 100).await;
    assert_eq!(handle.status().link.state, LinkState::Unconfigured);
    assert_eq!((queue.waiting(), queue.leased()), (10, 0));
    handle.stop(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_throttle_slows_the_pace_and_costs_no_attempt() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let (mut second, mut count) = (0, 0);
    // A policer of 100 a second.
    let upstream = FakeUpstream::new(move |_, at| {
        if at.as_secs() != second {
            (second, count) = (at.as_secs(), 0);
        }
        count += 1;
        let reason = "QpsLimitExceeded".to_owned();
        match count {
            0..=100 => (MS * 50, delivered()),
            _ => (MS * 50, Outcome::Throttled { after: None, reason }),
        }
    });
    queue.fill(0, 3000);
    spawn_and_drain(options, &queue, &upstream, SECOND * 100).await;
    let wasted = upstream.seen().len() - 3000;
    assert!(wasted < 900, "{wasted} throttled");
    assert_eq!(queue.most_attempts(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_long_retry_after_pauses_its_topic_and_no_other() {
    let options = options(vec![lane("a", Order::None), lane("b", Order::None)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|message, at| {
        let after = Some(SECOND * 60);
        match lane_of(message) == 0 && at < SECOND * 50 {
            true => (MS * 20, Outcome::Throttled { after, reason: "busy".to_owned() }),
            false => (MS * 20, delivered()),
        }
    });
    queue.fill(0, 50);
    queue.fill(1, 200);
    let handle = spawn(options, &queue, &upstream);
    sleep(SECOND * 55).await;
    assert_eq!(queue.delivered().len(), 200, "the other lane");
    let paused = upstream.seen().iter().filter(|seen| seen.id.starts_with("0-")).count();
    assert!(paused <= 2, "{paused} sends to the busy topic");
    drained(&queue, SECOND * 120).await;
    handle.stop(SECOND).await;
}

async fn spawn_and_drain(
    options: Options,
    queue: &FakeQueue,
    upstream: &Arc<FakeUpstream>,
    limit: Duration,
) -> Duration {
    let handle = spawn(options, queue, upstream);
    let took = drained(queue, limit).await;
    handle.stop(SECOND).await;
    took
}

#[tokio::test(start_paused = true)]
async fn configured_rates_are_upper_bounds_without_adaptation() {
    let mut options = options(vec![lane("a", Order::None)]);
    options.drain.adaptive = false;
    options.drain.records_per_second = Some(20);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, _| (MS * 200, delivered()));
    queue.fill(0, 200);
    let took = spawn_and_drain(options, &queue, &upstream, SECOND * 20).await;
    assert!((9.5..10.5).contains(&took.as_secs_f64()), "{took:?}");
    for second in 0..9 {
        assert!(upstream.sends_between(f64::from(second), f64::from(second + 1)) <= 23);
    }
}

#[tokio::test(start_paused = true)]
async fn many_are_in_flight_but_never_more_than_the_bound() {
    let mut options = options(vec![lane("a", Order::None)]);
    options.drain.adaptive = false;
    options.drain.bytes_per_second = 1 << 30;
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, _| (SECOND, delivered()));
    queue.fill(0, 500);
    let took = spawn_and_drain(options, &queue, &upstream, SECOND * 20).await;
    let most = *upstream.most_in_flight.lock().unwrap();
    assert!((48..=64).contains(&most), "{most}");
    assert!(took < SECOND * 13, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn smaller_priorities_overtake_and_leave_the_share() {
    let mut first = lane("a", Order::None);
    let second = lane("b", Order::None);
    first.priority = 0;
    let mut options = options(vec![second, first]);
    options.drain.adaptive = false;
    options.drain.records_per_second = Some(100);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, _| (MS * 20, delivered()));
    queue.fill(0, 1000);
    queue.fill(1, 1000);
    let handle = spawn(options, &queue, &upstream);
    sleep(SECOND * 10).await;
    let ids = upstream.seen();
    let low = ids.iter().filter(|seen| seen.id.starts_with("0-")).count();
    assert!((40..=60).contains(&low), "{low} of {}", ids.len());
    handle.stop(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_lane_and_a_slow_topic_do_not_hold_up_the_others() {
    let options = options(vec![lane("a", Order::None), lane("b", Order::None)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|message, at| {
        let slow = lane_of(message) == 0 || message.topic.as_str() == "slow";
        let slow = slow && at > SECOND;
        (if slow { SECOND * 30 } else { MS * 20 }, delivered())
    });
    queue.fill(0, 500);
    for _ in 0..30 {
        let topic = Some("slow".to_owned());
        queue.submit(1, Spec { topic, ..Spec::default() });
    }
    queue.fill(1, 500);
    let handle = spawn(options, &queue, &upstream);
    sleep(SECOND * 25).await;
    let fast = queue.delivered().iter().filter(|(lane, _)| *lane == 1).count();
    assert!(fast >= 500, "{fast}");
    handle.stop(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn order_keys_are_what_the_lanes_order_asks_for() {
    let lanes = vec![lane("a", Order::None), lane("b", Order::Key), lane("c", Order::Lane)];
    let options = options(lanes);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, _| (MS, delivered()));
    for lane in 0..3 {
        let order_key = Some("k".to_owned());
        queue.submit(lane, Spec { order_key, ..Spec::default() });
        queue.submit(lane, Spec::default());
    }
    spawn_and_drain(options, &queue, &upstream, SECOND * 10).await;
    let mut keys: Vec<_> = upstream.seen().into_iter().map(|s| (s.id, s.order_key)).collect();
    keys.sort();
    let keys: Vec<_> = keys.iter().map(|(_, key)| key.as_deref()).collect();
    let gateway = Some("gw-0042");
    assert_eq!(keys, [None, None, Some("k"), gateway, gateway, gateway]);
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_requests_finish_within_the_grace_and_loses_nothing() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|message, _| {
        let latency = if place_of(message).is_multiple_of(2) { SECOND } else { SECOND * 100 };
        (latency, delivered())
    });
    queue.fill(0, 1000);
    let handle = spawn(options, &queue, &upstream);
    sleep(SECOND * 3).await;
    let (sent, start) = (upstream.seen().len(), Instant::now());
    handle.stop(SECOND * 5).await;
    assert_eq!(start.elapsed(), SECOND * 5);
    assert_eq!(upstream.seen().len(), sent, "nothing new");
    let even = upstream.seen().iter().filter(|s| s.id.ends_with(['0', '2', '4', '6', '8'])).count();
    assert_eq!(queue.delivered().len(), even);
    assert_eq!((queue.leased(), queue.waiting()), (0, 1000 - even));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_comes_while_idle_leaves_at_once() {
    let options = options(vec![lane("a", Order::Lane)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, _| (MS, delivered()));
    let handle = spawn(options, &queue, &upstream);
    until(&handle, LinkState::Online).await;
    for _ in 0..5 {
        sleep(SECOND * 60).await;
        queue.fill(0, 1);
        let start = Instant::now();
        drained(&queue, SECOND).await;
        assert!(start.elapsed() <= MS * 50);
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_cannot_be_read_is_asked_a_few_times_a_second() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, _| (MS, delivered()));
    queue.set_unreadable(true);
    queue.fill(0, 10);
    let handle = spawn(options, &queue, &upstream);
    for _ in 0..1000 {
        sleep(MS * 10).await;
        queue.fill(0, 1);
    }
    assert!((20..60).contains(&queue.leases(0)), "{} in ten seconds", queue.leases(0));
    queue.set_unreadable(false);
    drained(&queue, SECOND * 15).await;
    handle.stop(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_lane_is_not_leased_for_what_happens_in_another() {
    let options = options(vec![lane("a", Order::None), lane("b", Order::None)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, _| (MS, delivered()));
    queue.fill(1, 1000);
    let handle = spawn(options, &queue, &upstream);
    drained(&queue, SECOND * 20).await;
    assert!(queue.leases(0) < 5, "{} leases", queue.leases(0));
    queue.fill(0, 1);
    drained(&queue, SECOND).await;
    handle.stop(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_lane_sends_nothing_new_until_it_goes_on() {
    let options = options(vec![lane("a", Order::None), lane("b", Order::None)]);
    let (queue, paused) = (queue(&options), options.lanes[0].name.clone());
    let upstream = FakeUpstream::new(|_, _| (MS * 100, delivered()));
    let handle = spawn(options, &queue, &upstream);
    until(&handle, LinkState::Online).await;
    handle.pause(&paused, true);
    queue.fill(0, 20);
    queue.fill(1, 20);
    sleep(SECOND * 100).await;
    assert_eq!(queue.delivered().iter().filter(|(lane, _)| *lane == 0).count(), 0);
    assert_eq!(queue.delivered().len(), 20, "the other one went on");
    handle.pause(&paused, false);
    drained(&queue, SECOND * 100).await;
}

/// On threads of its own, and in real time: the driver keeps the one on which it hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_hangs_is_seen_and_one_that_waits_is_well() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let handle = spawn(options, &queue, &FakeUpstream::new(|_, _| (MS, delivered())));
    let hangs = |least| handle.busy().is_some_and(|time| time >= least);
    while hangs(MS * 20) {
        std::thread::sleep(MS);
    }
    let answers = queue.hang();
    handle.run().shared.poke.notify_one();
    while !hangs(MS * 20) {
        std::thread::sleep(MS);
    }
    drop(answers);
    while hangs(Duration::ZERO) {
        std::thread::sleep(MS);
    }
}
