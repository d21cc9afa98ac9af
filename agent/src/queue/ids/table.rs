//! The ids of one sealed segment: a sorted file, and a filter in memory.
//!
//! File `ids-END-MS` (hex): magic 8, CRC-32 of the rows 4, then rows of 32 bytes sorted by id.

use std::io;

use super::IdHash;
use crate::queue::store::Store;

const MAGIC: [u8; 8] = *b"SPWIDS\x00\x01";
const ROW_BYTES: usize = 32;
const PREFIX: &str = "ids-";
const FILTER_BITS_PER_ID: usize = 10;
const FILTER_PROBES: usize = 4;

/// One id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: IdHash,
    pub(super) body: u64,
    pub(super) position: u64,
}

/// What memory keeps of a table.
pub(super) struct Table {
    pub(super) name: String,
    /// The position after the segment's last.
    pub(super) end: u64,
    /// When it was sealed, ms since 1970.
    pub(super) sealed_ms: u64,
    /// Ids in it.
    pub(super) len: u64,
    filter: Vec<u64>,
}

impl Table {
    /// Writes `rows` and keeps what is needed to find them.
    pub(super) fn save(
        store: &dyn Store,
        mut rows: Vec<Row>,
        end: u64,
        sealed_ms: u64,
    ) -> io::Result<Self> {
        rows.sort_by_key(|row| row.id);
        let name = format!("{PREFIX}{end:016x}-{sealed_ms:016x}");
        store.save_file(&name, &render(&rows))?;
        Ok(Self::describe(name, end, sealed_ms, &rows))
    }

    /// The tables that earlier runs left, oldest first. A damaged one is passed over: its segment
    /// was either sealed long ago or is read again by recovery.
    pub(super) fn load_all(store: &dyn Store) -> io::Result<Vec<Self>> {
        let mut tables = Vec::new();
        for name in store.files(PREFIX)? {
            let Some((end, sealed_ms)) = parse_name(&name) else {
                continue;
            };
            match parse(&store.load_file(&name)?) {
                Some(rows) => tables.push(Self::describe(name, end, sealed_ms, &rows)),
                None => {
                    tracing::warn!(file = name, "a table of ids is damaged and was passed over")
                }
            }
        }
        Ok(tables)
    }

    /// The row of `id`, read from the file if the filter lets it through.
    pub(super) fn find(&self, store: &dyn Store, id: &IdHash) -> io::Result<Option<Row>> {
        if !self.may_hold(id) {
            return Ok(None);
        }
        let rows = parse(&store.load_file(&self.name)?).unwrap_or_default();
        Ok(rows.binary_search_by_key(id, |row| row.id).ok().map(|at| rows[at]))
    }

    fn describe(name: String, end: u64, sealed_ms: u64, rows: &[Row]) -> Self {
        let words = (rows.len() * FILTER_BITS_PER_ID).div_ceil(64).max(1);
        let mut table =
            Self { name, end, sealed_ms, len: rows.len() as u64, filter: vec![0; words] };
        for row in rows {
            for bit in table.bits(&row.id) {
                table.filter[bit / 64] |= 1 << (bit % 64);
            }
        }
        table
    }

    fn may_hold(&self, id: &IdHash) -> bool {
        self.bits(id).into_iter().all(|bit| self.filter[bit / 64] & 1 << (bit % 64) != 0)
    }

    /// The id is a hash already: its four words choose the bits.
    fn bits(&self, id: &IdHash) -> [usize; FILTER_PROBES] {
        let bits = self.filter.len() * 64;
        std::array::from_fn(|probe| {
            let word =
                id[probe * 4..probe * 4 + 4].iter().fold(0usize, |n, &b| n << 8 | usize::from(b));
            word % bits
        })
    }
}

fn render(rows: &[Row]) -> Vec<u8> {
    let mut body = Vec::with_capacity(rows.len() * ROW_BYTES);
    for row in rows {
        body.extend(row.id);
        body.extend(row.body.to_le_bytes());
        body.extend(row.position.to_le_bytes());
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend(crc32fast::hash(&body).to_le_bytes());
    bytes.extend(body);
    bytes
}

fn parse(bytes: &[u8]) -> Option<Vec<Row>> {
    let body = bytes.strip_prefix(&MAGIC)?;
    let (crc, body) = body.split_at_checked(4)?;
    if crc != crc32fast::hash(body).to_le_bytes() {
        return None;
    }
    let row = |bytes: &[u8]| {
        Some(Row {
            id: bytes[..16].try_into().ok()?,
            body: u64::from_le_bytes(bytes[16..24].try_into().ok()?),
            position: u64::from_le_bytes(bytes[24..].try_into().ok()?),
        })
    };
    body.chunks_exact(ROW_BYTES).map(row).collect()
}

fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (end, sealed_ms) = name.strip_prefix(PREFIX)?.split_once('-')?;
    Some((u64::from_str_radix(end, 16).ok()?, u64::from_str_radix(sealed_ms, 16).ok()?))
}
