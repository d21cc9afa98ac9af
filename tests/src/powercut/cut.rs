//! One state after a power cut: trying it, and keeping it for another try.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use spillway::queue::Options;
use spillway_protocol::codec;
use spillway_protocol::local::status::Lane;
use tempfile::TempDir;

use super::agent;
use super::ledger::Ledger;
use super::states::{self, State, Variant};
use super::verdict::{Verdict, judge};
use super::work::{self, DATA};
use crate::gateway::accounted;

/// Longest that one state may take.
const PATIENCE: Duration = Duration::from_secs(60);
const LEDGER_VERSION: u8 = 1;
/// Marks a kept state as an agent's.
const AGENT: &str = "agent";

/// A folder in memory where there is such a file system: nothing of it has to outlive the test.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}

/// A state after a power cut, and what must be found there.
#[allow(missing_docs)]
pub struct Cut {
    pub name: String,
    pub variant: Variant,
    pub state: State,
    pub ledger: Ledger,
    /// Whose queue it is.
    pub of: Program,
}

/// What was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// One that drives a queue.
    Queue,
    /// The whole agent.
    Agent,
}

impl Program {
    /// How its queue is opened.
    fn options(self, folder: &Path, seed: u64) -> Options {
        match self {
            Self::Queue => work::options(folder, seed),
            Self::Agent => agent::options(folder, seed),
        }
    }
}

impl fmt::Debug for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}, {:?})", self.name, self.variant.data, self.variant.naming)
    }
}

impl Cut {
    /// Opens the queue on it.
    pub fn judge(&self) -> Verdict {
        let folder = scratch();
        states::write(&self.state, folder.path());
        let (path, ledger, seed) = (folder.path().join(DATA), &self.ledger, self.variant.seed);
        let judged = catch_unwind(AssertUnwindSafe(|| judge(self.of.options(&path, seed), ledger)));
        judged.unwrap_or_else(|_| {
            let faults = vec!["the queue panicked".to_owned()];
            Verdict { faults, ..Verdict::default() }
        })
    }

    /// Starts the whole agent on it, which delivers everything: nothing that was acknowledged is missing.
    pub async fn judge_started(&self) -> Vec<String> {
        let folder = scratch();
        states::write(&self.state, folder.path());
        let site = agent::Site::new(folder.path()).await;
        let found = site.deliver().await;
        let mut faults = self.ledger.missing_of(&found.arrived, &found.dead);
        let lost = |lane: &Lane| lane.damaged + lane.dropped + lane.expired > 0;
        let wrong = |lane: &&Lane| lost(lane) || accounted(lane) != lane.accepted;
        faults.extend(found.lanes.iter().filter(wrong).map(|lane| format!("{lane:?}")));
        faults
    }

    /// Puts it into `folder`, which is made anew, for [`Cut::load`].
    pub fn save(&self, folder: &Path) {
        drop(std::fs::remove_dir_all(folder));
        std::fs::create_dir_all(folder).unwrap();
        states::write(&self.state, folder);
        let mut ledger = Vec::new();
        codec::encode_into(LEDGER_VERSION, &self.ledger, &mut ledger).unwrap();
        std::fs::write(folder.join("ledger"), ledger).unwrap();
        std::fs::write(folder.join("seed"), self.variant.seed.to_string()).unwrap();
        if self.of == Program::Agent {
            std::fs::write(folder.join(AGENT), "").unwrap();
        }
    }

    /// What was saved in `folder`, which stays as it is.
    pub fn load(folder: &Path) -> Self {
        let ledger = std::fs::read(folder.join("ledger")).unwrap();
        let seed = std::fs::read_to_string(folder.join("seed")).unwrap().parse().unwrap();
        Self {
            name: folder.display().to_string(),
            variant: Variant::of(seed),
            state: read(folder, Path::new(DATA)),
            ledger: codec::decode(LEDGER_VERSION, &ledger).unwrap().0,
            of: if folder.join(AGENT).exists() { Program::Agent } else { Program::Queue },
        }
    }
}

/// Judges what `make` sends, side by side. Ends with a panic if one state takes too long.
pub fn judge_all(
    workers: usize,
    make: impl FnOnce(mpsc::SyncSender<Cut>) + Send,
    mut heard: impl FnMut(Cut, Verdict),
) {
    let (cuts, queue) = sync_channel::<Cut>(workers);
    let (verdicts, results) = mpsc::channel();
    let queue: Mutex<Receiver<Cut>> = Mutex::new(queue);
    thread::scope(|threads| {
        threads.spawn(|| make(cuts));
        for _ in 0..workers {
            let (queue, verdicts) = (&queue, verdicts.clone());
            threads.spawn(move || {
                loop {
                    let next = queue.lock().unwrap().recv();
                    let Ok(cut) = next else { return };
                    let verdict = cut.judge();
                    verdicts.send((cut, verdict)).unwrap();
                }
            });
        }
        drop(verdicts);
        loop {
            match results.recv_timeout(PATIENCE) {
                Ok((cut, verdict)) => heard(cut, verdict),
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    // A scope waits for its threads, and one of them hangs.
                    eprintln!("recovery did not end within {PATIENCE:?}");
                    std::process::exit(1);
                }
            }
        }
    });
}

/// The files and folders below a name in `root`.
pub(super) fn read(root: &Path, below: &Path) -> State {
    let mut state = State::new();
    let path = root.join(below);
    if !path.is_dir() {
        return state;
    }
    state.insert(below.to_owned(), None);
    for entry in std::fs::read_dir(path).unwrap() {
        let below = below.join(entry.unwrap().file_name());
        match root.join(&below).is_dir() {
            true => state.extend(read(root, &below)),
            false => {
                let content = std::fs::read(root.join(&below)).unwrap();
                state.insert(below, Some(content));
            }
        }
    }
    state
}
