//! Holds, dead letters, recovery.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::fake::{Spec, place_of};
use super::*;
use crate::upstream::Scope;

fn wrong(scope: Scope, code: &'static str) -> Outcome {
    Outcome::Misconfigured { scope, code, reason: "as the broker says".to_owned() }
}

/// Refuses the record at place 3 for its own fault.
fn refusing_the_fourth() -> Arc<FakeUpstream> {
    FakeUpstream::new(|message, _| match place_of(message) {
        3 => (MS * 20, refused("size", true)),
        _ => (MS * 20, delivered()),
    })
}

#[tokio::test(start_paused = true)]
async fn a_refused_signature_holds_everything_and_goes_on_by_itself() {
    let options = options(vec![lane("a", Order::None), lane("b", Order::Key)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, at| match (5..65).contains(&at.as_secs()) {
        true => (MS * 50, wrong(Scope::Link, "credentials")),
        false => (MS * 50, delivered()),
    });
    let handle = spawn(options, &queue, &upstream);
    sleep(SECOND * 6).await;
    queue.fill(0, 500);
    queue.fill(1, 5);
    until(&handle, LinkState::Held).await;
    sleep(SECOND * 2).await;
    let status = handle.status();
    for lane in &status.lanes {
        let hold = lane.hold.as_ref().unwrap();
        assert_eq!(
            (hold.code.as_str(), hold.reason.as_str()),
            ("credentials", "as the broker says")
        );
    }
    assert!(upstream.sends_between(6.5, 60.0) <= 2, "probes only");
    drained(&queue, SECOND * 180).await;
    assert!(queue.dead().is_empty());
    assert_eq!((queue.delivered().len(), queue.most_attempts()), (505, 0));
    assert_eq!(handle.status().lanes[0].hold, None);
}

fn other_key() -> Outcome {
    Outcome::OtherKey { reason: "no such key".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn another_key_costs_a_send_and_holds_nothing_and_breaks_no_order() {
    let options = options(vec![lane("a", Order::None), lane("b", Order::Lane)]);
    let queue = queue(&options);
    let mut refused = 0;
    let upstream = FakeUpstream::new(move |_, at| match (5..6).contains(&at.as_secs()) {
        true if refused < 20 => {
            refused += 1;
            (MS * 50, other_key())
        }
        _ => (MS * 50, delivered()),
    });
    let handle = spawn(options, &queue, &upstream);
    queue.fill(0, 300);
    queue.fill(1, 100);
    for _ in 0..600 {
        sleep(MS * 20).await;
        let status = handle.status();
        assert_ne!(status.link.state, LinkState::Held);
        assert!(status.lanes.iter().all(|lane| lane.hold.is_none()));
    }
    drained(&queue, SECOND * 180).await;
    assert_eq!((queue.delivered().len(), queue.most_attempts()), (400, 0));
    let sends = upstream.seen().len();
    assert!((401..=420).contains(&sends), "{sends}");
    let of_b: Vec<usize> =
        queue.delivered().iter().filter(|(lane, _)| *lane == 1).map(|(_, at)| *at).collect();
    assert!(of_b.is_sorted(), "{of_b:?}");
}

#[tokio::test(start_paused = true)]
async fn a_held_link_stays_held_while_each_key_is_tried_and_other_keys_are_asked_at_once() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let good = Arc::new(AtomicBool::new(false));
    let (known, mut sent) = (good.clone(), 0);
    let upstream = FakeUpstream::new(move |_, _| {
        sent += 1;
        match (known.load(Relaxed), sent % 2) {
            (true, _) => (MS * 50, delivered()),
            (false, 1) => (MS * 50, other_key()),
            (false, _) => (MS * 50, wrong(Scope::Link, "credentials")),
        }
    });
    let handle = spawn(options, &queue, &upstream);
    queue.fill(0, 10);
    until(&handle, LinkState::Held).await;
    for _ in 0..1000 {
        sleep(MS * 200).await;
        assert_eq!(handle.status().link.state, LinkState::Held);
    }
    assert!(handle.status().link.since_s >= 199, "held all the time");
    good.store(true, Relaxed);
    let before = upstream.seen().len();
    handle.rekeyed();
    sleep(MS * 200).await;
    assert!(upstream.seen().len() > before, "asked at once");
    drained(&queue, SECOND * 180).await;
    assert_eq!((queue.delivered().len(), queue.most_attempts()), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_held_for_the_key_is_asked_at_once_with_another_one() {
    for code in ["permission", "credentials"] {
        let options = options(vec![lane("a", Order::None), lane("b", Order::None)]);
        let queue = queue(&options);
        let good = Arc::new(AtomicBool::new(false));
        let known = good.clone();
        let upstream = FakeUpstream::new(move |message, _| {
            match message.topic.as_str() == "topic-b" || known.load(Relaxed) {
                true => (MS * 2, delivered()),
                false => (MS * 2, wrong(Scope::Topic, code)),
            }
        });
        let handle = spawn(options, &queue, &upstream);
        queue.fill(0, 10);
        let held = || handle.status().lanes.iter().any(|lane| lane.hold.is_some());
        while !held() {
            sleep(MS).await;
        }
        // The probe that comes at once is over.
        sleep(SECOND).await;
        good.store(true, Relaxed);
        handle.rekeyed();
        sleep(SECOND).await;
        assert!(!held(), "{code}");
        drained(&queue, SECOND * 60).await;
    }
}

#[tokio::test(start_paused = true)]
async fn five_thousand_records_for_a_topic_of_another_type_are_held_not_thrown_away() {
    for order in [Order::None, Order::Key, Order::Lane] {
        let mut options = options(vec![lane("a", order), lane("b", Order::None)]);
        options.drain.adaptive = false;
        options.drain.bytes_per_second = 1 << 30;
        let queue = queue(&options);
        let repaired = Arc::new(AtomicBool::new(false));
        let right = repaired.clone();
        let upstream = FakeUpstream::new(move |message, _| {
            match message.topic.as_str() == "topic-b" || right.load(Relaxed) {
                true => (MS * 2, delivered()),
                false => (MS * 2, wrong(Scope::Topic, "topic_type")),
            }
        });
        let count = if order == Order::None { 5000 } else { 500 };
        for n in 0..count {
            let order_key = Some(format!("key-{}", n % 100));
            queue.submit(0, Spec { order_key, ..Spec::default() });
        }
        queue.fill(1, 100);
        let handle = spawn(options, &queue, &upstream);
        sleep(SECOND * 600).await;
        assert_eq!(queue.delivered().len(), 100, "the other lane goes on");
        let hold = handle.status().lanes[0].hold.clone().unwrap();
        assert_eq!(hold.code, "topic_type");
        assert!(hold.since_s >= 599 && hold.reason.contains("as the broker says"));
        assert!(upstream.seen().len() <= 100 + 64 + 12, "{}", upstream.seen().len());
        assert!(!handle.accept(&LaneName::parse("a").unwrap()));
        repaired.store(true, Relaxed);
        drained(&queue, SECOND * 120).await;
        assert!(queue.dead().is_empty());
        assert_eq!(handle.status().lanes[0].hold, None);
        handle.stop(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_topic_that_records_name_themselves_holds_only_those() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|message, at| {
        match message.topic.as_str() == "gone" && at < SECOND * 100 {
            true => (MS * 50, wrong(Scope::Topic, "topic_missing")),
            false => (MS * 50, delivered()),
        }
    });
    for n in 0..60 {
        let topic = (n % 2 == 0).then(|| "gone".to_owned());
        queue.submit(0, Spec { topic, ..Spec::default() });
    }
    let handle = spawn(options, &queue, &upstream);
    sleep(SECOND * 30).await;
    assert_eq!(queue.delivered().len(), 30);
    let hold = handle.status().lanes[0].hold.clone().unwrap();
    assert!(hold.code == "topic_missing" && hold.reason.contains("topic gone"), "{hold:?}");
    drained(&queue, SECOND * 200).await;
    assert_eq!(queue.delivered().len(), 60);
}

#[tokio::test(start_paused = true)]
async fn records_that_are_themselves_wrong_are_dead_lettered_and_the_others_go_on() {
    let mut options = options(vec![lane("a", Order::None), lane("b", Order::Key)]);
    options.lanes[1].on_reject = OnReject::DeadLetter;
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|message, _| match place_of(message) % 2 {
        0 => (MS * 20, refused("too_many_properties", true)),
        _ => (MS * 20, delivered()),
    });
    queue.fill(0, 200);
    queue.fill(1, 20);
    let handle = spawn(options, &queue, &upstream);
    let took = drained(&queue, SECOND * 60).await;
    assert!(took < SECOND * 15, "{took:?}");
    assert_eq!((queue.delivered().len(), queue.dead().len()), (110, 110));
    assert!(queue.dead().iter().all(|(_, _, code)| code == "too_many_properties"));
    assert_eq!(upstream.seen().len(), 220, "none was tried twice");
    assert!(handle.status().lanes[0].hold.is_none());
    assert!(handle.status().lanes[0].last_error.as_ref().unwrap().contains("too_many"));
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_refusal_of_everything_holds_and_loses_nothing() {
    for order in [Order::None, Order::Key, Order::Lane] {
        let options = options(vec![lane("a", order)]);
        let queue = queue(&options);
        let upstream = FakeUpstream::new(|_, at| match at < SECOND * 1800 {
            true => (MS * 20, refused("40000", false)),
            false => (MS * 20, delivered()),
        });
        for n in 0..600 {
            let order_key = Some(format!("key-{n}"));
            queue.submit(0, Spec { order_key, ..Spec::default() });
        }
        let handle = spawn(options, &queue, &upstream);
        sleep(SECOND * 1700).await;
        let status = handle.status().lanes[0].clone();
        assert_eq!(status.hold.map(|hold| hold.code).as_deref(), Some("refused"));
        assert!(queue.dead().is_empty());
        let sent = upstream.seen().len();
        assert!(sent < 220, "{sent} sends in half an hour");
        drained(&queue, SECOND * 600).await;
        assert!(queue.dead().is_empty());
        assert_eq!(queue.delivered().len(), 600);
        handle.stop(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn ambiguously_refused_records_among_good_ones_are_dead_lettered_in_the_end() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|message, _| match (50..90).contains(&place_of(message)) {
        true => (MS * 20, refused("40000", false)),
        false => (MS * 20, delivered()),
    });
    queue.fill(0, 300);
    let handle = spawn(options, &queue, &upstream);
    drained(&queue, SECOND * 600).await;
    assert_eq!((queue.delivered().len(), queue.dead().len()), (260, 40));
    assert!(handle.status().lanes[0].hold.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_operator_may_accept_what_is_refused() {
    let mut options = options(vec![lane("a", Order::Key), lane("b", Order::Lane)]);
    options.lanes[0].on_reject = OnReject::Hold;
    options.lanes[1].on_reject = OnReject::Hold;
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|message, _| match place_of(message) {
        0 => (MS * 20, refused("40000", false)),
        _ => (MS * 20, delivered()),
    });
    for lane in 0..2 {
        for n in 0..10 {
            let order_key = Some(format!("key-{}", n % 2));
            queue.submit(lane, Spec { order_key, ..Spec::default() });
        }
    }
    let handle = spawn(options, &queue, &upstream);
    sleep(SECOND * 200).await;
    let status = handle.status();
    assert_eq!((status.lanes[0].held_keys, status.lanes[0].hold.clone()), (1, None));
    assert_eq!(status.lanes[1].hold.as_ref().unwrap().code, "refused");
    assert_eq!(queue.delivered().len(), 5, "the other key");
    assert!(handle.accept(&LaneName::parse("a").unwrap()));
    assert!(handle.accept(&LaneName::parse("b").unwrap()));
    drained(&queue, SECOND).await;
    assert_eq!((queue.delivered().len(), queue.dead().len()), (18, 2));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_fate_is_tried_three_times_and_then_waits_alone() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|message, at| {
        let reason = "wrong MD5".to_owned();
        match place_of(message) == 5 && at < SECOND * 300 {
            true => (MS * 20, Outcome::Unknown { reason, link: false }),
            false => (MS * 20, delivered()),
        }
    });
    queue.fill(0, 10);
    let handle = spawn(options, &queue, &upstream);
    sleep(SECOND * 10).await;
    let tries = |upstream: &FakeUpstream| upstream.seen().iter().filter(|s| s.id == "0-5").count();
    assert_eq!((queue.delivered().len(), tries(&upstream)), (9, 3));
    let status = handle.status().lanes[0].clone();
    assert_eq!(status.hold.unwrap().code, "unknown");
    queue.fill(0, 5);
    sleep(SECOND * 10).await;
    assert_eq!(queue.delivered().len(), 14, "another passes: the lane goes on");
    assert_eq!(handle.status().lanes[0].hold, None);
    drained(&queue, SECOND * 400).await;
    assert!(queue.dead().is_empty() && tries(&upstream) < 10);
}

#[tokio::test(start_paused = true)]
async fn full_dead_letters_hold_until_there_is_room() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let upstream = refusing_the_fourth();
    queue.set_dead_full(true);
    queue.fill(0, 500);
    let handle = spawn(options, &queue, &upstream);
    sleep(SECOND * 300).await;
    assert_eq!(handle.status().lanes[0].hold.as_ref().unwrap().code, "dead_letters_full");
    assert!(queue.waiting() > 400 && upstream.seen().len() < 80);
    queue.set_dead_full(false);
    // The next probe within a minute, then from its own rate upwards.
    drained(&queue, SECOND * 160).await;
    assert_eq!((queue.delivered().len(), queue.dead().len()), (499, 1));
}

#[tokio::test(start_paused = true)]
async fn room_among_the_dead_letters_frees_the_lane_at_once() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let upstream = refusing_the_fourth();
    queue.set_dead_full(true);
    queue.fill(0, 500);
    let handle = spawn(options, &queue, &upstream);
    sleep(SECOND * 300).await;
    handle.freed();
    sleep(SECOND).await;
    let hold = handle.status().lanes[0].hold.clone();
    assert_eq!(hold.expect("there was no room yet").code, "dead_letters_full");
    queue.set_dead_full(false);
    handle.freed();
    sleep(SECOND).await;
    assert_eq!((handle.status().lanes[0].hold.clone(), queue.dead().len()), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_takes_no_dead_letter_holds_and_is_named() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let upstream = refusing_the_fourth();
    queue.set_dead_disk(true);
    queue.fill(0, 500);
    let handle = spawn(options, &queue, &upstream);
    sleep(SECOND * 300).await;
    let hold = handle.status().lanes[0].hold.clone().unwrap();
    assert_eq!(hold.code, "dead_letters_disk");
    assert!(hold.reason.contains("I/O error") && hold.remedy.contains("disk"), "{hold:?}");
    queue.set_dead_disk(false);
    drained(&queue, SECOND * 180).await;
    assert_eq!((queue.delivered().len(), queue.dead().len()), (499, 1));
}

#[tokio::test(start_paused = true)]
async fn a_lane_held_for_days_lets_the_heartbeats_rest_and_the_link_be_online() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, _| (MS * 20, wrong(Scope::Topic, "topic_missing")));
    queue.fill(0, 100);
    let handle = spawn(options, &queue, &upstream);
    sleep(SECOND * 30).await;
    assert_eq!(handle.status().link.state, LinkState::Online);
    assert_eq!(upstream.flowing.lock().unwrap().last(), Some(&false));
}

/// Holds a lane for five minutes. What left in the first second of the gateway's own slot.
async fn return_of(scope: Scope) -> usize {
    let mut options = options(vec![lane("a", Order::None)]);
    options.drain.reconnect_spread = Some(SECOND * 100);
    let slot = spread::slot(spread::place(&options.gateway), SECOND * 100);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(move |_, at| match (5..300).contains(&at.as_secs()) {
        true => (MS * 20, wrong(scope, "permission")),
        false => (MS * 20, delivered()),
    });
    let handle = spawn(options, &queue, &upstream);
    sleep(SECOND * 6).await;
    queue.fill(0, 2000);
    drained(&queue, SECOND * 1000).await;
    handle.stop(SECOND).await;
    let seen = upstream.seen();
    let passed = seen.iter().position(|seen| seen.at.as_secs() >= 300).unwrap();
    let (first, flow) = (seen[passed].at, seen[passed + 1].at);
    assert!(flow >= first + slot && flow < first + slot + SECOND, "{scope:?} {first:?} {flow:?}");
    let from = flow.as_secs_f64();
    upstream.sends_between(from, from + 1.0)
}

#[tokio::test(start_paused = true)]
async fn a_fleet_is_spread_when_a_long_hold_ends() {
    for scope in [Scope::Link, Scope::Topic] {
        let in_first_second = return_of(scope).await;
        assert!(in_first_second <= 12, "{scope:?}: its own rate, {in_first_second}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_put_right_leaves_within_two_rounds_where_refusals_hold() {
    let mut options = options(vec![lane("a", Order::None)]);
    options.lanes[0].on_reject = OnReject::Hold;
    options.drain.reconnect_spread = Some(Duration::ZERO);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, at| match (20..600).contains(&at.as_secs()) {
        true => (SECOND, refused("40000", false)),
        false => (SECOND, delivered()),
    });
    // Wide slow start, so that many are in flight when the trouble begins.
    queue.fill(0, 3000);
    let handle = spawn(options, &queue, &upstream);
    sleep(SECOND * 590).await;
    assert!(handle.status().lanes[0].hold.is_some());
    assert!(upstream.sends_between(19.0, 21.0) > 30, "many suspects");
    drained(&queue, SECOND * 10 + SECOND * 180 + SECOND * 120).await;
    assert!(queue.dead().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_forbidden_topic_does_not_hold_the_link_for_all() {
    for forbidden in ["topic-a", "own"] {
        let options = options(vec![lane("a", Order::None), lane("b", Order::None)]);
        let queue = queue(&options);
        let upstream = FakeUpstream::new(move |message, at| {
            match message.topic.as_str() == forbidden && at < SECOND * 1200 {
                true => (MS * 20, wrong(Scope::Link, "credentials")),
                false => (MS * 20, delivered()),
            }
        });
        for n in 0..40 {
            let topic = (n % 2 == 0).then(|| "own".to_owned());
            queue.submit(0, Spec { topic, ..Spec::default() });
        }
        queue.fill(1, 40);
        let handle = spawn(options, &queue, &upstream);
        sleep(SECOND * 500).await;
        assert_eq!(queue.delivered().len(), 60, "all but {forbidden}");
        queue.fill(1, 10);
        sleep(SECOND * 200).await;
        assert_eq!(queue.delivered().len(), 70, "the next, too");
        let status = handle.status();
        assert_eq!(status.link.state, LinkState::Online);
        let hold = status.lanes[0].hold.as_ref().unwrap();
        assert!(hold.code == "credentials" && hold.reason.contains(forbidden), "{hold:?}");
        drained(&queue, SECOND * 1000).await;
        handle.stop(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_error_tells_its_age_and_is_forgotten_when_records_pass() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|message, _| match place_of(message) {
        0 => (MS * 20, refused("size", true)),
        _ => (MS * 20, delivered()),
    });
    let handle = spawn(options, &queue, &upstream);
    queue.fill(0, 2);
    let error = || handle.status().lanes[0].last_error.clone();
    sleep(SECOND * 10).await;
    assert_eq!(error().as_deref(), Some("size: no"));
    sleep(SECOND * 180).await;
    assert_eq!(error().as_deref(), Some("3 min ago: size: no"));
    sleep(SECOND * 600).await;
    assert_eq!(error().as_deref(), Some("13 min ago: size: no"), "nothing passed since");
    queue.fill(0, 1);
    sleep(SECOND).await;
    assert_eq!(error(), None);
}
