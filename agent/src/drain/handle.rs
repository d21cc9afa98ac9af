//! The drain as the rest of the agent sees it.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use spillway_protocol::dial::Carried;
use spillway_protocol::local::status::LinkState;
use spillway_protocol::record::LaneName;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::driver::Driver;
use super::source::{Source, standing_of_all};
use super::state::State;
use super::{DrainStatus, Options};
use crate::budget;
use crate::clock::WallClock;
use crate::pace;
use crate::upstream::Upstream;

/// Starts drains.
pub struct Drain;

impl Drain {
    /// Starts draining `source` into `upstream`; without one, records wait. `seed` draws the
    /// jitter. Must be called within a tokio runtime.
    pub fn spawn<S: Source>(
        options: Options,
        source: Arc<S>,
        upstream: Option<Arc<dyn Upstream>>,
        seed: u64,
        clock: Arc<dyn WallClock>,
    ) -> DrainHandle {
        let carried = options.budget.carried.clone();
        let standing = standing_of_all(source.as_ref(), &options.lanes);
        let state = State::new(&options, upstream.is_some(), standing, seed, Instant::now());
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            carried,
            clock: clock.clone(),
            poke: Notify::new(),
            end: watch::Sender::new(None),
            connection: watch::Sender::default(),
        });
        let (stop, stopped) = watch::channel(None);
        let driver = Driver::new(options, source, upstream, shared.clone(), stopped);
        let task = tokio::spawn(watched(driver.run(), shared.clone()));
        DrainHandle { shared, clock, stop, task: Mutex::new(Some(task)) }
    }
}

/// Runs the driver; its failure, which is a defect, must not pass for an idle drain.
async fn watched(driver: impl Future<Output = ()>, shared: Arc<Shared>) {
    let end = match AssertUnwindSafe(driver).catch_unwind().await {
        Ok(()) => Ended::Stopped,
        Err(_) => {
            tracing::error!("the drain failed: records wait; restart the agent and report this");
            shared.state().failed(Instant::now());
            shared.tell_connection();
            Ended::Failed
        }
    };
    shared.end.send_replace(Some(end));
}

/// Whether the far end can be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connection {
    /// Records flow, or will as soon as this gateway's turn has come. After an outage that a
    /// record found, one has got through.
    pub up: bool,
    /// How often it came up: another number is another time, even if nobody saw it down between.
    pub session: u64,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As it was told.
    Stopped,
    /// By a defect: nothing leaves any more. The process should end, to be started again.
    Failed,
}

/// A running drain. Dropping it stops the drain at once; requests in flight are then cut and
/// their records stay in the queue.
pub struct DrainHandle {
    shared: Arc<Shared>,
    clock: Arc<dyn WallClock>,
    stop: watch::Sender<Option<Instant>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl DrainHandle {
    /// How it stands.
    pub fn status(&self) -> DrainStatus {
        let (now, wall_ms) = (Instant::now(), self.clock.now_ms());
        self.shared.look(now).status(now, wall_ms)
    }

    /// What the pace has learned, worth keeping over a restart.
    pub fn memory(&self) -> pace::Memory {
        self.shared.state().pacer.memory()
    }

    /// Counts what connections have carried meanwhile, for a day's bytes may be used up by what is
    /// no record's, and says what is worth keeping over a restart. To be called now and then.
    pub fn count(&self) -> budget::Stored {
        let state = self.shared.look(Instant::now());
        let rests = state.link.state() == LinkState::Budget;
        if state.budget.is_spent() != rests {
            self.shared.poke.notify_one();
        }
        state.budget.stored()
    }

    /// How much of the day's bytes is used, from 0 to 1; 0 without `[budget]`. Cheap.
    pub fn budget_used(&self) -> f64 {
        self.shared.state().budget.used_share()
    }

    /// Whether the far end can be reached, now and whenever that changes.
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.shared.connection.subscribe()
    }

    /// An operator accepts that what the broker refuses in `lane` is dead: dead-lettering goes
    /// on. False if nothing is held for a refusal there.
    pub fn accept(&self, lane: &LaneName) -> bool {
        let accepted = self.shared.state().accept(lane.as_str());
        if accepted {
            self.shared.poke.notify_one();
        }
        accepted
    }

    /// Nothing new leaves `lane` from now on, or it does again.
    pub fn pause(&self, lane: &LaneName, paused: bool) {
        let mut state = self.shared.state();
        let known = state.lanes.iter_mut().find(|known| known.config.name == *lane);
        let before = known.map(|known| std::mem::replace(&mut known.paused, paused));
        drop(state);
        if before != Some(paused) {
            self.shared.poke.notify_one();
        }
    }

    /// The kernel knows no way to the far end any more, for this reason.
    pub fn unrouted(&self, reason: &str) {
        self.shared.state().unrouted(reason, Instant::now());
        self.shared.poke.notify_one();
    }

    /// The kernel knows a way to the far end that it did not know before.
    pub fn way_came(&self) {
        self.shared.state().way_came(Instant::now());
        self.shared.poke.notify_one();
    }

    /// There are other access keys than before: a link that is held for them is asked at once.
    pub fn rekeyed(&self) {
        self.shared.state().link.rekeyed(Instant::now());
        self.shared.poke.notify_one();
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// Waits until the drain has ended, and says how.
    pub async fn ended(&self) -> Ended {
        let mut end = self.shared.end.subscribe();
        match end.wait_for(Option::is_some).await.map(|end| *end) {
            Ok(Some(end)) => end,
            // Neither happens: the sender is held here, and only an end was waited for.
            Ok(None) | Err(_) => Ended::Failed,
        }
    }

    /// Sends nothing new, gives what is in flight `grace` to finish, leaves the rest in the queue.
    pub async fn stop(&self, grace: Duration) {
        self.stop.send_replace(Some(Instant::now() + grace));
        let task = locked(&self.task).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!("the drain had ended before: {error}");
        }
    }
}

/// What the driver and its handle share. The lock is held for a decision, never across a wait.
pub(super) struct Shared {
    state: Mutex<State>,
    /// An operator or the kernel changed something.
    pub(super) poke: Notify,
    carried: Carried,
    clock: Arc<dyn WallClock>,
    end: watch::Sender<Option<Ended>>,
    connection: watch::Sender<Connection>,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// The state, once it knows what connections have carried.
    pub(super) fn look(&self, now: Instant) -> MutexGuard<'_, State> {
        let wall_ms = self.clock.is_set().then(|| self.clock.now_ms());
        let mut state = self.state();
        // Read under the lock: an older reading must not follow a newer one.
        if state.budget.look(self.carried.read(), wall_ms, now) {
            if state.budget.is_bounded() {
                state.new_day(now);
            }
            // Lanes may wait for a day that was to begin later: the clock was set.
            self.poke.notify_one();
        }
        state
    }

    /// Tells those who want to know whether the link is up, if that changed.
    pub(super) fn tell_connection(&self) {
        let state = self.state();
        let now = Connection { up: state.link.is_proven(), session: state.link.session() };
        drop(state);
        self.connection.send_if_modified(|known| std::mem::replace(known, now) != now);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
