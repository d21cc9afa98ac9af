//! What comes behind a failure while the queue changes, and what becomes of a change that panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, ThreadId, sleep};
use std::time::Duration;

use super::*;
use crate::clock::{SystemClock, WallClock};
use crate::config::Share;
use crate::queue::api::{Accounts, Receipt, Ticket};
use crate::queue::limits::{Limits, Room, Space};
use crate::queue::tests::{options, record};
use crate::queue::{Lease, Ordering};

fn lane(name: &str) -> LaneName {
    LaneName::parse(name).unwrap()
}

fn until(reached: impl Fn() -> bool) {
    while !reached() {
        sleep(Duration::from_millis(1));
    }
}

fn submit(queue: &Queue, name: &str, id: &str) -> Ticket {
    queue.submit(&lane(name), record(id, "x"))
}

#[test]
fn what_came_behind_a_failed_group_fails_with_it_and_other_lanes_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let new = || options(folder.path(), Ordering::None);
    let full = Disk(Arc::new(true.into()));
    let limits = Limits { space: Some(Arc::new(full)), ..Limits::default() };
    let old = Options { limits, ..new() };
    let queue = Queue::open(old.clone(), Arc::new(SystemClock)).unwrap().0;
    // The lane's thread has the first, for which there is no room, and does not come to store it.
    let inner = queue.now();
    let turn = inner.ids.turn();
    let first = submit(&queue, "a", "r1");
    until(|| queue.stalled().is_some());
    let (behind, other) = thread::scope(|scope| {
        let changing = scope.spawn(|| queue.change(&new(), &old).unwrap());
        until(|| queue.present().coming.is_some());
        let behind = ["r2", "r3"].map(|id| submit(&queue, "a", id));
        let other = submit(&queue, "b", "o1");
        drop(turn);
        changing.join().unwrap();
        (behind, other)
    });
    let refused = first.wait().unwrap_err();
    assert!(matches!(refused, AppendError::Full(_)), "{refused}");
    let same = |ticket: Ticket| ticket.wait().unwrap_err() == refused;
    assert!(behind.into_iter().all(same), "there is room now: one would overtake the first");
    assert_eq!(other.wait().unwrap().seq, 1);
    for (nth, id) in ["r1", "r2", "r3"].into_iter().enumerate() {
        let receipt = submit(&queue, "a", id).wait().unwrap();
        assert_eq!((receipt.seq, receipt.duplicate), (nth as u64 + 1, false));
    }
}

/// A file system that is full now and then.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<AtomicBool>);

impl Space for Disk {
    fn look(&self) -> Option<Room> {
        let total_bytes = 1 << 40;
        let free_bytes = if self.0.load(SeqCst) { 0 } else { total_bytes };
        Some(Room { total_bytes, free_bytes, ..Room::default() })
    }
}

/// Hands over records `name-0` and so on, some at a time, each again until it is stored. Returns them,
/// and how many were refused.
fn insist(queue: &Queue, name: &str, stop: &AtomicBool) -> (Vec<Receipt>, usize) {
    let (mut receipts, mut refused) = (Vec::new(), 0);
    let mut open: Vec<String> = Vec::new();
    while !stop.load(SeqCst) || !open.is_empty() {
        let next = receipts.len() + open.len();
        let more = if stop.load(SeqCst) { 0 } else { 5 };
        open.extend((next..next + more).map(|nth| format!("{name}-{nth}")));
        let tickets: Vec<_> = open.iter().map(|id| submit(queue, "a", id)).collect();
        let mut again = Vec::new();
        for (id, ticket) in open.into_iter().zip(tickets) {
            match ticket.wait() {
                Ok(receipt) => {
                    assert!(!receipt.duplicate, "{id} was refused, and stored all the same");
                    receipts.push(receipt);
                }
                Err(AppendError::Full(_)) => again.push(id),
                Err(error) => panic!("{id}: {error}"),
            }
        }
        refused += again.len();
        open = again;
    }
    (receipts, refused)
}

#[test]
fn while_groups_fail_and_the_queue_changes_none_is_lost_or_said_to_be_stored_and_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let options = || {
        let space: Option<Arc<dyn Space>> = Some(Arc::new(disk.clone()));
        let limits = Limits { keep_free: Share::Bytes(1 << 20), space, ..Limits::default() };
        Options { limits, ..options(folder.path(), Ordering::None) }
    };
    let queue = Queue::open(options(), Arc::new(SystemClock)).unwrap().0;
    let stop = AtomicBool::new(false);
    let all = thread::scope(|scope| {
        let apps = ["x", "y"].map(|name| scope.spawn(|| insist(&queue, name, &stop)));
        for round in 0..40 {
            queue.change(&options(), &options()).unwrap();
            disk.0.store(round % 3 > 0, SeqCst);
            sleep(Duration::from_millis(5));
        }
        disk.0.store(false, SeqCst);
        stop.store(true, SeqCst);
        apps.map(|app| app.join().unwrap())
    });
    let refused: usize = all.iter().map(|(_, refused)| refused).sum();
    let mut stored: Vec<(u64, String)> = all
        .into_iter()
        .flat_map(|(receipts, _)| receipts)
        .map(|receipt| (receipt.seq, receipt.id.to_string()))
        .collect();
    stored.sort();
    assert!(refused > 0 && stored.len() > 100, "{refused} {}: nothing was tried", stored.len());
    let leases = queue.lease(&lane("a"), usize::MAX, usize::MAX);
    let there = leases.iter().map(|lease| (lease.stamp.seq, lease.record.id.to_string()));
    assert!(there.eq(stored.iter().cloned()), "what is there is not what was said to be");
    assert!((1..).zip(&stored).all(|(seq, (number, _))| seq == *number), "a gap");
    leases.into_iter().for_each(Lease::ack);
}

/// A clock that panics when a thread asks it for the nth time.
#[derive(Default)]
struct Mine(Mutex<Option<(ThreadId, u32)>>);

impl WallClock for Mine {
    fn now_ms(&self) -> u64 {
        let mut mine = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match mine.as_mut().filter(|(thread, _)| *thread == thread::current().id()) {
            Some((_, 0)) => {
                *mine = None;
                drop(mine);
                panic!("the clock was asked once too often")
            }
            Some((_, left)) => *left -= 1,
            None => {}
        }
        SystemClock.now_ms()
    }
}

/// A change that panics where the clock is asked for the nth time. Whether it did.
fn panicking(folder: &Path, nth: u32) -> bool {
    let options = || options(folder, Ordering::None);
    let clock = Arc::new(Mine::default());
    let queue = Queue::open(options(), clock.clone()).unwrap().0;
    let stored: Vec<_> = (0..5).map(|n| submit(&queue, "a", &format!("r{n}"))).collect();
    stored.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
    queue.lease(&lane("a"), 2, usize::MAX).into_iter().for_each(Lease::ack);
    *clock.0.lock().unwrap() = Some((thread::current().id(), nth));
    let change = || queue.change(&options(), &options()).unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(change)).is_err();
    *clock.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    // Taken, and not answered before it is stored: the process ends, and whoever waits hears that.
    let late = submit(&queue, "a", "late");
    let late = if panicked {
        drop(queue);
        late.wait()
    } else {
        late.wait().inspect(|_| drop(queue))
    };
    assert_eq!(late.is_err(), panicked, "{late:?}");
    let queue = Queue::open(options(), Arc::new(SystemClock)).unwrap().0;
    let accepted = if panicked { 5 } else { 6 };
    let expected =
        Accounts { accepted, delivered: 2, waiting: accepted - 2, ..Accounts::default() };
    assert_eq!(queue.accounts(&lane("a")).unwrap(), expected, "{nth}");
    let again = submit(&queue, "a", "late").wait().unwrap();
    assert_eq!((again.seq, again.duplicate), (6, !panicked));
    panicked
}

#[test]
fn a_change_that_panics_anywhere_acknowledges_nothing_and_a_start_finds_all_that_was() {
    let folder = tempfile::tempdir().unwrap();
    let panics = (0..).take_while(|nth| panicking(&folder.path().join(nth.to_string()), *nth));
    let panics = panics.count();
    assert!(panics > 2, "only {panics}: nothing was tried");
}
