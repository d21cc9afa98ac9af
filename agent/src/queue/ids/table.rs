//! The ids of one sealed segment: a sorted file, and a filter in memory.
//!
//! File `ids-END-MS` (hex): magic 8 (its last byte is the version), CRC-32 of the rest 4, the
//! [`Times`] 24, then rows of 32 bytes sorted by id. With a key the version is 3, the key's id (4)
//! stands before the rows, and they are as [`mask`](super::mask) says. In any later version the CRC
//! is that of the magic and the rest, so that a flipped bit is not taken for a version. The CRC is
//! checked when the agent starts, or soon after: what is older than the newest 4 MiB is read beside
//! the work, and searched without a filter until then. A search reads only the few rows where the
//! id would be: a damaged row is not found, or differs in its body.

use std::io;

use super::IdHash;
use super::mask::{Sought, cover};
use crate::queue::cipher::{KeyId, Keys};
use crate::queue::format::unsupported;
use crate::queue::store::Store;

const MAGIC: [u8; 8] = *b"SPWIDS\x00\x02";
/// Of a table under a key.
const KEYED: [u8; 8] = *b"SPWIDS\x00\x03";
const VERSION_AT: usize = MAGIC.len() - 1;
const CRC_BYTES: usize = 4;
const TIMES_BYTES: usize = 24;
const KEY_ID_BYTES: usize = 4;
/// Bytes before the rows, or before the key's id.
const HEAD_BYTES: usize = MAGIC.len() + CRC_BYTES + TIMES_BYTES;
const ROW_BYTES: usize = 32;
/// Rows that a search reads at a time. Where an id lies is known from its hash to about the square
/// root of their number, so mostly once is enough.
const SEARCH_ROWS: u64 = 256;
/// Bytes of the newest tables of a lane that are read before its first record.
const AT_ONCE_BYTES: u64 = 4 << 20;
const PREFIX: &str = "ids-";
const FILTER_BITS_PER_ID: usize = 10;
/// The same where all ids say when they were made: nearly all that are not there are ruled out by that.
const FILTER_BITS_PER_TIMED_ID: usize = 5;
const FILTER_PROBES: usize = 4;

/// One id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: IdHash,
    pub(super) body: u64,
    pub(super) position: u64,
}

/// When the ids of a table were made, as far as they say so themselves. A filter lets one in a
/// hundred pass that is not in its table; with a long backlog there are hundreds of tables, but
/// UUIDv7 ids, as our client makes them, can only be where their time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    first_ms: u64,
    last_ms: u64,
    /// Ids that do not say when they were made.
    untimed: u64,
}

impl Times {
    /// Of no ids.
    pub(super) const NONE: Self = Self { first_ms: u64::MAX, last_ms: 0, untimed: 0 };

    /// Counts an id in.
    pub(super) fn add(&mut self, made_ms: Option<u64>) {
        match made_ms {
            Some(made_ms) => {
                self.first_ms = self.first_ms.min(made_ms);
                self.last_ms = self.last_ms.max(made_ms);
            }
            None => self.untimed += 1,
        }
    }

    fn may_hold(&self, made_ms: Option<u64>) -> bool {
        match made_ms {
            Some(made_ms) => (self.first_ms..=self.last_ms).contains(&made_ms),
            None => self.untimed > 0,
        }
    }
}

/// A damaged table that was passed over: its segment's end, and its name.
pub(super) type Passed = (u64, String);

/// What memory keeps of a table.
pub(super) struct Table {
    pub(super) name: String,
    /// The position after the segment's last.
    pub(super) end: u64,
    /// When it was sealed, ms since 1970.
    pub(super) sealed_ms: u64,
    /// Ids in it.
    pub(super) len: u64,
    /// Under which it was written.
    key: Option<KeyId>,
    times: Times,
    /// `None`: only its first bytes are read yet.
    filter: Option<Vec<u64>>,
}

impl Table {
    /// Writes `rows` and keeps what is needed to find them.
    pub(super) fn save(
        store: &dyn Store,
        mut rows: Vec<Row>,
        times: Times,
        end: u64,
        sealed_ms: u64,
        keys: &Keys,
    ) -> io::Result<Self> {
        // None is needed where there is nothing to hide.
        let key = keys.current().filter(|_| !rows.is_empty());
        key.into_iter().for_each(|key| cover(&mut rows, key));
        rows.sort_by_key(|row| row.id);
        let name = format!("{PREFIX}{end:016x}-{sealed_ms:016x}");
        let content = Content { rows, times, key: key.map(|key| key.id) };
        store.save_file(&name, &content.render())?;
        Ok(Self::describe(name, end, sealed_ms, &content))
    }

    /// Forgets its ids, but not that its segment was read for them.
    pub(super) fn empty(&mut self, store: &dyn Store) -> io::Result<()> {
        *self =
            Self::save(store, Vec::new(), Times::NONE, self.end, self.sealed_ms, &Keys::default())?;
        Ok(())
    }

    /// The tables that earlier runs left, oldest first, and those that are damaged: the segment of such
    /// a one was either removed long ago or is read again by recovery.
    pub(super) fn load_all(store: &dyn Store) -> io::Result<(Vec<Self>, Vec<Passed>)> {
        let (mut tables, mut damaged, mut bytes) = (Vec::new(), Vec::new(), 0);
        for name in store.files(PREFIX)?.into_iter().rev() {
            let Some((end, _)) = parse_name(&name) else { continue };
            let mut table = Self::look(store, &name)?;
            bytes += table.as_ref().map_or(0, |table| table.len * ROW_BYTES as u64);
            if bytes <= AT_ONCE_BYTES
                && let Some(looked_at) = table
            {
                table = looked_at.read(store)?;
            }
            match table {
                Some(table) => tables.push(table),
                None => damaged.push((end, name)),
            }
        }
        tables.reverse();
        Ok((tables, damaged))
    }

    /// What the first bytes of a table say.
    fn look(store: &dyn Store, name: &str) -> io::Result<Option<Self>> {
        let Some((end, sealed_ms)) = parse_name(name) else { return Ok(None) };
        let size = store.file_bytes(name)?;
        let mut head = [0; HEAD_BYTES + KEY_ID_BYTES];
        let there = usize::try_from(size).map_or(head.len(), |size| size.min(head.len()));
        let head = &mut head[..there];
        let read = whole(store.read_file(name, 0, head))?;
        if later(head).is_some()
            && let Some(version) = newer(&store.load_file(name)?)
        {
            return Err(unsupported(name, version));
        }
        let parsed = read.and_then(|()| parse_head(head, size));
        if parsed.is_none() {
            passed_over(name);
        }
        let name = name.to_owned();
        let table =
            |(len, times, key)| Self { name, end, sealed_ms, len, key, times, filter: None };
        Ok(parsed.map(table))
    }

    /// Whether all of it was read.
    pub(super) fn is_read(&self) -> bool {
        self.filter.is_some()
    }

    /// Reads all of it; `None` if it is damaged.
    pub(super) fn read(&self, store: &dyn Store) -> io::Result<Option<Self>> {
        let parsed = whole(store.load_file(&self.name))?.and_then(|bytes| Content::parse(&bytes));
        if parsed.is_none() {
            passed_over(&self.name);
        }
        let describe =
            |content| Self::describe(self.name.clone(), self.end, self.sealed_ms, &content);
        Ok(parsed.map(describe))
    }

    /// The same, as known so far.
    pub(super) fn unread(&self) -> Self {
        let Self { end, sealed_ms, len, key, times, .. } = *self;
        Self { name: self.name.clone(), end, sealed_ms, len, key, times, filter: None }
    }

    /// The row of an id, read from the file if times and filter let it through.
    pub(super) fn find(
        &self,
        store: &dyn Store,
        sought: &mut Sought<'_>,
    ) -> io::Result<Option<Row>> {
        if !self.times.may_hold(sought.made_ms) {
            return Ok(None);
        }
        let Some((id, mix)) = sought.under(self.key).filter(|(id, _)| self.may_hold(id)) else {
            return Ok(None);
        };
        let found = self.search(store, &id)?;
        Ok(found.map(|row| Row { body: row.body ^ mix, ..row }))
    }

    fn search(&self, store: &dyn Store, id: &IdHash) -> io::Result<Option<Row>> {
        let (mut low, mut high) = (0, self.len);
        let mut from = expected(id, self.len).saturating_sub(SEARCH_ROWS / 2);
        while low < high {
            from = from.clamp(low, high.saturating_sub(SEARCH_ROWS).max(low));
            let to = high.min(from + SEARCH_ROWS);
            let rows = self.rows(store, from, to)?;
            match (rows.first(), rows.last()) {
                (Some(first), _) if *id < first.id => {
                    high = from;
                    from = from.saturating_sub(SEARCH_ROWS);
                }
                (_, Some(last)) if *id > last.id => {
                    low = to;
                    from = to;
                }
                _ => {
                    let found = rows.binary_search_by_key(id, |row| row.id);
                    return Ok(found.ok().map(|at| rows[at]));
                }
            }
        }
        Ok(None)
    }

    #[allow(clippy::cast_possible_truncation)] // at most SEARCH_ROWS
    fn rows(&self, store: &dyn Store, from: u64, to: u64) -> io::Result<Vec<Row>> {
        let mut bytes = vec![0; (to - from) as usize * ROW_BYTES];
        let head_bytes = HEAD_BYTES + if self.key.is_some() { KEY_ID_BYTES } else { 0 };
        store.read_file(&self.name, head_bytes as u64 + from * ROW_BYTES as u64, &mut bytes)?;
        Ok(bytes.chunks_exact(ROW_BYTES).filter_map(row).collect())
    }

    fn describe(name: String, end: u64, sealed_ms: u64, content: &Content) -> Self {
        let Content { rows, times, key } = content;
        let timed = times.untimed == 0;
        let bits_per_id = if timed { FILTER_BITS_PER_TIMED_ID } else { FILTER_BITS_PER_ID };
        let words = (rows.len() * bits_per_id).div_ceil(64).max(1);
        let (len, mut filter) = (rows.len() as u64, vec![0; words]);
        for row in rows {
            for bit in bits(&filter, &row.id) {
                filter[bit / 64] |= 1 << (bit % 64);
            }
        }
        let (times, key) = (*times, *key);
        Self { name, end, sealed_ms, len, key, times, filter: Some(filter) }
    }

    #[cfg(test)]
    pub(super) fn filter_bytes(&self) -> usize {
        self.filter.as_ref().map_or(0, |filter| size_of_val(&filter[..]))
    }

    fn may_hold(&self, id: &IdHash) -> bool {
        let holds = |filter: &Vec<u64>| {
            bits(filter, id).into_iter().all(|bit| filter[bit / 64] & 1 << (bit % 64) != 0)
        };
        self.filter.as_ref().is_none_or(holds)
    }
}

/// The id is a hash already: its four words choose the bits.
fn bits(filter: &[u64], id: &IdHash) -> [usize; FILTER_PROBES] {
    let bits = filter.len() * 64;
    std::array::from_fn(|probe| {
        let word =
            id[probe * 4..probe * 4 + 4].iter().fold(0usize, |n, &b| n << 8 | usize::from(b));
        word % bits
    })
}

fn passed_over(name: &str) {
    tracing::warn!(file = name, "a table of ids is damaged and was passed over");
}

/// A bad sector, or an end that comes too early, is damage like any other.
fn whole<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Err(e) if e.raw_os_error() == Some(libc::EIO) => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        read => read.map(Some),
    }
}

/// Where in `len` sorted rows a hash is to be expected.
#[allow(clippy::cast_possible_truncation)] // less than len
fn expected(hash: &IdHash, len: u64) -> u64 {
    let beginning = hash.iter().take(8).fold(0u64, |n, &byte| n << 8 | u64::from(byte));
    ((u128::from(beginning) * u128::from(len)) >> 64) as u64
}

/// What stands in a table's file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    rows: Vec<Row>,
    times: Times,
    key: Option<KeyId>,
}

impl Content {
    fn render(&self) -> Vec<u8> {
        let Self { rows, times, key } = self;
        let mut bytes = Vec::with_capacity(HEAD_BYTES + KEY_ID_BYTES + rows.len() * ROW_BYTES);
        bytes.extend(if key.is_some() { KEYED } else { MAGIC });
        bytes.extend([0; CRC_BYTES]);
        for number in [times.first_ms, times.last_ms, times.untimed] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(key.iter().flat_map(|key| key.0.to_le_bytes()));
        for row in rows {
            bytes.extend(row.id);
            bytes.extend(row.body.to_le_bytes());
            bytes.extend(row.position.to_le_bytes());
        }
        let (head, body) = bytes.split_at_mut(MAGIC.len() + CRC_BYTES);
        head[MAGIC.len()..].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (magic, bytes) = bytes.split_first_chunk()?;
        let (crc, body) = bytes.split_at_checked(CRC_BYTES)?;
        if crc != crc32fast::hash(body).to_le_bytes() {
            return None;
        }
        let (times, rows) = body.split_at_checked(TIMES_BYTES)?;
        let times = parse_times(times)?;
        let (key, rows) = match *magic {
            MAGIC => (None, rows),
            KEYED => {
                let (key, rows) = rows.split_first_chunk()?;
                (Some(KeyId(u32::from_le_bytes(*key))), rows)
            }
            _ => return None,
        };
        let (rows, rest) = rows.as_chunks::<ROW_BYTES>();
        let rows = rows.iter().map(|bytes| row(bytes)).collect::<Option<_>>()?;
        rest.is_empty().then_some(Self { rows, times, key })
    }
}

/// Whether these are the bytes of a table that something happened to.
pub(in crate::queue) fn is_damaged(bytes: &[u8]) -> bool {
    Content::parse(bytes).is_none() && newer(bytes).is_none()
}

/// The version of a table that a newer agent wrote.
pub(in crate::queue) fn newer(bytes: &[u8]) -> Option<u8> {
    let version = later(bytes)?;
    let (crc, body) = bytes[MAGIC.len()..].split_at_checked(CRC_BYTES)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..MAGIC.len()]);
    hasher.update(body);
    (crc == hasher.finalize().to_le_bytes()).then_some(version)
}

/// The version that a table's first bytes name, if it is later than ours.
fn later(head: &[u8]) -> Option<u8> {
    let (version, name) = head.get(..MAGIC.len())?.split_last()?;
    (*name == MAGIC[..VERSION_AT] && *version > KEYED[VERSION_AT]).then_some(*version)
}

/// An error if one of a store's tables is newer. Of the others it reads no more than the magic.
pub(in crate::queue) fn known(store: &dyn Store) -> io::Result<()> {
    for name in store.files(PREFIX)? {
        let mut magic = [0; MAGIC.len()];
        let read = store.read_file(&name, 0, &mut magic);
        if read.is_err() || later(&magic).is_none() {
            continue;
        }
        if let Some(version) = newer(&store.load_file(&name)?) {
            return Err(unsupported(name, version));
        }
    }
    Ok(())
}

fn parse_times(bytes: &[u8]) -> Option<Times> {
    let mut numbers = bytes.chunks_exact(8).filter_map(u64_of);
    Some(Times { first_ms: numbers.next()?, last_ms: numbers.next()?, untimed: numbers.next()? })
}

/// How many ids a table of `size` bytes has that begins so, their times, and its key.
fn parse_head(head: &[u8], size: u64) -> Option<(u64, Times, Option<KeyId>)> {
    let (magic, rest) = head.split_first_chunk()?;
    let (times, rest) = rest.get(CRC_BYTES..)?.split_at_checked(TIMES_BYTES)?;
    let (key, before) = match *magic {
        MAGIC => (None, HEAD_BYTES),
        KEYED => {
            let key = rest.first_chunk()?;
            (Some(KeyId(u32::from_le_bytes(*key))), HEAD_BYTES + KEY_ID_BYTES)
        }
        _ => return None,
    };
    let rows = size.checked_sub(before as u64)?;
    let len = rows.is_multiple_of(ROW_BYTES as u64).then_some(rows / ROW_BYTES as u64)?;
    Some((len, parse_times(times)?, key))
}

fn row(bytes: &[u8]) -> Option<Row> {
    Some(Row {
        id: bytes.get(..16)?.try_into().ok()?,
        body: u64_of(bytes.get(16..24)?)?,
        position: u64_of(bytes.get(24..32)?)?,
    })
}

fn u64_of(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (end, sealed_ms) = name.strip_prefix(PREFIX)?.split_once('-')?;
    Some((u64::from_str_radix(end, 16).ok()?, u64::from_str_radix(sealed_ms, 16).ok()?))
}

/// How far the segments reached whose tables lie in `store`, whatever is left of them: 0 without a
/// table. All of it was durable when the table was written.
pub(in crate::queue) fn told_end(store: &dyn Store) -> io::Result<u64> {
    let names = store.files(PREFIX)?;
    Ok(names.iter().filter_map(|name| Some(parse_name(name)?.0)).max().unwrap_or(0))
}

/// Reads any bytes, for fuzzing.
pub(in crate::queue) fn fuzz(bytes: &[u8]) {
    let table = |magic: [u8; 8]| {
        let mut table = magic.to_vec();
        table.extend(crc32fast::hash(bytes).to_le_bytes());
        table.extend(bytes);
        table
    };
    for bytes in [bytes, &table(MAGIC), &table(KEYED)] {
        let _ = (newer(bytes), parse_head(bytes, bytes.len() as u64));
        if let Some(content) = Content::parse(bytes) {
            assert_eq!(content.render(), bytes);
        }
    }
    let _ = parse_name(&String::from_utf8_lossy(bytes));
}
