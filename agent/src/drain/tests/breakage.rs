//! Silence, broken connections, and panics: what the transport does rather than what it answers.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures::FutureExt;
use futures::future::BoxFuture;
use spillway_protocol::message::Message;

use super::fake::Spec;
use super::*;
use crate::drain::state::State;
use crate::drain::{Ended, mute_reason};
use crate::pace::Standing;
use crate::upstream::Finding;

#[tokio::test(start_paused = true)]
async fn a_far_end_that_falls_silent_is_offline_after_five_seconds() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::reachable(
        |at| !(10..100).contains(&at.as_secs()),
        |_, at| match (10..100).contains(&at.as_secs()) {
            true => {
                let reason = "deadline".to_owned();
                (SECOND * 5, Outcome::Unknown { reason, link: true })
            }
            false => (MS * 20, delivered()),
        },
    );
    let handle = spawn(options, &queue, &upstream);
    sleep(SECOND * 9).await;
    queue.fill(0, 2000);
    until(&handle, LinkState::Offline).await;
    assert!(upstream.start_elapsed() < SECOND * 20);
    assert!(handle.status().link.reason.contains("without an answer"));
    drained(&queue, SECOND * 400).await;
    assert_eq!((queue.delivered().len(), queue.most_attempts()), (2000, 0));
}

/// Panics once, then works.
struct Broken(AtomicBool);

impl Upstream for Broken {
    fn send<'a>(&'a self, _message: &'a Message) -> BoxFuture<'a, Outcome> {
        assert!(self.0.swap(true, Relaxed), "as arranged");
        async { delivered() }.boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
        async { Ok(()) }.boxed()
    }

    fn inspect<'a>(&'a self, _topic: &'a Topic, _ordered: bool) -> BoxFuture<'a, Vec<Finding>> {
        async { Vec::new() }.boxed()
    }

    fn clock_offset_s(&self) -> Option<i64> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_transport_loses_no_record_and_does_not_end_the_drain() {
    let options = options(vec![lane("a", Order::Lane)]);
    let queue = queue(&options);
    queue.fill(0, 5);
    let upstream = Arc::new(Broken(AtomicBool::new(false)));
    let source = Arc::new(queue.clone());
    let handle = Drain::spawn(options, source, Some(upstream), 1, Arc::new(SystemClock));
    drained(&queue, SECOND * 30).await;
    assert_eq!(queue.delivered().len(), 5);
    assert!(handle.status().lanes[0].last_error.as_ref().unwrap().contains("panicked"));
}

#[tokio::test(start_paused = true)]
async fn panics_of_the_transport_are_no_proof_of_the_link() {
    struct Always;
    impl Upstream for Always {
        fn send<'a>(&'a self, _message: &'a Message) -> BoxFuture<'a, Outcome> {
            panic!("as arranged")
        }
        fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
            async { Err("unreachable".to_owned()) }.boxed()
        }
        fn inspect<'a>(&'a self, _topic: &'a Topic, _order: bool) -> BoxFuture<'a, Vec<Finding>> {
            async { Vec::new() }.boxed()
        }
        fn clock_offset_s(&self) -> Option<i64> {
            None
        }
    }
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    queue.fill(0, 5);
    let source = Arc::new(queue.clone());
    let handle = Drain::spawn(options, source, Some(Arc::new(Always)), 1, Arc::new(SystemClock));
    for _ in 0..600 {
        sleep(MS * 100).await;
        let state = handle.status().link.state;
        assert!(matches!(state, LinkState::Offline | LinkState::Probing), "{state:?}");
    }
    assert_eq!(queue.waiting(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_drain_itself_is_seen() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, _| (MS, delivered()));
    let handle = spawn(options, &queue, &upstream);
    until(&handle, LinkState::Online).await;
    queue.set_broken();
    queue.fill(0, 1);
    assert_eq!(handle.ended().await, Ended::Failed);
    let link = handle.status().link;
    assert_eq!((link.state, link.next_attempt_in_s), (LinkState::Offline, None));
    assert_eq!(link.reason, "the drain failed; see the log");
    handle.stop(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_was_stopped_has_not_failed() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, _| (MS, delivered()));
    let handle = spawn(options, &queue, &upstream);
    handle.stop(SECOND).await;
    assert_eq!(handle.ended().await, Ended::Stopped);
}

fn silence() -> Outcome {
    Outcome::Unknown { reason: "deadline".to_owned(), link: true }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_breaks_the_connection_stops_nobody_else() {
    for order in [Order::None, Order::Key, Order::Lane] {
        let options = options(vec![lane("a", order), lane("b", Order::None)]);
        let queue = queue(&options);
        let upstream = FakeUpstream::new(move |message, at| {
            match message.id.as_str() == "0-0" && at < SECOND * 7200 {
                true => (SECOND, silence()),
                false => (MS * 20, delivered()),
            }
        });
        for n in 0..50 {
            let order_key = Some(format!("key-{}", n % 5));
            queue.submit(0, Spec { order_key, ..Spec::default() });
        }
        queue.fill(1, 50);
        let handle = spawn(options, &queue, &upstream);
        sleep(SECOND * 300).await;
        let others = match order {
            Order::None => 49,
            Order::Key => 40,
            Order::Lane => 0,
        };
        assert_eq!(queue.delivered().len(), others + 50, "{order:?}");
        let status = handle.status();
        assert!(matches!(status.link.state, LinkState::Online), "{:?}", status.link);
        let error = status.lanes[0].last_error.as_ref().unwrap();
        assert!(error.contains("this record breaks the connection"), "{error}");
        assert_eq!(status.lanes[0].held_keys, u64::from(order == Order::Key));
        let hold = status.lanes[0].hold.as_ref().map(|hold| hold.code.as_str());
        assert_eq!(hold, (order == Order::Lane).then_some("connection"));
        sleep(SECOND * 6900).await;
        let tries = upstream.seen().iter().filter(|seen| seen.id == "0-0").count();
        assert!(tries < 25, "{tries} tries in two hours");
        drained(&queue, SECOND * 1000).await;
        assert_eq!((queue.dead().len(), queue.most_attempts()), (0, 0));
        assert_eq!(handle.status().lanes[0].hold, None);
    }
}

#[tokio::test(start_paused = true)]
async fn several_records_that_break_the_connection_stop_nobody_behind_them() {
    for order in [Order::None, Order::Key] {
        let options = Options { fresh: false, ..options(vec![lane("a", order)]) };
        let queue = queue(&options);
        let breaks = |id: &str| id.strip_prefix("0-").unwrap().parse::<u32>().unwrap() < 6;
        let upstream = FakeUpstream::new(move |message, _| match breaks(message.id.as_str()) {
            true => (MS * 2, silence()),
            false => (MS * 20, delivered()),
        });
        for n in 0..26 {
            let order_key = Some(format!("key-{n}"));
            queue.submit(0, Spec { order_key, ..Spec::default() });
        }
        let handle = spawn(options, &queue, &upstream);
        sleep(SECOND * 900).await;
        assert_eq!(queue.delivered().len(), 20, "{order:?}");
        let status = handle.status();
        assert!(matches!(status.link.state, LinkState::Online), "{:?}", status.link);
    }
}

/// A load balancer before a broker that is gone: it takes connections, and cuts each request.
#[tokio::test(start_paused = true)]
async fn a_far_end_that_cuts_every_request_is_offline_and_no_record_is_to_blame() {
    for order in [Order::None, Order::Key] {
        let options = options(vec![lane("a", order), lane("b", Order::None)]);
        let queue = queue(&options);
        let upstream = FakeUpstream::new(move |_, at| match (10..3600).contains(&at.as_secs()) {
            true => (MS * 2, silence()),
            false => (MS * 20, delivered()),
        });
        let handle = spawn(options, &queue, &upstream);
        sleep(SECOND * 20).await;
        for n in 0..30 {
            let order_key = Some(format!("key-{}", n % 15));
            queue.submit(0, Spec { order_key, ..Spec::default() });
        }
        queue.fill(1, 30);
        let (mut away, mut mute) = (0, None);
        for second in 0..3480 {
            sleep(SECOND).await;
            let link = handle.status().link;
            let since = link.since_s + 60;
            let down = matches!(link.state, LinkState::Offline | LinkState::Probing);
            away += u32::from(down);
            // What is up for a moment, on a connection's word, ends no outage.
            assert!(!down || second < 120 || since >= second, "{order:?}: {link:?} at {second}");
            if down {
                mute = Some(mute_reason(&link).is_some());
            }
        }
        assert!(away > 3300, "{order:?}: away for {away} s of 3,480");
        assert_eq!(mute, Some(true), "the reason says that no record is answered");
        let tries = upstream.seen().len();
        assert!(tries < 300, "{order:?}: {tries} tries in an hour");
        drained(&queue, SECOND * 1800).await;
        assert_eq!((queue.delivered().len(), queue.dead().len()), (60, 0));
        let status = handle.status();
        assert!(status.lanes.iter().all(|lane| lane.held_keys == 0 && lane.hold.is_none()));
    }
}

/// It is refused, and later it breaks the connection, too: it is one record that failed.
#[tokio::test(start_paused = true)]
async fn a_record_that_fails_in_two_ways_is_counted_once() {
    let options =
        options(vec![config::Lane { on_reject: OnReject::Hold, ..lane("a", Order::Key) }]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(move |message, at| {
        let bad = message.order_key.as_deref() == Some("bad");
        match (bad, at.as_secs() < 5) {
            (true, true) => (MS * 2, refused("Bad", true)),
            (true, false) => (MS * 2, silence()),
            _ => (MS * 20, delivered()),
        }
    });
    let handle = spawn(options, &queue, &upstream);
    queue.submit(0, Spec { order_key: Some("bad".to_owned()), ..Spec::default() });
    for n in 0..2000 {
        let order_key = Some(format!("key-{}", n % 15));
        queue.submit(0, Spec { order_key, ..Spec::default() });
        sleep(SECOND).await;
    }
    let name = LaneName::parse("a").unwrap();
    assert_eq!(handle.mishap(&name, 0).map(|mishap| mishap.code), Some("Bad".to_owned()));
    assert_eq!(handle.lane_outlook(&name).unwrap().failed, 1);
    assert_eq!(handle.status().lanes[0].held_keys, 1);
}

#[tokio::test(start_paused = true)]
async fn an_outage_while_only_a_breaking_record_waits_is_seen() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let up = |at: Duration| !(600..7200).contains(&at.as_secs());
    let upstream = FakeUpstream::reachable(up, |_, _| (MS * 20, silence()));
    queue.fill(0, 1);
    let handle = spawn(options, &queue, &upstream);
    sleep(SECOND * 500).await;
    assert!(matches!(handle.status().link.state, LinkState::Online));
    until(&handle, LinkState::Offline).await;
    sleep(SECOND * 100).await;
    assert!(!matches!(handle.status().link.state, LinkState::Online));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_breaks_the_connection_holds_nothing_once_it_was_given_up() {
    let options = options(vec![lane("a", Order::Lane)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|message, _| match fake::place_of(message) {
        0 => (MS * 50, silence()),
        _ => (MS * 50, delivered()),
    });
    queue.fill(0, 1);
    let handle = spawn(options, &queue, &upstream);
    let hold = || handle.status().lanes[0].hold.clone();
    until_true("the hold", || hold().is_some_and(|hold| hold.code == "connection")).await;
    queue.drop_waiting(0);
    until_true("it goes on", || hold().is_none()).await;
    queue.fill(0, 3);
    drained(&queue, SECOND * 60).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_of_records_goes_with_them() {
    let (now, options) = (Instant::now(), options(vec![lane("a", Order::None)]));
    let mut state = State::new(&options, true, Standing::default(), 7, now);
    let lane = &mut state.lanes[0];
    for position in [7, 8] {
        lane.breakages.failed(position, 0, "cut", now);
        lane.scattered.insert(position);
        lane.doubtful.insert(position);
    }
    state.forget_dropped(|_, position| position == 8, now);
    let lane = &state.lanes[0];
    assert!(!lane.breakages.knows(7) && lane.breakages.knows(8));
    assert_eq!((&lane.scattered, &lane.doubtful), (&[8].into(), &[8].into()));
}

/// Waits for something to become true.
async fn until_true(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < SECOND * 1000, "in vain: {what}");
        sleep(MS * 10).await;
    }
}
