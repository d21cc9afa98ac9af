//! What is counted of a day, as the file `budget` in the data folder: a line of JSON, and its
//! CRC-32 in hexadecimal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of the file.
const FORMAT: u32 = 1;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Days since 1970 at which the day began, where that is known.
    pub date: Option<u64>,
    /// Running time that it has lasted, in milliseconds.
    pub ran_ms: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// The part of them that is estimated.
    pub headers_bytes: u64,
    /// The part of them that no lane caused.
    pub overhead_bytes: u64,
    /// Lanes, by name.
    pub lanes: BTreeMap<String, StoredLane>,
}

/// The line of JSON.
#[derive(Serialize, Deserialize)]
struct Line<T> {
    format: u32,
    #[serde(flatten)]
    stored: T,
}

/// A lane's part of a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredLane {
    /// Bytes on the wire.
    pub bytes: u64,
    /// Records delivered.
    pub delivered: u64,
}

/// The bytes are not a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the count of the day's bytes is damaged or of another version; it is begun anew")]
pub struct DamagedBudget;

impl Stored {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let line = Line { format: FORMAT, stored: self };
        // Text and numbers always have a JSON form.
        let json = serde_json::to_string(&line).unwrap_or_default();
        format!("{json}\n{:08x}\n", crc32fast::hash(json.as_bytes())).into_bytes()
    }

    /// Reads [`Stored::encode`]'s bytes.
    ///
    /// # Errors
    /// [`DamagedBudget`] where they are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, DamagedBudget> {
        match serde_json::from_str(whole(bytes).ok_or(DamagedBudget)?) {
            Ok(Line { format: FORMAT, stored }) => Ok(stored),
            _ => Err(DamagedBudget),
        }
    }

    /// The format of a count that a newer agent wrote.
    pub fn newer(bytes: &[u8]) -> Option<u64> {
        let value: serde_json::Value = serde_json::from_str(whole(bytes)?).ok()?;
        value.get("format")?.as_u64().filter(|format| *format > FORMAT.into())
    }
}

/// The line of JSON, if its checksum is right.
fn whole(bytes: &[u8]) -> Option<&str> {
    let (json, crc) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    (crc == format!("{:08x}\n", crc32fast::hash(json.as_bytes()))).then_some(json)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored() -> Stored {
        Stored {
            date: Some(20_000),
            ran_ms: 5,
            bytes: 900,
            headers_bytes: 100,
            overhead_bytes: 200,
            lanes: [("main".to_owned(), StoredLane { bytes: 700, delivered: 2 })].into(),
        }
    }

    #[test]
    fn golden_bytes() {
        let golden = "{\"format\":1,\"date\":20000,\"ran_ms\":5,\"bytes\":900,\
             \"headers_bytes\":100,\"overhead_bytes\":200,\
             \"lanes\":{\"main\":{\"bytes\":700,\"delivered\":2}}}\nbe2da20b\n";
        assert_eq!(String::from_utf8(stored().encode()).unwrap(), golden);
        assert_eq!(Stored::decode(golden.as_bytes()), Ok(stored()));
    }

    proptest! {
        #[test]
        fn any_flipped_byte_is_seen(at in 0_usize..130, flip in 1_u8..) {
            let mut bytes = stored().encode();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert!(Stored::decode(&bytes).is_err());
        }

        #[test]
        fn no_bytes_make_it_fall(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Stored::decode(&bytes);
        }
    }
}
