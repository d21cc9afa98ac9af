//! Other stores behind the agent's own socket: the same frames, sessions and group commit, and
//! somebody else's way to the disk.

pub mod database;
pub mod process;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, pending};
use spillway::intake::{Intaking, LaneInfo, Storing};
use spillway::queue::{Answers, AppendError, Ordering, Place, Receipt, Tag};
use spillway_protocol::local::status::{Configuration, Link, LinkState, Pace, Rates, Status};
use spillway_protocol::message::StreamId;
use spillway_protocol::record::{LaneName, MessageKey, Record, RecordId, Topic};
use tokio::sync::oneshot;

use crate::Error;

/// Most records that are committed together.
const GROUP_MAX: usize = 4096;
const STREAM: StreamId = StreamId(1);

/// A store that keeps records under numbers.
pub trait Engine: Send {
    /// Stores records under the numbers from `first` on; they survive a power cut.
    ///
    /// # Errors
    /// If they do not.
    fn commit(&mut self, first: u64, records: &[Record]) -> Result<(), Error>;
}

struct Submission {
    record: Record,
    answer: Answer,
}

/// Who is answered.
enum Answer {
    One(oneshot::Sender<Result<Receipt, AppendError>>),
    Many(Answers, Tag),
}

impl Answer {
    fn send(self, result: Result<Receipt, AppendError>) {
        match self {
            Self::One(sender) => drop(sender.send(result)),
            Self::Many(answers, tag) => answers.put(tag, result),
        }
    }
}

/// An [`Engine`] behind the intake. It knows no repeats, and cannot say where a record is.
pub struct Behind {
    inbox: Sender<Submission>,
    lanes: Arc<[LaneInfo]>,
}

impl Behind {
    /// Starts the thread that commits groups to `engine`.
    ///
    /// # Errors
    /// If the lane's name is none.
    pub fn new(engine: Box<dyn Engine>) -> Result<Self, Error> {
        let lane = LaneInfo {
            name: LaneName::parse("lane-0")?,
            topic: Topic::parse("bench-0")?,
            default: true,
            ordering: Ordering::None,
        };
        let (inbox, submissions) = channel();
        let name = lane.name.clone();
        thread::spawn(move || Committer { engine, lane: name, next: 1 }.run(&submissions));
        Ok(Self { inbox, lanes: Arc::new([lane]) })
    }
}

struct Committer {
    engine: Box<dyn Engine>,
    lane: LaneName,
    next: u64,
}

impl Committer {
    /// As the queue does it: what came during a commit is the next group, which waits for those
    /// that the answers bring, at most as long as that commit took.
    fn run(mut self, submissions: &Receiver<Submission>) {
        let (mut outstanding, mut patience) = (0, Duration::ZERO);
        while let Some(group) = gather(submissions, outstanding, patience) {
            let begun = Instant::now();
            let (records, answers): (Vec<_>, Vec<_>) =
                group.into_iter().map(|one| (one.record, one.answer)).unzip();
            let stored = self.engine.commit(self.next, &records).map_err(|e| e.to_string());
            outstanding = records.len();
            patience = begun.elapsed();
            for ((record, answer), seq) in records.into_iter().zip(answers).zip(self.next..) {
                let result = match &stored {
                    Ok(()) => self.receipt(record, seq),
                    Err(error) => Err(AppendError::Disk(error.clone())),
                };
                // Who has hung up gets no answer.
                answer.send(result);
            }
            self.next += outstanding as u64;
        }
    }

    fn receipt(&self, record: Record, seq: u64) -> Result<Receipt, AppendError> {
        let key = MessageKey::parse(record.message_key());
        let key = key.map_err(|error| AppendError::Disk(error.to_string()))?;
        let lane = self.lane.clone();
        Ok(Receipt { id: record.id, key, lane, stream: STREAM, seq, duplicate: false })
    }
}

/// The next group; none once nobody submits any more.
fn gather(
    submissions: &Receiver<Submission>,
    outstanding: usize,
    patience: Duration,
) -> Option<Vec<Submission>> {
    let mut group = vec![submissions.recv().ok()?];
    let until = Instant::now() + patience;
    while group.len() < GROUP_MAX {
        let wait = match group.len() < outstanding {
            true => until.saturating_duration_since(Instant::now()),
            false => Duration::ZERO,
        };
        match submissions.recv_timeout(wait) {
            Ok(submission) => group.push(submission),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    Some(group)
}

impl Intaking for Behind {
    fn submit(&self, _lane: &LaneName, record: Record) -> Storing {
        let (answer, answered) = oneshot::channel();
        let sent = self.inbox.send(Submission { record, answer: Answer::One(answer) });
        Box::pin(async move {
            sent.map_err(|_| AppendError::Stopping)?;
            answered.await.unwrap_or(Err(AppendError::Stopping))
        })
    }

    fn submit_to(&self, _lane: &LaneName, record: Record, answers: &Answers, tag: Tag) {
        let answer = Answer::Many(answers.clone(), tag);
        if let Err(closed) = self.inbox.send(Submission { record, answer }) {
            closed.0.answer.send(Err(AppendError::Stopping));
        }
    }

    fn lanes(&self) -> Arc<[LaneInfo]> {
        Arc::clone(&self.lanes)
    }

    fn stream(&self) -> StreamId {
        STREAM
    }

    fn find_id(&self, _id: &RecordId) -> Place {
        Place::Unknown
    }

    fn find_seq(&self, _lane: &LaneName, _stream: StreamId, _seq: u64) -> Place {
        Place::Unknown
    }

    fn largest_entry(&self, _: &LaneName) -> u64 {
        u64::MAX
    }

    fn key_of(&self, _: &LaneName, _: StreamId, _: u64) -> Option<MessageKey> {
        None
    }

    fn settled(&self, _: &LaneName, _: StreamId, _: u64) -> BoxFuture<'static, bool> {
        // Nothing is sent from here.
        Box::pin(pending())
    }

    fn status(&self) -> Status {
        status()
    }
}

/// What somebody who asks is told: nothing of what an agent would know.
fn status() -> Status {
    Status {
        gateway: "gw-bench".to_owned(),
        stream: STREAM.to_string(),
        version: String::new(),
        pid: std::process::id(),
        uptime_s: 0,
        configuration: Configuration {
            file: String::new(),
            state: "in force".to_owned(),
            faults: Vec::new(),
            needs_restart: Vec::new(),
            trial_left_s: None,
        },
        link: Link {
            state: LinkState::Offline,
            since_s: 0,
            since: 0,
            reason: "there is none".to_owned(),
            next_attempt_in_s: None,
        },
        lanes: Vec::new(),
        access_keys: Default::default(),
        own: None,
        control: None,
        quarantine: Default::default(),
        format: Default::default(),
        rates: Rates::default(),
        pace: Pace::default(),
        open_files: Default::default(),
        drained_in_s: None,
        first_send_in_s: None,
        clock_offset_s: None,
        budget: None,
    }
}

/// The engine of that name, in `folder`.
///
/// # Errors
/// If there is none, or it cannot be opened.
pub fn open(name: &str, folder: &Path) -> Result<Box<dyn Engine>, Error> {
    match name {
        "sqlite" => Ok(Box::new(database::Sqlite::open(folder)?)),
        "sled" => Ok(Box::new(database::Sled::open(folder)?)),
        _ => Err(format!("{name}: no such engine; sqlite or sled").into()),
    }
}
