//! What fuzzing has found worth keeping (`fuzz/corpus`), and two seconds of mutations of it, thrown
//! at every reader of foreign bytes.

use std::path::Path;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;
use spillway_tests::random;

const MUTATING: Duration = Duration::from_secs(2);

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 5, "{target} has a corpus");
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Flips bits, cuts, doubles a part, or brings in a part of another one.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], rng: &mut StdRng) {
    if bytes.is_empty() {
        return bytes.extend(other);
    }
    let at = rng.random_range(0..bytes.len());
    match rng.random_range(0..5) {
        0 => bytes[at] ^= 1 << rng.random_range(0..8),
        1 => bytes[at] = rng.random(),
        2 => bytes.truncate(at),
        3 => bytes.extend_from_within(at..),
        _ => {
            let from = rng.random_range(0..=other.len());
            bytes.splice(at..at, other[from..].iter().copied());
        }
    }
    bytes.truncate(70_000);
}

fn play(target: &str, read: fn(&[u8])) {
    let corpus = corpus(target);
    corpus.iter().for_each(|bytes| read(bytes));
    let mut rng = random::rng(random::seed(), target.len() as u64);
    let begun = Instant::now();
    let mut tries = 0;
    while begun.elapsed() < MUTATING {
        let mut bytes = corpus[rng.random_range(0..corpus.len())].clone();
        for _ in 0..rng.random_range(1..5) {
            let other = &corpus[rng.random_range(0..corpus.len())];
            mutate(&mut bytes, other, &mut rng);
        }
        read(&bytes);
        tries += 1;
    }
    println!("{target}: {} kept, {tries} mutated", corpus.len());
}

#[test]
fn readers_of_the_apps_bytes_stand() {
    play("frames", spillway_protocol::fuzzing::frames);
    play("json", spillway_protocol::fuzzing::json);
}

#[test]
fn readers_of_the_brokers_bytes_stand() {
    play("xml", spillway_protocol::fuzzing::xml);
    play("answers", spillway::upstream::grpc::fuzzing::answers);
}

#[test]
fn readers_of_messages_stand() {
    play("bundle", spillway_protocol::fuzzing::bundle);
}

#[test]
fn readers_of_the_disk_stand() {
    play("segment", spillway::queue::fuzzing::segment);
    play("files", spillway::queue::fuzzing::files);
}
