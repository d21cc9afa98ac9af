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
        Self { text: text.into(), bytes, next: 0 }
    }

    /// The next one, without copying it.
    pub fn next_body(&mut self) -> Bytes {
        self.next = (self.next + 1) % BODIES;
        self.text.slice(self.next..self.next + self.bytes)
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
        assert!(encoded_bytes(bodies.next_draft()).unwrap() > 256);
    }
}
