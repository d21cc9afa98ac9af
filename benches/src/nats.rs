//! NATS JetStream with a file that is synced at each message (`sync_interval: always`), spoken to
//! in its text protocol: publishing with a reply subject, pipelined, or in atomic batches.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use spillway_tests::port;

use crate::Error;
use crate::figure::Run;
use crate::load::Until;
use crate::peer::installed;
use crate::pump::{self, Answer, Dialect, Window};
use crate::record::Bodies;
use crate::redis::line;

const START_MAX: Duration = Duration::from_secs(20);
/// Where answers go: behind it the connection's number and the slot's.
const INBOX: &str = "_I.";

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Nats {
    child: Child,
    port: u16,
}

impl Nats {
    /// Starts it with its files in `folder`, and makes a stream of the subject `s`.
    ///
    /// # Errors
    /// If it is not installed, does not start or refuses the stream.
    pub fn start(folder: &Path) -> Result<Self, Error> {
        let (config, port) = (folder.join("nats.conf"), port::free());
        std::fs::write(
            &config,
            format!(
                "listen: \"127.0.0.1:{port}\"\n\
                 jetstream {{ store_dir: {:?}, sync_interval: always }}\n",
                folder.join("nats")
            ),
        )?;
        let child = Command::new(installed("nats")?.join("nats-server"))
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let nats = Self { child, port };
        nats.make_stream()?;
        Ok(nats)
    }

    fn make_stream(&self) -> Result<(), Error> {
        let config = json!({
            "name": "S", "subjects": ["s"], "storage": "file", "retention": "limits",
            "allow_atomic": true,
        });
        let (subject, text) = ("$JS.API.STREAM.CREATE.S", config.to_string());
        let request = format!("PUB {subject} {INBOX}0.0 {}\r\n{text}\r\n", text.len()).into_bytes();
        let asking = Publish { requests: vec![request] };
        let once = Window { slots: 1, records: 1 };
        pump::load(vec![(self.connect(0)?, asking)], once, Until::Records(0))?;
        Ok(())
    }

    /// Publishes from two connections with `outstanding` each, one by one or so many in a batch.
    ///
    /// # Errors
    /// The first record that was not stored.
    pub fn load(
        &self,
        bodies: &Bodies,
        outstanding: usize,
        batches: bool,
        until: Until,
    ) -> Result<Run, Error> {
        let mut bodies = bodies.clone();
        let (slots, records) = if batches { (1, outstanding) } else { (outstanding, 1) };
        let mut connect = |nth: usize| {
            let requests = (0..slots).map(|slot| match batches {
                true => batch(&mut bodies, nth, records),
                false => single(&mut bodies, nth, slot),
            });
            Ok((self.connect(nth)?, Publish { requests: requests.collect() }))
        };
        let connections = (0..2).map(&mut connect).collect::<Result<Vec<_>, Error>>()?;
        pump::load(connections, Window { slots, records: records as u64 }, until)
    }

    /// A connection on which the answers are listened to.
    fn connect(&self, nth: usize) -> Result<TcpStream, Error> {
        let begun = Instant::now();
        let mut stream = loop {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(stream) => break stream,
                Err(error) if begun.elapsed() > START_MAX => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        stream.set_nodelay(true)?;
        let hello = r#"CONNECT {"verbose":false,"pedantic":false,"headers":true}"#;
        write!(stream, "{hello}\r\nSUB {INBOX}{nth}.* 1\r\nPING\r\n")?;
        let (mut come, mut part) = (Vec::new(), [0; 4096]);
        while !come.ends_with(b"PONG\r\n") {
            let read = stream.read(&mut part)?;
            come.extend_from_slice(&part[..read]);
            if read == 0 || come.windows(4).any(|word| word == b"-ERR") {
                return Err(String::from_utf8_lossy(&come).into_owned().into());
            }
        }
        Ok(stream)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to kill and nobody to wait for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn single(bodies: &mut Bodies, connection: usize, slot: usize) -> Vec<u8> {
    let body = bodies.next_body();
    let mut bytes = format!("PUB s {INBOX}{connection}.{slot} {}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// A batch that is stored as a whole, and answered once. A connection has one under way, so the
/// batch is called after it.
fn batch(bodies: &mut Bodies, connection: usize, records: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for nth in 1..=records {
        let body = bodies.next_body();
        let mut head =
            format!("NATS/1.0\r\nNats-Batch-Id: b{connection}\r\nNats-Batch-Sequence: {nth}\r\n");
        let reply = if nth == records { format!("{INBOX}{connection}.0 ") } else { String::new() };
        head += if nth == records { "Nats-Batch-Commit: 1\r\n\r\n" } else { "\r\n" };
        let (head_bytes, all_bytes) = (head.len(), head.len() + body.len());
        bytes.extend(format!("HPUB s {reply}{head_bytes} {all_bytes}\r\n{head}").into_bytes());
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

struct Publish {
    requests: Vec<Vec<u8>>,
}

impl Dialect for Publish {
    fn request(&mut self, slot: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.requests[slot]);
    }

    fn answer(&mut self, bytes: &[u8]) -> Result<Option<Answer>, Error> {
        let Some(line) = line(bytes) else { return Ok(None) };
        let text = std::str::from_utf8(line)?;
        let mut words = text.split_whitespace();
        match words.next() {
            Some("MSG") => {}
            // The server's own: it may ask whether anybody is there, and say what it is.
            Some("PING" | "PONG" | "INFO") => {
                return Ok(Some(Answer { bytes: line.len(), slot: None }));
            }
            _ => return Err(text.to_owned().into()),
        }
        let slot = words.next().and_then(|subject| subject.strip_prefix(INBOX)?.split_once('.'));
        let length: usize = words.next_back().ok_or("a message without a length")?.parse()?;
        let all = line.len() + length + 2;
        let Some(said) = bytes.get(line.len()..all) else { return Ok(None) };
        if said.windows(7).any(|word| word == b"\"error\"") {
            return Err(String::from_utf8_lossy(said).into_owned().into());
        }
        Ok(Some(Answer { bytes: all, slot: slot.and_then(|(_, slot)| slot.parse().ok()) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_its_slot_and_an_error_ends_the_load() {
        let mut publish = Publish { requests: Vec::new() };
        let mut answer = |bytes: &[u8]| publish.answer(bytes);
        assert_eq!(answer(b"MSG _I.1.7 1 2\r\n{").unwrap(), None);
        let whole = answer(b"MSG _I.1.7 1 2\r\n{}\r\nMSG").unwrap();
        assert_eq!(whole, Some(Answer { bytes: 20, slot: Some(7) }));
        assert_eq!(answer(b"PING\r\n").unwrap(), Some(Answer { bytes: 6, slot: None }));
        assert!(answer(b"MSG _I.0.0 1 12\r\n{\"error\":{}}\r\n").is_err());
        assert!(answer(b"-ERR 'x'\r\n").is_err());
    }
}
