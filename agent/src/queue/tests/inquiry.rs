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

/// What the record waits for, its attempts, and how many are before it.
fn turn(queue: &Queue, id: &str) -> (Turn, u32, u64) {
    match found(queue, id).lot {
        Lot::Waiting { turn, attempts, ahead } => (turn, attempts, ahead),
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
    assert_eq!(turn(&queue, "r0"), (Turn::Deferred(later), 1, 0));
    assert_eq!(turn(&queue, "r1"), (Turn::Leased, 0, 1));
    assert_eq!(turn(&queue, "r4"), (Turn::Ready, 0, 4));
    leases.remove(0).ack();
    assert_eq!(turn(&queue, "r4"), (Turn::Ready, 0, 3));
    assert_eq!(found(&queue, "r1").lot, Lot::Delivered { stored: true });
    queue.hasten(&a());
    assert_eq!(turn(&queue, "r0"), (Turn::Ready, 1, 0));
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
    assert_eq!(turn(&queue, "x3"), (Turn::Behind(first), 0, 3));
    drop(leases);
    queue.close();
    drop(queue);

    let queue = ordered(folder.path(), Ordering::Lane);
    assert_eq!(turn(&queue, "x1").0, Turn::Ready);
    assert_eq!(turn(&queue, "y1"), (Turn::Behind(first), 0, 1));
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
    assert_eq!(turn(&queue, "r9"), (Turn::Ready, 0, 0), "number 10 is kept");
    queue.told(&queue.untold());
    assert_eq!(found(&queue, "r2").lot, Lot::GivenUp(None), "why is not known for ever");
    assert_eq!(found(&queue, "r6").lot, Lot::GivenUp(Some(Fate::Thinned(10))));
    assert!(queue.whereabouts(&a(), 41).is_none() && queue.whereabouts(&a(), 0).is_none());
}

#[test]
fn what_waits_and_what_is_settled_is_walked_apart() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, 0..500);
    queue.lease(&a(), 3, usize::MAX).into_iter().for_each(Lease::ack);
    let (mut waiting, mut settled) = (Vec::new(), Vec::new());
    assert!(queue.walk_waiting(&a(), |entry| {
        waiting.push(entry.record.id.to_string());
        if waiting.len() < 400 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }));
    assert!(queue.walk_settled(&a(), |entry| {
        settled.push(entry.record.id.to_string());
        ControlFlow::Continue(())
    }));
    assert_eq!(waiting, (3..403).map(|i| format!("r{i}")).collect::<Vec<_>>());
    assert_eq!(settled, ["r0", "r1", "r2"]);
}
