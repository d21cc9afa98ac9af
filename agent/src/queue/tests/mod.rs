//! The queue as a whole: on sled, and against a model on a store that power cuts and failures hit.

mod ages;
mod audit;
mod change;
mod doubt;
mod held;
mod inquiry;
mod limits;
mod model;
mod purging;
mod sealing;
mod shelf;
mod start;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use spillway_protocol::message::Flags;
use spillway_protocol::record::{Draft, LaneName, Record, RecordId};
use tokio::time::Instant;

use super::*;
use crate::clock::SystemClock;

/// Every opening draws other nonces.
static SEED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

pub(super) fn options(folder: &Path, ordering: Ordering) -> Options {
    let lane = |name| LaneOptions { name: LaneName::parse(name).unwrap(), ordering, ttl: None };
    Options {
        data_dir: folder.to_owned(),
        gateway: "gw".into(),
        host: "host".into(),
        lanes: vec![lane("a"), lane("b")],
        segment_bytes: 20_000,
        limits: Limits::default(),
        dead_keep_bytes: 1 << 20,
        waiting_bytes_max: 64 << 20,
        tell: true,
        keep: None,
        packing: Default::default(),
        seed: SEED.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
    }
}

fn open(folder: &Path) -> Queue {
    Queue::open(options(folder, Ordering::None), Arc::new(SystemClock)).unwrap().0
}

fn a() -> LaneName {
    LaneName::parse("a").unwrap()
}

pub(super) fn record(id: &str, body: &str) -> Record {
    let draft = Draft { id: Some(id.into()), body: body.to_owned().into(), ..Draft::default() };
    draft.parse(|| RecordId::parse("unused").unwrap()).unwrap()
}

fn store(queue: &Queue, ids: std::ops::Range<u32>) -> Vec<Receipt> {
    let tickets: Vec<_> =
        ids.map(|i| queue.submit(&a(), record(&format!("r{i}"), &"x".repeat(200)))).collect();
    tickets.into_iter().map(|ticket| ticket.wait().unwrap()).collect()
}

/// Until the keeper has been there.
fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(120);
    while !done() {
        assert!(std::time::Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn accounts(queue: &Queue) -> Accounts {
    let accounts = queue.figures(&a()).unwrap().accounts;
    assert!(accounts.balanced(), "{accounts:?}");
    accounts
}

#[test]
fn a_queue_that_cannot_be_read_is_left_alone_for_a_moment_and_nothing_counts_as_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let [data, aside] = ["data", "aside"].map(|name| folder.path().join(name));
    let queue = open(&data);
    // The second group finds the segment of the first one full, and closes it.
    (0..2).for_each(|group| drop(store(&queue, group * 200..(group + 1) * 200)));
    std::fs::rename(&data, &aside).unwrap();
    assert!(queue.lease(&a(), 400, usize::MAX).is_empty());
    let due = queue.next_due(&a()).unwrap();
    assert!(due > Instant::now(), "it would be asked again at once");
    std::fs::rename(&aside, &data).unwrap();
    std::thread::sleep(due - Instant::now() + Duration::from_millis(10));
    assert_eq!(queue.lease(&a(), 400, usize::MAX)[0].stamp.seq, 1);
    assert_eq!(accounts(&queue).damaged, 0);
}

#[test]
fn records_are_numbered_leased_in_order_and_gone_once_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    let seqs: Vec<u64> = store(&queue, 0..500).iter().map(|receipt| receipt.seq).collect();
    assert_eq!(seqs, (1..=500).collect::<Vec<_>>());
    let leases = queue.lease(&a(), 400, usize::MAX);
    let ids: Vec<_> = leases.iter().map(|lease| lease.record.id.to_string()).collect();
    assert_eq!(ids, (0..400).map(|i| format!("r{i}")).collect::<Vec<_>>());
    leases.into_iter().for_each(Lease::ack);
    queue.close();
    drop(queue);
    let queue = open(folder.path());
    let expected = Accounts { accepted: 500, delivered: 400, waiting: 100, ..Accounts::default() };
    assert_eq!(accounts(&queue), expected);
    assert_eq!(queue.lease(&a(), 1000, usize::MAX)[0].stamp.seq, 401);
    assert_eq!(store(&queue, 900..901)[0].seq, 501, "numbers go on after a restart");
}

#[test]
fn a_drained_queue_gives_its_disk_back() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, 0..2000);
    let full = queue.figures(&a()).unwrap();
    queue.lease(&a(), 3000, usize::MAX).into_iter().for_each(Lease::ack);
    queue.close();
    let empty = queue.figures(&a()).unwrap();
    assert!(full.live_bytes > 300_000 && empty.live_bytes == 0, "{full:?} {empty:?}");
    let kept = std::fs::read_dir(folder.path().join("lanes/a")).unwrap();
    let segments =
        kept.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with("seg-"));
    assert_eq!(segments.count(), 0);
}

#[test]
fn an_id_that_comes_to_two_lanes_at_once_is_stored_in_one() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    let lanes = [a(), LaneName::parse("b").unwrap()];
    for round in 0..40 {
        let of = |lane: &LaneName| {
            let submit = |n| queue.submit(lane, record(&format!("r{round}-{n}"), "x"));
            (0..50).map(submit).collect::<Vec<_>>()
        };
        let of = &of;
        let [one, other] = std::thread::scope(|scope| {
            let submitting = lanes.each_ref().map(|lane| scope.spawn(move || of(lane)));
            submitting.map(|thread| thread.join().unwrap())
        });
        for (one, other) in one.into_iter().zip(other) {
            let new = |ticket: Ticket| ticket.wait().is_ok_and(|receipt| !receipt.duplicate);
            assert!(!(new(one) && new(other)), "round {round}");
        }
    }
}

#[test]
fn the_same_id_is_the_same_record_also_after_restarts_and_in_another_lane() {
    let folder = tempfile::tempdir().unwrap();
    let mut queue = open(folder.path());
    let first = store(&queue, 7..8).remove(0);
    store(&queue, 100..400);
    for round in 0..3 {
        let again = queue.submit(&a(), record("r7", &"x".repeat(200))).wait().unwrap();
        assert_eq!((again.seq, again.duplicate), (first.seq, true), "{round}");
        let b = LaneName::parse("b").unwrap();
        let elsewhere = queue.submit(&b, record("r7", &"x".repeat(200))).wait().unwrap();
        assert_eq!((elsewhere.lane, elsewhere.duplicate), (a(), true));
        let reused = queue.submit(&a(), record("r7", "another body")).wait().unwrap_err();
        assert!(matches!(reused, AppendError::IdReused { seq: 1, .. }), "{reused}");
        queue.close();
        drop(queue);
        queue = open(folder.path());
    }
    queue.lease(&a(), 1000, usize::MAX).into_iter().for_each(Lease::ack);
    assert!(queue.submit(&a(), record("r7", &"x".repeat(200))).wait().unwrap().duplicate);
    assert_eq!(accounts(&queue).accepted, 301);
}

#[test]
fn a_repeat_within_one_group_is_answered_with_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    let tickets: Vec<_> =
        (0..200).map(|i| queue.submit(&a(), record(&format!("r{}", i % 50), "x"))).collect();
    let receipts: Vec<_> = tickets.into_iter().map(|t| t.wait().unwrap()).collect();
    for (i, receipt) in receipts.iter().enumerate() {
        assert_eq!((receipt.seq, receipt.duplicate), (i as u64 % 50 + 1, i >= 50));
    }
    assert_eq!(accounts(&queue).accepted, 50);
}

#[test]
fn three_records_with_one_key_are_three_records() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    for id in ["x", "y", "z"] {
        let draft = Draft {
            id: Some(id.into()),
            key: Some("patient-1".into()),
            body: "same".into(),
            ..Draft::default()
        };
        let record = draft.parse(|| RecordId::parse("unused").unwrap()).unwrap();
        assert!(!queue.submit(&a(), record).wait().unwrap().duplicate);
    }
    assert_eq!(accounts(&queue).accepted, 3);
}

#[test]
fn dead_letters_keep_their_reason_and_are_replayed_or_purged() {
    let folder = tempfile::tempdir().unwrap();
    let mut queue = open(folder.path());
    store(&queue, 0..10);
    let leases = queue.lease(&a(), 4, usize::MAX);
    leases.into_iter().for_each(|lease| lease.dead_letter("40008", "property too long").unwrap());
    assert_eq!(
        accounts(&queue),
        Accounts { accepted: 10, waiting: 6, dead: 4, ..Accounts::default() }
    );
    assert!(matches!(queue.find_id(&RecordId::parse("r0").unwrap()), Place::Dead { seq: 1, .. }));
    queue.close();
    drop(queue);
    queue = open(folder.path());
    let letters = queue.dead_list(&DeadFilter::default());
    assert_eq!(letters.len(), 4);
    assert_eq!((letters[1].reason.as_str(), letters[1].stamp.seq), ("property too long", 2));
    let one = DeadFilter { number: Some(letters[1].number), ..DeadFilter::default() };
    assert_eq!(queue.dead_replay(&one, || false).unwrap().count, 1);
    assert_eq!(
        accounts(&queue),
        Accounts { accepted: 10, waiting: 7, dead: 3, ..Accounts::default() }
    );
    assert_eq!(
        queue.dead_purge(&DeadFilter { limit: Some(1), ..DeadFilter::default() }).unwrap(),
        1
    );
    assert_eq!(
        accounts(&queue),
        Accounts { accepted: 10, waiting: 7, dead: 2, dropped: 1, ..Accounts::default() }
    );
    let leases = queue.lease(&a(), 100, usize::MAX);
    let last = leases.last().unwrap();
    assert!(
        last.stamp.flags.has(Flags::REPLAY)
            && last.record.id.as_str() == "r1"
            && last.stamp.seq == 11
    );
    leases.into_iter().for_each(Lease::ack);
    queue.close();
    drop(queue);
    queue = open(folder.path());
    assert_eq!(
        accounts(&queue),
        Accounts { accepted: 10, delivered: 7, dead: 2, dropped: 1, ..Accounts::default() }
    );
}

#[test]
fn full_dead_letters_leave_the_record_in_the_queue() {
    let folder = tempfile::tempdir().unwrap();
    let small = Options {
        dead_keep_bytes: 600,
        waiting_bytes_max: 64 << 20,
        ..options(folder.path(), Ordering::None)
    };
    let queue = Queue::open(small, Arc::new(SystemClock)).unwrap().0;
    store(&queue, 0..3);
    let mut results = queue.lease(&a(), 3, usize::MAX).into_iter().map(|l| l.dead_letter("c", "r"));
    assert!(results.next().unwrap().is_ok());
    assert!(results.next().unwrap().is_ok());
    assert!(matches!(results.next().unwrap(), Err(SettleError::DeadFull(600))));
    drop(results);
    assert_eq!(
        accounts(&queue),
        Accounts { accepted: 3, waiting: 1, dead: 2, ..Accounts::default() }
    );
    assert_eq!(queue.lease(&a(), 3, usize::MAX).len(), 1);
}

#[test]
fn a_dropped_lease_is_a_free_defer_and_a_deferred_one_comes_back_when_due() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, 0..2);
    drop(queue.lease(&a(), 2, usize::MAX));
    let mut leases = queue.lease(&a(), 2, usize::MAX);
    assert_eq!(leases[0].attempts, 0);
    let due = Instant::now() + Duration::from_secs(1);
    leases.remove(0).defer(Some(due), true);
    assert_eq!(queue.lease(&a(), 2, usize::MAX).len(), 0, "the other one is leased");
    assert_eq!(queue.next_due(&a()), Some(due));
    std::thread::sleep(Duration::from_millis(1010));
    let again = queue.lease(&a(), 2, usize::MAX);
    assert_eq!((again.len(), again[0].attempts), (1, 1));
}

#[test]
fn large_records_and_byte_limits_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    let large = "y".repeat(4 * 1024 * 1024);
    assert_eq!(queue.submit(&a(), record("large", &large)).wait().unwrap().seq, 1);
    store(&queue, 0..3);
    let leases = queue.lease(&a(), 10, 1000);
    assert_eq!(leases.len(), 1, "one record is always leased, however large");
    assert_eq!(leases[0].record.body.len(), large.len());
    leases.into_iter().for_each(Lease::ack);
    assert_eq!(queue.lease(&a(), 10, 450).len(), 2);
}

#[test]
fn where_a_record_is_can_be_asked_by_id_and_number() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, 0..2);
    queue.lease(&a(), 1, usize::MAX).remove(0).ack();
    let find = |id: &str| queue.find_id(&RecordId::parse(id).unwrap());
    assert!(matches!(find("r0"), Place::Delivered { seq: 1, .. }));
    assert!(matches!(find("r1"), Place::Waiting { seq: 2, .. }));
    assert_eq!(find("never"), Place::Unknown);
    assert_eq!(queue.find_seq(&a(), queue.stream(), 2), find("r1"));
    assert_eq!(queue.find_seq(&a(), queue.stream(), 3), Place::Unknown);
}

#[test]
fn another_host_begins_a_new_stream_from_one_and_the_old_records_keep_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    let old = queue.stream();
    store(&queue, 0..5);
    queue.close();
    drop(queue);
    let moved = Options { host: "clone".into(), ..options(folder.path(), Ordering::None) };
    let queue = Queue::open(moved, Arc::new(SystemClock)).unwrap().0;
    assert_ne!(queue.stream(), old);
    assert_eq!(store(&queue, 10..11)[0].seq, 1);
    let leases = queue.lease(&a(), 10, usize::MAX);
    let numbers: Vec<_> = leases.iter().map(|l| (l.stamp.stream == old, l.stamp.seq)).collect();
    assert_eq!(numbers, [(true, 1), (true, 2), (true, 3), (true, 4), (true, 5), (false, 1)]);
    assert_eq!(queue.find_seq(&a(), old, 5), queue.find_id(&RecordId::parse("r4").unwrap()));
}

#[test]
fn damaged_files_cost_what_they_hold_and_are_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    for round in 0..10 {
        store(&queue, round * 100..(round + 1) * 100);
    }
    queue.close();
    drop(queue);
    let lane = folder.path().join("lanes/a");
    let mut segments: Vec<_> =
        std::fs::read_dir(&lane).unwrap().map(|e| e.unwrap().path()).collect();
    segments.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with("seg-"));
    segments.sort();
    let db = segments[1].join("db");
    let length = std::fs::metadata(&db).unwrap().len();
    std::fs::write(&db, vec![0; length as usize]).unwrap();
    let queue = open(folder.path());
    let read = queue.lease(&a(), 2000, usize::MAX);
    let count = read.len() as u64;
    let seqs: std::collections::BTreeSet<u64> = read.iter().map(|lease| lease.stamp.seq).collect();
    read.into_iter().for_each(Lease::ack);
    queue.close();
    let sum = accounts(&queue);
    let untold = queue.untold();
    assert!(untold.iter().all(|range| range.fate == Fate::Damaged), "{untold:?}");
    let lost: Vec<u64> = untold.iter().flat_map(|range| range.from..=range.to).collect();
    assert_eq!(lost, (1..=1000).filter(|seq| !seqs.contains(seq)).collect::<Vec<_>>());
    assert!(sum.damaged > 20 && sum.damaged < 500, "{sum:?}");
    assert_eq!((sum.accepted, sum.delivered, sum.waiting), (1000, count, 0));
    assert_eq!(std::fs::read_dir(folder.path().join("quarantine")).unwrap().count(), 1);
}

#[test]
fn lanes_that_are_no_longer_configured_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, 0..3);
    queue.close();
    drop(queue);
    let mut fewer = options(folder.path(), Ordering::None);
    fewer.lanes.remove(0);
    let (_queue, recovery) = Queue::open(fewer, Arc::new(SystemClock)).unwrap();
    assert_eq!(recovery.orphans, [("a".to_owned(), 3)]);
}
