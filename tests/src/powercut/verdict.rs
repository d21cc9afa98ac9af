//! Opens the queue on what a power cut left, and finds out what is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spillway::clock::SystemClock;
use spillway::queue::{DeadFilter, Lease, Options, Queue, Run};
use spillway_protocol::message::{Flags, Stamp};
use spillway_protocol::record::{LaneName, Record};

use super::ledger::{Found, Ledger, Seen};
use super::work::{self, LANES};

/// Longest that opening may take; it takes milliseconds.
const OPENING_MAX: Duration = Duration::from_secs(10);
/// Records leased at a time.
const LEASES: usize = 4096;
const BYTES: usize = 1 << 30;
/// Known ids that are handed over again.
const REPEATS: usize = 3;

/// What a state came to.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Everything that should not be.
    pub faults: Vec<String>,
    /// Records found.
    pub found: usize,
    /// Among them those whose app never heard that they are stored, and those whose app heard that
    /// they are not.
    pub unanswered: (usize, usize),
    /// Positions counted as damaged although nothing acknowledged is: see [`Ledger::torn`].
    pub torn: u64,
    /// Segments that were put aside although nothing was damaged.
    pub aside: usize,
    /// Time until the queue was open.
    pub opening: Duration,
}

/// Opens the queue of `options` and holds it against `ledger`.
///
/// # Panics
/// If something panics in the queue.
pub fn judge(options: Options, ledger: &Ledger) -> Verdict {
    let (began, folder) = (Instant::now(), options.data_dir.clone());
    let (queue, _) = match Queue::open(options, Arc::new(SystemClock)) {
        Ok(opened) => opened,
        Err(error) => {
            let faults = vec![format!("the queue does not open: {error}")];
            return Verdict { faults, ..Verdict::default() };
        }
    };
    let opening = began.elapsed();
    let mut faults = Vec::new();
    let found = take_stock(&queue, &mut faults);
    faults.extend(ledger.faults(&found));
    let torn = ledger.torn(&found);
    faults.extend(settle_up(&queue, &torn));
    faults.extend(go_on(&queue, ledger));
    if opening > OPENING_MAX {
        faults.push(format!("opening took {opening:?}"));
    }
    queue.close();
    let aside = std::fs::read_dir(folder.join("quarantine")).map_or(0, Iterator::count);
    let unanswered = ledger.unanswered(&found);
    let torn = torn.values().sum();
    let found = found.waiting.len() + found.dead.len();
    Verdict { faults, found, unanswered, torn, aside, opening }
}

/// Everything that is there; what waits is delivered on the way.
fn take_stock(queue: &Queue, faults: &mut Vec<String>) -> Found {
    let mut found = Found::default();
    for letter in queue.dead_list(&DeadFilter::default()) {
        found.dead.extend(seen(&letter.record, &letter.stamp, faults));
    }
    for lane in queue.lanes() {
        if lane.as_str().starts_with('_') {
            // The agent's own records: nobody but the agent knows of them.
            deliver(queue, &lane, &mut Found::default(), &mut Vec::new());
            continue;
        }
        found.accounts.extend(queue.accounts(&lane).map(|a| (lane.to_string(), a)));
        for (stream, newest) in queue.newest_numbers(&lane) {
            found.newest.push((lane.to_string(), stream.to_string(), newest));
        }
        deliver(queue, &lane, &mut found, faults);
    }
    found
}

/// Nothing waits any more, and nothing was damaged but what was torn.
fn settle_up(queue: &Queue, torn: &BTreeMap<String, u64>) -> Vec<String> {
    let mut faults = Vec::new();
    for lane in queue.lanes() {
        let after = queue.accounts(&lane).unwrap_or_default();
        let torn = torn.get(lane.as_str()).copied().unwrap_or(0);
        if !after.balanced() || (after.waiting, after.damaged) != (0, torn) {
            faults.push(format!("{lane}: {after:?} after all was delivered"));
        }
    }
    faults
}

fn deliver(queue: &Queue, lane: &LaneName, found: &mut Found, faults: &mut Vec<String>) {
    let run = Run { records: LEASES, bytes: BYTES };
    let mut last: BTreeMap<Option<String>, u64> = BTreeMap::new();
    loop {
        let leases = queue.lease_runs(lane, LEASES, BYTES, run);
        if leases.is_empty() {
            return;
        }
        for lease in leases {
            let key = order_of(lane, &lease);
            let before = key.and_then(|key| last.insert(key, lease.position));
            if before.is_some_and(|before| before > lease.position) {
                faults.push(format!("{lane}: {} came after {before:?}", lease.position));
            }
            found.waiting.extend(seen(&lease.record, &lease.stamp, faults));
            lease.ack();
        }
    }
}

/// What a record's order is of, if it has one.
fn order_of(lane: &LaneName, lease: &Lease) -> Option<Option<String>> {
    match lane.as_str() {
        "keyed" => Some(lease.record.order_key.as_ref().map(|key| key.as_str().to_owned())),
        "strict" => Some(None),
        _ => None,
    }
}

fn seen(record: &Record, stamp: &Stamp, faults: &mut Vec<String>) -> Option<Seen> {
    let number = work::number(stamp);
    let Some(named) = work::record_of(&record.body) else {
        faults.push(format!("{number:?} has a body that nobody sent"));
        return None;
    };
    if *record != work::record(named, &record.id) {
        faults.push(format!("{number:?} is not what was handed over as {named:x}"));
    }
    Some(Seen { record: named, number, replayed: stamp.flags.has(Flags::REPLAY) })
}

/// The queue goes on: new numbers are new, and known ids are known.
fn go_on(queue: &Queue, ledger: &Ledger) -> Vec<String> {
    let mut faults = Vec::new();
    let known = ledger.newest_stored().filter(|(record, _)| work::has_id(*record));
    for (record, number) in known.take(REPEATS) {
        let lane = LaneName::parse(number.0.as_str()).unwrap();
        let again = queue.submit(&lane, work::fresh(record)).wait();
        let told = again.as_ref().ok().map(|r| (r.duplicate, r.stream.to_string(), r.seq));
        if told != Some((true, number.1.clone(), number.2)) {
            faults.push(format!("{record:x}, which is {number:?}, was taken as new: {again:?}"));
        }
    }
    let lane = LANES[ledger.owed() % LANES.len()].0;
    match queue.submit(&LaneName::parse(lane).unwrap(), work::fresh(u64::MAX)).wait() {
        Ok(receipt) => {
            let greatest = ledger.greatest(lane, &receipt.stream.to_string());
            if receipt.duplicate || receipt.seq <= greatest {
                faults.push(format!("{lane}: a new record got {receipt:?}, after {greatest}"));
            }
        }
        Err(error) => faults.push(format!("{lane}: a new record is refused: {error}")),
    }
    faults
}
