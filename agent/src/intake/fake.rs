//! A queue in memory for the intake's tests: it stores at once, or when the test lets it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering as Atomic};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::future::{BoxFuture, pending};
use spillway_protocol::local::status::{Configuration, Link, LinkState, Pace, Rates, Status};
use spillway_protocol::message::StreamId;
use spillway_protocol::record::{IdOrigin, LaneName, MessageKey, Record, RecordId, Topic};
use tokio::sync::watch;

use super::{Intaking, LaneInfo, Storing};
use crate::queue::{AppendError, Ordering, Place, Receipt};

/// What was stored, in order.
#[derive(Debug, Default)]
struct Stored {
    records: Vec<(LaneName, Record)>,
    ids: HashMap<RecordId, (usize, Bytes)>,
}

pub(super) struct Fake {
    stored: Mutex<Stored>,
    /// Records reach the "disk" while this is true.
    disk: watch::Sender<bool>,
    /// Records reach the "broker" while this says what becomes of them.
    broker: watch::Sender<Option<bool>>,
    /// Records of this lane never reach it.
    pub(super) stuck: Mutex<Option<LaneName>>,
    /// Records with more bytes are refused, each by itself.
    pub(super) largest: AtomicU64,
    /// The next submits fail with this.
    pub(super) failing: Mutex<Option<AppendError>>,
    /// A record with this body makes the session panic.
    pub(super) panics: AtomicBool,
}

pub(super) fn lane(name: &str, ordering: Ordering) -> LaneInfo {
    LaneInfo {
        name: LaneName::parse(name).unwrap(),
        topic: Topic::parse(format!("{name}-topic")).unwrap(),
        default: name == "main",
        ordering,
    }
}

impl Fake {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            stored: Mutex::default(),
            disk: watch::channel(true).0,
            broker: watch::channel(None).0,
            stuck: Mutex::default(),
            largest: AtomicU64::new(u64::MAX),
            failing: Mutex::default(),
            panics: AtomicBool::new(false),
        })
    }

    pub(super) fn set_disk(&self, works: bool) {
        self.disk.send_replace(works);
    }

    /// From now on the broker takes what waits, or it is dead-lettered.
    pub(super) fn set_broker(&self, takes: bool) {
        self.broker.send_replace(Some(takes));
    }

    pub(super) fn bodies(&self) -> Vec<String> {
        let stored = self.stored.lock().unwrap();
        let body = |(_, record): &(_, Record)| String::from_utf8_lossy(&record.body).into_owned();
        stored.records.iter().map(body).collect()
    }

    pub(super) fn records(&self) -> Vec<Record> {
        let stored = self.stored.lock().unwrap();
        stored.records.iter().map(|(_, record)| record.clone()).collect()
    }

    /// The last record stored, and its lane.
    pub(super) fn last(&self) -> (LaneName, Record) {
        self.stored.lock().unwrap().records.last().unwrap().clone()
    }

    fn store(&self, lane: &LaneName, record: Record) -> Result<Receipt, AppendError> {
        if let Some(error) = self.failing.lock().unwrap().clone() {
            return Err(error);
        }
        if record.size_bytes() as u64 > self.largest.load(Atomic::Relaxed) {
            return Err(AppendError::TooLarge("it takes more".into()));
        }
        let mut stored = self.stored.lock().unwrap();
        let mut receipt = Receipt {
            id: record.id.clone(),
            key: MessageKey::parse(record.message_key()).unwrap(),
            lane: lane.clone(),
            stream: StreamId(0xab),
            seq: stored.records.len() as u64 + 1,
            duplicate: false,
        };
        if let Some((at, body)) = stored.ids.get(&record.id) {
            if *body != record.body {
                return Err(AppendError::IdReused {
                    id: record.id,
                    lane: lane.clone(),
                    seq: *at as u64,
                });
            }
            receipt.duplicate = true;
            receipt.seq = *at as u64;
            receipt.lane = stored.records[at - 1].0.clone();
            return Ok(receipt);
        }
        if record.id_origin == IdOrigin::App {
            let entry = (stored.records.len() + 1, record.body.clone());
            stored.ids.insert(record.id.clone(), entry);
        }
        stored.records.push((lane.clone(), record));
        Ok(receipt)
    }
}

impl Intaking for Fake {
    fn submit(&self, lane: &LaneName, record: Record) -> Storing {
        if self.panics.load(Atomic::Relaxed) && &record.body[..] == b"panic" {
            panic!("asked for by the test");
        }
        let answer = self.store(lane, record);
        if self.stuck.lock().unwrap().as_ref() == Some(lane) {
            return Box::pin(pending());
        }
        let mut disk = self.disk.subscribe();
        Box::pin(async move {
            disk.wait_for(|works| *works).await.map_err(|_| AppendError::Stopping)?;
            answer
        })
    }

    fn lanes(&self) -> Arc<[LaneInfo]> {
        Arc::new([
            lane("main", Ordering::None),
            lane("keyed", Ordering::Key),
            lane("laned", Ordering::Lane),
        ])
    }

    fn stream(&self) -> StreamId {
        StreamId(0xab)
    }

    fn largest_entry(&self, _: &LaneName) -> u64 {
        self.largest.load(Atomic::Relaxed)
    }

    fn find_id(&self, id: &RecordId) -> Place {
        let stored = self.stored.lock().unwrap();
        match stored.ids.get(id) {
            None => Place::Unknown,
            Some((at, _)) => Place::Waiting {
                lane: stored.records[at - 1].0.clone(),
                stream: StreamId(0xab),
                seq: *at as u64,
            },
        }
    }

    fn find_seq(&self, lane: &LaneName, stream: StreamId, seq: u64) -> Place {
        let count = self.stored.lock().unwrap().records.len() as u64;
        let lane = lane.clone();
        match stream == StreamId(0xab) && (1..=count).contains(&seq) {
            true => Place::Delivered { lane, stream, seq },
            false => Place::Unknown,
        }
    }

    fn key_of(&self, _: &LaneName, _: StreamId, seq: u64) -> Option<MessageKey> {
        let stored = self.stored.lock().unwrap();
        let (_, record) = stored.records.get(usize::try_from(seq).unwrap() - 1)?;
        MessageKey::parse(record.message_key()).ok()
    }

    fn settled(&self, _: &LaneName, _: StreamId, _: u64) -> BoxFuture<'static, bool> {
        let mut broker = self.broker.subscribe();
        Box::pin(async move {
            broker.wait_for(Option::is_some).await.is_ok_and(|took| *took == Some(true))
        })
    }

    fn status(&self) -> Status {
        Status {
            gateway: "gw-test".into(),
            stream: self.stream().to_string(),
            version: "0".into(),
            pid: 1,
            uptime_s: 0,
            configuration: Configuration {
                file: String::new(),
                state: "in force".into(),
                ..Configuration::default()
            },
            link: Link {
                state: LinkState::Offline,
                since_s: 1,
                since: 1,
                reason: "x".into(),
                next_attempt_in_s: None,
            },
            lanes: Vec::new(),
            own: None,
            control: None,
            quarantine: Default::default(),
            format: Default::default(),
            rates: Rates::default(),
            pace: Pace::default(),
            open_files: Default::default(),
            drained_in_s: None,
            first_send_in_s: None,
            access_keys: None,
            clock_offset_s: None,
            budget: None,
        }
    }
}
