//! A lean load: requests encoded beforehand, as many outstanding as were asked for, always, and
//! nothing else to do. One blocking thread a connection, for whatever can be spoken over a stream.

use std::io::{Read, Write};
use std::thread;
use std::time::Instant;

use crate::Error;
use crate::figure::Run;
use crate::load::Until;

/// Read at once.
const READ_BYTES: usize = 256 * 1024;

/// How a server is spoken to. Requests are outstanding in slots, each of which is used again once
/// it was answered.
pub trait Dialect: Send {
    /// Puts the request of a slot behind `out`.
    fn request(&mut self, slot: usize, out: &mut Vec<u8>);

    /// The first message in `bytes`, once it is whole.
    ///
    /// # Errors
    /// If it says that something was not stored.
    fn answer(&mut self, bytes: &[u8]) -> Result<Option<Answer>, Error>;
}

/// A message of the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// How long it is.
    pub bytes: usize,
    /// What it answers; none where it is of something else.
    pub slot: Option<usize>,
}

/// What is outstanding on one connection.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Requests.
    pub slots: usize,
    /// Records in each.
    pub records: u64,
}

/// Runs the load on each connection, side by side.
///
/// # Errors
/// The first request that was not granted.
pub fn load<S, D>(connections: Vec<(S, D)>, window: Window, until: Until) -> Result<Run, Error>
where
    S: Read + Write + Send,
    D: Dialect,
{
    let until = until.part(connections.len() as u64);
    let pump = |(stream, dialect)| Pump { stream, dialect, window, until }.run();
    let runs: Vec<Result<Run, Error>> = thread::scope(|scope| {
        let started = connections.into_iter().map(|one| scope.spawn(move || pump(one)));
        let started: Vec<_> = started.collect();
        let ended = started.into_iter().map(|run| run.join());
        ended
            .map(|run| run.unwrap_or_else(|_| Err("a connection's thread failed".into())))
            .collect()
    });
    runs.into_iter().try_fold(Run::default(), |all, run| Ok(all.join(run?)))
}

struct Pump<S, D> {
    stream: S,
    dialect: D,
    window: Window,
    until: Until,
}

impl<S: Read + Write, D: Dialect> Pump<S, D> {
    fn run(mut self) -> Result<Run, Error> {
        let mut run = Run::default();
        let begun = Instant::now();
        let mut sent = vec![begun; self.window.slots];
        let mut open = self.window.slots;
        let (mut out, mut come) = (Vec::new(), Vec::new());
        (0..open).for_each(|slot| self.dialect.request(slot, &mut out));
        self.stream.write_all(&out)?;
        while open > 0 {
            read_more(&mut self.stream, &mut come)?;
            let now = Instant::now();
            let over = self.until.is_over(begun, run.records);
            let mut used = 0;
            out.clear();
            while let Some(answer) = self.dialect.answer(&come[used..])? {
                used += answer.bytes;
                let Some(slot) = answer.slot else { continue };
                run.records += self.window.records;
                run.waits.push(now - sent[slot]);
                sent[slot] = now;
                match over {
                    true => open -= 1,
                    false => self.dialect.request(slot, &mut out),
                }
            }
            come.drain(..used);
            self.stream.write_all(&out)?;
        }
        run.took = begun.elapsed();
        Ok(run)
    }
}

/// Reads what has come, or waits for it.
fn read_more(stream: &mut impl Read, come: &mut Vec<u8>) -> Result<(), Error> {
    let from = come.len();
    come.resize(from + READ_BYTES, 0);
    let read = stream.read(&mut come[from..])?;
    come.truncate(from + read);
    match read {
        0 => Err("the server closed the connection".into()),
        _ => Ok(()),
    }
}
