//! The driver by itself: a feed in memory, and time that passes only when nothing else happens.

use std::collections::VecDeque;
use std::sync::Mutex;

use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::*;
use crate::consumer::{Consumer, Nature};

/// Answers receives from a list, then waits in vain.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<Vec<Delivery>, FeedError>>>,
    acked: Mutex<Vec<String>>,
    closed: Mutex<bool>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Result<Vec<Delivery>, FeedError>>) -> Arc<Self> {
        let answers = Mutex::new(answers.into_iter().collect());
        Arc::new(Self { answers, ..Self::default() })
    }
}

impl Feed for Script {
    fn receive(&self, _: usize, wait: Duration) -> BoxFuture<'_, Result<Vec<Delivery>, FeedError>> {
        let answer = self.answers.lock().unwrap().pop_front();
        async move {
            match answer {
                Some(answer) => answer,
                None => {
                    sleep(wait).await;
                    Ok(Vec::new())
                }
            }
        }
        .boxed()
    }

    fn ack<'a>(
        &'a self,
        receipts: &'a [Receipt],
    ) -> BoxFuture<'a, Result<Vec<AckFailure>, FeedError>> {
        self.acked.lock().unwrap().extend(receipts.iter().map(|r| r.handle.clone()));
        futures::future::ready(Ok(Vec::new())).boxed()
    }

    fn postpone<'a>(
        &'a self,
        _: &'a Receipt,
        _: Duration,
    ) -> BoxFuture<'a, Result<Option<Receipt>, FeedError>> {
        futures::future::ready(Ok(None)).boxed()
    }

    fn nature(&self) -> Nature {
        Nature { receive_max: 16, ack_max: 16, invisible: None, receive_can_be_given_up: true }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        *self.closed.lock().unwrap() = true;
        futures::future::ready(()).boxed()
    }
}

fn delivery(id: &str) -> Delivery {
    let receipt = Receipt { handle: id.into(), message_id: id.into(), expires: None };
    Delivery {
        message_id: id.to_owned(),
        order_key: Some(id.to_owned()),
        receipt,
        ..Delivery::default()
    }
}

/// Panics over "panics", hangs over "hangs", takes the rest.
#[derive(Default, Clone)]
struct Moody {
    parked: Arc<Mutex<Vec<String>>>,
}

impl Handler for Moody {
    async fn handle(&self, batch: &[Delivery]) -> Vec<Verdict> {
        match batch[0].message_id.as_str() {
            "panics" => panic!("as it was to"),
            "hangs" => std::future::pending().await,
            _ => vec![Verdict::Done; batch.len()],
        }
    }

    async fn park(&self, delivery: &Delivery, reason: &str) -> Result<(), String> {
        self.parked.lock().unwrap().push(format!("{}: {reason}", delivery.message_id));
        Ok(())
    }
}

fn options() -> Options {
    Options { batch_max: 1, ordered: true, seed: Some(1), ..Options::default() }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_is_charged_and_ends_nobody_else() {
    let feed = Script::new([Ok(vec![delivery("panics"), delivery("good")])]);
    let handler = Moody::default();
    let shared: Arc<dyn Feed> = Arc::clone(&feed) as _;
    let consumer = Consumer::new(shared, handler.clone(), options());
    let mut watched = consumer.status();
    let stop = async move { drop(watched.wait_for(|status| status.acked == 2).await) };
    let status = consumer.run(stop).await;
    assert_eq!((status.failed, status.parked, status.done), (5, 1, 1), "{status:?}");
    assert_eq!(*handler.parked.lock().unwrap(), ["panics: the handler panicked"]);
    assert!(*feed.closed.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_away_is_asked_again_with_growing_waits() {
    let away = || Err(FeedError::Link("down".into()));
    let feed = Script::new([away(), away(), away(), away(), Ok(vec![delivery("good")])]);
    let begun = Instant::now();
    let consumer = Consumer::new(feed, Moody::default(), options());
    let (mut first, mut second) = (consumer.status(), consumer.status());
    let (seen, reason) = oneshot::channel();
    tokio::spawn(async move {
        let status = first.wait_for(|status| status.link_reason.is_some()).await;
        let _ = seen.send(status.unwrap().link_reason.clone());
    });
    let stop = async move { drop(second.wait_for(|status| status.acked == 1).await) };
    let status = consumer.run(stop).await;
    assert!(reason.await.unwrap().unwrap().contains("down"));
    assert_eq!(status.link_reason, None);
    let options = options();
    assert!(begun.elapsed() > Duration::ZERO && begun.elapsed() < options.away_initial * 15);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_longer_than_its_grace_for_a_handler_that_hangs() {
    let feed = Script::new([Ok(vec![delivery("hangs"), delivery("good")])]);
    let shared: Arc<dyn Feed> = Arc::clone(&feed) as _;
    let consumer = Consumer::new(shared, Moody::default(), options());
    let mut watched = consumer.status();
    let stop = async move { drop(watched.wait_for(|status| status.acked == 1).await) };
    let begun = Instant::now();
    let status = consumer.run(stop).await;
    assert!(begun.elapsed() >= options().grace);
    assert!(begun.elapsed() < options().grace + Duration::from_secs(1));
    assert_eq!((status.in_hand, status.acked), (1, 1));
    assert_eq!(*feed.acked.lock().unwrap(), ["good"]);
}
