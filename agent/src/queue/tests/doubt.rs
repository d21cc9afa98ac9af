//! Numbers of which nothing tells any more are not given again: another stream begins.

use std::fs;
use std::path::PathBuf;

use spillway_protocol::message::StreamId;
use tempfile::TempDir;

use super::*;

const BEFORE: u32 = 20;
const RECORDS: u32 = 60;

/// A folder as a kill leaves it. Its states know nothing of what came after the first records, which
/// are delivered.
fn killed() -> (TempDir, PathBuf, StreamId) {
    let folder = tempfile::tempdir().unwrap();
    let [alive, data] = ["alive", "data"].map(|name| folder.path().join(name));
    let queue = open(&alive);
    store(&queue, 0..BEFORE);
    queue.lease(&a(), BEFORE as usize, usize::MAX).into_iter().for_each(Lease::ack);
    (0..2).for_each(|_| queue.save().unwrap());
    let states = ["state-0", "state-1"].map(|name| fs::read(alive.join("lanes/a").join(name)));
    store(&queue, BEFORE..RECORDS);
    copy(&alive, &data);
    for (nth, state) in states.into_iter().enumerate() {
        fs::write(data.join(format!("lanes/a/state-{nth}")), state.unwrap()).unwrap();
    }
    (folder, data, queue.stream())
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

fn newest_segment(data: &Path) -> PathBuf {
    let names = fs::read_dir(data.join("lanes/a")).unwrap().map(|e| e.unwrap().path());
    let segments =
        names.filter(|path| path.file_name().unwrap().as_encoded_bytes().starts_with(b"seg-"));
    segments.max().unwrap().join("db")
}

/// The last pack's place in the file.
fn last_pack(bytes: &[u8]) -> usize {
    let magic = crate::queue::pack::MAGIC;
    bytes.windows(magic.len()).rposition(|window| window == magic).unwrap()
}

/// The next record's number, and whether it is of this stream.
fn next_number(data: &Path, stream: StreamId) -> (bool, u64) {
    let queue = open(data);
    let id = SEED.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
    let receipt = queue.submit(&a(), record(&id, "x")).wait().unwrap();
    queue.close();
    (receipt.stream == stream, receipt.seq)
}

#[test]
fn a_kill_alone_leaves_no_doubt() {
    let (_folder, data, stream) = killed();
    assert_eq!(next_number(&data, stream), (true, u64::from(RECORDS) + 1));
}

#[test]
fn a_damaged_end_of_the_newest_segment_begins_another_stream_once() {
    let spoil: [fn(&mut Vec<u8>, usize); 4] = [
        |bytes, at| bytes[at + 60] ^= 1,
        |bytes, at| bytes.truncate(at + 100),
        |bytes, at| bytes[at + 24..at + 80].fill(0),
        |bytes, _| bytes.fill(0),
    ];
    for (nth, spoil) in spoil.into_iter().enumerate() {
        let (_folder, data, stream) = killed();
        let path = newest_segment(&data);
        let mut bytes = fs::read(&path).unwrap();
        let at = last_pack(&bytes);
        spoil(&mut bytes, at);
        fs::write(path, bytes).unwrap();
        // Starts without a record are no reason for yet another one.
        let streams = [0; 2].map(|_| {
            let queue = open(&data);
            queue.close();
            queue.stream()
        });
        assert_ne!(streams[0], stream, "{nth}");
        assert_eq!(streams[0], streams[1], "{nth}");
        assert_eq!(next_number(&data, streams[0]), (true, 1), "{nth}");
        assert_eq!(next_number(&data, streams[0]), (true, 2), "{nth}");
    }
}

#[test]
fn a_damaged_end_that_a_table_of_ids_knows_is_lost_and_leaves_no_doubt() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    store(&queue, 0..BEFORE);
    queue.save().unwrap();
    let states =
        ["state-0", "state-1"].map(|name| fs::read(folder.path().join("lanes/a").join(name)));
    store(&queue, BEFORE..RECORDS);
    queue.close();
    let stream = queue.stream();
    drop(queue);
    for (nth, state) in states.into_iter().enumerate() {
        fs::write(folder.path().join(format!("lanes/a/state-{nth}")), state.unwrap()).unwrap();
    }
    let path = newest_segment(folder.path());
    let mut bytes = fs::read(&path).unwrap();
    let at = last_pack(&bytes);
    bytes[at + 60] ^= 1;
    fs::write(path, bytes).unwrap();
    assert_eq!(next_number(folder.path(), stream), (true, u64::from(RECORDS) + 1));
    let queue = open(folder.path());
    let leased = queue.lease(&a(), RECORDS as usize + 1, usize::MAX).len() as u64;
    let accounts = queue.accounts(&a()).unwrap();
    assert_eq!((accounts.accepted, accounts.waiting), (u64::from(RECORDS) + 1, leased));
    assert_eq!(accounts.waiting + accounts.damaged, accounts.accepted);
    assert!(accounts.damaged > 0);
}

#[test]
fn a_large_record_that_a_kill_cut_short_leaves_no_doubt_and_without_its_beginning_it_does() {
    for (from_the_end, small, same) in
        [(0, true, true), (1, true, false), (0, false, true), (1, false, false)]
    {
        let folder = tempfile::tempdir().unwrap();
        let [alive, data] = ["alive", "data"].map(|name| folder.path().join(name));
        let queue = open(&alive);
        queue.save().unwrap();
        let states = ["state-0", "state-1"].map(|name| fs::read(alive.join("lanes/a").join(name)));
        if small {
            queue.submit(&a(), record("small", "x")).wait().unwrap();
        }
        queue.submit(&a(), record("large", &"x".repeat(100_000))).wait().unwrap();
        copy(&alive, &data);
        for (nth, state) in states.into_iter().enumerate() {
            fs::write(data.join(format!("lanes/a/state-{nth}")), state.unwrap()).unwrap();
        }
        let path = newest_segment(&data);
        let mut bytes = fs::read(&path).unwrap();
        let mut at = last_pack(&bytes);
        for _ in 0..from_the_end {
            at = last_pack(&bytes[..at]);
        }
        let length = u32::from_le_bytes(bytes[at + 36..at + 40].try_into().unwrap()) as usize;
        bytes[at..at + 56 + length].fill(0);
        fs::write(path, bytes).unwrap();
        let first = if same && small { 2 } else { 1 };
        assert_eq!(next_number(&data, queue.stream()), (same, first));
    }
}

#[test]
fn what_is_damaged_further_up_leaves_no_doubt() {
    let (_folder, data, stream) = killed();
    let path = newest_segment(&data);
    let mut bytes = fs::read(&path).unwrap();
    let last = last_pack(&bytes);
    let earlier = last_pack(&bytes[..last]);
    bytes[earlier + 60] ^= 1;
    fs::write(path, bytes).unwrap();
    assert_eq!(next_number(&data, stream), (true, u64::from(RECORDS) + 1));
}

#[test]
fn a_drained_lane_without_states_begins_another_stream() {
    let gone: fn(PathBuf) = |slot| fs::remove_file(slot).unwrap();
    let garbage: fn(PathBuf) = |slot| fs::write(slot, [7; 4096]).unwrap();
    let zero: fn(PathBuf) = |slot| fs::write(slot, [0; 4096]).unwrap();
    for lose in [gone, garbage, zero] {
        let folder = tempfile::tempdir().unwrap();
        let queue = open(folder.path());
        store(&queue, 0..RECORDS);
        queue.lease(&a(), RECORDS as usize, usize::MAX).into_iter().for_each(Lease::ack);
        queue.close();
        let stream = queue.stream();
        drop(queue);
        for slot in ["state-0", "state-1"] {
            lose(folder.path().join("lanes/a").join(slot));
        }
        assert_eq!(next_number(folder.path(), stream), (false, 1));
    }
}

#[test]
fn a_new_lane_whose_first_state_is_torn_goes_on_in_its_stream() {
    let folder = tempfile::tempdir().unwrap();
    let stream = open(folder.path()).stream();
    let slot = folder.path().join("lanes/a/state-1");
    fs::write(slot, [7; 4096]).unwrap();
    fs::write(folder.path().join("lanes/a/state-0"), [0; 4096]).unwrap();
    assert_eq!(next_number(folder.path(), stream), (true, 1));
}
