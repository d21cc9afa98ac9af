//! Does what the desk says: receives, calls the handler, acknowledges, renews, side by side.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::desk::{Backoff, Desk, Job, Ticket};
use super::{AckFailure, Delivery, Feed, FeedError, Handler, Options, Receipt, Status, Verdict};

/// A server that answers "nothing" at once is not asked again before this.
const EMPTY_PAUSE: Duration = Duration::from_millis(500);
/// With nothing due at all, the desk is looked at again after this.
const IDLE: Duration = Duration::from_secs(3600);

/// How something ended that was started.
enum Event {
    Worked(Job, Vec<Verdict>),
    Acked(Vec<(Ticket, Receipt)>, Result<Vec<AckFailure>, FeedError>),
    Renewed(Ticket, Receipt, Result<Option<Receipt>, FeedError>),
    GaveBack,
}

/// How a receive ended.
struct Received {
    room: usize,
    begun: Instant,
    result: Result<Vec<Delivery>, FeedError>,
}

/// One run of a consumer.
pub(super) struct Driver<H> {
    feed: Arc<dyn Feed>,
    handler: Arc<H>,
    options: Options,
    desk: Desk,
    tasks: JoinSet<Event>,
    handling: usize,
    receives: JoinSet<Received>,
    /// Room that receives under way may fill.
    promised: usize,
    link: Link,
    status: watch::Sender<Status>,
}

/// The way to the broker.
struct Link {
    backoff: Backoff,
    failures: u32,
    /// Nothing is received before.
    from: Option<Instant>,
    rng: StdRng,
}

impl<H: Handler> Driver<H> {
    pub(super) fn new(
        feed: Arc<dyn Feed>,
        handler: Arc<H>,
        options: Options,
        status: watch::Sender<Status>,
    ) -> Self {
        let seed = options.seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().1);
        let link = Link {
            backoff: Backoff { initial: options.away_initial, max: options.away_max },
            failures: 0,
            from: None,
            rng: StdRng::seed_from_u64(seed ^ 1),
        };
        Self {
            desk: Desk::new(options.clone(), feed.nature(), seed),
            feed,
            handler,
            options,
            tasks: JoinSet::new(),
            handling: 0,
            receives: JoinSet::new(),
            promised: 0,
            link,
            status,
        }
    }

    /// Runs until `stop`, and then until all in hand is finished or the grace time is over.
    pub(super) async fn run(mut self, stop: impl Future<Output = ()> + Send) -> Status {
        tokio::pin!(stop);
        let mut deadline: Option<Instant> = None;
        loop {
            let now = Instant::now();
            if deadline.is_some() {
                self.desk.stop(now);
            }
            self.start(now);
            self.publish();
            if let Some(deadline) = deadline
                && (self.is_idle() || deadline <= now)
            {
                break;
            }
            let wake = self.wake(now).min(deadline.unwrap_or(now + IDLE));
            tokio::select! {
                biased;
                () = &mut stop, if deadline.is_none() => {
                    deadline = Some(Instant::now() + self.options.grace);
                    if self.feed.nature().receive_can_be_given_up {
                        self.receives.abort_all();
                    }
                }
                Some(ended) = self.tasks.join_next() => {
                    if let Ok(event) = ended {
                        self.take(event);
                    }
                }
                Some(ended) = self.receives.join_next() => {
                    if let Ok(received) = ended {
                        self.received(received);
                    }
                }
                () = sleep_until(wake) => {}
            }
        }
        self.receives.shutdown().await;
        self.tasks.shutdown().await;
        self.feed.close().await;
        self.publish();
        self.desk.status
    }

    /// Starts all that can be started now.
    fn start(&mut self, now: Instant) {
        self.desk.expire(now);
        self.start_jobs(now);
        self.start_acks(now);
        self.start_renewals(now);
        self.start_receives(now);
    }

    fn start_jobs(&mut self, now: Instant) {
        while self.handling < self.options.handlers.max(1) {
            let Some(job) = self.desk.next_job(now) else { break };
            self.handling += 1;
            let handler = Arc::clone(&self.handler);
            self.tasks.spawn(async move {
                let verdicts = work(&*handler, &job).await;
                Event::Worked(job, verdicts)
            });
        }
    }

    fn start_acks(&mut self, now: Instant) {
        loop {
            let acks = self.desk.next_acks(now);
            if acks.is_empty() {
                break;
            }
            let feed = Arc::clone(&self.feed);
            self.tasks.spawn(async move {
                let receipts: Vec<Receipt> = acks.iter().map(|(_, r)| r.clone()).collect();
                let result = feed.ack(&receipts).await;
                Event::Acked(acks, result)
            });
        }
        for (receipt, wait) in self.desk.next_given_back() {
            let feed = Arc::clone(&self.feed);
            self.tasks.spawn(async move {
                // Otherwise it comes when its time is over.
                let _ = feed.postpone(&receipt, wait).await;
                Event::GaveBack
            });
        }
    }

    fn start_renewals(&mut self, now: Instant) {
        let Some(invisible) = self.feed.nature().invisible else { return };
        for (ticket, receipt) in self.desk.next_renewals(now) {
            let feed = Arc::clone(&self.feed);
            self.tasks.spawn(async move {
                let result = feed.postpone(&receipt, invisible).await;
                Event::Renewed(ticket, receipt, result)
            });
        }
    }

    fn start_receives(&mut self, now: Instant) {
        // After a failure one receive tries it first.
        let receivers = if self.link.failures > 0 { 1 } else { self.options.receivers.max(1) };
        let max = self.feed.nature().receive_max;
        while self.receives.len() < receivers && self.link.from.is_none_or(|from| from <= now) {
            let room = self.desk.room(now).saturating_sub(self.promised).min(max);
            if room == 0 {
                break;
            }
            self.promised += room;
            let (feed, wait) = (Arc::clone(&self.feed), self.options.wait);
            self.receives.spawn(async move {
                Received { room, begun: now, result: feed.receive(room, wait).await }
            });
        }
    }

    fn take(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Worked(job, verdicts) => {
                self.handling -= 1;
                self.desk.worked(job, verdicts, now);
            }
            Event::Acked(asked, result) => self.desk.acked(asked, result, now),
            Event::Renewed(ticket, old, result) => self.desk.renewed(ticket, &old, result, now),
            Event::GaveBack => {}
        }
    }

    fn received(&mut self, received: Received) {
        let now = Instant::now();
        self.promised = self.promised.saturating_sub(received.room);
        match received.result {
            Ok(deliveries) => {
                let early = now.duration_since(received.begun) < self.options.wait / 2;
                let pause = deliveries.is_empty() && early;
                self.link.failures = 0;
                self.link.from = pause.then(|| now + EMPTY_PAUSE.min(self.options.wait / 2));
                self.desk.status.link_reason = None;
                self.desk.arrived(deliveries);
            }
            Err(error) => {
                if self.link.failures == 0 {
                    tracing::warn!(%error, "nothing can be received");
                }
                self.link.failures = self.link.failures.saturating_add(1);
                let wait = self.link.backoff.wait(self.link.failures, &mut self.link.rng);
                self.link.from = Some(now + wait);
                self.desk.status.link_reason = Some(error.to_string());
            }
        }
    }

    /// When to look again though nothing has ended.
    fn wake(&self, now: Instant) -> Instant {
        let link = self.link.from.filter(|from| *from > now);
        let wake = [link, self.desk.next_wake(now)].into_iter().flatten().min();
        wake.unwrap_or(now + IDLE)
    }

    fn is_idle(&self) -> bool {
        self.tasks.is_empty() && self.receives.is_empty() && self.desk.is_empty()
    }

    fn publish(&self) {
        self.status.send_if_modified(|shown| {
            let changed = *shown != self.desk.status;
            if changed {
                shown.clone_from(&self.desk.status);
            }
            changed
        });
    }
}

/// Calls the handler; a panic of it is a failure of the batch.
async fn work<H: Handler>(handler: &H, job: &Job) -> Vec<Verdict> {
    let verdicts = async {
        match (&job.park, job.deliveries.first()) {
            (Some(reason), Some(delivery)) => match handler.park(delivery, reason).await {
                Ok(()) => vec![Verdict::Done],
                Err(reason) => vec![Verdict::Away { reason }],
            },
            _ => handler.handle(&job.deliveries).await,
        }
    };
    match AssertUnwindSafe(verdicts).catch_unwind().await {
        Ok(verdicts) => verdicts,
        // Parking has to succeed before anything else may happen to the message.
        Err(_) if job.park.is_some() => vec![Verdict::away("the handler panicked while parking")],
        Err(_) => vec![Verdict::failed("the handler panicked"); job.deliveries.len()],
    }
}

#[cfg(test)]
mod tests;
