//! A captive portal, or another server, in RocketMQ's place.

use super::fake::Spec;
use super::*;

fn page() -> Outcome {
    Outcome::Stranger { reason: "a captive portal".to_owned(), passed_on: false }
}

fn bad_gateway() -> Outcome {
    Outcome::Stranger { reason: "502".to_owned(), passed_on: true }
}

fn is_away(state: LinkState) -> bool {
    matches!(state, LinkState::Offline | LinkState::Probing)
}

#[tokio::test(start_paused = true)]
async fn behind_a_portal_the_link_is_down_however_few_records_wait_and_none_is_to_blame() {
    for (count, order, fresh) in [
        (1, Order::None, true),
        (2, Order::None, false),
        (3, Order::Key, true),
        (3, Order::Lane, true),
        (30, Order::None, true),
    ] {
        let options = Options { fresh, ..options(vec![lane("a", order), lane("b", Order::None)]) };
        let queue = queue(&options);
        let upstream = FakeUpstream::new(|_, at| match (1000..4600).contains(&at.as_secs()) {
            true => (MS * 5, page()),
            false => (MS * 20, delivered()),
        });
        let handle = spawn(options, &queue, &upstream);
        sleep(SECOND * 1010).await;
        queue.fill(0, count);
        sleep(SECOND).await;
        for second in 1..3500 {
            let status = handle.status();
            assert!(is_away(status.link.state), "{count}: {:?} at {second}", status.link);
            assert_eq!(status.link.reason, "a captive portal");
            assert!(status.link.since_s.abs_diff(second) <= 2, "{:?} at {second}", status.link);
            assert_eq!((&status.lanes[0].hold, status.lanes[0].held_keys), (&None, 0));
            sleep(SECOND).await;
        }
        let tries = upstream.seen().len();
        assert!((10..200).contains(&tries), "{count}: {tries} tries in an hour");
        // At the gateway's own slow rate.
        drained(&queue, SECOND * 7200).await;
        assert_eq!((queue.delivered().len(), queue.most_attempts()), (count, 0));
        let error = handle.status().lanes[0].last_error.clone().unwrap_or_default();
        assert!(!error.contains("this record"), "{error}");
    }
}

/// A gateway that takes offence at one record's size, say.
#[tokio::test(start_paused = true)]
async fn one_record_that_a_stranger_answers_stops_nobody_else() {
    for order in [Order::None, Order::Key] {
        let options = options(vec![lane("a", order), lane("b", Order::None)]);
        let queue = queue(&options);
        let upstream = FakeUpstream::new(|message, _| match message.id.as_str() {
            "0-0" => (MS * 5, page()),
            _ => (MS * 20, delivered()),
        });
        for n in 0..50 {
            let order_key = Some(format!("key-{}", n % 5));
            queue.submit(0, Spec { order_key, ..Spec::default() });
        }
        queue.fill(1, 50);
        let handle = spawn(options, &queue, &upstream);
        sleep(SECOND * 120).await;
        let others = if order == Order::None { 49 } else { 40 };
        assert_eq!(queue.delivered().len(), others + 50, "{order:?}");
        for _ in 0..600 {
            queue.fill(1, 1);
            sleep(SECOND * 5).await;
        }
        assert!(queue.waiting() < 12, "{}", queue.waiting());
        let error = handle.status().lanes[0].last_error.clone().unwrap_or_default();
        assert!(error.contains("this record breaks the connection: a captive portal"), "{error}");
        let tries = upstream.seen().iter().filter(|seen| seen.id == "0-0").count();
        assert!(tries < 25, "{tries} tries in an hour");
        assert_eq!(queue.dead().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_whose_broker_is_gone_is_no_link_and_one_that_stumbles_is() {
    let options = options(vec![lane("a", Order::None)]);
    let queue = queue(&options);
    let upstream = FakeUpstream::new(|message, at| {
        let stumbles = message.id.as_str().ends_with("00");
        match stumbles && at < SECOND * 300 || (600..4200).contains(&at.as_secs()) {
            true => (MS * 5, bad_gateway()),
            false => (MS * 20, delivered()),
        }
    });
    let handle = spawn(options, &queue, &upstream);
    for _ in 0..500 {
        queue.fill(0, 1);
        sleep(SECOND).await;
        assert!(!is_away(handle.status().link.state) || upstream.start_elapsed() < SECOND * 2);
    }
    drained(&queue, SECOND * 60).await;
    sleep(SECOND * 650 - upstream.start_elapsed().min(SECOND * 650)).await;
    queue.fill(0, 1);
    sleep(SECOND * 120).await;
    for _ in 0..3300 {
        assert!(is_away(handle.status().link.state), "{:?}", handle.status().link);
        sleep(SECOND).await;
    }
    drained(&queue, SECOND * 600).await;
    assert_eq!(queue.delivered().len(), 501);
}
