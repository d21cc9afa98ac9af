use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::queue::cipher::{KeyMissing, Keys};

const ORIGIN: Origin = Origin { nonce: 0xABCD, stream: StreamId(7), base: 3 };

#[test]
fn a_commit_becomes_one_pack_that_proves_itself() {
    let packs = pack(&[b"one".to_vec(), b"two".to_vec()], 10, ORIGIN);
    assert_eq!(packs.len(), 1);
    let header = Header::parse(&packs[0].bytes, ORIGIN.nonce).unwrap();
    assert_eq!((header.first, header.count), (10, 2));
    assert_eq!((header.stream, header.base), (StreamId(7), 3));
    assert!(intact(&packs[0].bytes));
    let read: Vec<&[u8]> = entries(&packs[0].bytes[HEADER_BYTES..]).collect();
    assert_eq!(read, [b"one", b"two"]);
}

#[test]
fn any_flipped_byte_is_seen() {
    let whole = pack(&[vec![5; 40]], 1, ORIGIN).remove(0).bytes;
    for at in 0..whole.len() {
        let mut bad = whole.clone();
        bad[at] ^= 1;
        assert!(Header::parse(&bad, ORIGIN.nonce).is_none() || !intact(&bad), "byte {at}");
    }
}

#[test]
fn packs_stay_below_the_bound_and_number_without_gaps() {
    let entries: Vec<Vec<u8>> = (0..200).map(|i| vec![1; 1 + i * 37]).collect();
    let mut next = 1;
    for pack in pack(&entries, 1, ORIGIN) {
        assert!(pack.bytes.len() <= PACK_BYTES_MAX);
        assert_eq!(pack.first, next);
        next += u64::from(pack.count);
    }
    assert_eq!(next, 201);
}

#[test]
fn an_entry_larger_than_a_pack_is_cut_into_parts() {
    let large: Vec<u8> = (0..150_000u32).map(|i| i as u8).collect();
    let packs = pack(&[b"a".to_vec(), large.clone(), b"b".to_vec()], 5, ORIGIN);
    let kinds: Vec<_> =
        packs.iter().map(|p| Header::parse(&p.bytes, ORIGIN.nonce).unwrap()).collect();
    assert_eq!(kinds.iter().map(|h| h.first).collect::<Vec<_>>(), [5, 6, 6, 6, 7]);
    assert_eq!(kinds[2].kind, Kind::Part { part: 1, parts: 3 });
    let joined: Vec<u8> =
        packs[1..4].iter().flat_map(|p| p.bytes[HEADER_BYTES..].to_vec()).collect();
    assert_eq!(joined, large);
}

#[test]
fn a_pack_of_another_segment_is_not_taken_for_ours() {
    let foreign = pack(&[b"x".to_vec()], 1, Origin { nonce: 1, ..ORIGIN }).remove(0).bytes;
    assert_eq!(Header::parse(&foreign, ORIGIN.nonce), None);
}

const KEY: [u8; 32] = [1; 32];

fn packers() -> [Packer; 4] {
    let keys = Keys::new(Some(&KEY), []);
    [
        Packer::default(),
        Packer::new(true, Keys::default()),
        Packer::new(false, keys.clone()),
        Packer::new(true, keys),
    ]
}

/// The entries of packs, of which those of one position follow each other.
fn read(packs: Vec<Packed>, keys: &Keys) -> Result<Vec<Vec<u8>>, Unopened> {
    let mut found = Vec::new();
    for same in packs.chunk_by(|one, other| one.first == other.first) {
        let same: Vec<Vec<u8>> = same.iter().map(|pack| pack.bytes.clone()).collect();
        let headers = headers(&same, ORIGIN.nonce).ok_or(Unopened::Damaged)?;
        let text = payload(same, &headers, keys)?;
        match headers[0].kind {
            Kind::Entries => found.extend(entries(&text).map(<[u8]>::to_vec)),
            Kind::Part { .. } => found.push(text.to_vec()),
        }
    }
    Ok(found)
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut text = vec![0; bytes];
    StdRng::seed_from_u64(bytes as u64).fill_bytes(&mut text);
    text
}

/// Writes the checksum anew, as one who forges would.
fn proven(mut pack: Vec<u8>) -> Vec<u8> {
    let crc = crc(&pack, CODED_HEADER_BYTES).to_le_bytes();
    pack[CODED_HEADER_BYTES - 4..CODED_HEADER_BYTES].copy_from_slice(&crc);
    pack
}

// Made by a program of its own, by the format's description and those of CRC-32 and XChaCha20-Poly1305.
const PLAIN_PACK: &str = "f15350570d0a1a010100000000000000cdab0000000000000a00000000000000\
                  0100000007000000070000000300000000000000ecd318f7030000006f6e65";
const LZ4_PACK: &str = "f15350570d0a1a010200000000000100cdab0000000000000a00000000000000\
                  01000000100000000700000003000000000000006800000000000000833aa96d\
                  5f640000006101004a60616161616161";
const SEALED_PACK: &str = "f15350570d0a1a010200000000000300cdab0000000000000a00000000000000\
                  010000003800000007000000030000000000000068000000c3ffc525c2da52d2\
                  000102030405060708090a0b0c0d0e0f101112131415161727b4db859df0d688\
                  a9260b29755317d14492fb372c3975aa1bba5219233fff45";

#[test]
fn golden_bytes_of_a_plain_pack() {
    let pack = pack(&[b"one".to_vec()], 10, ORIGIN).remove(0).bytes;
    assert_eq!(hex(&pack), PLAIN_PACK);
}

#[test]
fn golden_bytes_of_a_compressed_pack() {
    let entries = [vec![b'a'; 100]];
    let pack = Packer::new(true, Keys::default()).pack(&entries, 10, ORIGIN).unwrap().remove(0);
    assert_eq!(hex(&pack.bytes), LZ4_PACK);
    assert_eq!(read(vec![pack], &Keys::default()).unwrap(), entries);
}

#[test]
fn golden_bytes_of_a_sealed_pack() {
    let keys = Keys::new(Some(&KEY), []);
    let entries = [vec![b'a'; 100]];
    let mut pack = Packer::new(true, keys.clone()).pack(&entries, 10, ORIGIN).unwrap().remove(0);
    // Behind it the checksum and the nonce, which is new each time.
    assert_eq!(hex(&pack.bytes[..60]), SEALED_PACK[..120]);
    assert_eq!(pack.bytes.len(), SEALED_PACK.len() / 2);
    pack.bytes = (0..SEALED_PACK.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&SEALED_PACK[at..at + 2], 16).unwrap())
        .collect();
    assert_eq!(read(vec![pack], &keys).unwrap(), entries);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_does_not_become_smaller_is_stored_plainly() {
    let noise = [noise(500), noise(200_000)];
    let packs = Packer::new(true, Keys::default()).pack(&noise, 1, ORIGIN).unwrap();
    assert_eq!(packs, pack(&noise, 1, ORIGIN));
    let text = [vec![b'x'; 500], vec![b'x'; 200_000]];
    let packs = Packer::new(true, Keys::default()).pack(&text, 1, ORIGIN).unwrap();
    assert_eq!(packs.len(), 2);
    assert!(packs.iter().map(|pack| pack.bytes.len()).sum::<usize>() < 2_000);
}

#[test]
fn any_flipped_byte_of_a_coded_pack_is_seen_without_a_key() {
    for mut packer in packers() {
        let whole = packer.pack(&[vec![5; 40], vec![6; 90]], 1, ORIGIN).unwrap().remove(0).bytes;
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bad = whole.clone();
                bad[at] ^= 1 << bit;
                assert!(headers(&[bad], ORIGIN.nonce).is_none(), "byte {at}");
            }
        }
    }
}

#[test]
fn a_forged_pack_is_damaged_and_one_of_another_key_is_locked() {
    let keys = Keys::new(Some(&KEY), []);
    let mut packer = Packer::new(true, keys.clone());
    let whole = packer.pack(&[vec![5; 400]], 1, ORIGIN).unwrap().remove(0).bytes;
    for at in (9..CODED_HEADER_BYTES - 4).chain(CODED_HEADER_BYTES..whole.len()) {
        let mut forged = whole.clone();
        forged[at] ^= 1;
        let forged = proven(forged);
        // It may be one of another segment, or none, by its head.
        let Some(headers) = headers(std::slice::from_ref(&forged), ORIGIN.nonce) else { continue };
        let opened = payload(vec![forged], &headers, &keys);
        match at {
            56..60 => assert!(matches!(opened, Err(Unopened::Locked(_))), "byte {at}"),
            // The byte that is always zero, and the text.
            _ => assert_eq!(opened, Err(Unopened::Damaged), "byte {at}"),
        }
    }
    let headers = headers(std::slice::from_ref(&whole), ORIGIN.nonce).unwrap();
    let other = Keys::new(Some(&[9; 32]), []);
    let missing = Unopened::Locked(KeyMissing(KeyId::of(&KEY)));
    assert_eq!(payload(vec![whole.clone()], &headers, &other), Err(missing));
    let both = Keys::new(Some(&[9; 32]), [&KEY]);
    assert!(payload(vec![whole], &headers, &both).is_ok());
}

#[test]
fn a_length_that_cannot_be_is_not_allocated() {
    for (block, raw_bytes) in [(10, 1 << 20), (10, usize::MAX >> 32), (100_000, 9 << 20)] {
        let packs = claimed(&vec![0; block], raw_bytes, ORIGIN);
        let opened = headers(&packs, ORIGIN.nonce)
            .ok_or(Unopened::Damaged)
            .and_then(|headers| payload(packs, &headers, &Keys::default()));
        assert_eq!(opened, Err(Unopened::Damaged));
    }
}

#[test]
fn parts_of_two_forms_are_not_joined() {
    let text = noise(90_000);
    let plain = pack(std::slice::from_ref(&text), 1, ORIGIN);
    let sealed = Packer::new(false, Keys::new(Some(&KEY), [])).pack(&[text], 1, ORIGIN).unwrap();
    let mixed = [plain[0].bytes.clone(), sealed[1].bytes.clone()];
    assert_eq!(headers(&mixed, ORIGIN.nonce), None);
}

proptest! {
    #[test]
    fn what_is_packed_is_read_again(
        sizes in prop::collection::vec(
            prop_oneof![9 => 0usize..3_000, 1 => 50_000usize..200_000], 1..40),
        random in any::<bool>(),
        first in 1u64..1000,
    ) {
        let keys = Keys::new(None, [&KEY]);
        let entry = |bytes: &usize| if random { noise(*bytes) } else { vec![b'a'; *bytes] };
        let entries: Vec<Vec<u8>> = sizes.iter().map(entry).collect();
        for mut packer in packers() {
            let packs = packer.pack(&entries, first, ORIGIN).unwrap();
            let mut next = first;
            for pack in &packs {
                prop_assert!(pack.bytes.len() <= PACK_BYTES_MAX);
                prop_assert!(pack.first == next || pack.first + 1 == next);
                next = pack.first + u64::from(pack.count);
            }
            prop_assert_eq!(next, first + entries.len() as u64);
            prop_assert!(read(packs, &keys).unwrap() == entries);
        }
    }
}

#[test]
fn a_newer_pack_is_known_by_its_checksum_and_a_flipped_version_is_damage() {
    let mut later = Packer::new(true, Keys::default());
    let mut later = later.pack(&[vec![7; 900]], 1, ORIGIN).unwrap().remove(0).bytes;
    assert_eq!(later[8], CODED);
    later[8] = 99;
    assert_eq!(newer(&later, ORIGIN.nonce), None);
    let sum = crc(&later, CODED_HEADER_BYTES);
    later[CODED_HEADER_BYTES - 4..CODED_HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(newer(&later, ORIGIN.nonce), Some(99));
    assert_eq!(newer(&later, 1), None);
    assert_eq!(Header::parse(&later, ORIGIN.nonce), None);
}
