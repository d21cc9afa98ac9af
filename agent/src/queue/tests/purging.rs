//! An operator gives up waiting records.

use super::*;

fn open_with(folder: &Path, ordering: Ordering) -> Queue {
    Queue::open(options(folder, ordering), Arc::new(SystemClock)).unwrap().0
}

fn leased(queue: &Queue) -> Vec<u64> {
    queue.lease(&a(), 100, usize::MAX).into_iter().map(|lease| lease.position).collect()
}

#[test]
fn in_an_ordered_lane_the_next_behind_what_is_purged_goes_on() {
    for ordering in [Ordering::None, Ordering::Key, Ordering::Lane] {
        let folder = tempfile::tempdir().unwrap();
        let queue = open_with(folder.path(), ordering);
        store(&queue, 0..10);
        let mut first = queue.lease(&a(), 1, usize::MAX);
        // Those of its order wait behind it now; without order the next is put back at once.
        assert_eq!(queue.lease(&a(), 1, usize::MAX).len(), usize::from(ordering == Ordering::None));
        let all = [(1, 4), (6, 8)];
        assert_eq!(queue.purge(&a(), &all, true).unwrap(), 4, "{ordering:?}");
        assert_eq!(queue.purge(&a(), &all, false).unwrap(), 4, "{ordering:?}");
        assert_eq!(queue.purge(&a(), &all, false).unwrap(), 0, "{ordering:?}");
        first.pop().unwrap().ack();
        let next: Vec<u64> = match ordering {
            Ordering::None => leased(&queue),
            _ => std::iter::from_fn(|| {
                let mut one = queue.lease(&a(), 1, usize::MAX);
                one.pop().map(|lease| (lease.position, lease.ack()).0)
            })
            .collect(),
        };
        assert_eq!(next, [4, 5, 8, 9, 10], "{ordering:?}");
    }
}

#[test]
fn what_is_purged_is_dropped_after_a_restart_too_and_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, 0..10);
    assert_eq!(queue.purge(&a(), &[(3, 5), (9, u64::MAX)], false).unwrap(), 4);
    let told = queue.untold();
    let numbers: Vec<_> = told.iter().map(|range| (range.fate, range.from, range.to)).collect();
    assert_eq!(numbers, [(Fate::Purged, 3, 4), (Fate::Purged, 9, 10)]);
    queue.told(&told);
    assert_eq!(queue.untold(), []);
    queue.close();
    drop(queue);
    let queue = open(folder.path());
    assert_eq!(queue.untold(), []);
    let sum = accounts(&queue);
    assert_eq!((sum.accepted, sum.waiting, sum.dropped), (10, 6, 4));
    assert!(sum.balanced());
}
