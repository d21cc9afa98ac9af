//! Looks through what is stored for an id or a key, for no longer than a person waits.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use spillway_protocol::record::{LaneName, Record};
use tokio::time::Instant;

use crate::queue::{DeadLetter, Entry, Queue};

/// How long a question may read.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The same where something was found already.
pub(super) const QUICK: Duration = Duration::from_millis(300);

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
    /// Dead letters that were.
    pub(super) letters: u64,
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

    /// What waits, what is dead, what is settled and still stored; nothing more once the time is over.
    pub(super) fn run(mut self) -> Found {
        let mut complete = true;
        for part in [Self::all_waiting, Self::all_dead, Self::all_settled] {
            complete &= Instant::now() < self.until && part(&mut self);
        }
        self.found.complete = complete;
        self.found
    }

    /// Returns whether all of them were looked at, as the other two do.
    fn all_waiting(&mut self) -> bool {
        let (queue, until, mut whole) = (self.queue, self.until, true);
        for lane in queue.lanes() {
            whole &= queue.walk_waiting(&lane, until, |entry| self.waiting(&lane, entry)).whole;
        }
        whole
    }

    fn all_settled(&mut self) -> bool {
        let (queue, until, mut whole) = (self.queue, self.until, true);
        for lane in queue.lanes() {
            whole &= queue.walk_settled(&lane, until, |entry| self.settled(&lane, entry)).whole;
        }
        whole
    }

    fn all_dead(&mut self) -> bool {
        self.queue.walk_dead(self.until, |letter| self.dead(letter)).whole
    }

    fn waiting(&mut self, lane: &LaneName, entry: &Entry) -> ControlFlow<()> {
        self.found.looked += 1;
        if let Some(hits) = self.hit(lane, entry.position, &entry.record) {
            hits.waiting += 1;
            hits.oldest = hits.oldest.or(Some(entry.position));
        }
        ControlFlow::Continue(())
    }

    fn settled(&mut self, lane: &LaneName, entry: &Entry) -> ControlFlow<()> {
        self.found.looked += 1;
        if let Some(hits) = self.hit(lane, entry.position, &entry.record) {
            hits.settled = hits.settled.max(Some(entry.position));
        }
        ControlFlow::Continue(())
    }

    fn dead(&mut self, letter: &DeadLetter) -> ControlFlow<()> {
        self.found.letters += 1;
        let stamp = &letter.stamp;
        let position = self.queue.position(&stamp.lane, stamp.stream, stamp.seq);
        let hits = position.and_then(|p| self.hit(&stamp.lane, p, &letter.record));
        if let Some(hits) = hits {
            hits.dead += 1;
            hits.buried = hits.buried.max(position);
        }
        ControlFlow::Continue(())
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
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use spillway_protocol::record::{Draft, RecordId};

    use super::*;
    use crate::clock::SystemClock;
    use crate::queue::{LaneOptions, Lease, Options, Ordering};

    fn lane() -> LaneName {
        LaneName::parse("a").unwrap()
    }

    /// 40 records of one key: 2 delivered, 1 dead, 37 that wait.
    fn queue(folder: &std::path::Path) -> Queue {
        let options = Options {
            data_dir: folder.to_owned(),
            gateway: "gw".into(),
            host: "host".into(),
            lanes: vec![LaneOptions { name: lane(), ordering: Ordering::None, ttl: None }],
            segment_bytes: 20_000,
            limits: Default::default(),
            dead_keep_bytes: 1 << 20,
            waiting_bytes_max: 64 << 20,
            tell: true,
            keep: None,
            packing: Default::default(),
            seed: 1,
        };
        let queue = Queue::open(options, Arc::new(SystemClock)).unwrap().0;
        for id in (0..40).map(|n| format!("r{n}")) {
            let key = Some("bed".into());
            let draft = Draft { id: Some(id), key, body: "x".into(), ..Draft::default() };
            let record = draft.parse(|| RecordId::parse("unused").unwrap()).unwrap();
            queue.submit(&lane(), record).wait().unwrap();
        }
        let mut leases = queue.lease(&lane(), 3, usize::MAX);
        leases.remove(0).dead_letter("Bad", "no").unwrap();
        leases.into_iter().for_each(Lease::ack);
        queue
    }

    #[test]
    fn all_that_is_stored_is_looked_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path());
        let found = Search::new(&queue, "bed", PATIENCE).run();
        // The record of the dead letter is still stored, too.
        assert_eq!((found.looked, found.letters, found.complete), (40, 1, true));
        let hits = &found.lanes[&lane()];
        assert_eq!((hits.waiting, hits.dead, hits.first()), (37, 1, Some(4)));
        let found = Search::new(&queue, "r2", PATIENCE).run();
        assert_eq!((found.id.clone(), found.has_key()), (Some((lane(), 3)), false));
    }

    #[test]
    fn nothing_is_read_once_the_time_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path());
        let found = Search::new(&queue, "bed", Duration::ZERO).run();
        assert_eq!((found.looked, found.letters, found.complete), (0, 0, false));
        assert!(!found.has_key());
    }
}
