//! Which app-given ids were accepted, so that the same id again is the same record.
//!
//! The ids of the segment being filled are in memory. When it is sealed they are written as one
//! sorted table that outlives the segment until the window is over: while the record waits, for
//! an hour, and for the last 100,000 ids, whichever is longest. Of a table, memory keeps only a
//! filter of 10 bits an id, or 5 where the ids say when they were made.

mod mask;
mod table;
mod unwritten;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use spillway_protocol::record::{Record, RecordId};

use super::cipher::Keys;
use super::store::Store;
use mask::Sought;
use table::{Passed, Row, Table, Times};
pub(super) use table::{fuzz, is_damaged, known, told_end};
pub(super) use unwritten::{Unwritten, is_full};
use uuid::Uuid;

/// Ids are known at least this long, ms.
const WINDOW_MS: u64 = 3_600_000;
/// Of all lanes together, at least so many of the newest ids are known.
const WINDOW_IDS: u64 = 100_000;

/// First 16 bytes of the id's SHA-256.
pub(super) type IdHash = [u8; 16];

/// A map by [`IdHash`].
pub(super) type ByIdHash<T> = HashMap<IdHash, T, BuildHasherDefault<Prefix>>;

/// Hashes a hash: its first bytes are as good as any.
#[derive(Default)]
pub(super) struct Prefix(u64);

impl Hasher for Prefix {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = first_u64(bytes);
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Where an id was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Not within the window.
    New,
    /// With the same body.
    Same { lane: usize, position: u64 },
    /// With another body.
    Other { lane: usize, position: u64 },
    /// Another lane is storing it at this moment.
    Pending,
}

/// A table of which not all can be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damaged {
    pub(super) lane: usize,
    /// The position after its segment's last.
    pub(super) end: u64,
    name: String,
}

/// What was known of ids before they were noted again.
pub(super) struct Before(Vec<Option<Known>>);

/// The ids of all lanes.
pub(super) struct Ids {
    lanes: Mutex<Vec<LaneIds>>,
    /// Held by the lane that decides which ids are new, until it has noted them.
    turn: Mutex<()>,
}

struct LaneIds {
    store: Arc<dyn Store>,
    /// Under which tables are written and searched.
    keys: Keys,
    /// Of the segment being filled.
    open: ByIdHash<Known>,
    /// Positions below it are durable.
    durable: u64,
    tables: Vec<Table>,
    /// Those that were damaged at the start.
    damaged: Vec<Passed>,
}

#[derive(Clone, Copy)]
struct Known {
    body: u64,
    position: u64,
    made_ms: Option<u64>,
}

/// An id as it is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    hash: IdHash,
    /// When it was made, in ms since 1970 by its maker's clock, if it is a UUIDv7.
    made_ms: Option<u64>,
}

impl Key {
    fn of(id: &RecordId) -> Self {
        let digest = Sha256::digest(id.as_str().as_bytes());
        let mut hash = [0; 16];
        hash.copy_from_slice(&digest[..16]);
        Self { hash, made_ms: made_ms(id) }
    }
}

fn made_ms(id: &RecordId) -> Option<u64> {
    let uuid = Uuid::try_parse(id.as_str()).ok().filter(|uuid| uuid.get_version_num() == 7)?;
    Some(uuid.as_bytes().iter().take(6).fold(0, |n, &byte| n << 8 | u64::from(byte)))
}

/// An id and a body as they are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    key: Key,
    body: u64,
}

impl Print {
    /// The id alone.
    pub(super) fn id(&self) -> &IdHash {
        &self.key.hash
    }

    /// Of an accepted record.
    pub(super) fn of(record: &Record) -> Self {
        Self { key: Key::of(&record.id), body: first_u64(&Sha256::digest(&record.body)) }
    }
}

fn first_u64(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |n, &byte| n << 8 | u64::from(byte))
}

impl Ids {
    /// Takes up the tables of lanes `0..`, in the order of `stores`.
    pub(super) fn recover(stores: Vec<Arc<dyn Store>>, keys: Keys) -> io::Result<Self> {
        let lane = |store: Arc<dyn Store>| {
            let (tables, damaged) = Table::load_all(store.as_ref())?;
            let durable = tables.iter().map(|table| table.end).max().unwrap_or(0);
            let open = ByIdHash::default();
            Ok(LaneIds { store, keys: keys.clone(), open, durable, tables, damaged })
        };
        let lanes = Mutex::new(stores.into_iter().map(lane).collect::<io::Result<_>>()?);
        Ok(Self { lanes, turn: Mutex::default() })
    }

    /// The chain of `lane` ends at `end`, whatever its tables say: what comes is durable only once it
    /// is stored.
    pub(super) fn begin_at(&self, lane: usize, end: u64) {
        self.lock()[lane].durable = end;
    }

    /// Where the id was seen, if it was.
    pub(super) fn seen(&self, print: &Print) -> io::Result<Seen> {
        for (lane, ids) in self.lock().iter().enumerate() {
            let Some(known) = ids.find(&print.key)? else {
                continue;
            };
            return Ok(match known {
                Known { position, .. } if position >= ids.durable && ids.is_open(&print.key) => {
                    Seen::Pending
                }
                Known { body, position, .. } if body == print.body => Seen::Same { lane, position },
                Known { position, .. } => Seen::Other { lane, position },
            });
        }
        Ok(Seen::New)
    }

    /// Where the record with this id lies, for those who ask after it.
    pub(super) fn locate(&self, id: &RecordId) -> io::Result<Option<(usize, u64)>> {
        let key = Key::of(id);
        for (lane, ids) in self.lock().iter().enumerate() {
            if let Some(known) = ids.find(&key)?.filter(|known| known.position < ids.durable) {
                return Ok(Some((lane, known.position)));
            }
        }
        Ok(None)
    }

    /// While it is held no other lane decides which ids are new: between [`Ids::seen`] and
    /// [`Ids::begin`] two lanes would take the same one.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes ids that `lane` is about to store. Returns what was known of each: a replay brings an
    /// id again.
    pub(super) fn begin(&self, lane: usize, rows: &[(Print, u64)]) -> Before {
        let mut lanes = self.lock();
        let mut begin = |print: &Print, position: u64| {
            let Print { key: Key { hash, made_ms }, body } = *print;
            let known = Known { body, position, made_ms };
            lanes[lane].open.insert(hash, known)
        };
        Before(rows.iter().map(|(print, position)| begin(print, *position)).collect())
    }

    /// They are durable, or (not `stored`) were never stored and all is as `before`.
    pub(super) fn finish(&self, lane: usize, rows: &[(Print, u64)], before: Before, stored: bool) {
        let ids = &mut self.lock()[lane];
        if stored {
            let end = rows.last().map_or(0, |(_, position)| position + 1);
            ids.durable = ids.durable.max(end);
            return;
        }
        // Backwards: an id that is there twice was first unknown.
        for ((print, _), before) in rows.iter().zip(before.0).rev() {
            ids.open.remove(print.id());
            ids.open.extend(before.map(|known| (*print.id(), known)));
        }
    }

    /// Writes the ids of a sealed segment, positions `first..end`, as a table. On an error they
    /// stay in memory until the next try.
    pub(super) fn seal(&self, lane: usize, first: u64, end: u64, now_ms: u64) -> io::Result<()> {
        let mut lanes = self.lock();
        let ids = &mut lanes[lane];
        let inside = |known: &Known| (first..end).contains(&known.position);
        let rows: Vec<Row> = (ids.open.iter())
            .filter(|(_, known)| inside(known))
            .map(|(id, known)| Row { id: *id, body: known.body, position: known.position })
            .collect();
        let mut times = Times::NONE;
        let sealed = ids.open.values().filter(|known| inside(known));
        sealed.for_each(|known| times.add(known.made_ms));
        // Also where there are none: it says that the segment need not be read for them.
        let table = Table::save(ids.store.as_ref(), rows, times, end, now_ms, &ids.keys)?;
        ids.tables.push(table);
        ids.open.retain(|_, known| !inside(known));
        ids.open.shrink_to_fit();
        Ok(())
    }

    /// Reads one of the tables that were only looked at, in full. `None`: there are no more. One that
    /// is damaged is searched as far as it can be until [`Ids::replace`].
    pub(super) fn read_one(&self) -> io::Result<Option<Option<Damaged>>> {
        let next =
            |ids: &LaneIds| ids.tables.iter().rev().find(|t| !t.is_read()).map(Table::unread);
        let found = self
            .lock()
            .iter()
            .enumerate()
            .find_map(|(lane, ids)| next(ids).map(|table| (lane, ids.store.clone(), table)));
        let Some((lane, store, table)) = found else { return Ok(None) };
        // Not under the lock: it is some hundred kB.
        let read = table.read(store.as_ref());
        let mut lanes = self.lock();
        let tables = &mut lanes[lane].tables;
        let Some(nth) = tables.iter().position(|t| t.name == table.name && !t.is_read()) else {
            return Ok(Some(None));
        };
        match read? {
            Some(read) => tables[nth] = read,
            None => return Ok(Some(Some(Damaged { lane, end: table.end, name: table.name }))),
        }
        Ok(Some(None))
    }

    /// Removes a damaged table; one that was made anew of the same segment takes its place.
    pub(super) fn replace(&self, damaged: &Damaged) -> io::Result<()> {
        let ids = &mut self.lock()[damaged.lane];
        let Some(nth) = ids.tables.iter().position(|table| table.name == damaged.name) else {
            return Ok(());
        };
        ids.store.remove_file(&damaged.name)?;
        let anew = |table: &Table| table.end == damaged.end && table.name != damaged.name;
        match ids.tables.iter().rposition(anew) {
            Some(at) => {
                let table = ids.tables.remove(at);
                ids.tables[nth] = table;
            }
            None => drop(ids.tables.remove(nth)),
        }
        Ok(())
    }

    /// Where the segment from `first` on ends, as its table says, if there is one. That is at `limit`
    /// or before: those that followed may be gone, though their tables are not.
    pub(super) fn table_end(&self, lane: usize, first: u64, limit: u64) -> Option<u64> {
        let ids = &self.lock()[lane];
        let inside = |end: &u64| first < *end && *end <= limit;
        // The first is its own.
        let end = ids.tables.iter().map(|table| table.end).filter(inside).min()?;
        let damaged = ids.damaged.iter().map(|(end, _)| *end).filter(inside).min();
        damaged.is_none_or(|damaged| end <= damaged).then_some(end)
    }

    /// Another table stands for those that were damaged at the start and end behind `first`, at
    /// `limit` or before.
    pub(super) fn replaced(&self, lane: usize, first: u64, limit: u64) {
        let ids = &mut self.lock()[lane];
        let store = ids.store.clone();
        ids.damaged.retain(|(end, name)| {
            let replaced = first < *end && *end <= limit;
            if replaced {
                // One that stays is passed over again.
                drop(store.remove_file(name));
            }
            !replaced
        });
    }

    /// Forgets tables whose window is over: everything in them is settled (below `watermark`),
    /// they are older than an hour, and enough newer ids are known. While its segment is there
    /// (the chain begins at `first`), an empty table says that it need not be read for ids.
    pub(super) fn expire(
        &self,
        lane: usize,
        watermark: u64,
        first: u64,
        now_ms: u64,
    ) -> io::Result<()> {
        let mut lanes = self.lock();
        let mut nth = 0;
        while let Some(table) = lanes[lane].tables.get(nth) {
            let newer: u64 = lanes.iter().map(|ids| ids.newer_than(table.sealed_ms)).sum();
            let over = newer >= WINDOW_IDS && now_ms >= table.sealed_ms.saturating_add(WINDOW_MS);
            if table.end > watermark || !(over || table.len == 0) {
                break;
            }
            let ids = &mut lanes[lane];
            if ids.tables[nth].end <= first {
                ids.store.remove_file(&ids.tables[nth].name)?;
                ids.tables.remove(nth);
                continue;
            }
            if ids.tables[nth].len > 0 {
                ids.tables[nth].empty(ids.store.as_ref())?;
            }
            nth += 1;
        }
        Ok(())
    }

    /// The same of segments that are gone although something before them is not settled.
    pub(super) fn expire_gone(
        &self,
        lane: usize,
        is_gone: impl Fn(u64, u64) -> bool,
        now_ms: u64,
    ) -> io::Result<()> {
        let mut lanes = self.lock();
        let open: u64 = lanes.iter().map(|ids| ids.open.len() as u64).sum();
        let mut newest: Vec<(u64, u64)> = (lanes.iter().flat_map(|ids| &ids.tables))
            .map(|table| (table.sealed_ms, table.len))
            .collect();
        newest.sort_unstable();
        // Before this, enough newer ids are known.
        let mut known = open;
        let enough = newest.iter().rev().find(|(_, len)| {
            known += len;
            known >= WINDOW_IDS
        });
        let over_ms = enough.map_or(0, |(sealed_ms, _)| *sealed_ms);
        let ids = &mut lanes[lane];
        let mut first = 0;
        let over = |table: &Table, first: u64| {
            let over =
                table.sealed_ms < over_ms && now_ms >= table.sealed_ms.saturating_add(WINDOW_MS);
            (over || table.len == 0) && is_gone(first, table.end)
        };
        let mut nth = 0;
        while let Some(table) = ids.tables.get(nth) {
            let (end, over) = (table.end, over(table, first));
            first = end;
            if over {
                ids.store.remove_file(&table.name)?;
                ids.tables.remove(nth);
            } else {
                nth += 1;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<LaneIds>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LaneIds {
    /// Whether it is of the segment being filled.
    fn is_open(&self, key: &Key) -> bool {
        self.open.contains_key(&key.hash)
    }

    fn find(&self, key: &Key) -> io::Result<Option<Known>> {
        if let Some(known) = self.open.get(&key.hash) {
            return Ok(Some(*known));
        }
        let mut sought = Sought::new(key, &self.keys);
        for table in self.tables.iter().rev() {
            let found = table.find(self.store.as_ref(), &mut sought)?;
            if let Some(Row { body, position, .. }) = found {
                let made_ms = key.made_ms;
                return Ok(Some(Known { body, position, made_ms }));
            }
        }
        Ok(None)
    }

    /// Ids that were sealed after `sealed_ms`, or not yet.
    fn newer_than(&self, sealed_ms: u64) -> u64 {
        let newer = self.tables.iter().filter(|table| table.sealed_ms > sealed_ms);
        self.open.len() as u64 + newer.map(|table| table.len).sum::<u64>()
    }
}

#[cfg(test)]
mod tests;
