//! What a start costs with a long backlog. Run by hand, in release:
//! `SPILLWAY_FILL=/dev/shm/fill cargo test --release -p spillway --lib start_with_a_backlog -- --ignored --nocapture`

use std::path::PathBuf;
use std::time::Instant;

use uuid::Uuid;

use super::*;
use crate::queue::chain::Chain;
use crate::queue::ids::Ids;
use crate::queue::{identity, recover};

/// Of bodies: with all around them 2 GiB.
const RECORDS: u64 = 6_900_000;

fn options_in(folder: &Path) -> Options {
    Options { segment_bytes: 8 << 20, ..options(folder, Ordering::None) }
}

fn fill(folder: &Path) {
    let queue = Queue::open(options_in(folder), Arc::new(SystemClock)).unwrap().0;
    let body = "x".repeat(256);
    let mut tickets = std::collections::VecDeque::new();
    for _ in 0..RECORDS {
        let id = Uuid::now_v7().to_string();
        tickets.push_back(queue.submit(&a(), super::record(&id, &body)));
        if tickets.len() > 4096 {
            tickets.pop_front().unwrap().wait().unwrap();
        }
    }
    tickets.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
    // As after SIGKILL: nothing is closed or saved.
    std::mem::forget(queue);
}

fn show<T>(what: &str, begun: Instant, value: T) -> T {
    println!("{what}: {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    value
}

#[test]
#[ignore = "fills 2 GiB"]
fn start_with_a_backlog() {
    let folder = PathBuf::from(std::env::var("SPILLWAY_FILL").unwrap());
    if !folder.join("lanes").exists() {
        std::fs::create_dir_all(&folder).unwrap();
        return fill(&folder);
    }
    let lock = identity::lock(&folder).unwrap();
    let begun = Instant::now();
    let stores =
        show("stores", begun, recover::stores(&options_in(&folder), &lock.anchor).unwrap());
    let begun = Instant::now();
    let ids = show("ids", begun, Ids::recover(stores.lanes.clone(), Keys::default()).unwrap());
    while ids.read_one().unwrap().is_some() {}
    drop(show("ids, all of their tables", begun, ids));
    let begun = Instant::now();
    drop(show(
        "chain",
        begun,
        Chain::recover(stores.lanes[0].clone(), Keys::default(), None).unwrap(),
    ));
    drop(lock);
    let begun = Instant::now();
    let queue = Queue::open(options_in(&folder), Arc::new(SystemClock)).unwrap().0;
    show("open", begun, ());
    let id = Uuid::now_v7().to_string();
    queue.submit(&a(), super::record(&id, "first")).wait().unwrap();
    show("accepted", begun, ());
    assert_eq!(queue.lease(&a(), 1, usize::MAX).len(), 1);
    show("leased", begun, ());
    let begun = Instant::now();
    queue.submit(&a(), super::record("a-name", "first")).wait().unwrap();
    show("accepted, an id without a time", begun, ());
    std::mem::forget(queue);
}
