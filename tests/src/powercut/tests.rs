use std::path::{Path, PathBuf};

use bytes::Bytes;
use spillway::queue::Accounts;

use super::disk::Disk;
use super::ledger::{Found, Ledger, Seen};
use super::log::Event;
use super::marks::{Mark, Number};
use super::saves::Saves;
use super::states::{Data, Naming, State, Variant, after_power_cut};

const FOLDER: u64 = 1;
const FILE: u64 = 2;

fn folder(path: &str) -> Event {
    Event::Folder { inode: FOLDER, path: path.into() }
}

fn file(path: &str) -> Event {
    Event::Create { inode: FILE, path: path.into() }
}

fn write(at: u64, bytes: &[u8]) -> Event {
    Event::Write { inode: FILE, at, bytes: Bytes::copy_from_slice(bytes) }
}

fn begin(inode: u64) -> Event {
    Event::SyncBegin { thread: 9, inode }
}

fn end(inode: u64) -> Event {
    Event::SyncEnd { thread: 9, inode }
}

/// What is left of `d` after `events` on an empty disk whose root has `d` durably.
fn after(events: &[Event], data: Data, naming: Naming, seed: u64) -> State {
    let root = tempfile::tempdir().unwrap();
    let mut disk = Disk::of(root.path());
    let own = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(root.path()).unwrap());
    for event in [folder("d"), begin(own), end(own)].iter().chain(events) {
        disk.apply(event);
    }
    after_power_cut(&disk, "d", Variant { data, naming, seed })
}

fn content<'a>(state: &'a State, path: &str) -> Option<&'a [u8]> {
    state.get(Path::new(path))?.as_deref()
}

#[test]
fn only_what_was_written_before_a_sync_began_is_durable_when_it_ends() {
    let events =
        [file("d/a"), begin(FOLDER), end(FOLDER), write(0, b"one"), begin(FILE), write(3, b"two")];
    let before = after(&events, Data::Dropped, Naming::None, 1);
    assert_eq!(content(&before, "d/a"), Some(&b""[..]));
    let events = [&events[..], &[end(FILE)]].concat();
    assert_eq!(content(&after(&events, Data::Dropped, Naming::None, 1), "d/a").unwrap(), b"one");
    assert_eq!(content(&after(&events, Data::Kept, Naming::None, 1), "d/a").unwrap(), b"onetwo");
    let grown = after(&events, Data::Grown, Naming::None, 1);
    assert_eq!(content(&grown, "d/a").unwrap(), b"one\0\0\0");
}

#[test]
fn a_sync_that_another_process_was_in_never_ended() {
    let events = [file("d/a"), begin(FOLDER), Event::Start, end(FOLDER)];
    assert_eq!(content(&after(&events, Data::Kept, Naming::None, 1), "d/a"), None);
}

#[test]
fn a_synced_file_without_a_synced_name_is_lost_and_a_move_is_whole() {
    let made = [file("d/a"), write(0, b"x"), begin(FILE), end(FILE)];
    let lost = after(&made, Data::Kept, Naming::None, 1);
    assert_eq!(lost.keys().collect::<Vec<_>>(), [&PathBuf::from("d")]);
    let moved = Event::Rename { from: "d/a".into(), to: "d/b".into() };
    let events = [&made[..], &[begin(FOLDER), end(FOLDER), moved]].concat();
    for seed in 0..20 {
        let state = after(&events, Data::Kept, Naming::Each, seed);
        let there = (content(&state, "d/a").is_some(), content(&state, "d/b").is_some());
        assert!(there.0 != there.1, "{there:?}");
    }
    let events = [&events[..], &[begin(FOLDER), end(FOLDER)]].concat();
    let state = after(&events, Data::Kept, Naming::None, 1);
    assert_eq!(content(&state, "d/b").unwrap(), b"x");
}

#[test]
fn a_write_is_torn_where_sectors_meet_and_a_sector_never_has_a_later_write_alone() {
    let (first, second) = (vec![1; 2000], vec![2; 300]);
    let events =
        [file("d/a"), begin(FOLDER), end(FOLDER), write(100, &first), write(2100, &second)];
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let state = after(&events, Data::Torn(512), Naming::All, seed);
        let mut found = content(&state, "d/a").unwrap().to_vec();
        found.resize(2400, 0);
        for (at, byte) in found.iter().enumerate().filter(|(at, _)| *at >= 100) {
            let sector = at / 512 * 512;
            assert_eq!(*byte == 0, found[sector.max(if at < 2100 { 100 } else { 2100 })] == 0);
        }
        assert!(found[2100] == 0 || found[2099] == 1, "the second without the first: {seed}");
        seen.insert(found);
    }
    assert!(seen.len() > 10, "only {} states", seen.len());
}

fn number(seq: u64) -> Number {
    ("a".into(), "s".into(), seq)
}

fn ledger(marks: &[Mark]) -> Ledger {
    let mut ledger = Ledger::default();
    for record in 1..=3 {
        ledger.note(&Mark::Handed { record, lane: "a".into() });
    }
    marks.iter().for_each(|mark| ledger.note(mark));
    ledger
}

fn found(waiting: &[(u64, u64)], newest: u64) -> Found {
    let seen = |&(record, seq): &(u64, u64)| Seen { record, number: number(seq), replayed: false };
    let waiting = waiting.iter().map(seen).collect();
    Found { waiting, newest: vec![number(newest)], ..Found::default() }
}

#[test]
fn the_ledger_finds_what_is_lost_invented_moved_or_there_again() {
    let stored = |record| Mark::Stored { record, number: number(record) };
    let two = ledger(&[stored(1), stored(2)]);
    assert_eq!(two.faults(&found(&[(1, 1), (2, 2)], 2)), [""; 0]);
    assert_eq!(two.faults(&found(&[(1, 1), (2, 2), (3, 3)], 3)), [""; 0], "handed over as well");
    let fault = |ledger: &Ledger, waiting, newest, words: &str| {
        let faults = ledger.faults(&found(waiting, newest));
        assert!(faults.iter().any(|fault| fault.contains(words)), "{words}: {faults:?}");
    };
    fault(&two, &[(1, 1)], 2, "is lost");
    fault(&two, &[(1, 1), (2, 2), (9, 3)], 3, "never handed over");
    fault(&two, &[(1, 1), (3, 2)], 2, "was another's before");
    fault(&two, &[(1, 1), (2, 3)], 3, "and was");
    fault(&two, &[(1, 1), (2, 2), (2, 3)], 3, "2 times");
    let three = ledger(&[stored(1), stored(3)]);
    fault(&three, &[(1, 1), (3, 3)], 3, "nobody had the numbers [2]");
    let torn = found(&[(1, 1), (2, 2), (3, 5)], 5);
    assert_eq!(two.torn(&torn)["a"], 2, "3 and 4 were nobody's, behind all that is acknowledged");
    assert_eq!(two.faults(&torn), [""; 0]);
    let closed = ledger(&[stored(1), stored(2), Mark::Present([2].into()), Mark::Closed]);
    fault(&closed, &[(1, 1), (2, 2)], 2, "was gone when the queue was closed");
    let ended = ledger(&[stored(1), Mark::Ending { record: 1, number: number(1) }]);
    assert_eq!(ended.faults(&found(&[], 1)), [""; 0]);
}

#[test]
fn what_was_said_to_be_delivered_before_a_durable_state_stays_so() {
    const SLOT: u64 = 77;
    let slot = Event::Create { inode: SLOT, path: "data/lanes/a/state-0".into() };
    let written = Event::Write { inode: SLOT, at: 0, bytes: Bytes::new() };
    let (begun, ended) = (begin(SLOT), end(SLOT));
    let said = |count| Mark::Delivered { lane: "a".into(), count };
    let (mut saves, mut ledger) = (Saves::default(), Ledger::default());
    let accounts = |delivered| Accounts { accepted: delivered, delivered, ..Accounts::default() };
    let faults = |ledger: &Ledger, delivered| {
        let accounts = [("a".to_owned(), accounts(delivered))].into();
        let faults = ledger.faults(&Found { accounts, ..Found::default() });
        faults.iter().filter(|fault| fault.contains("noted as delivered")).count()
    };
    let mut save = |ledger: &mut Ledger, events: &[&Event]| {
        events.iter().for_each(|event| saves.note(event, ledger));
    };
    save(&mut ledger, &[&Event::Start, &slot]);
    ledger.note(&said(5));
    save(&mut ledger, &[&written, &begun, &ended]);
    assert_eq!(faults(&ledger, 0), 0, "that state may be older than what was said");
    ledger.note(&said(9));
    save(&mut ledger, &[&written, &begun]);
    assert_eq!(faults(&ledger, 0), 0, "that one is not durable");
    save(&mut ledger, &[&ended]);
    assert_eq!((faults(&ledger, 4), faults(&ledger, 5)), (1, 0));
    save(&mut ledger, &[&Event::Start, &written, &begun, &ended]);
    assert_eq!(faults(&ledger, 5), 0, "another life does not know what the one before said");
}
