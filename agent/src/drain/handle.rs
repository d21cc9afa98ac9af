//! The drain as the rest of the agent sees it.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures::FutureExt;
use spillway_protocol::dial::Carried;
use spillway_protocol::local::status::LinkState;
use spillway_protocol::record::LaneName;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::change::Way;
use super::driver::Driver;
use super::pulse::Pulse;
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
        let end = watch::Sender::new(None);
        let connection = watch::Sender::default();
        let fresh = Fresh { seed, clock: clock.clone(), end: end.clone(), connection };
        let run = fresh.run(options, source, upstream, None);
        DrainHandle { present: RwLock::new(Arc::new(run)), clock, end }
    }
}

/// What a run is made with beside its options.
pub(super) struct Fresh {
    pub(super) seed: u64,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) end: watch::Sender<Option<Ended>>,
    pub(super) connection: watch::Sender<Connection>,
}

impl Fresh {
    /// Starts the driver; what `former` knows stays known.
    pub(super) fn run<S: Source>(
        self,
        options: Options,
        source: Arc<S>,
        upstream: Option<Arc<dyn Upstream>>,
        former: Option<(&Shared, Way)>,
    ) -> Run {
        let carried = options.budget.carried.clone();
        let standing = standing_of_all(source.as_ref(), &options.lanes);
        let now = Instant::now();
        let mut state = State::new(&options, upstream.is_some(), standing, self.seed, now);
        if let Some((former, way)) = former {
            state.inherit(&mut former.state(), &options, way, now);
        }
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            carried,
            clock: self.clock,
            poke: Notify::new(),
            end: self.end,
            connection: self.connection,
            pulse: Pulse::default(),
        });
        let (stop, stopped) = watch::channel(None);
        let driver = Driver::new(options, source, upstream, shared.clone(), stopped);
        let task = tokio::spawn(watched(driver.run(), shared.clone()));
        Run { shared, stop, task: Mutex::new(Some(task)) }
    }
}

/// A driver at work.
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    stop: watch::Sender<Option<Instant>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Run {
    /// Sends nothing new, gives what is in flight `grace` to finish, leaves the rest in the queue.
    pub(super) async fn halt(&self, grace: Duration) {
        self.stop.send_replace(Some(Instant::now() + grace));
        let task = locked(&self.task).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!("the drain had ended before: {error}");
        }
    }
}

/// Runs the driver; its failure, which is a defect, must not pass for an idle drain.
async fn watched(driver: impl Future<Output = ()>, shared: Arc<Shared>) {
    if AssertUnwindSafe(driver).catch_unwind().await.is_err() {
        tracing::error!("the drain failed: records wait; restart the agent and report this");
        shared.state().failed(Instant::now());
        shared.tell_connection();
        shared.end.send_replace(Some(Ended::Failed));
    }
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
    pub(super) present: RwLock<Arc<Run>>,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) end: watch::Sender<Option<Ended>>,
}

impl DrainHandle {
    /// How it stands.
    pub fn status(&self) -> DrainStatus {
        let (now, wall_ms) = (Instant::now(), self.clock.now_ms());
        self.shared().look(now).status(now, wall_ms)
    }

    /// How long the drain has been at one step, where it is at one: a decision, or the queue's answer to
    /// what it would lease. `None` while it waits for records, answers or time. Cheap.
    pub fn busy(&self) -> Option<Duration> {
        self.run().shared.pulse.under_way()
    }

    /// What the pace has learned, worth keeping over a restart.
    pub fn memory(&self) -> pace::Memory {
        self.shared().state().pacer.memory()
    }

    /// Counts what connections have carried meanwhile, for a day's bytes may be used up by what is
    /// no record's, and says what is worth keeping over a restart. To be called now and then.
    pub fn count(&self) -> budget::Stored {
        let shared = self.shared();
        let state = shared.look(Instant::now());
        let rests = state.link.state() == LinkState::Budget;
        if state.budget.is_spent() != rests {
            shared.poke.notify_one();
        }
        state.budget.stored()
    }

    /// How much of the day's bytes is used, from 0 to 1; 0 without `[budget]`. Cheap.
    pub fn budget_used(&self) -> f64 {
        self.shared().state().budget.used_share()
    }

    /// Whether the far end can be reached, now and whenever that changes.
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.shared().connection.subscribe()
    }

    /// An operator accepts that what the broker refuses in `lane` is dead: dead-lettering goes
    /// on. False if nothing is held for a refusal there.
    pub fn accept(&self, lane: &LaneName) -> bool {
        let shared = self.shared();
        let accepted = shared.state().accept(lane.as_str());
        if accepted {
            shared.poke.notify_one();
        }
        accepted
    }

    /// Nothing new leaves `lane` from now on, or it does again.
    pub fn pause(&self, lane: &LaneName, paused: bool) {
        let shared = self.shared();
        let mut state = shared.state();
        let known = state.lanes.iter_mut().find(|known| known.config.name == *lane);
        let before = known.map(|known| std::mem::replace(&mut known.paused, paused));
        drop(state);
        if before != Some(paused) {
            shared.poke.notify_one();
        }
    }

    /// The kernel knows no way to the far end any more, for this reason.
    pub fn unrouted(&self, reason: &str) {
        let shared = self.shared();
        shared.state().unrouted(reason, Instant::now());
        shared.poke.notify_one();
    }

    /// The kernel knows a way to the far end that it did not know before.
    pub fn way_came(&self) {
        let shared = self.shared();
        shared.state().way_came(Instant::now());
        shared.poke.notify_one();
    }

    /// There are other access keys than before: a link or a topic that is held for them is asked at
    /// once.
    pub fn rekeyed(&self) {
        let shared = self.shared();
        shared.state().rekeyed(Instant::now());
        shared.poke.notify_one();
    }

    /// Dead letters have left: a lane that is held for want of room among them is tried at once.
    pub fn freed(&self) {
        let shared = self.shared();
        shared.state().freed(Instant::now());
        shared.poke.notify_one();
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        self.run().shared.clone()
    }

    pub(super) fn run(&self) -> Arc<Run> {
        self.present.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the drain has ended, and says how.
    pub async fn ended(&self) -> Ended {
        let mut end = self.end.subscribe();
        match end.wait_for(Option::is_some).await.map(|end| *end) {
            Ok(Some(end)) => end,
            // Neither happens: the sender is held here, and only an end was waited for.
            Ok(None) | Err(_) => Ended::Failed,
        }
    }

    /// Sends nothing new, gives what is in flight `grace` to finish, leaves the rest in the queue.
    pub async fn stop(&self, grace: Duration) {
        self.run().halt(grace).await;
        let stopped =
            |end: &mut Option<Ended>| end.get_or_insert(Ended::Stopped) == &Ended::Stopped;
        self.end.send_if_modified(stopped);
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
    pub(super) connection: watch::Sender<Connection>,
    pub(super) pulse: Pulse,
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
