//! Finds packs in raw bytes, wherever they lie and whatever surrounds them.
//!
//! A sled database is only ever written by the process that made it. Everybody else reads its
//! `db` file with this scan: it needs no free space, writes nothing, cannot panic, and loses only
//! the packs that damage has touched, while sled's own recovery drops whole logs over one bit.

use std::io;

use super::PackRef;
use crate::queue::pack::{self, HEADER_BYTES, Header, Kind, MAGIC, PACK_BYTES_MAX, intact};

/// Read this much at a time; at least twice a pack.
const WINDOW_BYTES: usize = 256 * 1024;

const SECTOR_BYTES: usize = 4096;

/// Something that reads bytes at an offset; short only at the end.
pub(in crate::queue) trait ReadAt {
    /// Fills as much of `buffer` as there is.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// All intact packs of the segment with `nonce`, by position, each once.
pub(in crate::queue) fn scan(file: &impl ReadAt, nonce: u64) -> io::Result<Vec<PackRef>> {
    let mut found: Vec<(PackRef, u16)> = Vec::new();
    walk(file, |bytes, at| {
        let (header, part) = take(bytes, nonce)?;
        #[allow(clippy::cast_possible_truncation)] // at most PACK_BYTES_MAX
        let bytes = header.len() as u32;
        found.push((PackRef { first: header.first, count: header.count, at, bytes }, part));
        Some(header.len())
    })?;
    found.sort_by_key(|(pack, part)| (pack.first, *part));
    found.dedup_by_key(|(pack, part)| (pack.first, *part));
    Ok(found.into_iter().map(|(pack, _)| pack).collect())
}

/// The version of a pack of the segment with `nonce` that a newer agent wrote, if there is one.
pub(in crate::queue) fn newer(file: &impl ReadAt, nonce: u64) -> io::Result<Option<u8>> {
    let mut found = None;
    walk(file, |bytes, _| {
        found = found.or_else(|| pack::newer(bytes, nonce));
        take(bytes, nonce).map(|(header, _)| header.len())
    })?;
    Ok(found)
}

/// What is left of packs of the segment with `nonce` that are not whole: the first position of each,
/// where its header can be read.
pub(in crate::queue) fn broken(file: &impl ReadAt, nonce: u64) -> io::Result<Vec<Option<u64>>> {
    let mut found = Vec::new();
    walk(file, |bytes, _| match take(bytes, nonce) {
        Some((header, _)) => Some(header.len()),
        None => {
            found.push(Header::parse(bytes, nonce).map(|header| header.first));
            None
        }
    })?;
    Ok(found)
}

/// Where all copies of packs begin, whole or not, that hold nothing before `end`, as far as that can be
/// read.
pub(in crate::queue) fn traces_from(
    file: &impl ReadAt,
    nonce: u64,
    end: u64,
) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    walk(file, |bytes, at| {
        let header = Header::parse(bytes, nonce);
        if header.is_none_or(|header| header.first >= end) {
            found.push(at);
        }
        take(bytes, nonce).map(|(header, _)| header.len())
    })?;
    Ok(found)
}

/// Shows `look` every place where a pack may begin, and the offset; it says how long the pack is
/// if there is one.
fn walk(file: &impl ReadAt, mut look: impl FnMut(&[u8], u64) -> Option<usize>) -> io::Result<()> {
    let mut window = vec![0; WINDOW_BYTES];
    let mut offset = 0;
    loop {
        let length = read_full(file, offset, &mut window)?;
        let used = walk_window(&window[..length], offset, &mut look);
        if length < WINDOW_BYTES {
            return Ok(());
        }
        offset += used as u64;
    }
}

/// Whether anything in the file looks like a pack of the segment with `nonce`, whole or not.
pub(in crate::queue) fn has_traces(file: &impl ReadAt, nonce: u64) -> io::Result<bool> {
    let mut window = vec![0; WINDOW_BYTES];
    let mut offset = 0;
    loop {
        let length = read_full(file, offset, &mut window)?;
        let magic = find_magic(&window[..length], 0).is_some();
        let ours = window[..length].windows(8).any(|bytes| bytes == nonce.to_le_bytes());
        if magic || ours || length < WINDOW_BYTES {
            return Ok(magic || ours);
        }
        offset += (length - HEADER_BYTES) as u64;
    }
}

/// Walks through one window and says how many of its bytes need not be looked at again.
fn walk_window(
    window: &[u8],
    offset: u64,
    look: &mut impl FnMut(&[u8], u64) -> Option<usize>,
) -> usize {
    let last = window.len() < WINDOW_BYTES;
    let mut at = 0;
    while let Some(candidate) = find_magic(window, at) {
        if !last && candidate + PACK_BYTES_MAX > window.len() {
            return candidate;
        }
        let length = look(&window[candidate..], offset + candidate as u64);
        at = candidate + length.unwrap_or(1);
    }
    // A header may begin in the last bytes and go on in the next window.
    window.len().saturating_sub(HEADER_BYTES - 1).max(at)
}

fn take(bytes: &[u8], nonce: u64) -> Option<(Header, u16)> {
    let header = Header::parse(bytes, nonce)?;
    let whole = bytes.get(..header.len())?;
    let part = match header.kind {
        Kind::Entries => 0,
        Kind::Part { part, .. } => part,
    };
    intact(whole).then_some((header, part))
}

fn find_magic(window: &[u8], from: usize) -> Option<usize> {
    let end = window.len().checked_sub(HEADER_BYTES)?;
    let mut at = from;
    while at <= end {
        at += window[at..=end].iter().position(|&byte| byte == MAGIC[0])?;
        if window[at..].starts_with(&MAGIC) {
            return Some(at);
        }
        at += 1;
    }
    None
}

fn read_full(file: &impl ReadAt, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(offset + length as u64, &mut buffer[length..]) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // An unreadable sector costs what lies in it, not what lies behind it.
            Err(e) if e.raw_os_error() == Some(libc::EIO) => {
                let skip = SECTOR_BYTES.min(buffer.len() - length);
                buffer[length..length + skip].fill(0);
                length += skip;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(length)
}

impl ReadAt for std::fs::File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use spillway_protocol::message::StreamId;

    use super::*;
    use crate::queue::pack::{Origin, pack};

    const ORIGIN: Origin = Origin { nonce: 9, stream: StreamId(1), base: 0 };

    impl ReadAt for Vec<u8> {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            let rest = self.get(offset as usize..).unwrap_or_default();
            let n = rest.len().min(buffer.len());
            buffer[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        }
    }

    fn firsts(file: &Vec<u8>) -> Vec<u64> {
        scan(file, ORIGIN.nonce).unwrap().iter().map(|p| p.first).collect()
    }

    fn sealed(size: usize, first: u64) -> Vec<u8> {
        pack(&[vec![first as u8; size]], first, ORIGIN).remove(0).bytes
    }

    #[test]
    fn a_pack_inside_a_body_is_not_taken_for_one() {
        let inner = sealed(10, 77);
        let outer = pack(&[inner], 1, ORIGIN).remove(0).bytes;
        assert_eq!(firsts(&outer), [1]);
    }

    #[test]
    fn a_pack_is_found_wherever_it_lies_on_the_edge_of_a_window() {
        let pack = sealed(100, 1);
        for before in WINDOW_BYTES - pack.len() - 8..WINDOW_BYTES + 8 {
            let mut file = vec![0; before];
            file.extend(&pack);
            file.extend(vec![0; 300]);
            assert_eq!(firsts(&file), [1], "{before}");
        }
    }

    proptest! {
        #[test]
        fn finds_every_pack_between_any_bytes(
            packs in prop::collection::vec((1usize..59_000, 0usize..300), 1..30),
            filler in any::<u8>(),
        ) {
            let mut file = Vec::new();
            for (first, (size, gap)) in (1..).zip(&packs) {
                file.extend(std::iter::repeat_n(filler, *gap));
                file.extend(sealed(*size, first));
            }
            prop_assert_eq!(firsts(&file), (1..=packs.len() as u64).collect::<Vec<_>>());
        }

        #[test]
        fn damage_costs_only_the_packs_it_touches(
            sizes in prop::collection::vec(1usize..30_000, 2..30),
            at in 0.0f64..1.0,
            length in 1usize..5_000,
        ) {
            let mut file = Vec::new();
            let mut spans = Vec::new();
            for (first, size) in (1..).zip(&sizes) {
                let start = file.len();
                file.extend(sealed(*size, first));
                spans.push((first, start, file.len()));
            }
            let from = (at * file.len() as f64) as usize;
            let to = (from + length).min(file.len());
            file[from..to].iter_mut().for_each(|byte| *byte ^= 0xA5);
            let spared: Vec<u64> =
                spans.iter().filter(|(_, s, e)| *e <= from || *s >= to).map(|s| s.0).collect();
            prop_assert_eq!(firsts(&file), spared);
        }
    }
}
