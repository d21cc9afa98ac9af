//! The answers of many records for one who brings many, as a connection does: they gather here, and
//! it is woken once for those of a whole group. A channel for each record would cost more than
//! storing it.

use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

use super::api::{AppendError, Receipt};

/// What a record's answer comes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// The bringer's name for the record.
    pub correlation: u64,
    /// What the record costs the bringer meanwhile.
    pub bytes: usize,
}

/// A record's answer.
pub type Answered = (Tag, Result<Receipt, AppendError>);

/// See the module. Clones are the same.
#[derive(Clone, Default)]
pub struct Answers(Arc<Inside>);

#[derive(Default)]
struct Inside {
    ready: Mutex<Vec<Answered>>,
    waker: AtomicWaker,
}

impl Answers {
    /// Adds one, and wakes whoever waits.
    pub fn put(&self, tag: Tag, result: Result<Receipt, AppendError>) {
        if self.add(tag, result) {
            self.wake();
        }
    }

    /// Adds one; whether it is the first, so that whoever waits has to be woken.
    pub(super) fn add(&self, tag: Tag, result: Result<Receipt, AppendError>) -> bool {
        let mut ready = self.0.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.push((tag, result));
        ready.len() == 1
    }

    /// Wakes whoever waits.
    pub(super) fn wake(&self) {
        self.0.waker.wake();
    }

    /// All that are there, oldest first; waits for the first. One task may wait.
    pub async fn next(&self) -> Vec<Answered> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Vec<Answered>> {
        // Before the look: what comes after it wakes.
        self.0.waker.register(cx.waker());
        let ready = take(&mut *self.0.ready.lock().unwrap_or_else(PoisonError::into_inner));
        match ready.is_empty() {
            true => Poll::Pending,
            false => Poll::Ready(ready),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const STOPPING: Result<Receipt, AppendError> = Err(AppendError::Stopping);

    fn tag(correlation: u64) -> Tag {
        Tag { correlation, bytes: 1 }
    }

    #[tokio::test]
    async fn all_that_came_are_taken_at_once_in_their_order() {
        let answers = Answers::default();
        (1..=3).for_each(|nth| answers.put(tag(nth), STOPPING));
        let taken: Vec<u64> = answers.next().await.iter().map(|(tag, _)| tag.correlation).collect();
        assert_eq!(taken, [1, 2, 3]);
        assert_eq!(answers.next().now_or_never(), None);
    }

    #[tokio::test]
    async fn the_first_of_a_group_asks_for_a_waking() {
        let answers = Answers::default();
        assert_eq!([1, 2].map(|nth| answers.add(tag(nth), STOPPING)), [true, false]);
        let waiting = tokio::spawn({
            let answers = answers.clone();
            async move {
                answers.next().await;
                answers.next().await.len()
            }
        });
        tokio::task::yield_now().await;
        answers.put(tag(3), STOPPING);
        assert_eq!(waiting.await.unwrap(), 1);
    }
}
