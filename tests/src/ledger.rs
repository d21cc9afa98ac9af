//! What apps handed over, and what they were told of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

/// A record as an app handed it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its number in the order of sending, over all records.
    pub nth: u64,
    /// Lane.
    pub lane: String,
    /// KEYS, where given.
    pub key: Option<String>,
    /// Tag, where given.
    pub tag: Option<String>,
    /// Order key, where given.
    pub order_key: Option<String>,
    /// Payload.
    pub body: Bytes,
    /// The number it got, once it was acknowledged.
    pub acknowledged: Option<u64>,
}

impl Sent {
    /// A record of a lane, with nothing but a body.
    pub fn new(lane: &str, body: impl Into<Bytes>) -> Self {
        Self {
            nth: 0,
            lane: lane.to_owned(),
            key: None,
            tag: None,
            order_key: None,
            body: body.into(),
            acknowledged: None,
        }
    }
}

/// All records by their ids. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<BTreeMap<String, Sent>>>);

impl Ledger {
    /// Notes a record before it is sent for the first time.
    pub fn send(&self, id: &str, sent: Sent) {
        let mut records = self.records();
        let nth = records.len() as u64;
        let known = records.insert(id.to_owned(), Sent { nth, ..sent });
        assert!(known.is_none(), "the test sends {id} twice");
    }

    /// Notes that a record was acknowledged as number `seq`. A record has one number for ever.
    pub fn acknowledge(&self, id: &str, seq: u64) {
        let mut records = self.records();
        let sent = records.get_mut(id).unwrap_or_else(|| panic!("{id} was acknowledged, not sent"));
        let known = sent.acknowledged.replace(seq);
        assert!(known.is_none_or(|known| known == seq), "{id} is {known:?} and {seq}");
    }

    /// How many records of a lane were acknowledged.
    pub fn acknowledged(&self, lane: &str) -> u64 {
        let records = self.records();
        records.values().filter(|s| s.lane == lane && s.acknowledged.is_some()).count() as u64
    }

    /// How many records of a lane were sent.
    pub fn sent(&self, lane: &str) -> u64 {
        self.records().values().filter(|sent| sent.lane == lane).count() as u64
    }

    /// All there is by now.
    pub fn snapshot(&self) -> BTreeMap<String, Sent> {
        self.records().clone()
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<String, Sent>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
