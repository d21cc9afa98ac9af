//! Readers of what lies on disk, for fuzzing (`fuzz/`): whatever lies there, nothing panics, and
//! what was written is found whatever surrounds it.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::io;

use spillway_protocol::message::StreamId;

use super::cipher::{KEY_BYTES, Keys};
use super::entry::{self, Letter};
use super::pack::{Header, Origin, Packer, Unopened, claimed, entries, headers, payload};
use super::state::{self, DeadState, LaneState};
use super::store::scan::{ReadAt, has_traces, newer, scan};
use super::store::slots;
use super::{ids, lived};

const ORIGIN: Origin = Origin { nonce: 9, stream: StreamId(1), base: 0 };

struct Bytes<'a>(&'a [u8]);

impl ReadAt for Bytes<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

/// A segment's file. `bytes` are also made a pack of, which is found among them.
pub fn segment(bytes: &[u8]) {
    for found in scan(&Bytes(bytes), ORIGIN.nonce).unwrap() {
        let at = usize::try_from(found.at).unwrap();
        let whole = bytes[at..at + found.bytes as usize].to_vec();
        let header = Header::parse(&whole, ORIGIN.nonce).unwrap();
        payload(vec![whole], &[header], &Keys::default()).iter().for_each(|text| look_at(text));
    }
    drop(has_traces(&Bytes(bytes), ORIGIN.nonce));
    newer(&Bytes(bytes), ORIGIN.nonce).unwrap();
    look_at(bytes);
    if !bytes.is_empty() {
        let key = Keys::new(Some(&[7; KEY_BYTES]), []);
        for mut packer in [
            Packer::default(),
            Packer::new(true, Keys::default()),
            Packer::new(false, key.clone()),
            Packer::new(true, key.clone()),
        ] {
            packed_and_found(bytes, &mut packer, &key);
        }
        // As many bytes as the first of these say, out of the others.
        let (length, block) = bytes.split_at(bytes.len().min(3));
        let length = length.iter().fold(0, |n, &byte| n << 8 | usize::from(byte));
        unpack(claimed(block, length, ORIGIN), &Keys::default()).iter().for_each(|t| look_at(t));
    }
}

fn packed_and_found(bytes: &[u8], packer: &mut Packer, keys: &Keys) {
    let packs = packer.pack(&[bytes.to_vec()], 7, ORIGIN).unwrap();
    // Some other segment's: a pack of this one among them would be found too.
    let around: Vec<u8> = bytes.iter().map(|byte| byte & 0x7f).collect();
    let mut file = around.clone();
    for pack in &packs {
        file.extend(&pack.bytes);
        file.extend(&around);
    }
    assert_eq!(scan(&Bytes(&file), ORIGIN.nonce).unwrap().len(), packs.len());
    let text = unpack(packs.into_iter().map(|pack| pack.bytes).collect(), keys).unwrap();
    assert!(text == bytes || entries(&text).eq([bytes]));
}

fn unpack(packs: Vec<Vec<u8>>, keys: &Keys) -> Result<bytes::Bytes, Unopened> {
    let headers = headers(&packs, ORIGIN.nonce).ok_or(Unopened::Damaged)?;
    payload(packs, &headers, keys)
}

fn look_at(payload: &[u8]) {
    for bytes in entries(payload) {
        let record = entry::decode_record(bytes);
        if let Ok((stored, None)) = record {
            let again = entry::encode(&stored).unwrap();
            assert_eq!(entry::decode_record(&again).unwrap().0, stored);
        }
        drop(entry::decode::<Letter>(bytes));
    }
}

/// The small files beside the segments.
pub fn files(bytes: &[u8]) {
    if let Ok(Some(lane)) = state::decode::<LaneState>(Some(bytes.to_vec())) {
        let again = lane.encode().unwrap();
        assert_eq!(state::decode::<LaneState>(Some(again)).unwrap(), Some(lane));
    }
    drop(state::decode::<DeadState>(Some(bytes.to_vec())));
    slots::fuzz(bytes);
    ids::fuzz(bytes);
    lived::fuzz(bytes);
}
