//! The queue alone, within this process: what is left of the cost of intake without socket,
//! frames and sessions.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use spillway::clock::SystemClock;
use spillway::queue::{LaneOptions, Options, Ordering, Queue};
use spillway_protocol::record::{LaneName, RecordId};
use uuid::Uuid;

use crate::Error;
use crate::figure::Run;
use crate::load::{Until, split};
use crate::record::Bodies;

/// A queue of one lane, with segments as large as the agent makes them.
///
/// # Errors
/// If it cannot be opened.
pub fn open(folder: &Path) -> Result<(Queue, LaneName), Error> {
    let name = LaneName::parse("lane-0")?;
    let options = Options {
        data_dir: folder.join("queue"),
        gateway: "gw-bench".to_owned(),
        host: "host".to_owned(),
        lanes: vec![LaneOptions { name: name.clone(), ordering: Ordering::None, ttl: None }],
        segment_bytes: 8 << 20,
        limits: Default::default(),
        dead_keep_bytes: 64 << 20,
        waiting_bytes_max: 64 << 20,
        tell: false,
        keep: None,
        packing: Default::default(),
        seed: 1,
    };
    let (queue, _) = Queue::open(options, Arc::new(SystemClock))?;
    Ok((queue, name))
}

/// Submits with `outstanding` records outstanding, from two tasks.
///
/// # Errors
/// The first record that was not stored.
pub async fn load(
    queue: &(Queue, LaneName),
    bodies: &Bodies,
    outstanding: usize,
    until: Until,
) -> Result<Run, Error> {
    let mut pumps = Vec::new();
    for part in split(outstanding) {
        let (queue, lane) = queue.clone();
        pumps.push(tokio::spawn(pump(queue, lane, bodies.clone(), part, until)));
    }
    let mut all = Run::default();
    for pump in pumps {
        all = all.join(pump.await??);
    }
    Ok(all)
}

async fn pump(
    queue: Queue,
    lane: LaneName,
    mut bodies: Bodies,
    outstanding: usize,
    until: Until,
) -> Result<Run, Error> {
    let mut run = Run::default();
    let mut waiting = VecDeque::new();
    let begun = Instant::now();
    loop {
        if waiting.len() < outstanding && !until.is_over(begun, run.records) {
            let mut draft = bodies.next_draft();
            // As the client does it: an id of the app's, so that repeats are looked for.
            draft.id = Some(Uuid::now_v7().to_string());
            let record = draft.parse(|| RecordId::from(Uuid::now_v7()))?;
            waiting.push_back((Instant::now(), queue.submit(&lane, record)));
            continue;
        }
        let Some((at, ticket)) = waiting.pop_front() else {
            run.took = begun.elapsed();
            return Ok(run);
        };
        ticket.await?;
        run.waits.push(at.elapsed());
        run.records += 1;
    }
}
