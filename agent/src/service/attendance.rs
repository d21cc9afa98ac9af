//! The thread that looks at the agent's parts and tells the service manager that they turn.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::watch::{Part, Seen, Verdict, Watch};
use super::workers::{Watched, Workers};
use super::{Manager, asleep};

/// A part may take a half of the manager's time for one round; there are so many looks in it.
const LOOKS: u32 = 12;
/// Longest time between two looks.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// The agent's own parts at one moment, and a number that moves with each sync. It must wait for
/// nothing.
pub type Look = Box<dyn Fn() -> (Vec<Part>, u64) + Send>;

/// See the module. It ends when this is dropped.
#[derive(Debug)]
pub struct Attendance {
    doing: Arc<Mutex<String>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Attendance {
    /// Begins, if a manager listens. `handle` is of the runtime that `workers` was told of.
    pub fn begin(manager: &Manager, workers: &Workers, handle: Handle, look: Look) -> Self {
        let doing = Arc::new(Mutex::new(String::new()));
        let mut own = Self { doing: doing.clone(), stop: None, thread: None };
        if !manager.listens() {
            return own;
        }
        let (stop, stopped) = channel();
        let attendant = Attendant {
            manager: manager.clone(),
            runtime: workers.watched(handle),
            look,
            doing,
            told: String::new(),
            before: Verdict::Turning,
        };
        let builder = std::thread::Builder::new().name("attendance".to_owned());
        match builder.spawn(move || attendant.run(&stopped)) {
            Ok(thread) => (own.stop, own.thread) = (Some(stop), Some(thread)),
            Err(error) => tracing::error!(%error, "no thread feeds the watchdog"),
        }
        own
    }

    /// What the agent does, in words: told at the next look, if it is new.
    pub fn doing(&self, text: String) {
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that feeds the watchdog panicked");
        }
    }
}

struct Attendant {
    manager: Manager,
    runtime: Watched,
    look: Look,
    doing: Arc<Mutex<String>>,
    /// What was told last.
    told: String,
    before: Verdict,
}

impl Attendant {
    fn run(mut self, stopped: &Receiver<()>) {
        let watchdog = self.manager.watchdog();
        let every = watchdog.map_or(LOOK_MAX, |time| (time / LOOKS).min(LOOK_MAX));
        let mut watch = Watch::new(watchdog.unwrap_or(Duration::MAX) / 2);
        loop {
            self.manager.repeat();
            let verdict = watch.look(Instant::now(), &self.seen());
            if watchdog.is_some() && !matches!(verdict, Verdict::Stuck { .. }) {
                self.manager.alive();
            }
            self.tell(verdict);
            if stopped.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    fn seen(&mut self) -> Seen {
        let (own, synced) = (self.look)();
        let parts = self.runtime.look().into_iter().chain(own).collect();
        Seen { parts, synced, asleep: asleep::threads() }
    }

    /// Says what is new.
    fn tell(&mut self, verdict: Verdict) {
        let doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = match &verdict {
            Verdict::Turning => doing,
            Verdict::Disk { part, .. } => format!("the disk does not answer: {part}"),
            Verdict::Stuck { part, .. } => format!("stuck: {part}"),
        };
        if text != self.told && !text.is_empty() {
            self.manager.status(&text);
            self.told = text;
        }
        let kind = std::mem::discriminant::<Verdict>;
        if kind(&verdict) != kind(&self.before) {
            note(&verdict);
        }
        self.before = verdict;
    }
}

fn note(verdict: &Verdict) {
    match verdict {
        Verdict::Turning => tracing::info!("all parts turn again"),
        Verdict::Disk { part, since } => {
            let since_s = since.as_secs();
            tracing::warn!(
                part,
                since_s,
                "the disk does not answer; a restart would not help, apps are told"
            );
        }
        Verdict::Stuck { part, since } => {
            let since_s = since.as_secs();
            tracing::error!(
                part,
                since_s,
                "a part does not turn; the watchdog is not fed until it does"
            );
        }
    }
}
