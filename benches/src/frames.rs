//! The binary dialect as lean as it can be spoken: each slot's frame is encoded once, and only its
//! id is new each time.

use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::Path;

use bytes::BytesMut;
use spillway_protocol::local::Request;
use spillway_protocol::local::frame::{self, Append, HELLO_FORMAT, Hello, HelloReply};
use spillway_protocol::local::frame::{LENGTH_BYTES, PREAMBLE, ToAgent, ToClient, VERSION};
use uuid::Uuid;

use crate::Error;
use crate::figure::Run;
use crate::load::Until;
use crate::pump::{self, Answer, Dialect, Window};
use crate::record::Bodies;

/// Bytes of an id as text.
const ID_BYTES: usize = 36;
/// Correlations begin here: all of them are encoded alike, in so many bytes behind a mark.
const FIRST: u64 = 1 << 40;
const CORRELATION_BYTES: usize = 8;
/// An answer's content: version, variant, the correlation's mark, the correlation, and whether it
/// is a receipt.
const CORRELATION_AT: usize = LENGTH_BYTES + 3;
const RESULT_AT: usize = CORRELATION_AT + CORRELATION_BYTES;

/// See the module.
pub struct Frames {
    /// By slot: the frame, and where its id is.
    frames: Vec<(Vec<u8>, Range<usize>)>,
}

impl Frames {
    /// So many slots of records for `lane`, or for the default lane.
    ///
    /// # Errors
    /// If a record does not fit a frame.
    pub fn new(bodies: &mut Bodies, slots: usize, lane: Option<&str>) -> Result<Self, Error> {
        let frames = (0..slots).map(|slot| encoded(bodies, slot, lane));
        Ok(Self { frames: frames.collect::<Result<_, Error>>()? })
    }
}

fn encoded(
    bodies: &mut Bodies,
    slot: usize,
    lane: Option<&str>,
) -> Result<(Vec<u8>, Range<usize>), Error> {
    let mut draft = bodies.next_draft();
    let mark = Uuid::now_v7().to_string();
    draft.id = Some(mark.clone());
    let request = Request { draft, lane: lane.map(str::to_owned), ..Request::default() };
    let mut bytes = Vec::new();
    let append = Append::new(FIRST + slot as u64, request);
    frame::put(VERSION, &ToAgent::Append(append), &mut bytes)?;
    let at = bytes.windows(ID_BYTES).position(|window| window == mark.as_bytes());
    let at = at.ok_or("a frame without its id")?;
    Ok((bytes, at..at + ID_BYTES))
}

impl Dialect for Frames {
    fn request(&mut self, slot: usize, out: &mut Vec<u8>) {
        let (frame, id) = &mut self.frames[slot];
        // As the client does it: an id of the app's, so that repeats are looked for.
        Uuid::now_v7().hyphenated().encode_lower(&mut frame[id.clone()]);
        out.extend_from_slice(frame);
    }

    fn answer(&mut self, bytes: &[u8]) -> Result<Option<Answer>, Error> {
        let Some(content) = frame::length(bytes)? else { return Ok(None) };
        let bytes = match bytes.get(..LENGTH_BYTES + content) {
            Some(bytes) => bytes,
            None => return Ok(None),
        };
        let number = bytes.get(CORRELATION_AT..).and_then(<[u8]>::first_chunk);
        match (number, bytes.get(RESULT_AT)) {
            // `Answer` and `Ok` are the first of their kinds.
            (Some(number), Some(0)) if bytes[LENGTH_BYTES + 1] == 0 => {
                let slot = usize::try_from(u64::from_le_bytes(*number) - FIRST)?;
                Ok(Some(Answer { bytes: bytes.len(), slot: Some(slot) }))
            }
            _ => {
                Err(format!("{:?}", frame::read::<ToClient>(VERSION, &bytes[LENGTH_BYTES..]))
                    .into())
            }
        }
    }
}

/// Connects and says hello.
///
/// # Errors
/// If nobody listens there, or is of another version.
pub fn connect(socket: &Path) -> Result<UnixStream, Error> {
    let mut stream = UnixStream::connect(socket)?;
    let hello = Hello { min: VERSION, max: VERSION, client: "bench".to_owned() };
    let mut out = PREAMBLE.to_vec();
    frame::put(HELLO_FORMAT, &hello, &mut out)?;
    stream.write_all(&out)?;
    let (mut come, mut part) = (BytesMut::new(), [0; 512]);
    loop {
        let read = stream.read(&mut part)?;
        come.extend_from_slice(&part[..read]);
        if let Some(content) = frame::take(&mut come)? {
            return match frame::read(HELLO_FORMAT, &content)? {
                HelloReply::Welcome { .. } => Ok(stream),
                HelloReply::Refused(refusal) => Err(format!("{refusal:?}").into()),
            };
        }
        if read == 0 {
            return Err("no answer to a hello".into());
        }
    }
}

/// `outstanding` records on each of as many connections as there are lanes in `lanes`.
///
/// # Errors
/// The first record that was not stored.
pub fn load(
    socket: &Path,
    bodies: &Bodies,
    (outstanding, lanes): (usize, &[Option<&str>]),
    until: Until,
) -> Result<Run, Error> {
    let mut bodies = bodies.clone();
    let mut connection =
        |lane: &Option<&str>| Ok((connect(socket)?, Frames::new(&mut bodies, outstanding, *lane)?));
    let connections = lanes.iter().map(&mut connection).collect::<Result<Vec<_>, Error>>()?;
    pump::load(connections, Window { slots: outstanding, records: 1 }, until)
}

#[cfg(test)]
mod tests {
    use spillway_protocol::local::{Code, Level, Receipt, Refusal};
    use spillway_protocol::message::StreamId;
    use spillway_protocol::record::{LaneName, MessageKey, RecordId};

    use super::*;

    fn answer(correlation: u64, result: Result<Receipt, Refusal>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let answer = ToClient::Answer { correlation, result: result.map(Into::into) };
        frame::put(VERSION, &answer, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn each_request_is_a_record_of_its_own_and_each_answer_its_slots() {
        let mut frames = Frames::new(&mut Bodies::new(64), 3, None).unwrap();
        let mut ids = std::collections::HashSet::new();
        for slot in [2, 2, 0] {
            let mut out = Vec::new();
            frames.request(slot, &mut out);
            let ToAgent::Append(append) = frame::read(VERSION, &out[LENGTH_BYTES..]).unwrap();
            assert_eq!(append.correlation, FIRST + slot as u64);
            assert!(ids.insert(append.id));
        }
        let id = RecordId::from(Uuid::nil());
        let receipt = Receipt {
            key: MessageKey::parse(id.as_str()).unwrap(),
            id,
            lane: LaneName::parse("lane-0").unwrap(),
            stream: StreamId(1),
            seq: 1,
            level: Level::Disk,
            duplicate: false,
        };
        let stored = answer(FIRST + 2, Ok(receipt));
        assert_eq!(frames.answer(&stored[..stored.len() - 1]).unwrap(), None);
        let heard = frames.answer(&stored).unwrap();
        assert_eq!(heard, Some(Answer { bytes: stored.len(), slot: Some(2) }));
        let refused = answer(FIRST, Err(Refusal::new(Code::DiskFull, "full")));
        assert!(frames.answer(&refused).is_err());
    }
}
