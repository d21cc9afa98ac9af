//! Records on their way to the thread that stores those of a lane. It is woken when there are as
//! many as it wants, not for each: waking a thread costs more than taking a record.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::api::AppendError;
use super::submission::Submission;

/// A group is closed at this many bytes or records.
const GROUP_BYTES: usize = 512 * 1024;
const GROUP_RECORDS: usize = 4096;

/// Records to be stored together.
pub(super) type Group = Vec<Submission>;

/// How waiting for more than was there turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// There was nothing to wait for, or nobody who had to.
    None,
    /// All came.
    Worth,
    /// They did not come in time.
    InVain,
}

/// See the module.
#[derive(Default)]
pub(super) struct Inbox {
    inside: Mutex<Inside>,
    enough: Condvar,
}

#[derive(Default)]
struct Inside {
    waiting: VecDeque<Submission>,
    bytes: usize,
    /// The thread is to be woken when so many are there.
    wanted: usize,
    closed: bool,
    failed: Option<AppendError>,
}

impl Inside {
    fn has_enough(&self) -> bool {
        self.waiting.len() >= self.wanted.clamp(1, GROUP_RECORDS)
            || self.bytes >= GROUP_BYTES
            || self.closed
    }

    /// What is there, up to a group's size.
    fn group(&mut self) -> Group {
        let (mut records, mut bytes) = (0, 0);
        for submission in self.waiting.iter().take(GROUP_RECORDS) {
            if bytes >= GROUP_BYTES {
                break;
            }
            records += 1;
            bytes += submission.entry.len();
        }
        self.bytes -= bytes;
        self.waiting.drain(..records).collect()
    }
}

impl Inbox {
    /// Adds one. After [`Inbox::close`] it is dropped, and its ticket says so.
    pub(super) fn put(&self, submission: Submission) {
        let mut inside = self.lock();
        if inside.closed {
            drop(inside);
            return;
        }
        inside.bytes += submission.entry.len();
        inside.waiting.push_back(submission);
        let enough = inside.has_enough();
        drop(inside);
        if enough {
            self.enough.notify_one();
        }
    }

    /// Takes no more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.enough.notify_one();
    }

    /// Waits until `wanted` are there, but only `until` then, and after that for the first one.
    /// Nothing comes once it is closed and empty.
    pub(super) fn take(&self, wanted: usize, until: Instant) -> (Group, Wait) {
        let mut inside = self.lock();
        let mut wait = Wait::None;
        let time = until.saturating_duration_since(Instant::now());
        if wanted > 1 && !time.is_zero() {
            inside.wanted = wanted;
            let waited = self.enough.wait_timeout_while(inside, time, |i| !i.has_enough());
            inside = waited.unwrap_or_else(PoisonError::into_inner).0;
            wait = match inside.waiting.is_empty() {
                true => Wait::None,
                false if inside.has_enough() => Wait::Worth,
                false => Wait::InVain,
            };
        }
        inside.wanted = 1;
        let waited = self.enough.wait_while(inside, |i| !i.has_enough());
        (waited.unwrap_or_else(PoisonError::into_inner).group(), wait)
    }

    /// Everything that is there.
    pub(super) fn take_all(&self) -> Group {
        let mut inside = self.lock();
        inside.bytes = 0;
        std::mem::take(&mut inside.waiting).into()
    }

    /// Why the last group was not stored, or not all of it; `None`: it was.
    pub(super) fn failed(&self, why: Option<AppendError>) {
        self.lock().failed = why;
    }

    /// The same, for those whose turn would have been next.
    pub(super) fn failure(&self) -> Option<AppendError> {
        self.lock().failed.clone()
    }

    /// How many are there.
    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use spillway_protocol::message::Flags;
    use spillway_protocol::record::{Draft, RecordId};
    use tokio::sync::oneshot;

    use super::*;
    use crate::clock::SystemClock;
    use crate::queue::submission::{Answer, To, Waiting};

    /// Records to be stored that nobody waits for.
    pub(in crate::queue) fn submissions(
        count: usize,
        body_bytes: usize,
    ) -> impl Iterator<Item = Submission> {
        (0..count).map(move |_| {
            let draft = Draft { body: vec![b'x'; body_bytes].into(), ..Draft::default() };
            let record = draft.parse(|| RecordId::parse("id").unwrap()).unwrap();
            let answer = Answer::new(To::One(oneshot::channel().0), Waiting::default());
            Submission::new(record, Flags::NONE, answer, &SystemClock).unwrap()
        })
    }

    fn take(inbox: &Inbox) -> usize {
        inbox.take(0, Instant::now()).0.len()
    }

    #[test]
    fn a_group_is_bounded_in_records_and_bytes() {
        let inbox = Inbox::default();
        submissions(GROUP_RECORDS + 1, 1).for_each(|s| inbox.put(s));
        submissions(20, GROUP_BYTES / 8).for_each(|s| inbox.put(s));
        let sizes = [(); 4].map(|()| take(&inbox));
        assert_eq!(sizes, [GROUP_RECORDS, 1 + 8, 8, 4]);
        assert_eq!((inbox.len(), inbox.lock().bytes), (0, 0));
    }

    #[test]
    fn what_comes_after_the_close_is_dropped() {
        let inbox = Inbox::default();
        inbox.close();
        submissions(1, 1).for_each(|s| inbox.put(s));
        assert_eq!(take(&inbox), 0);
    }
}
