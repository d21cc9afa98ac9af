//! A drain goes on with other settings.

use super::*;
use crate::config::{Action, Degrade, Pressure};
use crate::drain::Way;
use crate::upstream::Scope;

fn go_on(
    handle: &DrainHandle,
    options: Options,
    queue: &FakeQueue,
    upstream: &Arc<FakeUpstream>,
    way: Way,
) {
    let upstream: Arc<dyn Upstream> = upstream.clone();
    handle.go_on(options, Arc::new(queue.clone()), (Some(upstream), way), 8);
}

#[tokio::test(start_paused = true)]
async fn link_pace_and_counts_go_on_where_the_far_end_is_the_same_and_nothing_leaves_twice() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, _| (MS * 50, delivered()));
    queue.fill(0, 30_000);
    let handle = spawn(options.clone(), &queue, &upstream);
    let mut connection = handle.connection();
    until(&handle, LinkState::Online).await;
    let before = handle.status();
    let session = *connection.borrow_and_update();
    for round in 1..=20 {
        handle.halt(SECOND * 30).await;
        let mut other = options.clone();
        other.lanes[0].weight = round;
        go_on(&handle, other, &queue, &upstream, Way::Same);
        let status = handle.status();
        assert_eq!(status.link.state, LinkState::Online, "it ramps again");
        let (allowed, was) = (status.pace.allowed_per_s, before.pace.allowed_per_s);
        assert!(allowed >= was, "{allowed:?} {was:?}");
        assert!(status.delivered_per_s > 0.0);
        sleep(MS * 50).await;
    }
    drained(&queue, SECOND * 600).await;
    assert_eq!(*connection.borrow_and_update(), session, "the link was never told to be down");
    let delivered = queue.delivered();
    assert_eq!(delivered.len(), 30_000, "each once");
    assert!(handle.status().pace.allowed_per_s.is_some());
}

#[tokio::test(start_paused = true)]
async fn another_far_end_is_waited_for_as_at_a_start() {
    let options = Options { fresh: false, ..options(vec![lane("a", Order::None)]) };
    let slot = spread::slot(spread::place(&options.gateway), spread::window(None, 1.0));
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|_, _| (MS, delivered()));
    let handle = spawn(options.clone(), &queue, &upstream);
    let mut connection = handle.connection();
    sleep(slot + SECOND).await;
    until(&handle, LinkState::Online).await;
    assert_eq!(connection.borrow_and_update().session, 1);
    handle.halt(SECOND).await;
    let elsewhere = FakeUpstream::new(|_, _| (MS, delivered()));
    go_on(&handle, options, &queue, &elsewhere, Way::Other);
    queue.fill(0, 1);
    assert!(handle.status().first_send_in_s.is_some_and(|left| left > 0));
    drained(&queue, slot + SECOND * 2).await;
    assert_eq!(connection.borrow_and_update().session, 2, "another time, told apart");
}

#[tokio::test(start_paused = true)]
async fn a_hold_goes_on_and_what_may_be_put_right_is_tried_at_once() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let wrong = |_: &_, _| {
        let (code, reason) = ("credentials", "wrong key".to_owned());
        (MS, Outcome::Misconfigured { code, reason, scope: Scope::Link })
    };
    let upstream = FakeUpstream::new(wrong);
    queue.fill(0, 5);
    let handle = spawn(options.clone(), &queue, &upstream);
    until(&handle, LinkState::Held).await;
    sleep(SECOND).await;
    handle.halt(SECOND).await;
    let asked = upstream.seen().len();
    go_on(&handle, options.clone(), &queue, &upstream, Way::Same);
    sleep(SECOND).await;
    assert_eq!(handle.status().link.state, LinkState::Held);
    assert_eq!(upstream.seen().len(), asked, "nothing was put right");
    handle.halt(SECOND).await;
    let right = FakeUpstream::new(|_, _| (MS, delivered()));
    go_on(&handle, options, &queue, &right, Way::Repaired);
    drained(&queue, SECOND * 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_whose_rule_is_gone_is_paused_no_longer_and_one_that_keeps_it_stays_so() {
    let mut ruled = options(vec![lane("a", Order::None)]);
    ruled.lanes[0].degrade = vec![Degrade { when: Pressure::Budget(80), action: Action::Pause }];
    let queue = queue(&ruled);
    let upstream = FakeUpstream::new(|_, _| (MS, delivered()));
    let handle = spawn(ruled.clone(), &queue, &upstream);
    until(&handle, LinkState::Online).await;
    let name = ruled.lanes[0].name.clone();
    handle.pause(&name, true);
    queue.fill(0, 3);
    handle.halt(SECOND).await;
    go_on(&handle, ruled.clone(), &queue, &upstream, Way::Same);
    sleep(SECOND * 60).await;
    assert_eq!(queue.delivered().len(), 0, "the rule is still there");
    handle.halt(SECOND).await;
    ruled.lanes[0].degrade.clear();
    go_on(&handle, ruled, &queue, &upstream, Way::Same);
    drained(&queue, SECOND * 60).await;
}
