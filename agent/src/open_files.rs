//! How many files and connections the process may have open, and which of them are not for whoever
//! connects.
//!
//! The kernel gives what is opened the lowest free number. A connection that gets one from the
//! ceiling on is closed at once: so these numbers are always there for what the agent opens by
//! itself, its queue first of all, however many come.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::Instant;

use crate::logs::Repeated;

/// What the agent opens by itself, without lanes: sockets it listens on, timers, connections to the
/// far end, names that are asked for, small files.
const OWN: u64 = 64;
/// For a lane, or the dead letters: the database being filled, the one before it, segments that
/// are read, the state; the same once more for a folder beside.
const OF_LANE: u64 = 16;

/// See the module. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct OpenFiles(Arc<Inside>);

#[derive(Debug, Default)]
struct Inside {
    /// `None`: there is no bound.
    bounds: RwLock<Option<Bounds>>,
    refused: AtomicU64,
    faults: Mutex<Repeated>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    /// The most that may be open.
    max: u64,
    /// Numbers from here on are the agent's own.
    ceiling: u64,
}

impl OpenFiles {
    /// Those of this process, which may have as many as the system lets it from now on, with a queue
    /// of so many lanes.
    pub fn of_process(lanes: usize) -> Self {
        let bounds = raise().map(|max| Bounds::new(max, lanes));
        if let Some(Bounds { max, ceiling }) = bounds.filter(|bounds| bounds.is_tight(lanes)) {
            tracing::warn!(
                max,
                connections = ceiling,
                "few files may be open at a time; raise the limit (ulimit -n, LimitNOFILE)"
            );
        }
        Self(Arc::new(Inside { bounds: RwLock::new(bounds), ..Inside::default() }))
    }

    /// The queue has so many lanes from now on.
    pub fn serve(&self, lanes: usize) {
        let mut bounds = self.0.bounds.write().unwrap_or_else(PoisonError::into_inner);
        *bounds = bounds.map(|bounds| Bounds::new(bounds.max, lanes));
    }

    fn bounds(&self) -> Option<Bounds> {
        *self.0.bounds.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a connection may stay open; if not, it is counted, and said once a minute.
    pub fn admit(&self, connection: &impl AsFd) -> bool {
        let number = connection.as_fd().as_raw_fd();
        let ceiling = self.bounds().map_or(u64::MAX, |bounds| bounds.ceiling);
        let admitted = u64::try_from(number).is_ok_and(|number| number < ceiling);
        if !admitted {
            self.refuse("the rest of what may be open is kept for the queue");
        }
        admitted
    }

    /// A connection was not taken, and whoever did not take it has said why.
    pub fn count_refused(&self) {
        self.0.refused.fetch_add(1, Relaxed);
    }

    /// A connection was not taken, for this reason.
    pub fn refuse(&self, reason: &str) {
        self.count_refused();
        let mut faults = self.0.faults.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(times_before) = faults.note("refused", Instant::now()) {
            tracing::warn!(reason, times_before, "a connection could not be taken");
        }
    }

    /// Connections that were not taken.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Relaxed)
    }

    /// The most that may be open; `None` without a bound.
    pub fn max(&self) -> Option<u64> {
        self.bounds().map(|bounds| bounds.max)
    }
}

/// How many this process has open, if the system tells.
pub fn count() -> Option<u64> {
    // One of them is the folder that is looked into.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as u64)
}

impl Bounds {
    /// At least half is the agent's own, and no more than it needs.
    fn new(max: u64, lanes: usize) -> Self {
        Self { max, ceiling: max - wanted(lanes).min(max.div_ceil(2)) }
    }

    /// Connections have less than the agent itself.
    fn is_tight(&self, lanes: usize) -> bool {
        self.ceiling < wanted(lanes)
    }
}

/// What the agent itself may open.
fn wanted(lanes: usize) -> u64 {
    OWN + OF_LANE * (lanes as u64 + 1)
}

/// Raises the limit as far as this user may, and returns it; `None` without one.
fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn the_agent_keeps_what_it_needs_or_half_of_what_there_is() {
        let bounds = |max, lanes| Bounds::new(max, lanes);
        assert_eq!(bounds(1024, 3), Bounds { max: 1024, ceiling: 1024 - 64 - 4 * 16 });
        assert_eq!(bounds(101, 3), Bounds { max: 101, ceiling: 50 });
        assert!(bounds(200, 3).is_tight(3) && !bounds(1024, 3).is_tight(3));
    }

    #[test]
    fn a_number_from_the_ceiling_on_is_not_taken_and_counted() {
        let file = File::open("/dev/null").unwrap();
        let number = file.as_raw_fd() as u64;
        let up_to = |ceiling| {
            let bounds = Some(Bounds { max: 1024, ceiling });
            OpenFiles(Arc::new(Inside { bounds: RwLock::new(bounds), ..Inside::default() }))
        };
        let (below, at) = (up_to(number + 1), up_to(number));
        assert!(below.admit(&file) && OpenFiles::default().admit(&file));
        assert!(!at.admit(&file) && !at.admit(&file));
        assert_eq!((below.refused(), at.refused()), (0, 2));
    }

    #[test]
    fn what_is_opened_is_counted() {
        let before = count().unwrap();
        let files: Vec<File> = (0..50).map(|_| File::open("/dev/null").unwrap()).collect();
        assert!(count().unwrap() + 25 > before + files.len() as u64);
    }
}
