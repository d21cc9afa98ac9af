//! Another configuration is taken, tried, kept or given up.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use spillway_protocol::local::{Code, Refusal};
use tokio::sync::Mutex as Turn;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::accepted::{Stored, Trial};
use super::certificates::Certificates;
use super::change::{TakeError, needs_restart};
use super::core::{Before, Core, OnTrial};
use super::standing::{Force, Standing};
use crate::config::{self, Config, ConfigError, Loaded, Surroundings, differences};
use crate::control::Reloading;
use crate::control::reload::{Reloaded, Wish};
use crate::service::Manager;

/// How often it is looked whether a configuration on trial has proved itself.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Pause before a former configuration that could not come back is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// How often it is tried to write down what could not be.
const STORE_AGAIN_EVERY: Duration = Duration::from_secs(30);
/// Longest trial.
const TRIAL_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Whoever asks has to wait until the one before is done. Clones are the same.
#[derive(Clone)]
pub(super) struct Reloader {
    pub(super) core: Arc<Turn<Core>>,
    manager: Arc<Mutex<Manager>>,
}

impl Reloader {
    pub(super) fn new(core: Core) -> Self {
        Self { core: Arc::new(Turn::new(core)), manager: Arc::default() }
    }

    /// Tells `manager` of each change from now on.
    pub(super) fn tell(&self, manager: &Manager) {
        *self.manager() = manager.clone();
    }

    fn manager(&self) -> MutexGuard<'_, Manager> {
        self.manager.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does as is wished.
    pub(super) async fn reload(&self, wish: Wish) -> Reloading {
        let mut core = self.core.lock().await;
        if wish.keep {
            return core.keep("kept by an operator").await;
        }
        let trial = wish.confirm_ms.map(Duration::from_millis);
        if trial.is_some_and(|time| time.is_zero() || time > TRIAL_MAX) {
            let message = "is nothing, or more than 7 days";
            return Err(Refusal::of("confirm_ms", Code::BadRecord, message));
        }
        self.manager().reloading("taking another configuration");
        let reloaded = core.reload(trial).await;
        self.manager().ready(&core.lower.report.doing());
        if let Some(trial) = core.trial.as_ref().filter(|_| reloaded.trial_left_s.is_some()) {
            self.watch(trial.over.clone());
        }
        Ok(reloaded)
    }

    /// Until `stop`, what could not be written down is tried again.
    pub(super) async fn store_again(self, stop: CancellationToken) {
        let again = async {
            loop {
                sleep(STORE_AGAIN_EVERY).await;
                self.core.lock().await.store_again().await;
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = again => {}
        }
    }

    /// Watches the trial that ends with `over`.
    pub(super) fn watch(&self, over: CancellationToken) {
        let reloader = self.clone();
        // It ends with the trial, or with the agent.
        drop(tokio::spawn(async move {
            while !over.is_cancelled() {
                sleep(LOOK_EVERY).await;
                let mut core = reloader.core.lock().await;
                if !over.is_cancelled() {
                    core.look().await;
                }
            }
        }));
    }
}

impl Core {
    async fn reload(&mut self, trial: Option<Duration>) -> Reloaded {
        let file = PathBuf::from(&self.file);
        let read = spawn_blocking(move || config::read(&file, &Surroundings::of_process())).await;
        match read {
            Ok(Ok(loaded)) => self.consider(loaded, trial).await,
            Ok(Err(error)) => self.refuse(lines(&error)),
            Err(error) => self.refuse(vec![error.to_string()]),
        }
    }

    /// What was in force stays so.
    fn refuse(&mut self, faults: Vec<String>) -> Reloaded {
        for fault in &faults {
            tracing::error!(fault, "the configuration is refused; what was in force still is");
        }
        let mut standing = self.lower.report.standing();
        standing.force = match standing.force {
            Force::File | Force::FellBack => Force::Former,
            ref force => force.clone(),
        };
        standing.faults.clone_from(&faults);
        let trial_left_s = standing.status().trial_left_s;
        Reloaded { faults, trial_left_s, ..Reloaded::default() }
    }

    async fn consider(&mut self, loaded: Loaded, trial: Option<Duration>) -> Reloaded {
        // The lane that proves it may be gone afterwards.
        self.keep_if_proved().await;
        let Loaded { config, warnings, kept } = loaded;
        let needs = needs_restart(&self.config, &self.lower.data_dir, &config);
        let new = self.fitted(config);
        let changed = self.changed(&new);
        let fingerprint = kept.fingerprint();
        // The same as is being tried: it has not proved itself by being read again.
        let again = trial.is_none()
            && self.trial.as_ref().is_some_and(|trial| trial.mark.fingerprint == fingerprint);
        let before = self.before();
        let mark = trial.map(|time| self.mark(&fingerprint, time));
        let stored = self.stored.clone();
        if let (Err(error), true) = (self.announce((&new, &kept), mark).await, trial.is_some()) {
            return self.refuse_trial(stored, &error).await;
        }
        // No longer than the change takes: a reason for a missing way is that of what comes.
        let standing = self.replace_standing(Standing::of(&self.file, Force::File, Vec::new()));
        if let Err(error) = self.take(new, &kept).await {
            self.replace_standing(standing);
            if error.leaves_all() {
                self.withdraw(stored).await;
            }
            return self.refuse(vec![error.to_string()]);
        }
        self.kept = kept;
        let force = match (trial, again) {
            (_, true) => standing.force,
            (Some(time), _) => self.try_out(before, &fingerprint, time),
            (None, _) => {
                self.end_trial();
                Force::File
            }
        };
        {
            let mut standing = self.lower.report.standing();
            standing.force = force;
            standing.needs_restart.clone_from(&needs);
        }
        let unwritten = self.save(None).await.err().map(|error| self.unwritten(&error));
        for name in &needs {
            tracing::warn!(setting = name, "needs a restart");
        }
        let (on_trial, retired) = (self.trial.is_some(), self.retired());
        tracing::info!(?changed, ?retired, on_trial, "another configuration is in force");
        let trial_left_s = self.lower.report.standing().status().trial_left_s;
        let warnings = warnings.iter().map(ToString::to_string).chain(unwritten).collect();
        let needs_restart = needs;
        Reloaded {
            taken: true,
            faults: Vec::new(),
            warnings,
            changed,
            needs_restart,
            retired,
            trial_left_s,
        }
    }

    /// A start that does not find the mark would take what is on trial for good.
    async fn refuse_trial(&mut self, before: Option<Stored>, error: &io::Error) -> Reloaded {
        self.withdraw(before).await;
        let path = self.accepted.path().display();
        self.refuse(vec![format!(
            "nothing is tried: {path} cannot be written: {error}; after a restart nothing would fall back"
        )])
    }

    /// What somebody has to know who asked for a change.
    fn unwritten(&self, error: &io::Error) -> String {
        let path = self.accepted.path().display();
        format!(
            "{path} cannot be written: {error}; that is tried again, and until then a restart goes by \
             what it says"
        )
    }

    /// Sections and lanes that are others in `new`, or whose certificates are. Reads the disk.
    fn changed(&self, new: &Config) -> Vec<String> {
        let mut changed = differences(&self.config, new);
        for section in Certificates::of(new).renewed_since(&self.certificates) {
            if changed.iter().all(|known| known != section) {
                changed.push(section.to_owned());
            }
        }
        changed
    }

    fn replace_standing(&self, new: Standing) -> Standing {
        std::mem::replace(&mut *self.lower.report.standing(), new)
    }

    /// Lanes of former configurations in which something waits.
    fn retired(&self) -> Vec<String> {
        let queue = &self.lower.queue;
        let waits = |lane: &&config::Lane| {
            queue.accounts(&lane.name).is_some_and(|accounts| accounts.waiting > 0)
        };
        self.config.retired.iter().filter(waits).map(|lane| lane.name.to_string()).collect()
    }

    /// What comes back if the next one is not kept.
    fn before(&self) -> Before {
        let standing = self.lower.report.standing();
        let faults = match standing.force {
            // Those of a file that was refused.
            Force::File | Force::Trial(_) | Force::Former => Vec::new(),
            _ => standing.faults.clone(),
        };
        Before { config: self.config.clone(), kept: self.kept.clone(), faults }
    }

    /// What is in force is so until the time is over; what was before a trial comes back.
    fn try_out(&mut self, before: Before, fingerprint: &str, time: Duration) -> Force {
        let before = match self.trial.take() {
            Some(trial) => {
                trial.over.cancel();
                trial.before
            }
            None => before,
        };
        let mark = self.mark(fingerprint, time);
        self.begin_trial(before, mark);
        Force::Trial(Instant::now() + time)
    }

    /// Of a trial that begins now.
    fn mark(&self, fingerprint: &str, time: Duration) -> Trial {
        let clock = &self.lower.clock;
        let from_ms = if clock.is_set() { clock.now_ms() } else { 0 };
        let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let until_ms = from_ms.saturating_add(time_ms);
        Trial { fingerprint: fingerprint.to_owned(), from_ms, until_ms }
    }

    /// Of what is in force.
    pub(super) fn begin_trial(&mut self, before: Before, mark: Trial) {
        let delivered_before = self.lower.delivered();
        let over = CancellationToken::new();
        self.trial = Some(OnTrial { before, delivered_before, over, mark, again_at: None });
    }

    fn end_trial(&mut self) -> Option<OnTrial> {
        self.trial.take().inspect(|trial| trial.over.cancel())
    }

    /// Whether the trial is over, one way or the other.
    async fn look(&mut self) {
        if self.keep_if_proved().await {
            return;
        }
        let Some(trial) = &self.trial else { return };
        let until = match self.lower.report.standing().force {
            Force::Trial(until) => until,
            _ => return,
        };
        if Instant::now() >= trial.again_at.unwrap_or(until) {
            self.fall_back().await;
        }
    }

    async fn keep_if_proved(&mut self) -> bool {
        let proved = |trial: &OnTrial| self.lower.delivered_since(&trial.delivered_before);
        let proved = self.trial.as_ref().is_some_and(proved);
        if proved {
            // It is kept: there is one.
            drop(self.keep("kept: a record was delivered").await);
        }
        proved
    }

    async fn keep(&mut self, why: &str) -> Reloading {
        if self.end_trial().is_none() {
            let message =
                "nothing is on trial; spillway reload --confirm TIME tries a configuration";
            return Err(Refusal::new(Code::NotFound, message));
        }
        {
            let mut standing = self.lower.report.standing();
            standing.force = Force::File;
            standing.faults.clear();
        }
        let unwritten = self.save(None).await.err().map(|error| self.unwritten(&error));
        tracing::info!("the configuration on trial is {why}");
        let needs_restart = self.lower.report.standing().needs_restart.clone();
        let (warnings, retired) = (unwritten.into_iter().collect(), self.retired());
        Ok(Reloaded { taken: true, warnings, needs_restart, retired, ..Reloaded::default() })
    }

    /// The trial is over only once the former is in force: until then a start falls back too.
    async fn fall_back(&mut self) {
        let Some(trial) = &self.trial else { return };
        tracing::error!(
            "nothing was delivered in time and the configuration not kept: the former comes back"
        );
        let Before { config, kept, faults } = trial.before.clone();
        let former = self.fitted(config);
        let fell_back = Standing::of(&self.file, Force::FellBack, faults);
        let standing = self.replace_standing(fell_back);
        if let Err(error) = self.take(former, &kept).await {
            self.replace_standing(standing);
            self.fall_back_later(&error);
            return;
        }
        let refused = self.end_trial().map(|trial| trial.mark.fingerprint);
        self.kept = kept;
        // Until it is written, a start finds a mark whose time is over.
        drop(self.save(refused).await);
    }

    fn fall_back_later(&mut self, error: &TakeError) {
        if matches!(error, TakeError::Stopping) {
            return;
        }
        tracing::error!(%error, "the former configuration cannot come back yet; it is tried again");
        let fault = format!("the former cannot come back yet: {error}");
        self.lower.report.standing().faults = vec![fault];
        if let Some(trial) = &mut self.trial {
            trial.again_at = Some(Instant::now() + AGAIN_AFTER);
        }
    }
}

fn lines(error: &ConfigError) -> Vec<String> {
    error.faults.iter().map(ToString::to_string).collect()
}
