//! When the page is pulled: only while the link is up, and never in step with other gateways.
//!
//! Between two pulls lie 0.8 to 1 times `every`. When the link comes back and a pull is overdue, as
//! after a start, it waits for a random part of a tenth of `every` more, so that a region that
//! returns does not fall upon the centre. After a failure the wait is drawn from 0 to a bound that
//! doubles up to `every`.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::config;
use crate::drain::Connection;
use crate::link::Backoff;

const JITTER: f64 = 0.2;
/// Part of the interval over which a region that returns is spread.
const RETURN: f64 = 0.1;
/// Bound of the wait after the first failure.
const INITIAL: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Schedule {
    every: Duration,
    backoff: Backoff,
    connection: watch::Receiver<Connection>,
    rng: StdRng,
    next: Instant,
    /// The link was down when it was last looked at.
    was_down: bool,
    failures: u32,
}

impl Schedule {
    pub(super) fn new(every: Duration, connection: watch::Receiver<Connection>, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let bounds = config::Backoff { initial: INITIAL.min(every), max: every };
        let next = Instant::now() + part(every.mul_f64(RETURN), &mut rng);
        Self {
            every,
            backoff: Backoff::new(&bounds),
            connection,
            rng,
            next,
            was_down: false,
            failures: 0,
        }
    }

    /// Resolves when the page is to be pulled. May be dropped and asked for again.
    pub(super) async fn due(&mut self) {
        loop {
            if !self.connection.borrow_and_update().up {
                self.was_down = true;
                if self.connection.wait_for(|connection| connection.up).await.is_err() {
                    // The drain is gone: there is no link any more.
                    std::future::pending().await
                }
            }
            if std::mem::take(&mut self.was_down) {
                let spread = part(self.every.mul_f64(RETURN), &mut self.rng);
                self.next = self.next.max(Instant::now() + spread);
            }
            tokio::select! {
                biased;
                changed = self.connection.changed() => if changed.is_err() {
                    std::future::pending().await
                },
                () = sleep_until(self.next) => return,
            }
        }
    }

    /// It was pulled.
    pub(super) fn pulled(&mut self) {
        self.failures = 0;
        let early = part(self.every.mul_f64(JITTER), &mut self.rng);
        self.next = Instant::now() + (self.every - early);
    }

    /// It was not, or was no good.
    pub(super) fn failed(&mut self) {
        self.next = Instant::now() + self.backoff.wait(self.failures, &mut self.rng);
        self.failures = self.failures.saturating_add(1);
    }
}

fn part(whole: Duration, rng: &mut StdRng) -> Duration {
    whole.mul_f64(rng.random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(1800);

    fn schedule(up: bool, seed: u64) -> (Schedule, watch::Sender<Connection>) {
        let (link, connection) = watch::channel(Connection { up, session: 1 });
        (Schedule::new(EVERY, connection, seed), link)
    }

    #[tokio::test(start_paused = true)]
    async fn pulls_are_an_interval_apart_but_never_in_step() {
        let mut gaps = Vec::new();
        for seed in 0..50 {
            let (mut schedule, _link) = schedule(true, seed);
            let started = Instant::now();
            schedule.due().await;
            assert!(started.elapsed() <= EVERY.mul_f64(RETURN) + Duration::from_millis(1));
            schedule.pulled();
            let pulled = Instant::now();
            schedule.due().await;
            gaps.push(pulled.elapsed());
        }
        assert!(gaps.iter().all(|gap| (EVERY.mul_f64(0.8)..=EVERY).contains(gap)), "{gaps:?}");
        let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        assert!(*most - *least > EVERY.mul_f64(0.15), "{gaps:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_due_while_the_link_is_down_and_a_return_is_spread() {
        let mut waits = Vec::new();
        for seed in 0..50 {
            let (mut schedule, link) = schedule(false, seed);
            let down = tokio::time::timeout(EVERY * 10, schedule.due()).await;
            assert!(down.is_err(), "due while the link is down");
            link.send_replace(Connection { up: true, session: 2 });
            let up = Instant::now();
            schedule.due().await;
            waits.push(up.elapsed());
        }
        assert!(waits.iter().all(|wait| *wait <= EVERY / 10 + Duration::from_millis(1)));
        assert!(waits.iter().max().unwrap().as_secs() > 120, "{waits:?}");
        // It went down while the pull was not due yet.
        let (mut schedule, link) = schedule(true, 1);
        schedule.pulled();
        link.send_replace(Connection::default());
        assert!(tokio::time::timeout(EVERY * 2, schedule.due()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_tried_again_with_growing_waits_that_stay_within_the_interval() {
        let (mut schedule, _link) = schedule(true, 3);
        schedule.due().await;
        let mut total = Duration::ZERO;
        for failure in 0..200 {
            schedule.failed();
            let failed = Instant::now();
            schedule.due().await;
            let bound = INITIAL * 2_u32.pow(failure.min(5));
            assert!(failed.elapsed() <= bound.min(EVERY) + Duration::from_millis(1));
            total += failed.elapsed();
        }
        assert!(total > EVERY * 60, "a centre that is away is asked too often: {total:?}");
    }
}
