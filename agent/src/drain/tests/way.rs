//! The kernel's word on the way to the far end.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_way_that_is_lost_stops_all_at_once_and_one_that_came_is_used_within_a_second() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let there = |at: Duration| !(10..40).contains(&at.as_secs());
    let upstream = FakeUpstream::reachable(there, move |_, at| match there(at) {
        true => (MS * 50, delivered()),
        false => (SECOND * 15, Outcome::Unknown { reason: "no answer".to_owned(), link: true }),
    });
    let handle = spawn(options, &queue, &upstream);
    queue.fill(0, 100_000);
    sleep(SECOND * 10).await;
    handle.unrouted("eth0 has no carrier");
    sleep(MS).await;
    let link = handle.status().link;
    assert_eq!((link.state, link.reason.as_str()), (LinkState::Offline, "eth0 has no carrier"));
    sleep(SECOND * 20).await;
    assert_eq!(upstream.sends_between(10.1, 30.0), 0, "no attempts into nowhere");
    assert_eq!(queue.leased(), 0);
    sleep(SECOND * 10).await;
    handle.way_came();
    sleep(SECOND * 2).await;
    let state = handle.status().link.state;
    assert!(matches!(state, LinkState::Ramping | LinkState::Online), "{state:?}");
    let delivered = queue.delivered().len();
    sleep(SECOND * 2).await;
    assert!(queue.delivered().len() > delivered);
    assert_eq!(queue.most_attempts(), 0);
}
