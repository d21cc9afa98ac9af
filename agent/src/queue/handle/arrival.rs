//! How records come in: to the inbox of their lane's thread, with whom to answer.

use std::sync::Arc;

use spillway_protocol::message::Flags;
use spillway_protocol::record::{LaneName, Record};
use tokio::sync::oneshot;

use super::{Inner, Queue};
use crate::queue::answers::{Answers, Tag};
use crate::queue::api::{AppendError, Ticket};
use crate::queue::entry::{Copied, Stored};
use crate::queue::submission::{Answer, Submission, To, Waiting};

impl Queue {
    /// Takes a record in, in the order of calls per lane. Never blocks.
    pub fn submit(&self, lane: &LaneName, record: Record) -> Ticket {
        self.submit_flagged(lane, record, Flags::NONE)
    }

    /// The same for a record that is more than an app's.
    pub fn submit_flagged(&self, lane: &LaneName, record: Record, flags: Flags) -> Ticket {
        let (to, ticket) = ticket();
        self.take(lane, record, flags, to);
        ticket
    }

    /// The same for one of many, which `answers` gathers the answers of.
    pub fn submit_to(&self, lane: &LaneName, record: Record, answers: &Answers, tag: Tag) {
        self.take(lane, record, Flags::NONE, To::Many(answers.clone(), tag));
    }

    /// A record sent again, as it was.
    pub(in crate::queue) fn submit_copy(&self, lane: &LaneName, copied: Copied<Record>) -> Ticket {
        let size_bytes = copied.stored.record.size_bytes();
        let (to, ticket) = ticket();
        self.put(&self.now(), lane, (size_bytes, to), |answer| Submission::copy(copied, answer));
        ticket
    }

    /// A record that another queue has stored, as it was, under a new number.
    pub(in crate::queue) fn submit_stored(
        &self,
        lane: &LaneName,
        stored: Stored<Record>,
    ) -> Ticket {
        let size_bytes = stored.record.size_bytes();
        let (to, ticket) = ticket();
        self.put(&self.now(), lane, (size_bytes, to), |answer| Submission::stored(stored, answer));
        ticket
    }

    fn take(&self, lane: &LaneName, record: Record, flags: Flags, to: To) {
        let (size_bytes, inner) = (record.size_bytes(), self.now());
        let submission = |answer| Submission::new(record, flags, answer, inner.clock.as_ref());
        self.put(&inner, lane, (size_bytes, to), submission);
    }

    fn put(
        &self,
        inner: &Arc<Inner>,
        lane: &LaneName,
        (size_bytes, to): (usize, To),
        submission: impl FnOnce(Answer) -> Option<Submission>,
    ) {
        let refuse = |to, error| Answer::new(to, Waiting::default()).send(Err(error));
        let Some(index) = inner.lanes.iter().position(|l| l.name == *lane) else {
            return refuse(to, AppendError::UnknownLane { lane: lane.clone() });
        };
        let Some(waiting) =
            Waiting::enter(&inner.waiting_bytes, size_bytes, inner.waiting_bytes_max)
        else {
            let reason = "too many records wait for it; send this one again later";
            return refuse(to, AppendError::Disk(reason.to_owned()));
        };
        // A closed inbox drops the answer, which then says that the agent stops.
        let submission = submission(Answer::new(to, waiting));
        if let Some(submission) = submission {
            self.hand_over(inner, index, submission);
        }
    }
}

fn ticket() -> (To, Ticket) {
    let (sender, receiver) = oneshot::channel();
    (To::One(sender), Ticket(receiver))
}
