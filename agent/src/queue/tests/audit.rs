//! Delivered records are kept within bounds, and sent again under their own numbers.

use spillway_protocol::message::{Flags, Stamp, StreamId};

use super::*;

const ALL: Keep = Keep { bytes: 1 << 30, time_ms: 3_600_000 };

fn open_keeping(folder: &Path, keep: Keep) -> Queue {
    let options = Options { keep: Some(keep), ..options(folder, Ordering::None) };
    Queue::open(options, Arc::new(SystemClock)).unwrap().0
}

fn deliver(queue: &Queue, lane: &LaneName) -> Vec<(Stamp, Record)> {
    let leases = queue.lease(lane, 10_000, usize::MAX);
    let sent = leases.iter().map(|lease| (lease.stamp.clone(), lease.record.clone())).collect();
    leases.into_iter().for_each(Lease::ack);
    sent
}

fn b() -> LaneName {
    LaneName::parse("b").unwrap()
}

fn resend(queue: &Queue, from: u64, to: u64) -> Resent {
    queue.resend(&b(), &a(), queue.stream(), from, to).unwrap()
}

#[test]
fn what_was_delivered_is_sent_again_as_it_was_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut queue = open_keeping(folder.path(), ALL);
    store(&queue, 0..500);
    let sent = deliver(&queue, &a());
    assert_eq!(sent.len(), 500);
    for _ in 0..2 {
        let before = accounts(&queue);
        assert_eq!(resend(&queue, 100, 399).sent, [(100, 399)]);
        let again = deliver(&queue, &b());
        assert_eq!(again.len(), 300);
        for ((stamp, record), (old, sent)) in again.iter().zip(&sent[99..]) {
            assert_eq!(*stamp, Stamp { flags: Flags::RESEND, ..old.clone() });
            assert_eq!((&record.id, &record.body), (&sent.id, &sent.body));
        }
        assert_eq!(accounts(&queue), before, "its own accounts are untouched");
        queue.close();
        drop(queue);
        queue = open_keeping(folder.path(), ALL);
    }
    let repeat = queue.submit(&a(), record("r7", &"x".repeat(200))).wait().unwrap();
    assert_eq!((repeat.lane, repeat.seq, repeat.duplicate), (a(), 8, true));
}

#[test]
fn every_number_that_cannot_be_sent_again_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_keeping(folder.path(), ALL);
    store(&queue, 0..10);
    let mut leases = queue.lease(&a(), 4, usize::MAX).into_iter();
    leases.next().unwrap().ack();
    leases.next().unwrap().dead_letter("code", "reason").unwrap();
    leases.next().unwrap().dead_letter("code", "reason").unwrap();
    leases.next().unwrap().ack();
    queue.dead_purge(&DeadFilter { limit: Some(1), ..DeadFilter::default() }).unwrap();
    let expected = Resent {
        sent: vec![(1, 1), (4, 4)],
        waiting: vec![(5, 10)],
        dead: vec![(3, 3)],
        dropped: vec![(2, 2)],
        unknown: vec![(11, u64::MAX)],
        ..Resent::default()
    };
    assert_eq!(resend(&queue, 1, u64::MAX), expected);
    let stranger = queue.resend(&b(), &a(), StreamId(99), 5, 6).unwrap();
    assert_eq!(stranger.unknown, [(5, 6)]);
}

#[test]
fn what_is_too_much_goes_oldest_first_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_keeping(folder.path(), Keep { bytes: 200_000, ..ALL });
    (0..30).for_each(|hundred| drop(store(&queue, hundred * 100..hundred * 100 + 100)));
    deliver(&queue, &a());
    let disk = || queue.figures(&a()).unwrap().disk_bytes;
    until("no more than the bound is kept", || disk() <= 300_000);
    // What goes meanwhile may go between two numbers that stay a little longer.
    until("the oldest are gone and the newest are there", || {
        let Resent { expired, sent, .. } = resend(&queue, 1, 3000);
        matches!((&expired[..], &sent[..]), ([(1, end)], [(begin, 3000)]) if end + 1 == *begin)
    });
    assert!(disk() > 100_000, "not more went than had to");
}

#[test]
fn what_is_too_old_goes() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open_keeping(folder.path(), ALL);
    store(&queue, 0..1000);
    deliver(&queue, &a());
    queue.close();
    drop(queue);
    std::thread::sleep(Duration::from_millis(5));
    let queue = open_keeping(folder.path(), Keep { time_ms: 1, ..ALL });
    until("nothing is kept", || resend(&queue, 1, 1000).expired == [(1, 1000)]);
    assert_eq!(queue.figures(&a()).unwrap().disk_bytes, 0);
}
