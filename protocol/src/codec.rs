//! The one place that knows bincode: a version byte, then bincode 2 in its standard configuration.
//!
//! bincode's wire order is declaration order, so a type that is encoded here may only grow by a
//! new version byte; golden bytes in the tests of each user hold this.

use serde::{Serialize, de::DeserializeOwned};

/// Largest value that [`decode`] will build, in bytes: a body of 4 MiB and what surrounds it.
pub const DECODE_LIMIT: usize = 6 * 1024 * 1024;

/// Why bytes could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The first byte names a version this build does not know.
    #[error("format version {found} is not known here (this build reads {known})")]
    Version {
        /// The version byte found.
        found: u8,
        /// The version this build reads.
        known: u8,
    },
    /// There is no byte at all.
    #[error("empty")]
    Empty,
    /// The bytes behind the version are not what the version says.
    #[error("malformed: {0}")]
    Malformed(String),
}

/// Appends `version` and the encoded `value` to `out`.
///
/// Encoding into memory of types without maps of unknown length cannot fail; should it ever do
/// so, nothing is appended and the error is returned.
pub fn encode_into<T: Serialize>(
    version: u8,
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), bincode::error::EncodeError> {
    let start = out.len();
    out.push(version);
    bincode::serde::encode_into_std_write(value, out, config())
        .map(|_| ())
        .inspect_err(|_| out.truncate(start))
}

/// Decodes one value of `version` and says how many bytes it took, the version byte included.
pub fn decode<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<(T, usize), DecodeError> {
    match bytes.split_first() {
        None => Err(DecodeError::Empty),
        Some((&found, _)) if found != version => {
            Err(DecodeError::Version { found, known: version })
        }
        Some((_, rest)) => bincode::serde::decode_from_slice(rest, config())
            .map(|(value, used)| (value, used + 1))
            .map_err(|e| DecodeError::Malformed(e.to_string())),
    }
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<DECODE_LIMIT>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_a_small_value() {
        let mut out = Vec::new();
        encode_into(7, &(1u64, "ab", vec![3u8]), &mut out).unwrap();
        assert_eq!(out, [7, 1, 2, b'a', b'b', 1, 3]);
    }

    #[test]
    fn an_unknown_version_is_named() {
        let error = decode::<u64>(2, &[9, 1]).unwrap_err();
        assert_eq!(error.to_string(), "format version 9 is not known here (this build reads 2)");
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_it_is_allocated() {
        let mut bytes = vec![1, 253];
        bytes.extend((u64::MAX / 2).to_le_bytes());
        assert!(matches!(decode::<Vec<u8>>(1, &bytes), Err(DecodeError::Malformed(_))));
    }
}
