//! What a kill of the broker in the middle of a write leaves: a message with all of its body, over
//! which its checksum goes, and without the end of its properties, which lie behind it.

use std::path::Path;

use super::desk::Stored;

/// What the agent always sends, with KEYS; others send none of it.
const AGENTS: [&str; 5] = ["sw_gw", "sw_lane", "sw_st", "sw_seq", "sw_at"];
/// Of a message in the log, after its size.
const MAGIC: [u8; 4] = 0xdaa3_20a7_u32.to_be_bytes();

/// Whether a part of its properties is missing.
pub(super) fn is_torn(stored: &Stored) -> bool {
    let there = |name: &&str| stored.properties.contains_key(*name);
    let agents = AGENTS.iter().any(there);
    let whole = AGENTS.iter().all(there) && stored.keys.is_some();
    let nul = |text: &String| text.contains('\0');
    (agents && !whole) || stored.properties.iter().any(|(n, v)| nul(n) || nul(v))
}

/// See [`super::RocketMq::tear`].
pub(super) fn tear(log: &Path, bytes: &[usize]) {
    let mut content = std::fs::read(log).unwrap();
    let ends = ends(&content);
    for (end, bytes) in ends[ends.len() - bytes.len()..].iter().zip(bytes) {
        content[end - bytes..*end].fill(0);
    }
    std::fs::write(log, content).unwrap();
}

/// Where each message of the log ends.
fn ends(content: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    while content[at + 4..].starts_with(&MAGIC) {
        at += u32::from_be_bytes(content[at..at + 4].try_into().unwrap()) as usize;
        ends.push(at);
    }
    ends
}
