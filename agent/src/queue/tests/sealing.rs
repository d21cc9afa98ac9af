//! Keys that change and keys that are missing: nothing is lost, nothing counts as damaged, and who
//! looks is told which key it is.

use super::*;
use crate::queue::cipher::KeyId;
use crate::queue::inspect::{Inspection, Room};
use crate::queue::{KEY_BYTES, Keys, Packing};

const FIRST: [u8; KEY_BYTES] = [1; KEY_BYTES];
const SECOND: [u8; KEY_BYTES] = [2; KEY_BYTES];
const RECORDS: u32 = 300;
const DEAD: u64 = 5;

fn under(folder: &Path, keys: Keys) -> Options {
    let packing = Packing { lz4: vec![a()], keys };
    Options { packing, ..options(folder, Ordering::None) }
}

fn opened(folder: &Path, keys: Keys) -> Queue {
    Queue::open(under(folder, keys), Arc::new(SystemClock)).unwrap().0
}

/// Records and dead letters under the first key; the segment is closed, or left as by a kill.
fn filled(folder: &Path, close: bool) {
    let queue = opened(folder, Keys::new(Some(&FIRST), []));
    store(&queue, 0..RECORDS);
    for lease in queue.lease(&a(), DEAD as usize, usize::MAX) {
        lease.dead_letter("code", "reason").unwrap();
    }
    queue.save().unwrap();
    if close {
        queue.close();
    }
}

fn expected() -> Accounts {
    let accepted = u64::from(RECORDS);
    Accounts { accepted, waiting: accepted - DEAD, dead: DEAD, ..Accounts::default() }
}

#[test]
fn without_the_key_all_stays_is_named_and_comes_out_once_it_is_back() {
    for close in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), close);
        let later = Keys::new(Some(&SECOND), []);
        for (keys, id) in [(Keys::default(), "b-none"), (later, "b-later")] {
            let queue = opened(folder.path(), keys.clone());
            assert_eq!(accounts(&queue), expected());
            assert!(queue.lease(&a(), 400, usize::MAX).is_empty());
            assert_eq!(queue.figures(&a()).unwrap().missing_key, Some(KeyId::of(&FIRST)));
            assert!(queue.dead_list(&DeadFilter::default()).is_empty());
            let b = LaneName::parse("b").unwrap();
            assert_eq!(queue.figures(&b).unwrap().missing_key, None);
            queue.submit(&b, record(id, "x")).wait().unwrap();
            assert_eq!(queue.lease(&b, 1, usize::MAX).into_iter().map(Lease::ack).count(), 1);
            let looked = queue.inspection();
            see_locked(&looked);
            assert_eq!(accounts(&queue), expected());
            queue.close();
            assert_eq!(looked.quarantined().segments, 0);
            drop((looked, queue));
            see_locked(
                &Inspection::open(&under(folder.path(), keys), Arc::new(SystemClock)).unwrap(),
            );
        }
        let queue = opened(folder.path(), Keys::new(Some(&SECOND), [&FIRST]));
        assert_eq!(accounts(&queue), expected());
        assert_eq!(queue.dead_list(&DeadFilter::default()).len() as u64, DEAD);
        // Their ids are known under both keys.
        let new = store(&queue, RECORDS..RECORDS + 10);
        assert_eq!(new[0].seq, u64::from(RECORDS) + 1);
        for id in [20, RECORDS - 1, RECORDS + 3] {
            assert!(store(&queue, id..id + 1)[0].duplicate, "{id}");
        }
        let leases = queue.lease(&a(), 1000, usize::MAX);
        let ids: Vec<_> = leases.iter().map(|lease| lease.record.id.to_string()).collect();
        let all = (DEAD as u32..RECORDS + 10).map(|id| format!("r{id}"));
        assert_eq!(ids, all.collect::<Vec<_>>());
        assert!(leases.iter().all(|lease| lease.record.body == "x".repeat(200)));
        leases.into_iter().for_each(Lease::ack);
        assert_eq!(queue.dead_replay(&DeadFilter::default(), || false).unwrap().count, DEAD);
        assert_eq!(queue.figures(&a()).unwrap().missing_key, None);
        assert_eq!(accounts(&queue).damaged, 0);
    }
}

/// All that waits is whole and needs the first key.
fn see_locked(looked: &Inspection) {
    let key = KeyId::of(&FIRST);
    let page = looked.page(&a(), 0, Room { records: 1000, body_bytes: 1 << 20 }).unwrap();
    assert!(page.entries.is_empty() && page.lost.is_empty(), "{page:?}");
    assert_eq!(page.locked, [((DEAD + 1, u64::from(RECORDS) + 1), key)]);
    let checked = looked.check(&a(), 0, Instant::now() + Duration::from_secs(60)).unwrap();
    assert_eq!((checked.records, checked.lost), (0, vec![]));
    assert_eq!(checked.locked, [(key, u64::from(RECORDS))].into());
    assert_eq!(looked.check_letters().unwrap(), (0, vec![]));
    assert_eq!(looked.locked_letters(), Some((DEAD, key)));
    assert_eq!(looked.damaged_files().unwrap(), Vec::<String>::new());
}

#[test]
fn what_lies_there_plainly_is_read_beside_what_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let mut numbers = 0..;
    for keys in [Keys::default(), Keys::new(Some(&FIRST), []), Keys::new(None, [&FIRST])] {
        let queue = opened(folder.path(), keys);
        let from = numbers.next().unwrap() * 100;
        store(&queue, from..from + 100);
        queue.close();
    }
    let queue = opened(folder.path(), Keys::new(None, [&FIRST]));
    assert_eq!(queue.lease(&a(), 1000, usize::MAX).len(), 300);
}

#[test]
fn a_lane_of_one_order_waits_for_the_key_and_gives_nothing_out_of_turn() {
    for ordering in [Ordering::Key, Ordering::Lane] {
        let folder = tempfile::tempdir().unwrap();
        let with = |keys| Options {
            packing: Packing { lz4: vec![], keys },
            ..options(folder.path(), ordering)
        };
        let queue =
            Queue::open(with(Keys::new(Some(&FIRST), [])), Arc::new(SystemClock)).unwrap().0;
        store(&queue, 0..3);
        queue.close();
        drop(queue);
        let queue =
            Queue::open(with(Keys::new(Some(&SECOND), [])), Arc::new(SystemClock)).unwrap().0;
        store(&queue, 3..6);
        assert!(queue.lease(&a(), 10, usize::MAX).is_empty());
        assert_eq!(accounts(&queue).waiting, 6);
    }
}

fn letter_segments(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries =
        std::fs::read_dir(folder.join("dead")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    segments.sort();
    segments
}

#[test]
fn letters_without_their_key_count_once_and_keep_no_others_behind_them() {
    let folder = tempfile::tempdir().unwrap();
    let b = LaneName::parse("b").unwrap();
    filled(folder.path(), true);
    let queue = opened(folder.path(), Keys::new(Some(&FIRST), []));
    (0..2).for_each(|n| drop(queue.submit(&b, record(&format!("b{n}"), "x")).wait().unwrap()));
    let leases = queue.lease(&b, 2, usize::MAX).into_iter();
    leases.for_each(|lease| lease.dead_letter("code", "reason").unwrap());
    queue.save().unwrap();
    queue.close();
    drop(queue);
    // Those of the other lane are lost, and not only locked.
    std::fs::remove_dir_all(letter_segments(folder.path()).pop().unwrap()).unwrap();
    let open = || opened(folder.path(), Keys::new(Some(&SECOND), []));
    let queue = open();
    let of_b = queue.figures(&b).unwrap().accounts;
    assert_eq!((accounts(&queue).dead, of_b.dead, of_b.damaged), (DEAD, 0, 2));
    queue.close();
    drop(queue);
    for n in 0..6 {
        let queue = open();
        queue.submit(&b, record(&format!("c{n}"), "x")).wait().unwrap();
        let lease = queue.lease(&b, 1, usize::MAX).remove(0);
        lease.dead_letter("code", "reason").unwrap();
        queue.close();
        assert_eq!(queue.dead_purge(&DeadFilter::default()).unwrap(), 1);
    }
    assert_eq!(letter_segments(folder.path()).len(), 1, "{:?}", letter_segments(folder.path()));
    let queue = opened(folder.path(), Keys::new(Some(&SECOND), [&FIRST]));
    assert_eq!(queue.dead_list(&DeadFilter::default()).len() as u64, DEAD);
    assert_eq!(accounts(&queue).dead, DEAD);
}
