//! The queue changes while records come: its folder is opened anew with other options, under the
//! same lock. Records that come meanwhile are kept in their order and stored by the new one; those
//! that were submitted before are stored by the old one.

use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, TryLockError};

use spillway_protocol::record::LaneName;
use tokio::sync::watch;

use super::opening::Means;
use super::replay::LeaveError;
use super::{Inner, Queue};
use crate::queue::api::{AppendError, OpenError, Options, Recovery};
use crate::queue::format::gate;
use crate::queue::inbox::Inbox;
use crate::queue::lane::Lane;
use crate::queue::submission::Submission;

/// What all handles of a queue lead to.
pub(super) struct Slot {
    present: RwLock<Present>,
    /// Held by whoever writes to lanes or dead letters beside the threads and leases; for writing,
    /// while the queue changes.
    steady: RwLock<()>,
    /// Held by whoever lists dead letters and then takes them out, from the first to the last.
    leaving: Mutex<()>,
    /// Counts the changes.
    changes: watch::Sender<u64>,
}

struct Present {
    inner: Arc<Inner>,
    /// While it changes: what comes, in its order.
    coming: Option<Mutex<Vec<(LaneName, Submission)>>>,
}

/// The queue could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It goes on as it was.
    #[error("{0}; the queue stays as it was")]
    Kept(OpenError),
    /// It goes on as it was.
    #[error("records wait in lane {0} again; try once more")]
    Waiting(LaneName),
    /// Neither the new options nor the old ones open it any more: nothing is stored.
    #[error("{0}; the queue cannot be opened again")]
    Lost(OpenError),
}

impl Queue {
    pub(super) fn of(inner: Inner) -> Self {
        let present = RwLock::new(Present { inner: Arc::new(inner), coming: None });
        let (steady, leaving, changes) = Default::default();
        Self(Arc::new(Slot { present, steady, leaving, changes }))
    }

    /// Goes on with `new` options in place of `old`, in the same folder. Every lease must have ended.
    /// What comes meanwhile waits. Lanes that `new` does not name must be empty: what comes for
    /// them is refused. Blocks.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub fn change(&self, new: &Options, old: &Options) -> Result<Recovery, ChangeError> {
        let _steady = self.0.steady.write().unwrap_or_else(PoisonError::into_inner);
        let before = self.now();
        // What the folder's level does not allow is known before anything is closed.
        gate::allowed(new, before.folder.level()).map_err(ChangeError::Kept)?;
        if let Some(lane) = before.left_behind(new) {
            return Err(ChangeError::Waiting(lane));
        }
        self.hold_back();
        before.close();
        let failed = before.failed();
        let means = Means {
            lock: before.lock.clone(),
            clock: before.clock.clone(),
            changed: before.changed.clone(),
            waiting_bytes: before.waiting_bytes.clone(),
        };
        drop(before);
        match Inner::open(new, &means) {
            Ok((inner, recovery)) => {
                self.go_on(inner, &failed);
                Ok(recovery)
            }
            Err(error) => match Inner::open(old, &means) {
                Ok((inner, _)) => {
                    self.go_on(inner, &failed);
                    Err(ChangeError::Kept(error))
                }
                Err(_) => {
                    self.give_up();
                    Err(ChangeError::Lost(error))
                }
            },
        }
    }

    /// Whether anything is left of the lane: records that wait, numbers that were given up and are not
    /// told ([`Options::tell`](Options)), or files, such as those that are kept for a resend. One that
    /// is not open has nothing.
    pub fn remains(&self, lane: &LaneName) -> bool {
        self.lane(lane).is_some_and(|lane| lane.remains())
    }

    /// How often it was changed. What was looked up of a lane before belongs to the lane as it was.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// The queue as it was last opened.
    pub(super) fn now(&self) -> Arc<Inner> {
        self.present().inner.clone()
    }

    /// Nobody changes the queue while this is held. Not to be asked for twice by one thread.
    pub(in crate::queue) fn steady(&self) -> RwLockReadGuard<'_, ()> {
        self.0.steady.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody else replays or purges dead letters while this is held.
    pub(super) fn leaving(&self) -> Result<MutexGuard<'_, ()>, LeaveError> {
        match self.0.leaving.try_lock() {
            Ok(alone) => Ok(alone),
            Err(TryLockError::Poisoned(alone)) => Ok(alone.into_inner()),
            Err(TryLockError::WouldBlock) => Err(LeaveError::UnderWay),
        }
    }

    /// Hands it to the lane's thread, or keeps it until there is one again.
    pub(super) fn hand_over(&self, inner: &Arc<Inner>, index: usize, submission: Submission) {
        let present = self.present();
        match &present.coming {
            // Of the queue that it was made for.
            None if Arc::ptr_eq(inner, &present.inner) => inner.inboxes[index].put(submission),
            None => present.inner.store(&inner.lanes[index].name, submission),
            Some(coming) => {
                let lane = inner.lanes[index].name.clone();
                coming.lock().unwrap_or_else(PoisonError::into_inner).push((lane, submission));
            }
        }
    }

    fn present(&self) -> RwLockReadGuard<'_, Present> {
        self.0.present.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold_back(&self) {
        let mut present = self.0.present.write().unwrap_or_else(PoisonError::into_inner);
        present.coming = Some(Mutex::default());
        // Only what fails from now on has something of that behind it.
        present.inner.inboxes.iter().for_each(|inbox| inbox.failed(None));
    }

    /// Stores what came, before anything that comes now. What came behind a group that failed fails with
    /// it: its app brings that again, and they may be of one order.
    fn go_on(&self, inner: Inner, failed: &[(LaneName, AppendError)]) {
        let mut present = self.0.present.write().unwrap_or_else(PoisonError::into_inner);
        let coming = present.coming.take().map(|coming| take(&mut *locked(&coming)));
        for (lane, submission) in coming.into_iter().flatten() {
            match failed.iter().find(|(failed, _)| *failed == lane) {
                Some((_, error)) => submission.answer.send(Err(error.clone())),
                None => inner.store(&lane, submission),
            }
        }
        present.inner = Arc::new(inner);
        drop(present);
        self.0.changes.send_modify(|count| *count += 1);
    }

    /// What came hears that the agent stops.
    fn give_up(&self) {
        let mut present = self.0.present.write().unwrap_or_else(PoisonError::into_inner);
        present.coming = None;
    }
}

impl Inner {
    /// A lane that `new` does not name though something waits in it.
    fn left_behind(&self, new: &Options) -> Option<LaneName> {
        let gone = |lane: &&Arc<Lane>| new.lanes.iter().all(|named| named.name != lane.name);
        let mut gone = self.lanes.iter().filter(gone);
        gone.find(|lane| lane.accounts().waiting > 0).map(|lane| lane.name.clone())
    }

    /// Lanes whose last group was not stored, and why.
    fn failed(&self) -> Vec<(LaneName, AppendError)> {
        let of =
            |(lane, inbox): (&Arc<Lane>, &Arc<Inbox>)| Some((lane.name.clone(), inbox.failure()?));
        self.lanes.iter().zip(&self.inboxes).filter_map(of).collect()
    }

    /// Dropped where there is no such lane, its sender hears that the agent stops: it comes again.
    fn store(&self, lane: &LaneName, submission: Submission) {
        if let Some(index) = self.lanes.iter().position(|known| known.name == *lane) {
            self.inboxes[index].put(submission);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
