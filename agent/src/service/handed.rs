//! Sockets that the service manager opened and holds: apps that connect while the agent is away
//! wait in them.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The intake's name, in `FileDescriptorName=` of a socket unit.
const INTAKE: &str = "intake";
/// The control socket's.
const CONTROL: &str = "control";
/// That of `[listen.http]`.
const HTTP: &str = "http";

/// They were taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// What was passed cannot be told.
#[derive(Debug, thiserror::Error)]
#[error("LISTEN_FDS: {0}; start the agent with a socket unit, or without these variables")]
pub struct HandedError(#[from] std::io::Error);

/// See the module. Whoever takes one owns it.
#[derive(Debug, Default)]
pub struct Handed {
    /// Where records come in.
    pub intake: Option<OwnedFd>,
    /// Where operators look.
    pub control: Option<OwnedFd>,
    /// Where records come in over TCP.
    pub http: Option<OwnedFd>,
}

impl Handed {
    /// What this process got (`LISTEN_PID`, `LISTEN_FDS`, `LISTEN_FDNAMES`). Only the first call
    /// finds something.
    ///
    /// # Errors
    /// If the variables contradict what is open.
    pub fn of_process() -> Result<Self, HandedError> {
        if TAKEN.swap(true, Relaxed) {
            return Ok(Self::default());
        }
        let named = sd_notify::listen_fds_with_names()?.map(|(fd, name)| {
            // SAFETY: the service manager opened it for this process, sd-notify has just found it open,
            // and it is taken only once.
            (name, unsafe { OwnedFd::from_raw_fd(fd) })
        });
        Ok(Self::sorted(named.collect()))
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        self.intake.is_some() || self.control.is_some() || self.http.is_some()
    }

    /// By their names. A unit that gives none means the intake.
    fn sorted(mut named: Vec<(String, OwnedFd)>) -> Self {
        let mut take = |wanted: &dyn Fn(&str) -> bool| {
            let at = named.iter().position(|(name, _)| wanted(name))?;
            Some(named.remove(at).1)
        };
        let control = take(&|name| name == CONTROL);
        let http = take(&|name| name == HTTP);
        let intake = take(&|name| name == INTAKE).or_else(|| take(&|_| true));
        for (name, _) in named {
            tracing::warn!(
                name,
                "a socket of the service manager is not used; FileDescriptorName= is intake, control or http"
            );
        }
        Self { intake, control, http }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    /// Sockets with these names, and which of them became what.
    fn sorted(names: &[&str]) -> [Option<String>; 3] {
        let open = |name: &&str| {
            let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
            ((*name).to_owned(), OwnedFd::from(socket))
        };
        let named: Vec<(String, OwnedFd)> = names.iter().map(open).collect();
        let names: Vec<_> = named.iter().map(|(name, fd)| (fd.as_raw_fd(), name.clone())).collect();
        let handed = Handed::sorted(named);
        [handed.intake, handed.control, handed.http].map(|fd| {
            let fd = fd?.as_raw_fd();
            names.iter().find(|(number, _)| *number == fd).map(|(_, name)| name.clone())
        })
    }

    #[test]
    fn sockets_are_told_by_their_names_and_one_without_is_the_intake() {
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(sorted(&[]), [None, None, None]);
        assert_eq!(sorted(&["control", "intake"]), [some("intake"), some("control"), None]);
        assert_eq!(sorted(&["spillway.socket"]), [some("spillway.socket"), None, None]);
        assert_eq!(sorted(&["other", "intake"]), [some("intake"), None, None]);
        assert_eq!(sorted(&["control"]), [None, some("control"), None]);
        assert_eq!(sorted(&["http", "x"]), [some("x"), None, some("http")]);
    }
}
