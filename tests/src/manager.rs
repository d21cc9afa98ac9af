//! A stand-in for the service manager, as far as the agent notices it: it holds sockets open over
//! the agent's lives and passes them, hears what the agent says, and names a watchdog and
//! credentials.

use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::sleep;

use crate::gateway::PATIENCE;

const POLL: Duration = Duration::from_millis(20);
/// Sockets come in as standard input and output and leave as 3 and 4; the rest is the agent's
/// command line. Its process id is only known there.
const PASS: &str = "[ -z \"$LISTEN_FDS\" ] || exec 3<&0
[ \"$LISTEN_FDS\" != 2 ] || exec 4<&1
export LISTEN_PID=$$ WATCHDOG_PID=$$
exec \"$@\" </dev/null >/dev/null";

/// What the agent says. It is read all the time, also where nobody asks: else the agent would wait.
#[derive(Debug)]
struct Notices {
    socket: UnixDatagram,
    heard: Mutex<Vec<String>>,
}

impl Notices {
    fn bind(path: &Path) -> Arc<Self> {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let notices = Arc::new(Self { socket, heard: Mutex::default() });
        let listening = Arc::downgrade(&notices);
        std::thread::spawn(move || {
            while let Some(notices) = listening.upgrade() {
                drop(notices.listen());
                std::thread::sleep(POLL);
            }
        });
        notices
    }

    fn listen(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        let mut heard = self.heard.lock().unwrap();
        let mut message = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut message) {
            heard.extend(String::from_utf8_lossy(&message[..length]).lines().map(str::to_owned));
        }
        heard
    }
}

/// See the module.
#[derive(Debug)]
pub struct Manager {
    folder: TempDir,
    notices: Arc<Notices>,
    sockets: Vec<(&'static str, UnixListener)>,
    watchdog: Option<Duration>,
}

impl Default for Manager {
    fn default() -> Self {
        Self::new()
    }
}

impl Manager {
    /// One that passes nothing and only listens.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let notices = Notices::bind(&folder.path().join("notify"));
        Self { folder, notices, sockets: vec![], watchdog: None }
    }

    /// Holds a socket at `path`, as a socket unit with this name does; at most two.
    pub fn holding(mut self, name: &'static str, path: &Path) -> Self {
        self.sockets.push((name, UnixListener::bind(path).unwrap()));
        self
    }

    /// Wants to hear from the agent within this time.
    pub fn watching(mut self, watchdog: Duration) -> Self {
        self.watchdog = Some(watchdog);
        self
    }

    /// Keeps a credential for the agent.
    pub fn credential(self, name: &str, secret: &str) -> Self {
        std::fs::create_dir_all(self.credentials()).unwrap();
        std::fs::write(self.credentials().join(name), secret).unwrap();
        self
    }

    fn credentials(&self) -> PathBuf {
        self.folder.path().join("credentials")
    }

    /// What a command has to begin with so that the agent is started as by a manager.
    pub(crate) fn words() -> [String; 4] {
        ["sh", "-c", PASS, "sh"].map(str::to_owned)
    }

    /// Passes everything to the agent.
    pub(crate) fn pass(&self, command: &mut Command) {
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        if let Some(watchdog) = self.watchdog {
            command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        }
        if self.credentials().exists() {
            command.env("CREDENTIALS_DIRECTORY", self.credentials());
        }
        if !self.sockets.is_empty() {
            let names: Vec<&str> = self.sockets.iter().map(|(name, _)| *name).collect();
            command
                .env("LISTEN_FDS", names.len().to_string())
                .env("LISTEN_FDNAMES", names.join(":"));
        }
        let copy = |nth: usize| {
            let (_, socket) = self.sockets.get(nth)?;
            Some(Stdio::from(socket.as_fd().try_clone_to_owned().unwrap()))
        };
        command.stdin(copy(0).unwrap_or_else(Stdio::null));
        command.stdout(copy(1).unwrap_or_else(Stdio::null));
    }

    /// Forgets what was heard.
    pub fn forget(&self) {
        self.notices.listen().clear();
    }

    /// Lines that were heard since [`Manager::forget`].
    pub fn heard(&self) -> Vec<String> {
        self.notices.listen().clone()
    }

    /// Waits until a line was heard `count` times since [`Manager::forget`].
    pub async fn hears(&self, line: &str, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.heard().iter().filter(|heard| *heard == line).count() < count {
            assert!(Instant::now() < deadline, "in vain until {line}: {:?}", self.heard());
            sleep(POLL).await;
        }
    }
}
