//! Load on the agent's socket: a number of records outstanding, always.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::json;
use spillway_protocol::local::client::{Client, Options};

use crate::Error;
use crate::figure::Run;
use crate::http::Connection;
use crate::record::Bodies;

/// How long a load goes on.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// So long.
    Time(Duration),
    /// So many records in all.
    Records(u64),
}

impl Until {
    /// The part of one of `parts` connections.
    pub(crate) fn part(self, parts: u64) -> Self {
        match self {
            Self::Records(records) => Self::Records(records.div_ceil(parts)),
            time @ Self::Time(_) => time,
        }
    }

    /// Whether `records` are enough, or the time is over.
    pub fn is_over(self, begun: Instant, records: u64) -> bool {
        match self {
            Self::Time(time) => begun.elapsed() >= time,
            Self::Records(enough) => records >= enough,
        }
    }
}

/// Splits what is outstanding over two connections; one record needs only one.
pub fn split(outstanding: usize) -> Vec<usize> {
    let half = outstanding / 2;
    [outstanding - half, half].into_iter().filter(|&part| part > 0).collect()
}

/// The client of the binary dialect: `outstanding` records over two connections.
///
/// # Errors
/// The first record that was not stored.
pub async fn binary(
    socket: &Path,
    bodies: &Bodies,
    outstanding: usize,
    until: Until,
) -> Result<Run, Error> {
    let parts = split(outstanding);
    let until = until.part(parts.len() as u64);
    let mut pumps = Vec::new();
    for part in parts {
        let window = u32::try_from(part)?;
        let options = Options { window, ..Options::default() };
        let client = Client::connect_with(socket, options).await?;
        pumps.push(tokio::spawn(pump(client, bodies.clone(), part, until)));
    }
    join(pumps).await
}

async fn pump(
    client: Client,
    mut bodies: Bodies,
    outstanding: usize,
    until: Until,
) -> Result<Run, Error> {
    let mut run = Run::default();
    let mut waiting = VecDeque::new();
    let begun = Instant::now();
    loop {
        let submitted = run.records + waiting.len() as u64;
        if waiting.len() < outstanding && !until.is_over(begun, submitted) {
            let at = Instant::now();
            waiting.push_back((at, client.submit(bodies.next_draft(), None).await?));
            continue;
        }
        let Some((at, pending)) = waiting.pop_front() else {
            run.took = begun.elapsed();
            return Ok(run);
        };
        pending.await?;
        run.waits.push(at.elapsed());
        run.records += 1;
    }
}

/// NDJSON over HTTP: requests of as many lines as are to be outstanding, over two connections.
///
/// # Errors
/// The first record that was not stored.
pub async fn ndjson(
    socket: &Path,
    bodies: &Bodies,
    outstanding: usize,
    until: Until,
) -> Result<Run, Error> {
    let parts = split(outstanding);
    let until = until.part(parts.len() as u64);
    let mut pumps = Vec::new();
    for part in parts {
        let connection = Connection::open(socket).await?;
        pumps.push(tokio::spawn(post(connection, bodies.clone(), part, until)));
    }
    join(pumps).await
}

async fn post(
    mut connection: Connection,
    mut bodies: Bodies,
    lines: usize,
    until: Until,
) -> Result<Run, Error> {
    let mut run = Run::default();
    let begun = Instant::now();
    while !until.is_over(begun, run.records) {
        let request = text(&mut bodies, lines);
        let at = Instant::now();
        let answer = connection.post_lines(request).await?;
        run.waits.push(at.elapsed());
        let stored = answer.split(|&b| b == b'\n').filter(|line| line.starts_with(b"{\"id\""));
        if stored.count() != lines {
            return Err(String::from_utf8_lossy(&answer).into_owned().into());
        }
        run.records += lines as u64;
    }
    run.took = begun.elapsed();
    Ok(run)
}

fn text(bodies: &mut Bodies, lines: usize) -> Bytes {
    let mut text = BytesMut::new();
    for _ in 0..lines {
        let body = bodies.next_body();
        text.put_slice(json!({"body": String::from_utf8_lossy(&body)}).to_string().as_bytes());
        text.put_u8(b'\n');
    }
    text.freeze()
}

async fn join(pumps: Vec<tokio::task::JoinHandle<Result<Run, Error>>>) -> Result<Run, Error> {
    let mut all = Run::default();
    for pump in pumps {
        all = all.join(pump.await??);
    }
    Ok(all)
}
