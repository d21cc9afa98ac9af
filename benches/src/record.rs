//! The records that are measured: texts of one length, each different from the others.

use bytes::Bytes;
use spillway_protocol::local::Request;
use spillway_protocol::local::frame::{self, Append, ToAgent, VERSION};
use spillway_protocol::record::Draft;

use crate::Error;

/// Texts of `bytes` bytes that do not compress to nothing. Printable, so that they travel over
/// HTTP as they are.
#[derive(Debug, Clone)]
pub struct Bodies {
    text: Bytes,
    bytes: usize,
    next: usize,
    /// From one to the next.
    step: usize,
}

/// Bodies before they come again.
const BODIES: usize = 4096;

impl Bodies {
    /// Bodies of `bytes` bytes.
    pub fn new(bytes: usize) -> Self {
        // A simple generator: the same bodies in every run.
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut letter = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b'0' + (state % 64) as u8
        };
        let text: Vec<u8> = (0..bytes + BODIES).map(|_| letter()).map(plain).collect();
        Self { text: text.into(), bytes, next: 0, step: 1 }
    }

    /// Bodies as devices send them: JSON with the same names and other values each time.
    pub fn telemetry(bytes: usize) -> Self {
        Self::apart(bytes, |random, nth| {
            let mut draw = |most: u64| random() % most;
            let (device, patient) = (draw(40), draw(100_000));
            let values = [60 + draw(60), 90 + draw(10), 100 + draw(60), 60 + draw(40), draw(100)];
            let [rate, oxygen, upper, lower, battery] = values;
            let (temperature, flow) = (3600 + draw(200), draw(100_000));
            format!(
                "{{\"device\":\"pump-{device:03}\",\"patient\":\"p-{patient:06}\",\
                 \"ts\":{},\"hr\":{rate},\"spo2\":{oxygen},\"sys\":{upper},\"dia\":{lower},\
                 \"temp\":{}.{:02},\"flow\":{flow},\"battery\":{battery},\"state\":\"running\",\
                 \"alarm\":null,\"firmware\":\"2.4.1\",\"site\":\"ward-3\",\"note\":\"\"}}",
                1_700_000_000_000_u64 + 937 * nth as u64,
                temperature / 100,
                temperature % 100,
            )
        })
    }

    /// Bodies of letters that know nothing of each other: six bits each are all that can be saved.
    pub fn noise(bytes: usize) -> Self {
        Self::apart(bytes, |random, _| {
            (0..bytes).map(|_| char::from(plain(b'0' + (random() % 64) as u8))).collect()
        })
    }

    /// Bodies that lie one behind the other, cut or filled up to their length.
    fn apart(bytes: usize, body: impl Fn(&mut dyn FnMut() -> u64, usize) -> String) -> Self {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> 11
        };
        let mut text = Vec::with_capacity(bytes * BODIES);
        for nth in 0..BODIES {
            let from = text.len();
            text.extend(body(&mut random, nth).into_bytes());
            text.resize(from + bytes, b' ');
        }
        Self { text: text.into(), bytes, next: 0, step: bytes }
    }

    /// The next one, without copying it.
    pub fn next_body(&mut self) -> Bytes {
        self.next = (self.next + 1) % BODIES;
        let from = self.next * self.step;
        self.text.slice(from..from + self.bytes)
    }

    /// The next one, as an app hands it over.
    pub fn next_draft(&mut self) -> Draft {
        Draft { body: self.next_body(), ..Draft::default() }
    }
}

/// Neither markup nor what JSON escapes.
fn plain(letter: u8) -> u8 {
    match letter {
        b'<' | b'>' | b'&' | b'"' | b'\\' => b'_',
        other => other,
    }
}

/// Bytes that a record takes on the socket, and about what it takes on disk.
///
/// # Errors
/// If it does not fit a frame.
pub fn encoded_bytes(mut draft: Draft) -> Result<usize, Error> {
    draft.id = Some(uuid::Uuid::nil().to_string());
    let request = Request { draft, ..Request::default() };
    let mut out = Vec::new();
    frame::put(VERSION, &ToAgent::Append(Append::new(1, request)), &mut out)?;
    Ok(out.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_their_length_and_differ() {
        let mut bodies = Bodies::new(256);
        let (one, other) = (bodies.next_body(), bodies.next_body());
        assert_eq!((one.len(), other.len()), (256, 256));
        assert_ne!(one, other);
        assert!(one.iter().all(|letter| (b' '..0x7f).contains(letter)));
        for mut bodies in [Bodies::telemetry(256), Bodies::noise(256)] {
            let all: std::collections::HashSet<_> =
                (0..BODIES).map(|_| bodies.next_body()).collect();
            assert_eq!((all.len(), all.iter().all(|body| body.len() == 256)), (BODIES, true));
        }
        assert!(encoded_bytes(bodies.next_draft()).unwrap() > 256);
    }
}
