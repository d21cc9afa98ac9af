//! What the pace knows over restarts, as the bytes of the file `pace` in the data folder. All
//! figures are little-endian.
//!
//! ```text
//! "SWPC" version=1:u32 own_rate:f64 watched_s:u64 base_s:f64 deviation_s:f64 known:u32 crc32:u32
//! ```

use std::time::Duration;

use super::Quiet;

const MAGIC: &[u8; 4] = b"SWPC";
const VERSION: u32 = 1;
const LENGTH: usize = 48;
/// A figure that moved by this part of itself is worth a write ...
const NEWS: f64 = 0.1;
/// ... and so is having watched so much longer.
const NEWS_AFTER: Duration = Duration::from_secs(600);
/// So many more answers are worth one as well.
const KNOWN_STEP: u32 = 16;
/// Nothing answers so late that it still counts as an answer.
const BASE_MOST_S: f64 = 3600.0;
/// No gateway makes more records than that in a second.
const RATE_MOST_PER_S: f64 = 1e7;

/// See the module.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Memory {
    /// Mean production in records per second.
    pub own_rate_per_s: f64,
    /// How long that was watched, at most a few hours.
    pub watched: Duration,
    /// What answers are like on a quiet line.
    pub quiet: Quiet,
}

/// The bytes are not a memory; the pace learns anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pace's memory is damaged or of another version: {0}; it is learned anew")]
pub struct DamagedMemory(&'static str);

impl Memory {
    /// Whether it differs enough from what was `saved` to be worth a write.
    pub fn is_news_to(&self, saved: &Self) -> bool {
        let moved = |now: f64, then: f64| (now - then).abs() > NEWS * then.abs();
        moved(self.own_rate_per_s, saved.own_rate_per_s)
            || moved(self.quiet.base_s, saved.quiet.base_s)
            || self.watched.abs_diff(saved.watched) >= NEWS_AFTER
            || self.quiet.known / KNOWN_STEP != saved.quiet.known / KNOWN_STEP
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.own_rate_per_s.to_le_bytes());
        bytes.extend_from_slice(&self.watched.as_secs().to_le_bytes());
        bytes.extend_from_slice(&self.quiet.base_s.to_le_bytes());
        bytes.extend_from_slice(&self.quiet.deviation_s.to_le_bytes());
        bytes.extend_from_slice(&self.quiet.known.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// The version of a memory that a newer agent wrote: it begins and ends as ours.
    pub fn newer(bytes: &[u8]) -> Option<u32> {
        let (content, crc) = bytes.split_last_chunk()?;
        let rest = content.strip_prefix(MAGIC)?;
        let version = u32::from_le_bytes(*rest.first_chunk()?);
        let whole = crc32fast::hash(content) == u32::from_le_bytes(*crc);
        (whole && version > VERSION).then_some(version)
    }

    /// Reads [`Memory::encode`]'s bytes.
    ///
    /// # Errors
    /// [`DamagedMemory`] where they are none, or say what cannot be.
    pub fn decode(bytes: &[u8]) -> Result<Self, DamagedMemory> {
        let (content, crc) = bytes.split_last_chunk().ok_or(DamagedMemory("too short"))?;
        if bytes.len() != LENGTH {
            return Err(DamagedMemory("its length"));
        }
        if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
            return Err(DamagedMemory("its checksum"));
        }
        let mut rest = content;
        if take(&mut rest)? != *MAGIC || u32::from_le_bytes(take(&mut rest)?) != VERSION {
            return Err(DamagedMemory("its version"));
        }
        let own_rate_per_s = figure(&mut rest, RATE_MOST_PER_S)?;
        let watched = Duration::from_secs(u64::from_le_bytes(take(&mut rest)?));
        let base_s = figure(&mut rest, BASE_MOST_S)?;
        let deviation_s = figure(&mut rest, BASE_MOST_S)?;
        let known = u32::from_le_bytes(take(&mut rest)?);
        Ok(Self { own_rate_per_s, watched, quiet: Quiet { base_s, deviation_s, known } })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], DamagedMemory> {
    let (first, others) = rest.split_first_chunk().ok_or(DamagedMemory("too short"))?;
    *rest = others;
    Ok(*first)
}

fn figure(rest: &mut &[u8], most: f64) -> Result<f64, DamagedMemory> {
    let figure = f64::from_le_bytes(take(rest)?);
    match (0.0..=most).contains(&figure) {
        true => Ok(figure),
        false => Err(DamagedMemory("a figure that cannot be")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn memory() -> Memory {
        Memory {
            own_rate_per_s: 0.5,
            watched: Duration::from_secs(3600),
            quiet: Quiet { base_s: 0.25, deviation_s: 0.125, known: 16 },
        }
    }

    #[test]
    fn golden_bytes() {
        let golden = [
            0x53, 0x57, 0x50, 0x43, 1, 0, 0, 0, // magic, version
            0, 0, 0, 0, 0, 0, 0xE0, 0x3F, // 0.5 a second
            0x10, 0x0E, 0, 0, 0, 0, 0, 0, // watched for an hour
            0, 0, 0, 0, 0, 0, 0xD0, 0x3F, // base
            0, 0, 0, 0, 0, 0, 0xC0, 0x3F, // deviation
            16, 0, 0, 0, // known
        ];
        let bytes = memory().encode();
        assert_eq!(bytes[..44], golden);
        assert_eq!(bytes[44..], crc32fast::hash(&golden).to_le_bytes());
        assert_eq!(Memory::decode(&bytes), Ok(memory()));
    }

    #[test]
    fn a_newer_one_is_told_from_damage() {
        let mut bytes = memory().encode();
        bytes[4] = 9;
        assert_eq!(Memory::newer(&bytes), None);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        assert_eq!(Memory::newer(&bytes), Some(9));
        assert_eq!(Memory::newer(&memory().encode()), None);
    }

    #[test]
    fn small_moves_are_not_worth_a_write() {
        let near = Memory { own_rate_per_s: 0.51, ..memory() };
        let far = Memory { own_rate_per_s: 0.6, ..memory() };
        assert!(!near.is_news_to(&memory()) && far.is_news_to(&memory()));
        assert!(far.is_news_to(&Memory::default()));
        assert!(!Memory::default().is_news_to(&Memory::default()));
    }

    #[test]
    fn what_cannot_be_is_damage() {
        let no_number = Memory { own_rate_per_s: f64::NAN, ..memory() };
        let negative = Memory { own_rate_per_s: -1.0, ..memory() };
        for memory in [no_number, negative] {
            assert!(Memory::decode(&memory.encode()).is_err());
        }
        assert!(Memory::decode(b"").is_err());
    }

    proptest! {
        #[test]
        fn any_flipped_byte_is_seen(at in 0_usize..LENGTH, flip in 1_u8..) {
            let mut bytes = memory().encode();
            bytes[at] ^= flip;
            prop_assert!(Memory::decode(&bytes).is_err());
        }

        #[test]
        fn no_bytes_make_it_fall(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Memory::decode(&bytes);
        }
    }
}
