//! One record that does not get through holds up no disk.

use super::*;

const MIB: u64 = 1 << 20;

fn open_in(folder: &Path, keep: Option<Keep>) -> Queue {
    let options = Options { segment_bytes: MIB, keep, ..options(folder, Ordering::None) };
    Queue::open(options, Arc::new(SystemClock)).unwrap().0
}

/// So many MiB behind the oldest record, which is put back, are delivered.
fn deliver_behind(queue: &Queue, mib: u64, round: u64) {
    let body = "x".repeat(64 << 10);
    for nth in 0..mib {
        let tickets: Vec<_> = (0..16)
            .map(|n| queue.submit(&a(), record(&format!("r{round}-{nth}-{n}"), &body)))
            .collect();
        tickets.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
        for lease in queue.lease(&a(), 100, usize::MAX) {
            match lease.position {
                1 => lease.defer(None, false),
                _ => lease.ack(),
            }
        }
    }
}

fn settle_down(queue: &Queue, most_bytes: u64) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let used_bytes = queue.figures(&a()).unwrap().disk_bytes;
        if used_bytes <= most_bytes {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{used_bytes} of {most_bytes}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_lane_with_one_held_record_gives_back_the_disk_of_what_was_delivered_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut queue = open_in(folder.path(), None);
    store(&queue, 0..1);
    for round in 0..2 {
        deliver_behind(&queue, 25, round);
        settle_down(&queue, 4 * MIB);
        let expected = 1 + 25 * 16 * (round + 1);
        let now = accounts(&queue);
        assert_eq!((now.accepted, now.waiting, now.damaged), (expected, 1, 0), "{now:?}");
        queue.close();
        drop(queue);
        queue = open_in(folder.path(), None);
    }
    let quarantined = std::fs::read_dir(folder.path().join("quarantine")).unwrap().count();
    assert_eq!(quarantined, 0);
    queue.lease(&a(), 1, usize::MAX).remove(0).ack();
    settle_down(&queue, 2 * MIB);
    let now = accounts(&queue);
    assert_eq!((now.delivered, now.waiting), (801, 0));
    let known = queue.submit(&a(), record("r1-24-15", &"x".repeat(64 << 10))).wait().unwrap();
    assert!(known.duplicate, "its id is known although its file is gone");
}

#[test]
fn what_was_delivered_behind_a_held_record_is_kept_for_a_resend_within_its_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let keep = Keep { bytes: 10 * MIB, time_ms: 3_600_000 };
    let queue = open_in(folder.path(), Some(keep));
    store(&queue, 0..1);
    deliver_behind(&queue, 30, 0);
    settle_down(&queue, 14 * MIB);
    let b = LaneName::parse("b").unwrap();
    let end = queue.front(&a(), 0).end;
    let resent = queue.resend(&b, &a(), queue.stream(), end - 50, end - 1).unwrap();
    assert_eq!(resent.sent, [(end - 50, end - 1)], "the newest are kept");
    let old = queue.resend(&b, &a(), queue.stream(), 50, 60).unwrap();
    assert_eq!(old.expired, [(50, 60)]);
}

#[test]
fn what_waits_before_segments_that_are_gone_counts_with_all_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut queue = open_in(folder.path(), None);
    let body = "x".repeat(64 << 10);
    // A group that comes after them finds the segment full.
    let waiting = 24;
    for n in 0..waiting {
        queue.submit(&a(), record(&format!("w{n}"), &body)).wait().unwrap();
    }
    for n in 0..400 {
        queue.submit(&a(), record(&format!("r{n}"), &body)).wait().unwrap();
    }
    for lease in queue.lease(&a(), 1000, usize::MAX) {
        match lease.position <= waiting {
            true => lease.defer(None, false),
            false => lease.ack(),
        }
    }
    settle_down(&queue, 5 * MIB);
    for _ in 0..2 {
        let figures = queue.figures(&a()).unwrap();
        assert_eq!(figures.accounts.waiting, waiting);
        let expected = waiting * (64 << 10);
        assert!((expected..expected * 3 / 2).contains(&figures.live_bytes), "{figures:?}");
        queue.close();
        drop(queue);
        queue = open_in(folder.path(), None);
    }
}
