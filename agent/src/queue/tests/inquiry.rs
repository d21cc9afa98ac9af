//! Questions after single records: where they are, and what they wait for.

use std::ops::ControlFlow;

use super::*;

fn ordered(folder: &Path, ordering: Ordering) -> Queue {
    Queue::open(options(folder, ordering), Arc::new(SystemClock)).unwrap().0
}

fn keyed(queue: &Queue, id: &str, key: &str) {
    let order_key = Some(key.to_owned());
    let draft = Draft { id: Some(id.into()), order_key, body: "x".into(), ..Draft::default() };
    let record = draft.parse(|| RecordId::parse("unused").unwrap()).unwrap();
    queue.submit(&a(), record).wait().unwrap();
}

fn found(queue: &Queue, id: &str) -> Whereabouts {
    let (lane, position) = queue.locate(&RecordId::parse(id).unwrap()).unwrap();
    queue.whereabouts(&lane, position).unwrap()
}

/// What the record waits for, and how many are before it.
fn turn(queue: &Queue, id: &str) -> (Turn, u64) {
    match found(queue, id).lot {
        Lot::Waiting { turn, ahead } => (turn, ahead),
        lot => panic!("{id}: {lot:?}"),
    }
}

#[test]
fn without_order_each_record_waits_for_itself_alone() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, 0..5);
    let mut leases = queue.lease(&a(), 2, usize::MAX);
    let later = Instant::now() + Duration::from_secs(60);
    leases.remove(0).defer(Some(later), true);
    assert_eq!(turn(&queue, "r0"), (Turn::Deferred(later), 0));
    assert_eq!(turn(&queue, "r1"), (Turn::Leased, 1));
    assert_eq!(turn(&queue, "r4"), (Turn::Ready, 4));
    leases.remove(0).ack();
    assert_eq!(turn(&queue, "r4"), (Turn::Ready, 3));
    assert_eq!(found(&queue, "r1").lot, Lot::Delivered { stored: true });
    queue.hasten(&a());
    assert_eq!(turn(&queue, "r0"), (Turn::Ready, 0));
}

#[test]
fn behind_the_first_of_its_key_or_of_its_lane() {
    let folder = tempfile::tempdir().unwrap();
    let queue = ordered(folder.path(), Ordering::Key);
    for (id, key) in [("x1", "x"), ("y1", "y"), ("x2", "x"), ("x3", "x")] {
        keyed(&queue, id, key);
    }
    assert_eq!(turn(&queue, "x3").0, Turn::Ready, "nobody has looked at them yet");
    let leases = queue.lease(&a(), 10, usize::MAX);
    let first = leases[0].position;
    assert_eq!((turn(&queue, "x1").0, turn(&queue, "y1").0), (Turn::Leased, Turn::Leased));
    assert_eq!(turn(&queue, "x3"), (Turn::Behind(first), 3));
    drop(leases);
    queue.close();
    drop(queue);

    let queue = ordered(folder.path(), Ordering::Lane);
    assert_eq!(turn(&queue, "x1").0, Turn::Ready);
    assert_eq!(turn(&queue, "y1"), (Turn::Behind(first), 1));
}

#[test]
fn what_will_never_be_sent_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, 0..40);
    queue.lease(&a(), 1, usize::MAX).remove(0).dead_letter("Bad", "no").unwrap();
    assert_eq!(found(&queue, "r0").lot, Lot::Dead);
    queue.dead_purge(&DeadFilter::default()).unwrap();
    assert_eq!(found(&queue, "r0").lot, Lot::GivenUp(Some(Fate::Dead)));
    queue.drop_oldest(&a(), 5);
    assert_eq!(found(&queue, "r2").lot, Lot::GivenUp(Some(Fate::Dropped)));
    queue.thin(&a(), 41, 10);
    assert_eq!(found(&queue, "r6").lot, Lot::GivenUp(Some(Fate::Thinned(10))));
    assert_eq!(turn(&queue, "r9"), (Turn::Ready, 0), "number 10 is kept");
    queue.told(&queue.untold());
    assert_eq!(found(&queue, "r2").lot, Lot::GivenUp(None), "why is not known for ever");
    assert_eq!(found(&queue, "r6").lot, Lot::GivenUp(Some(Fate::Thinned(10))));
    assert!(queue.whereabouts(&a(), 41).is_none() && queue.whereabouts(&a(), 0).is_none());
}

#[test]
fn what_was_given_up_longer_ago_than_is_remembered_is_not_called_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, 0..600);
    let mut leases = queue.lease(&a(), 600, usize::MAX);
    leases.remove(0).ack();
    // Every other one is given up: more ranges than are remembered.
    for (nth, lease) in leases.into_iter().enumerate() {
        match nth % 2 {
            0 => lease.dead_letter("Bad", "no").unwrap(),
            _ => lease.ack(),
        }
    }
    assert!(matches!(found(&queue, "r0").lot, Lot::Delivered { .. }));
    queue.dead_purge(&DeadFilter::default()).unwrap();
    assert!(matches!(found(&queue, "r599").lot, Lot::GivenUp(_)));
    for forgotten in ["r0", "r1", "r2"] {
        assert_eq!(found(&queue, forgotten).lot, Lot::Forgotten, "{forgotten}");
    }
    assert!(matches!(found(&queue, "r598").lot, Lot::Delivered { .. }));
}

#[test]
fn a_dead_letter_is_found_by_its_record_and_letters_are_walked_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, 0..9);
    let leases = queue.lease(&a(), 5, usize::MAX);
    leases.into_iter().for_each(|lease| lease.dead_letter("Bad", "no").unwrap());
    let at = |id| found(&queue, id).position;
    let letter = queue.dead_at(&a(), at("r3")).unwrap();
    assert_eq!((letter.record.id.as_str(), letter.number), ("r3", 4));
    assert!(queue.dead_at(&a(), at("r5")).is_none(), "it waits");
    let mut seen = Vec::new();
    let walked = queue.walk_dead(later(), |letter| {
        seen.push(letter.number);
        if seen.len() < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert_eq!((seen, walked), (vec![1, 2, 3], Walked { looked: 3, whole: false }));
    queue.dead_purge(&DeadFilter { number: Some(4), ..DeadFilter::default() }).unwrap();
    assert!(queue.dead_at(&a(), at("r3")).is_none());
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn ids(
    walk: impl FnOnce(&mut dyn FnMut(&Entry) -> ControlFlow<()>) -> Walked,
) -> (Vec<String>, Walked) {
    let mut ids = Vec::new();
    let walked = walk(&mut |entry| {
        ids.push(entry.record.id.to_string());
        ControlFlow::Continue(())
    });
    (ids, walked)
}

#[test]
fn what_waits_and_what_is_settled_is_walked_apart() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, 0..500);
    queue.lease(&a(), 3, usize::MAX).into_iter().for_each(Lease::ack);
    let mut waiting = Vec::new();
    let walked = queue.walk_waiting(&a(), later(), |entry| {
        waiting.push(entry.record.id.to_string());
        if waiting.len() < 400 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert_eq!(walked, Walked { looked: 400, whole: false });
    assert_eq!(waiting, (3..403).map(|i| format!("r{i}")).collect::<Vec<_>>());
    let (settled, walked) = ids(|visit| queue.walk_settled(&a(), later(), visit));
    assert_eq!(settled, ["r0", "r1", "r2"]);
    assert_eq!(walked, Walked { looked: 3, whole: true }, "nothing of what waits is read");
}

#[test]
fn no_walk_reads_what_it_does_not_show_nor_anything_once_the_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, 0..500);
    let leases = queue.lease(&a(), 500, usize::MAX);
    let last = |lease: &Lease| ["r7", "r450"].contains(&lease.record.id.as_str());
    leases.into_iter().filter(last).for_each(Lease::ack);
    let (settled, walked) = ids(|visit| queue.walk_settled(&a(), later(), visit));
    assert_eq!((settled, walked.looked), (vec!["r7".to_owned(), "r450".to_owned()], 2));
    let (waiting, walked) = ids(|visit| queue.walk_waiting(&a(), later(), visit));
    assert_eq!((waiting.len(), walked), (498, Walked { looked: 498, whole: true }));

    let over = Instant::now();
    for waiting in [true, false] {
        let (shown, walked) = ids(|visit| match waiting {
            true => queue.walk_waiting(&a(), over, visit),
            false => queue.walk_settled(&a(), over, visit),
        });
        assert_eq!((shown.len(), walked), (0, Walked::default()));
    }
    assert_eq!(queue.walk_dead(over, |_| ControlFlow::Continue(())).looked, 0);
}
