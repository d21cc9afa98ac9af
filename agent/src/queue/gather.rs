//! Which records are committed together: all that came while the group before was being synced,
//! and, for a moment, those that its answers bring.
//!
//! Apps that keep a number of records outstanding send as many again when they are answered. If
//! half of them are being synced while the other half waits, groups stay half as large as they
//! could be, and a sync takes nearly as long for half as many. So a group waits until as many are
//! there as were outstanding, but at most for a third of the time that the commit before it took
//! from that commit's end on: a lone record, or one after a pause, does not wait.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use super::submission::Submission;

/// A group is closed at this many bytes or records.
const GROUP_BYTES: usize = 512 * 1024;
const GROUP_RECORDS: usize = 4096;
/// Part of a commit's time that the next group may wait.
const WAIT_PART: u32 = 3;
/// Looks during that wait. Each new record could wake this thread instead, but with a hundred
/// records that costs more than it brings.
const LOOKS: u32 = 8;

/// What a lane's thread is asked to do.
pub(super) enum Command {
    Append(Submission),
    /// Commit what came before this, close the segment, end.
    Close,
}

/// Records to be stored together.
pub(super) type Group = Vec<Submission>;

/// Forms the groups of one lane.
pub(super) struct Gatherer<'a> {
    commands: &'a Receiver<Command>,
    /// Told to close, or nobody is left to ask.
    closing: bool,
    group: Group,
    bytes: usize,
    /// Records without an answer when the last commit ended, its own among them.
    outstanding: usize,
    /// Until when the next group may wait for as many.
    until: Instant,
    nap: Duration,
}

impl<'a> Gatherer<'a> {
    pub(super) fn new(commands: &'a Receiver<Command>) -> Self {
        let (group, until) = (Group::new(), Instant::now());
        let nap = Duration::ZERO;
        Self { commands, closing: false, group, bytes: 0, outstanding: 0, until, nap }
    }

    /// The next group; `None` once told to close and everything before that was taken.
    pub(super) fn next(&mut self) -> Option<Group> {
        if self.group.is_empty() && !self.closing {
            match self.commands.recv() {
                Ok(command) => self.add(command),
                Err(_) => self.closing = true,
            }
        }
        self.take();
        while self.group.len() < self.outstanding && self.has_room() && Instant::now() < self.until
        {
            thread::sleep(self.nap);
            self.take();
        }
        self.bytes = 0;
        let group = std::mem::take(&mut self.group);
        (!group.is_empty()).then_some(group)
    }

    /// Everything that is there: what must fail with the group that failed.
    pub(super) fn rest(&mut self) -> Group {
        while let (false, Ok(command)) = (self.closing, self.commands.try_recv()) {
            self.add(command);
        }
        self.bytes = 0;
        std::mem::take(&mut self.group)
    }

    /// A commit of `records` that began at `begun` is over, and none of them is answered yet:
    /// what waits now are others.
    pub(super) fn committed(&mut self, records: usize, begun: Instant) {
        let now = Instant::now();
        let wait = (now - begun) / WAIT_PART;
        (self.until, self.nap) = (now + wait, wait / LOOKS);
        self.take();
        self.outstanding = records + self.group.len();
    }

    fn has_room(&self) -> bool {
        !self.closing && self.bytes < GROUP_BYTES && self.group.len() < GROUP_RECORDS
    }

    /// Takes what is there, up to a group's size.
    fn take(&mut self) {
        while self.has_room() {
            match self.commands.try_recv() {
                Ok(command) => self.add(command),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => self.closing = true,
            }
        }
    }

    fn add(&mut self, command: Command) {
        match command {
            Command::Close => self.closing = true,
            Command::Append(submission) => {
                self.bytes += submission.entry.len();
                self.group.push(submission);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use spillway_protocol::record::{Draft, RecordId};
    use tokio::sync::oneshot;

    use super::*;
    use crate::clock::SystemClock;
    use crate::queue::submission::{Answer, Waiting};

    fn send(commands: &Sender<Command>, count: usize, body_bytes: usize) {
        for _ in 0..count {
            let draft = Draft { body: vec![b'x'; body_bytes].into(), ..Draft::default() };
            let record = draft.parse(|| RecordId::parse("id").unwrap()).unwrap();
            let answer = Answer::new(oneshot::channel().0, Waiting::default());
            let submission = Submission::new(record, false, answer, &SystemClock).unwrap();
            commands.send(Command::Append(submission)).unwrap();
        }
    }

    /// The beginning of a commit that leads to a wait of a minute and more.
    fn long_ago() -> Instant {
        Instant::now().checked_sub(Duration::from_secs(300)).unwrap()
    }

    #[test]
    fn a_group_is_bounded_in_records_and_bytes() {
        let (sender, receiver) = channel();
        send(&sender, GROUP_RECORDS + 1, 1);
        send(&sender, 20, GROUP_BYTES / 8);
        let mut gatherer = Gatherer::new(&receiver);
        assert_eq!(gatherer.next().unwrap().len(), GROUP_RECORDS);
        assert_eq!(gatherer.next().unwrap().len(), 1 + 8);
        assert_eq!(gatherer.next().unwrap().len(), 8);
        assert_eq!(gatherer.next().unwrap().len(), 4);
    }

    #[test]
    fn what_came_before_the_close_is_still_taken() {
        let (sender, receiver) = channel();
        send(&sender, 3, 1);
        sender.send(Command::Close).unwrap();
        send(&sender, 1, 1);
        let mut gatherer = Gatherer::new(&receiver);
        assert_eq!(gatherer.next().unwrap().len(), 3);
        assert!(gatherer.next().is_none());
        assert!(gatherer.rest().is_empty());
    }

    #[test]
    fn nobody_left_to_ask_is_the_end() {
        let (sender, receiver) = channel();
        send(&sender, 1, 1);
        drop(sender);
        let mut gatherer = Gatherer::new(&receiver);
        assert_eq!(gatherer.next().unwrap().len(), 1);
        assert!(gatherer.next().is_none());
    }

    #[test]
    fn a_group_waits_for_as_many_as_were_outstanding() {
        let (sender, receiver) = channel();
        let mut gatherer = Gatherer::new(&receiver);
        // Two wait while two others are committed. Those come again when they are answered.
        send(&sender, 2, 1);
        gatherer.committed(2, long_ago());
        let answered = thread::spawn(move || {
            send(&sender, 2, 1);
            sender
        });
        assert_eq!(gatherer.next().unwrap().len(), 4);
        drop(answered.join());
    }

    #[test]
    fn a_lone_record_does_not_wait_nor_one_after_a_pause() {
        let (sender, receiver) = channel();
        let mut gatherer = Gatherer::new(&receiver);
        let begun = Instant::now();
        gatherer.committed(1, long_ago());
        send(&sender, 1, 1);
        assert_eq!(gatherer.next().unwrap().len(), 1);
        // The time to wait for these hundred is over when the next one comes.
        gatherer.committed(100, Instant::now());
        send(&sender, 1, 1);
        assert_eq!(gatherer.next().unwrap().len(), 1);
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn what_waits_fails_with_the_group_before() {
        let (sender, receiver) = channel();
        let mut gatherer = Gatherer::new(&receiver);
        send(&sender, 3, 1);
        gatherer.committed(1, Instant::now());
        send(&sender, 2, 1);
        assert_eq!(gatherer.rest().len(), 5);
    }
}
