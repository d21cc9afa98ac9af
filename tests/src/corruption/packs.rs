//! Reads segments as `agent/src/queue/pack.rs` describes them, with code of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const MAGIC: &[u8; 8] = b"\xF1SPW\r\n\x1A\x01";
const HEADER_BYTES: usize = 56;
const CODED_HEADER_BYTES: usize = 64;

/// The positions whose entries are whole in the segments of a chain's folder.
///
/// # Panics
/// If the folder cannot be read.
pub fn whole(chain: &Path) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(chain).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let nonce = name.strip_prefix("seg-").map(|rest| rest.split_once('-').unwrap().1);
        if let Some(nonce) = nonce.map(|hex| u64::from_str_radix(hex, 16).unwrap()) {
            // Without its file it has nothing.
            let bytes = fs::read(path.join("db")).unwrap_or_default();
            found.extend(whole_in(&bytes, nonce));
        }
    }
    found
}

fn whole_in(bytes: &[u8], nonce: u64) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    let mut parts: BTreeMap<u64, (u16, BTreeSet<u16>)> = BTreeMap::new();
    let mut at = 0;
    while at + HEADER_BYTES <= bytes.len() {
        let Some(pack) = pack(&bytes[at..], nonce) else {
            at += 1;
            continue;
        };
        let (first, count) = (u64_at(pack, 24), u64::from(u32_at(pack, 32)));
        match pack[9] {
            0 => found.extend(first..first + count),
            _ => {
                let (part, of) = (u16_at(pack, 10), u16_at(pack, 12));
                parts.entry(first).or_insert((of, BTreeSet::new())).1.insert(part);
            }
        }
        at += pack.len();
    }
    let joined = parts.into_iter().filter(|(_, (of, there))| there.len() == usize::from(*of));
    found.extend(joined.map(|(first, _)| first));
    found
}

/// The whole pack that `bytes` begin with.
fn pack(bytes: &[u8], nonce: u64) -> Option<&[u8]> {
    let ours = bytes.starts_with(MAGIC) && u64_at(bytes, 16) == nonce;
    let header_bytes = if bytes.get(8) == Some(&2) { CODED_HEADER_BYTES } else { HEADER_BYTES };
    let length = header_bytes + if ours { u32_at(bytes, 36) as usize } else { return None };
    let pack = bytes.get(..length)?;
    let mut sum = crc32fast::Hasher::new();
    sum.update(&pack[..header_bytes - 4]);
    sum.update(&pack[header_bytes..]);
    (sum.finalize() == u32_at(pack, header_bytes - 4)).then_some(pack)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}
