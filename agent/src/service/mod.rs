//! What a service manager (systemd) and the agent tell each other: [`Manager`] says that the agent is
//! ready, what it does, and that it turns; [`Handed`] are the sockets that the manager holds open
//! while the agent is away. Without a manager all of it does nothing.
//!
//! # What feeds the watchdog
//! No timer alone. [`Attendance`] looks at the parts of the agent from a thread of its own, and says
//! that it is alive only if each of them has turned ([`Watch`]): the threads that store, the
//! runtime ([`Workers`]), the intake. A disk that hangs is no reason to be killed: a process that
//! sleeps in the kernel for its disk cannot be, and the next one would sleep there too, while this
//! one still answers apps. That it is the disk has to be seen: a thread sleeps uninterruptibly, and
//! nothing was synced since.

mod asleep;
mod attendance;
mod handed;
mod watch;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

pub use attendance::{Attendance, Look};
pub use handed::{Handed, HandedError};
pub use watch::{Part, Seen, Verdict, Watch};
pub use workers::Workers;

/// The service manager that started this process, if one did. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Manager(Option<Arc<Told>>);

#[derive(Debug)]
struct Told {
    watchdog: Option<Duration>,
}

impl Manager {
    /// As this process's environment names it (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`).
    pub fn of_process() -> Self {
        let named = std::env::var_os("NOTIFY_SOCKET").is_some();
        Self(named.then(|| Arc::new(Told { watchdog: sd_notify::watchdog_enabled() })))
    }

    /// Within which time it wants to hear from the agent, over and over; `None`: it does not care.
    pub fn watchdog(&self) -> Option<Duration> {
        self.0.as_ref()?.watchdog
    }

    /// Whether anybody listens.
    pub fn listens(&self) -> bool {
        self.0.is_some()
    }

    /// What the agent does, in words.
    pub fn status(&self, text: &str) {
        self.say(&[NotifyState::Status(text)]);
    }

    /// Records are taken in from now on.
    pub fn ready(&self, text: &str) {
        self.say(&[NotifyState::Ready, NotifyState::Status(text)]);
    }

    /// The agent ends.
    pub fn stopping(&self, text: &str) {
        self.say(&[NotifyState::Stopping, NotifyState::Status(text)]);
    }

    /// All parts turn.
    fn alive(&self) {
        self.say(&[NotifyState::Watchdog]);
    }

    /// What cannot be said is said again at the next look, or missed: nothing depends on it here.
    fn say(&self, what: &[NotifyState<'_>]) {
        if self.listens()
            && let Err(error) = sd_notify::notify(what)
        {
            tracing::warn!(%error, "the service manager does not listen");
        }
    }
}
