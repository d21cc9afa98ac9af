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

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use sd_notify::NotifyState;

pub use attendance::{Attendance, Look};
pub use handed::{Handed, HandedError};
pub use watch::{Part, Seen, Verdict, Watch};
pub use workers::Workers;

/// A manager that does not read must not keep the agent from its work.
const SEND_MAX: Duration = Duration::from_secs(1);

/// The service manager that started this process, if one did. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Manager(Option<Arc<Told>>);

#[derive(Debug)]
struct Told {
    socket: OsString,
    watchdog: Option<Duration>,
    /// That the agent is ready could not be said yet.
    owed: AtomicBool,
}

impl Manager {
    /// As this process's environment names it (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`).
    pub fn of_process() -> Self {
        let told = |socket| {
            let watchdog = sd_notify::watchdog_enabled();
            Arc::new(Told { socket, watchdog, owed: AtomicBool::new(false) })
        };
        Self(std::env::var_os("NOTIFY_SOCKET").map(told))
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
        let said = self.say(&[NotifyState::Ready, NotifyState::Status(text)]);
        self.0.iter().for_each(|told| told.owed.store(!said, Relaxed));
    }

    /// Another configuration is taken; [`Manager::ready`] says that this is done.
    pub fn reloading(&self, text: &str) {
        // What Type=notify-reload tells one request from another by.
        let since = NotifyState::monotonic_usec_now().ok();
        let states = [NotifyState::Reloading, NotifyState::Status(text)];
        let states: Vec<NotifyState<'_>> = states.into_iter().chain(since).collect();
        self.say(&states);
    }

    /// The agent ends.
    pub fn stopping(&self, text: &str) {
        self.say(&[NotifyState::Stopping, NotifyState::Status(text)]);
    }

    /// All parts turn.
    fn alive(&self) {
        self.say(&[NotifyState::Watchdog]);
    }

    /// Says that the agent is ready, if that has not come through.
    fn repeat(&self) {
        if let Some(told) = self.0.as_ref().filter(|told| told.owed.load(Relaxed)) {
            told.owed.store(!self.say(&[NotifyState::Ready]), Relaxed);
        }
    }

    /// Whether it came through, or there is nobody to hear it.
    fn say(&self, what: &[NotifyState<'_>]) -> bool {
        let Some(told) = &self.0 else { return true };
        let said = told.send(what);
        if let Err(error) = &said {
            tracing::warn!(%error, "the service manager does not listen");
        }
        said.is_ok()
    }
}

impl Told {
    /// As sd_notify(3) has it; sd-notify's own would wait as long as it takes, and knows no abstract
    /// addresses.
    fn send(&self, what: &[NotifyState<'_>]) -> io::Result<()> {
        let address = match self.socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(&self.socket)?,
        };
        let text: String = what.iter().map(|state| format!("{state}\n")).collect();
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_MAX))?;
        socket.send_to_addr(text.as_bytes(), &address).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(socket: &str) -> Manager {
        let (socket, owed) = (socket.into(), AtomicBool::new(false));
        Manager(Some(Arc::new(Told { socket, watchdog: None, owed })))
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut message = [0; 4096];
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    }

    #[test]
    fn an_abstract_address_is_one() {
        let name = format!("spillway-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        told(&format!("@{name}")).stopping("bye");
        assert_eq!(heard(&socket), "STOPPING=1\nSTATUS=bye\n");
    }

    #[test]
    fn a_manager_that_does_not_read_keeps_nobody_and_hears_of_the_readiness_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = told(path.to_str().unwrap());
        let mut told = 0;
        while manager.say(&[NotifyState::Watchdog]) {
            told += 1;
        }
        manager.ready("here");
        manager.repeat();
        (0..told).for_each(|_| assert_eq!(heard(&socket), "WATCHDOG=1\n"));
        manager.repeat();
        manager.repeat();
        manager.stopping("bye");
        assert_eq!([heard(&socket), heard(&socket)], ["READY=1\n", "STOPPING=1\nSTATUS=bye\n"]);
    }
}
