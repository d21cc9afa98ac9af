//! Whether a request is a record that some lane takes, and what the queue's answers mean outside.

use futures::future::BoxFuture;
use spillway_protocol::local::{Code, Level, Receipt, Refusal, Request};
use spillway_protocol::message::xml_safe;
use spillway_protocol::record::{BODY_MAX_BASE64, Record};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::admission::{Held, RECORD_BYTES, overloaded};
use super::clients::Rights;
use super::{Intake, LaneInfo, Storing, routing};
use crate::queue::{AppendError, Receipt as Stored};

/// Longest topic of the MQ HTTP API, in bytes.
const HTTP_TOPIC_MAX: usize = 64;

/// A record and the lane that takes it.
#[derive(Debug)]
pub(super) struct Proven {
    pub(super) lane: LaneInfo,
    pub(super) record: Record,
    /// When it is to be answered.
    pub(super) level: Level,
}

/// Resolves once a record has reached the level that was asked for, or the time is over.
pub(super) type Reaching = BoxFuture<'static, Result<Receipt, Refusal>>;

impl Intake {
    /// Proves everything about `request` that can be known before it is stored.
    pub(super) fn prove(&self, mut request: Request) -> Result<Proven, Refusal> {
        let rules = self.in_force();
        let rights = self.rights_by(&rules);
        rights.may_store()?;
        routing::fill_in(&rules.routes, &mut request)?;
        let lane = self.lane_of(&rights, request.lane.as_deref())?;
        let record = request.draft.parse(|| (self.fresh_id)())?;
        if rules.http_limits {
            check_http(&record)?;
        }
        Ok(Proven { lane, record, level: request.level })
    }

    /// Fills in what the routes say of it. Doing it twice changes nothing.
    pub(super) fn route(&self, request: &mut Request) -> Result<(), Refusal> {
        Ok(routing::fill_in(&self.in_force().routes, request)?)
    }

    /// The lane of that name, or the default one.
    pub(super) fn lane(&self, name: Option<&str>) -> Result<LaneInfo, Refusal> {
        let lanes = self.queue.lanes();
        let found = match name {
            Some(name) => lanes.iter().find(|lane| lane.name.as_str() == name),
            None => lanes.iter().find(|lane| lane.default).or(lanes.first()),
        };
        found.cloned().ok_or_else(|| {
            let names = lanes.iter().map(|lane| lane.name.as_str());
            let known: Vec<&str> = names.filter(|name| self.rights().has(name)).collect();
            let message = format!("is not known here; the lanes are: {}", known.join(", "));
            Refusal::of("lane", Code::UnknownLane, message)
        })
    }

    /// The same, if this connection may use it. A client that names none and may not use the
    /// default lane is told so: a lane that depended on who asks would surprise it some day.
    pub(super) fn own_lane(&self, name: Option<&str>) -> Result<LaneInfo, Refusal> {
        self.lane_of(&self.rights(), name)
    }

    fn lane_of(&self, rights: &Rights, name: Option<&str>) -> Result<LaneInfo, Refusal> {
        let lane = self.lane(name)?;
        match rights.has(lane.name.as_str()) {
            true => Ok(lane),
            false => Err(rights.not_yours(lane.name.as_str(), name.is_some())),
        }
    }

    /// Holds what a record costs until it is stored.
    pub(super) fn hold(&self, record: &Record) -> Option<Held> {
        self.budget.try_hold(cost(record))
    }

    /// Hands a record to the queue, with what it costs meanwhile.
    pub(super) fn submit(&self, proven: Proven) -> Result<(Storing, Held), Refusal> {
        let held = self.hold(&proven.record).ok_or_else(overloaded)?;
        self.rights().charge()?;
        Ok((self.queue.submit(&proven.lane.name, proven.record), held))
    }

    /// Stores a record and says what became of it, after `commit_max` at the latest.
    pub(super) async fn store(&self, proven: Proven) -> Result<Receipt, Refusal> {
        let (storing, _held) = self.submit(proven)?;
        match timeout(self.options.commit_max, storing).await {
            Ok(answer) => self.own_receipt(verdict(answer)),
            Err(_) => Err(stalled()),
        }
    }

    /// Waits for the disk and then for RocketMQ, as [`Self::deliver`] does. While it waits for the
    /// latter, the record costs no more than its answer.
    pub(super) fn reach(
        &self,
        storing: Storing,
        mut held: Held,
        stop: CancellationToken,
    ) -> Reaching {
        let (intake, came) = (self.clone(), Instant::now());
        Box::pin(async move {
            let stored = timeout_at(came + intake.options.commit_max, storing).await;
            let receipt = intake.own_receipt(verdict(stored.map_err(|_| stalled())?))?;
            held.resize(RECORD_BYTES);
            intake.deliver(receipt, came, stop).await
        })
    }

    /// Waits for RocketMQ to have what is on disk: for `broker_max` from when it came, and not beyond
    /// the agent's stop.
    pub(super) fn deliver(
        &self,
        receipt: Receipt,
        came: Instant,
        stop: CancellationToken,
    ) -> Reaching {
        let settled = self.queue.settled(&receipt.lane, receipt.stream, receipt.seq);
        let late = came + self.options.broker_max;
        Box::pin(async move {
            let level = tokio::select! {
                biased;
                delivered = settled => if delivered { Level::Broker } else { Level::Disk },
                () = stop.cancelled() => Level::Disk,
                () = sleep_until(late) => Level::Disk,
            };
            Ok(Receipt { level, ..receipt })
        })
    }

    /// Ids are the gateway's: a repeat of what another client stored in a lane of its own must not
    /// pass for this one's record.
    pub(super) fn own_receipt(&self, answer: Result<Receipt, Refusal>) -> Result<Receipt, Refusal> {
        match answer {
            Ok(receipt) if receipt.duplicate && !self.rights().has(receipt.lane.as_str()) => {
                let message = "was used by another client; give this record its own";
                Err(Refusal::of("id", Code::IdReused, message))
            }
            answer => answer,
        }
    }
}

/// What a record costs until it is stored.
pub(super) fn cost(record: &Record) -> usize {
    record.size_bytes() + RECORD_BYTES
}

fn check_http(record: &Record) -> Result<(), Refusal> {
    let topic_bytes = record.topic.as_ref().map_or(0, |t| t.as_str().len());
    if topic_bytes > HTTP_TOPIC_MAX {
        let message =
            format!("has {topic_bytes} characters, over the HTTP API at most {HTTP_TOPIC_MAX} fit");
        return Err(Refusal::of("topic", Code::BadRecord, message));
    }
    if record.body.len() > BODY_MAX_BASE64 && !xml_safe(&record.body) {
        let message = format!(
            "has {} bytes that XML cannot carry; as base64 at most {BODY_MAX_BASE64} fit over the \
             HTTP API; split it",
            record.body.len()
        );
        return Err(Refusal::of("body", Code::TooLarge, message));
    }
    Ok(())
}

/// The queue's answer in the words of the sockets.
pub(super) fn verdict(answer: Result<Stored, AppendError>) -> Result<Receipt, Refusal> {
    match answer {
        Ok(stored) => Ok(Receipt {
            id: stored.id,
            key: stored.key,
            lane: stored.lane,
            stream: stored.stream,
            seq: stored.seq,
            level: Level::Disk,
            duplicate: stored.duplicate,
        }),
        Err(error) => Err(refusal(&error)),
    }
}

fn refusal(error: &AppendError) -> Refusal {
    match error {
        AppendError::UnknownLane { lane } => Refusal::of(
            "lane",
            Code::UnknownLane,
            format!("{lane} was taken out of the configuration"),
        ),
        AppendError::IdReused { lane, seq, .. } => Refusal::of(
            "id",
            Code::IdReused,
            format!("was used for another body (lane {lane}, seq {seq}); give this record its own"),
        ),
        AppendError::TooLarge(reason) => Refusal::new(
            Code::TooLarge,
            format!("{reason}, so it will never be stored as it is; split it, or change that"),
        ),
        AppendError::Full(reason) => Refusal::new(
            Code::DiskFull,
            format!("{reason}; send it again when records have left or space was made"),
        ),
        AppendError::Disk(reason) => Refusal::new(
            Code::DiskFailed,
            format!("{reason}; send it again later, with the same id if it has one"),
        ),
        AppendError::Stopping => stopping(),
    }
}

/// The agent takes nothing any more.
pub(super) fn stopping() -> Refusal {
    Refusal::new(Code::Stopping, "the agent is stopping; send it again when it is back")
}

/// The disk has not answered in time.
pub(super) fn stalled() -> Refusal {
    let message = "the disk has not answered in time, so the record may or may not be stored; \
                   send it again later, with the same id if it has one";
    Refusal::new(Code::DiskFailed, message)
}
