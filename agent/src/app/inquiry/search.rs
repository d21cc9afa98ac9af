//! Looks through what is stored for an id or a key, for no longer than a person waits.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use spillway_protocol::record::{LaneName, Record};

use crate::queue::{DeadFilter, Entry, Queue};

/// How long a question may read.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The same where something was found already.
pub(super) const QUICK: Duration = Duration::from_millis(300);
/// The clock is looked at after so many records.
const STRIDE: u64 = 64;

/// A search under way.
pub(super) struct Search<'a> {
    queue: &'a Queue,
    name: &'a str,
    until: Instant,
    found: Found,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Of the record with this id.
    pub(super) id: Option<(LaneName, u64)>,
    /// Records with this key or order key.
    pub(super) lanes: BTreeMap<LaneName, Hits>,
    /// Records that were looked at.
    pub(super) looked: u64,
    /// All that is stored was looked at.
    pub(super) complete: bool,
    /// Records whose key is not just their id.
    others: u64,
}

/// Records of a key in one lane.
#[derive(Debug, Default)]
pub(super) struct Hits {
    pub(super) waiting: u64,
    pub(super) dead: u64,
    /// Places of the oldest that waits, of the newest dead letter, of the newest settled one.
    oldest: Option<u64>,
    buried: Option<u64>,
    settled: Option<u64>,
}

impl Found {
    /// Whether a record has this key or order key.
    pub(super) fn has_key(&self) -> bool {
        !self.lanes.is_empty()
    }

    /// Whether one has it that has not this id.
    pub(super) fn has_other_key(&self) -> bool {
        self.others > 0
    }
}

impl Hits {
    /// The place of the record that tells most.
    pub(super) fn first(&self) -> Option<u64> {
        self.oldest.or(self.buried).or(self.settled)
    }
}

impl<'a> Search<'a> {
    pub(super) fn new(queue: &'a Queue, name: &'a str, patience: Duration) -> Self {
        Self { queue, name, until: Instant::now() + patience, found: Found::default() }
    }

    /// What waits, what is dead, what is settled and still stored.
    pub(super) fn run(mut self) -> Found {
        let queue = self.queue;
        let mut complete = true;
        for lane in queue.lanes() {
            complete &= queue.walk_waiting(&lane, |entry| self.waiting(&lane, entry));
        }
        self.dead();
        for lane in queue.lanes() {
            complete &= queue.walk_settled(&lane, |entry| self.settled(&lane, entry));
        }
        self.found.complete = complete && Instant::now() < self.until;
        self.found
    }

    fn waiting(&mut self, lane: &LaneName, entry: &Entry) -> ControlFlow<()> {
        if let Some(hits) = self.hit(lane, entry.position, &entry.record) {
            hits.waiting += 1;
            hits.oldest = hits.oldest.or(Some(entry.position));
        }
        self.looked()
    }

    fn settled(&mut self, lane: &LaneName, entry: &Entry) -> ControlFlow<()> {
        if let Some(hits) = self.hit(lane, entry.position, &entry.record) {
            hits.settled = hits.settled.max(Some(entry.position));
        }
        self.looked()
    }

    fn dead(&mut self) {
        for letter in self.queue.dead_list(&DeadFilter::default()) {
            let stamp = &letter.stamp;
            let Some(position) = self.queue.position(&stamp.lane, stamp.stream, stamp.seq) else {
                continue;
            };
            if let Some(hits) = self.hit(&stamp.lane, position, &letter.record) {
                hits.dead += 1;
                hits.buried = hits.buried.max(Some(position));
            }
        }
    }

    /// Notes a record that has the name; its lane's hits, where it is a key.
    fn hit(&mut self, lane: &LaneName, position: u64, record: &Record) -> Option<&mut Hits> {
        let name = self.name;
        let is_id = record.id.as_str() == name;
        if is_id && self.found.id.is_none() {
            self.found.id = Some((lane.clone(), position));
        }
        let own = record.key.as_ref().map_or(record.id.as_str(), |key| key.as_str());
        let is_order = record.order_key.as_ref().is_some_and(|key| key.as_str() == name);
        self.found.others += u64::from((own == name && !is_id) || is_order);
        (own == name || is_order).then(|| self.found.lanes.entry(lane.clone()).or_default())
    }

    fn looked(&mut self) -> ControlFlow<()> {
        self.found.looked += 1;
        let late = self.found.looked.is_multiple_of(STRIDE) && Instant::now() >= self.until;
        if late { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
