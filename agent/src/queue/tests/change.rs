//! The queue changes while records come.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::*;

fn lane(name: &str, ordering: Ordering) -> LaneOptions {
    LaneOptions { name: LaneName::parse(name).unwrap(), ordering, ttl: None }
}

fn with(lanes: Vec<LaneOptions>, folder: &Path) -> Options {
    Options { lanes, ..options(folder, Ordering::None) }
}

/// Hands over records `name-0` and so on until told to stop, a few at a time, and expects each to be
/// stored.
fn hand_over(queue: &Queue, name: &str, stop: &AtomicBool) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    while !stop.load(SeqCst) {
        let ids = receipts.len()..receipts.len() + 5;
        let ids = ids.map(|nth| format!("{name}-{nth}"));
        let tickets: Vec<_> = ids.map(|id| queue.submit(&a(), record(&id, "x"))).collect();
        receipts.extend(tickets.into_iter().map(|ticket| ticket.wait().unwrap()));
    }
    receipts
}

#[test]
fn what_comes_meanwhile_is_stored_in_its_order_and_lanes_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let both = |order| vec![lane("a", order), lane("b", order)];
    let few = || with(both(Ordering::None), folder.path());
    let many = || {
        let more = [lane("c", Ordering::Key), lane("d", Ordering::Lane)];
        with(both(Ordering::Key).into_iter().chain(more).collect(), folder.path())
    };
    let queue = Queue::open(few(), Arc::new(SystemClock)).unwrap().0;
    let stop = AtomicBool::new(false);
    let receipts = std::thread::scope(|scope| {
        let apps = ["x", "y"].map(|name| scope.spawn(|| hand_over(&queue, name, &stop)));
        for round in 0..20 {
            let (new, old) = if round % 2 == 0 { (many(), few()) } else { (few(), many()) };
            queue.change(&new, &old).unwrap();
            assert_eq!(queue.lanes().len(), new.lanes.len());
        }
        stop.store(true, SeqCst);
        apps.map(|app| app.join().unwrap())
    });
    for of_app in &receipts {
        assert!(of_app.windows(2).all(|pair| pair[0].seq < pair[1].seq), "out of order");
    }
    let all: usize = receipts.iter().map(Vec::len).sum();
    assert!(all > 100, "only {all}: nothing was tried");
    assert_eq!(accounts(&queue).accepted, all as u64);
    let leases = queue.lease(&a(), usize::MAX, usize::MAX);
    let seqs: Vec<u64> = leases.iter().map(|lease| lease.stamp.seq).collect();
    assert_eq!(seqs, (1..=all as u64).collect::<Vec<_>>());
    leases.into_iter().for_each(Lease::ack);
    assert_eq!(accounts(&queue).waiting, 0);
}

#[test]
fn what_the_folder_does_not_allow_is_refused_and_the_queue_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = || with(vec![lane("a", Ordering::None)], folder.path());
    let queue = Queue::open(options(), Arc::new(SystemClock)).unwrap().0;
    store(&queue, 0..3);
    // A file where a lane's folder is to be.
    std::fs::write(folder.path().join("lanes/b"), "").unwrap();
    let more = with(vec![lane("a", Ordering::None), lane("b", Ordering::None)], folder.path());
    let refused = queue.change(&more, &options());
    assert!(matches!(refused, Err(ChangeError::Kept(_))), "{refused:?}");
    store(&queue, 3..6);
    assert_eq!(accounts(&queue).waiting, 6);
    assert_eq!(queue.lanes().len(), 1);
}

#[test]
fn of_a_lane_something_remains_until_it_is_told_and_what_is_kept_has_expired() {
    let folder = tempfile::tempdir().unwrap();
    let keeping = |time_ms| Options {
        keep: Some(Keep { bytes: 1 << 30, time_ms }),
        ..options(folder.path(), Ordering::None)
    };
    let (long, brief) = (|| keeping(3_600_000), || keeping(1));
    let queue = Queue::open(long(), Arc::new(SystemClock)).unwrap().0;
    assert!(!queue.remains(&a()), "nothing ever came");
    store(&queue, 0..100);
    assert!(queue.remains(&a()));
    queue.lease(&a(), 60, usize::MAX).into_iter().for_each(Lease::ack);
    assert_eq!(queue.purge(&a(), &[(0, u64::MAX)], false).unwrap(), 40);
    assert_eq!(accounts(&queue).waiting, 0);
    queue.change(&long(), &long()).unwrap();
    let told = |queue: &Queue| queue.told(&queue.untold());
    told(&queue);
    assert!(queue.untold().is_empty() && queue.remains(&a()), "a resend may be asked for");
    // Without anything that is kept, the tombstones alone.
    store(&queue, 100..110);
    assert_eq!(queue.purge(&a(), &[(0, u64::MAX)], false).unwrap(), 10);
    queue.change(&brief(), &long()).unwrap();
    let files = || queue.figures(&a()).unwrap().disk_bytes;
    until("what was kept has expired", || files() == 0);
    assert!(queue.remains(&a()), "nobody was told");
    told(&queue);
    assert!(!queue.remains(&a()));
}

#[test]
fn where_nothing_is_kept_an_open_segment_of_what_is_settled_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, 0..10);
    queue.lease(&a(), 10, usize::MAX).into_iter().for_each(Lease::ack);
    assert!(queue.figures(&a()).unwrap().disk_bytes > 0 && !queue.remains(&a()));
}

/// A queue with so many dead letters, of which a piece at a time is replayed.
fn with_letters(folder: &Path, count: u32) -> Queue {
    let queue = open(folder);
    store(&queue, 0..count);
    let leases = queue.lease(&a(), count as usize, usize::MAX);
    leases.into_iter().for_each(|lease| lease.dead_letter("code", "reason").unwrap());
    queue
}

#[test]
fn a_long_replay_lets_others_change_the_queue_and_goes_on_behind_them() {
    let folder = tempfile::tempdir().unwrap();
    let queue = with_letters(folder.path(), 200);
    let options = || options(folder.path(), Ordering::None);
    let turns = std::cell::Cell::new(0);
    let change = || {
        turns.set(turns.get() + 1);
        // What comes meanwhile is no part of it.
        let lease = queue.lease(&a(), 1, usize::MAX).swap_remove(0);
        lease.dead_letter("code", "again").unwrap();
        queue.change(&options(), &options()).unwrap();
        false
    };
    let replayed = queue.dead_replay(&DeadFilter::default(), change).unwrap();
    assert_eq!(replayed, Replayed { count: 200, ..Replayed::default() });
    assert!(turns.get() > 1, "nobody had a turn");
    let expected = Accounts {
        accepted: 200,
        waiting: 200 - turns.get(),
        dead: turns.get(),
        ..Accounts::default()
    };
    assert_eq!(accounts(&queue), expected);
}

#[test]
fn a_replay_that_is_broken_off_says_how_far_it_came_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let queue = with_letters(folder.path(), 200);
    let all = DeadFilter::default();
    let turns = std::cell::Cell::new(0);
    let second = || turns.replace(turns.get() + 1) == 1;
    let Replayed { count, broken_off, .. } = queue.dead_replay(&all, second).unwrap();
    assert_eq!((count, broken_off.as_deref()), (128, Some("the agent is stopping")));
    let some = DeadFilter { limit: Some(5), ..all.clone() };
    assert_eq!(queue.dead_replay(&some, || true).unwrap().count, 5, "asked for no more");
    let expected = Accounts { accepted: 200, waiting: 133, dead: 67, ..Accounts::default() };
    assert_eq!(accounts(&queue), expected);
    queue.close();
    let closed = queue.dead_replay(&all, || false).unwrap();
    assert_eq!((closed.count, closed.broken_off.as_deref()), (0, Some("the agent is stopping")));
    drop(queue);
    assert_eq!(accounts(&open(folder.path())), expected);
}

#[test]
fn while_letters_are_replayed_nobody_else_takes_any_out() {
    let folder = tempfile::tempdir().unwrap();
    let queue = with_letters(folder.path(), 100);
    let all = DeadFilter::default();
    let turns = std::cell::Cell::new(0);
    let others = || {
        turns.set(turns.get() + 1);
        let again = queue.dead_replay(&all, || false);
        assert!(matches!(again, Err(LeaveError::UnderWay)), "{again:?}");
        let purged = queue.dead_purge(&all);
        assert!(matches!(purged, Err(LeaveError::UnderWay)), "{purged:?}");
        false
    };
    assert_eq!(queue.dead_replay(&all, others).unwrap().count, 100);
    assert_eq!(turns.get(), 1);
    assert_eq!(queue.dead_replay(&all, || false).unwrap().count, 0);
    assert_eq!(queue.dead_purge(&all).unwrap(), 0);
    let expected = Accounts { accepted: 100, waiting: 100, ..Accounts::default() };
    assert_eq!(accounts(&queue), expected);
}
