//! Redis Streams with a log that is synced before each answer (`appendfsync always`): XADD,
//! pipelined, over a Unix socket. Each turn of its loop takes what all connections brought, and
//! syncs once for it.

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use spillway_tests::redis::Redis;
use uuid::Uuid;

use crate::Error;
use crate::figure::Run;
use crate::load::Until;
use crate::pump::{self, Answer, Dialect, Window};
use crate::record::Bodies;

const ID_BYTES: usize = 36;

/// A running server.
#[derive(Debug)]
pub struct Streams {
    _server: Redis,
    socket: PathBuf,
}

impl Streams {
    /// Starts it with its files in `folder`.
    pub fn start(folder: &Path) -> Self {
        let socket = folder.join("redis.sock");
        let at = socket.display().to_string();
        // Nothing rewrites the log while it is measured.
        let settings = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""];
        let more = ["--auto-aof-rewrite-percentage", "0", "--unixsocket", &at];
        let server = Redis::start_with(folder, &[&settings[..], &more[..]].concat());
        Self { _server: server, socket }
    }

    /// Adds to one stream from two connections with `outstanding` each.
    ///
    /// # Errors
    /// The first record that was not added.
    pub fn load(&self, bodies: &Bodies, outstanding: usize, until: Until) -> Result<Run, Error> {
        let mut bodies = bodies.clone();
        let mut connect = |_| Ok((self.connect()?, Resp::new(&mut bodies, outstanding)));
        let connections = (0..2).map(&mut connect).collect::<Result<Vec<_>, Error>>()?;
        pump::load(connections, Window { slots: outstanding, records: 1 }, until)
    }

    fn connect(&self) -> Result<UnixStream, Error> {
        Ok(UnixStream::connect(&self.socket)?)
    }
}

/// Redis' protocol. Answers come in the order of the commands.
#[derive(Debug)]
struct Resp {
    /// By slot, and where its id is.
    commands: Vec<(Vec<u8>, usize)>,
    /// Slots in the order in which they were used.
    used: VecDeque<usize>,
}

impl Resp {
    fn new(bodies: &mut Bodies, slots: usize) -> Self {
        let mark = [b'-'; ID_BYTES];
        let commands = (0..slots).map(|_| {
            let body = bodies.next_body();
            let bytes = command(&[b"XADD", b"s", b"*", b"id", &mark, b"body", &body]);
            let at = bytes.windows(ID_BYTES).position(|window| window == mark).unwrap_or(0);
            (bytes, at)
        });
        Self { commands: commands.collect(), used: VecDeque::new() }
    }
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).into_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

impl Dialect for Resp {
    fn request(&mut self, slot: usize, out: &mut Vec<u8>) {
        let (command, at) = &mut self.commands[slot];
        Uuid::now_v7().hyphenated().encode_lower(&mut command[*at..*at + ID_BYTES]);
        out.extend_from_slice(command);
        self.used.push_back(slot);
    }

    fn answer(&mut self, bytes: &[u8]) -> Result<Option<Answer>, Error> {
        let Some(line) = line(bytes) else { return Ok(None) };
        let all = match line.first() {
            // An entry's id: its length, and the id itself.
            Some(b'$') => match self::line(&bytes[line.len()..]) {
                Some(id) => line.len() + id.len(),
                None => return Ok(None),
            },
            _ => return Err(String::from_utf8_lossy(line).into_owned().into()),
        };
        Ok(Some(Answer { bytes: all, slot: self.used.pop_front() }))
    }
}

/// The first line, with its end.
pub(crate) fn line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    bytes.get(..end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_commands_and_errors_end_the_load() {
        let mut resp = Resp::new(&mut Bodies::new(9), 2);
        let mut out = Vec::new();
        [1, 0].iter().for_each(|&slot| resp.request(slot, &mut out));
        assert!(out.starts_with(b"*7\r\n$4\r\nXADD\r\n"));
        let answers = b"$3\r\n1-0\r\n$3\r\n1-1\r\n";
        assert_eq!(resp.answer(&answers[..8]).unwrap(), None);
        assert_eq!(resp.answer(answers).unwrap(), Some(Answer { bytes: 9, slot: Some(1) }));
        assert_eq!(resp.answer(&answers[9..]).unwrap(), Some(Answer { bytes: 9, slot: Some(0) }));
        assert!(resp.answer(b"-ERR full\r\n").is_err());
    }
}
