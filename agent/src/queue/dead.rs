//! The local dead letters: a chain of their own, in which every letter says where it came from
//! and why. A letter leaves by being replayed into its lane or purged.

mod aging;
mod closing;
mod locked;
mod reasons;

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use spillway_protocol::message::StreamId;
use spillway_protocol::record::LaneName;
use tokio::time::Instant;

use super::api::{DeadFilter, DeadLetter, Fate, GivenUp, Options, SettleError, Walked};
use super::chain::{Chain, Read, Tail};
use super::cipher::KeyId;
use super::entry::{self, Letter};
use super::limits::DeadLimits;
use super::pack::Packer;
use super::ranges::Settled;
use super::state::{self, DeadState, Left};
use super::store::Store;
use super::timeline::Timeline;
use super::untold::{Grave, Untold};
use reasons::Reasons;

/// Payload of a segment: letters are few.
const SEGMENT_BYTES: u64 = 1024 * 1024;

/// The dead letters of all lanes.
pub(super) struct Dead {
    gateway: String,
    chain: Arc<Chain>,
    keep_bytes: u64,
    limits: DeadLimits,
    tell: bool,
    inner: Mutex<Inner>,
}

struct Inner {
    tail: Tail,
    /// Others write now: the folder was opened anew.
    closed: bool,
    settled: Settled,
    left: BTreeMap<LaneName, Left>,
    untold: BTreeMap<LaneName, Untold>,
    letters: BTreeMap<u64, Origin>,
    /// By where they came from.
    places: BTreeMap<(LaneName, u64), u64>,
    /// How many of each lane.
    here: BTreeMap<LaneName, u64>,
    reasons: Reasons,
    bytes: u64,
    /// Letters that are sealed with a key that is not here, and the last such key.
    locked: Option<(u64, KeyId)>,
    /// As how many of them lanes count, which cannot be read from them.
    locked_of: BTreeMap<LaneName, u64>,
    timeline: Timeline,
    /// Letters before this are known to be dead by their lanes' saved states.
    noted: u64,
    /// Where letters came from that left at a limit and whose lanes do not know it yet.
    purged: Vec<(LaneName, u64)>,
}

/// Where a letter came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) lane: LaneName,
    pub(super) position: u64,
    stream: u32,
    seq: u64,
    bytes: u32,
    died_ms: u64,
    code: Arc<str>,
}

/// How a letter leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    Replayed,
    Purged,
}

impl Leave {
    fn fate(self) -> Fate {
        match self {
            Self::Replayed => Fate::Replayed,
            Self::Purged => Fate::Purged,
        }
    }
}

impl Dead {
    /// Takes up what earlier runs left; reads every letter once.
    pub(super) fn recover(
        store: Arc<dyn Store>,
        options: &Options,
        wall_ms: u64,
        rng: StdRng,
    ) -> io::Result<Self> {
        let saved: DeadState = state::decode(store.load_state()?)?.unwrap_or_default();
        let keys = &options.packing.keys;
        let saved_end = Some(saved.end).filter(|end| *end > 0);
        let (chain, _) = Chain::recover(store, keys.clone(), saved_end)?;
        // Files of what left may be gone.
        saved.above.iter().for_each(|&(from, to)| chain.note_absent(from, to));
        let chain = Arc::new(chain);
        let packer = Packer::new(false, keys.clone());
        let tail = Tail::new(chain.clone(), packer, SEGMENT_BYTES, StreamId(0), 0, rng);
        let settled = Settled::restore(saved.watermark.max(1), &saved.above);
        let left = saved.left.into_iter().collect();
        let untold = saved.untold.into_iter();
        let untold = untold.map(|(lane, graves)| (lane, Untold::restore(&graves))).collect();
        let inner = Inner {
            closed: false,
            tail,
            settled,
            left,
            untold,
            letters: BTreeMap::new(),
            places: BTreeMap::new(),
            here: BTreeMap::new(),
            reasons: Reasons::default(),
            bytes: 0,
            locked: None,
            locked_of: BTreeMap::new(),
            timeline: Timeline::new(wall_ms, Instant::now()),
            noted: 0,
            purged: Vec::new(),
        };
        let dead = Self {
            gateway: options.gateway.clone(),
            chain,
            keep_bytes: options.dead_keep_bytes,
            limits: options.limits.dead,
            tell: options.tell,
            inner: Mutex::new(inner),
        };
        dead.index()?;
        Ok(dead)
    }

    fn index(&self) -> io::Result<()> {
        let mut inner = self.lock();
        let mut position = inner.settled.next_unsettled(self.chain.first());
        loop {
            position = match self.chain.read(position)? {
                Read::Pack(pack) => {
                    let bytes = pack.entry(position).map_or(0, |entry| entry.len());
                    pack.entry(position).map_or(Ok(()), |entry| entry::known(entry))?;
                    match pack.entry(position).and_then(|entry| entry::decode::<Letter>(entry).ok())
                    {
                        Some(letter) => inner.add(position, &letter, bytes),
                        None => inner.settled.insert(position, position + 1),
                    }
                    position + 1
                }
                Read::Hole { until } => {
                    tracing::error!(
                        from = position,
                        to = until - 1,
                        "dead letters are lost to a damaged file"
                    );
                    inner.settled.insert(position, until);
                    until
                }
                // They stay until the key is here, and count as dead.
                Read::Locked { key, until } => {
                    inner.lock_out(position, until, key);
                    until
                }
                Read::End => return Ok(()),
            };
            position = inner.settled.next_unsettled(position);
        }
    }

    /// Adds a letter, durable when this returns. Refuses when it would exceed what may be kept.
    /// Nobody sees it before `settle` has noted it in its lane: it could leave, and a crash would
    /// have it wait in the lane again.
    pub(super) fn add(&self, letter: &Letter, settle: impl FnOnce()) -> Result<(), SettleError> {
        let bytes = entry::encode(letter).map_err(disk)?;
        let mut inner = self.lock();
        inner.is_open().map_err(disk)?;
        if !self.make_room(&mut inner, bytes.len() as u64, letter.died_ms) {
            return Err(SettleError::DeadFull(self.keep_bytes));
        }
        inner.tail.seal(false);
        let position = inner.tail.next();
        inner.timeline.note(position, letter.died_ms, Instant::now());
        let size = bytes.len();
        inner.tail.append(&[bytes]).map_err(disk)?;
        settle();
        inner.add(position, letter, size);
        Ok(())
    }

    /// Adds a letter of another queue, unless it is here already.
    pub(super) fn adopt(&self, letter: &Letter) -> Result<(), SettleError> {
        let same = |origin: &Origin| {
            (&origin.lane, origin.stream, origin.seq) == (&letter.lane, letter.stream, letter.seq)
        };
        let here = self.lock().letters.values().any(same);
        if here { Ok(()) } else { self.add(letter, || {}) }
    }

    /// Numbers of another queue that will never arrive are told by this one; durable when this
    /// returns.
    pub(super) fn bequeath(&self, given_up: &[GivenUp]) -> io::Result<()> {
        if given_up.is_empty() {
            return Ok(());
        }
        let mut inner = self.lock();
        for range in given_up {
            let untold = inner.untold.entry(range.lane.clone()).or_default();
            untold.add(range.grave());
            if !self.tell {
                untold.forget_old();
            }
        }
        self.save(&inner)
    }

    fn save(&self, inner: &Inner) -> io::Result<()> {
        inner.is_open()?;
        let state = saved_state(self.chain.end(), &inner.settled, &inner.left, &inner.untold);
        self.chain.store().save_state(&state.encode()?)
    }

    /// Where the letters came from that recovery must not send again.
    pub(super) fn origins(&self) -> Vec<(u64, Origin)> {
        self.lock().letters.iter().map(|(number, origin)| (*number, origin.clone())).collect()
    }

    /// Whether the record at `position` of `lane` is here.
    pub(super) fn holds(&self, lane: &LaneName, position: u64) -> bool {
        let (inner, home) = (self.lock(), (lane.clone(), position));
        inner.places.contains_key(&home) || inner.purged.contains(&home)
    }

    /// Letters of `lane` that are here, and those that left.
    pub(super) fn figures(&self, lane: &LaneName) -> (u64, Left) {
        let inner = self.lock();
        let here = inner.here.get(lane).copied().unwrap_or_default();
        (here, inner.left.get(lane).copied().unwrap_or_default())
    }

    /// The letters that match, oldest first.
    pub(super) fn list(&self, filter: &DeadFilter) -> io::Result<Vec<DeadLetter>> {
        let numbers: Vec<u64> = (self.lock().letters.iter())
            .filter(|(number, origin)| {
                filter.number.is_none_or(|n| n == **number)
                    && filter.from.is_none_or(|from| **number >= from)
                    && filter.lane.as_ref().is_none_or(|l| *l == origin.lane)
            })
            .map(|(number, _)| *number)
            .collect();
        let mut letters = Vec::new();
        for number in numbers {
            if filter.limit.is_some_and(|limit| letters.len() >= limit) {
                break;
            }
            let Some(letter) = self.read(number)? else {
                continue;
            };
            if matches(&letter, filter) {
                letters.push(self.describe(number, letter));
            }
        }
        Ok(letters)
    }

    /// The letter of the record at `position` of `lane`.
    pub(super) fn at(&self, lane: &LaneName, position: u64) -> io::Result<Option<DeadLetter>> {
        let number = self.lock().places.get(&(lane.clone(), position)).copied();
        let Some(number) = number else { return Ok(None) };
        Ok(self.read(number)?.map(|letter| self.describe(number, letter)))
    }

    /// Shows `visit` all letters, oldest first, until it breaks off or the time is over.
    pub(super) fn walk(
        &self,
        until: Instant,
        visit: &mut dyn FnMut(&DeadLetter) -> ControlFlow<()>,
    ) -> io::Result<Walked> {
        let numbers: Vec<u64> = self.lock().letters.keys().copied().collect();
        let mut walked = Walked::default();
        for number in numbers {
            if Instant::now() >= until {
                return Ok(walked);
            }
            walked.looked += 1;
            let Some(letter) = self.read(number)? else { continue };
            if visit(&self.describe(number, letter)).is_break() {
                return Ok(walked);
            }
        }
        Ok(Walked { whole: true, ..walked })
    }

    /// How many letters can be read, and the numbers of those that cannot.
    pub(super) fn check(&self) -> io::Result<(u64, Vec<u64>)> {
        let numbers: Vec<u64> = self.lock().letters.keys().copied().collect();
        let (mut whole, mut lost) = (0, Vec::new());
        for number in numbers {
            match self.read(number)? {
                Some(_) => whole += 1,
                // It may have left meanwhile.
                None if self.lock().letters.contains_key(&number) => lost.push(number),
                None => {}
            }
        }
        Ok((whole, lost))
    }

    /// Where its files are kept.
    pub(super) fn store(&self) -> &Arc<dyn Store> {
        self.chain.store()
    }

    /// One letter, as it is stored.
    pub(super) fn read(&self, number: u64) -> io::Result<Option<Letter>> {
        let Read::Pack(pack) = self.chain.read(number)? else {
            return Ok(None);
        };
        Ok(pack.entry(number).and_then(|bytes| entry::decode(bytes).ok()))
    }

    fn describe(&self, number: u64, letter: Letter) -> DeadLetter {
        let home = (letter.lane, StreamId(letter.stream), letter.seq);
        let stamp = letter.stored.stamp(&self.gateway, home);
        DeadLetter {
            number,
            record: letter.stored.record,
            stamp,
            code: letter.code,
            reason: letter.reason,
            died_ms: letter.died_ms,
            attempts: letter.attempts,
        }
    }

    /// Takes letters away at `at_ms`, durably: on an error they are all still there.
    pub(super) fn remove(
        &self,
        numbers: &[u64],
        leave: Leave,
        at_ms: u64,
    ) -> io::Result<Vec<PathBuf>> {
        self.remove_from(&mut self.lock(), numbers, leave, at_ms)
    }

    fn remove_from(
        &self,
        inner: &mut Inner,
        numbers: &[u64],
        leave: Leave,
        at_ms: u64,
    ) -> io::Result<Vec<PathBuf>> {
        let mut settled = inner.settled.clone();
        let mut left = inner.left.clone();
        let mut untold = inner.untold.clone();
        for number in numbers {
            settled.insert(*number, number + 1);
            let Some(origin) = inner.letters.get(number) else { continue };
            let graves = untold.entry(origin.lane.clone()).or_default();
            graves.add(origin.grave(leave.fate(), at_ms));
            if !self.tell {
                graves.forget_old();
            }
            let left = left.entry(origin.lane.clone()).or_default();
            match leave {
                Leave::Replayed => left.replayed += 1,
                Leave::Purged => left.purged += 1,
            }
        }
        let state = saved_state(self.chain.end(), &settled, &left, &untold).encode()?;
        self.chain.store().save_state(&state)?;
        inner.settled = settled;
        inner.left = left;
        inner.untold = untold;
        numbers.iter().for_each(|number| inner.forget(*number));
        // Both slots of the state must know it before a segment may go.
        self.chain.store().save_state(&state)?;
        self.remove_settled(&inner.settled)
    }

    /// Removes segments of which no letter is here any more, also behind one that stays.
    fn remove_settled(&self, settled: &Settled) -> io::Result<Vec<PathBuf>> {
        let mut aside = self.chain.remove_below(settled.watermark(), usize::MAX)?;
        for (from, to) in settled.above(usize::MAX) {
            for (id, end) in self.chain.within(from, to) {
                aside.extend(self.chain.remove_settled(id, end)?);
            }
        }
        Ok(aside)
    }

    /// What left, durably, and is not told.
    pub(super) fn untold(&self) -> Vec<GivenUp> {
        let inner = self.lock();
        let of = |(lane, untold): (&LaneName, &Untold)| {
            let graves = untold.graves();
            graves.iter().map(|grave| GivenUp::of(lane, grave)).collect::<Vec<_>>()
        };
        inner.untold.iter().flat_map(of).collect()
    }

    /// These are told; a crash before the next save, or an error, tells them again.
    pub(super) fn told<'a>(
        &self,
        told: impl Iterator<Item = (&'a LaneName, Grave)>,
    ) -> io::Result<()> {
        let mut inner = self.lock();
        let before = inner.untold.clone();
        for (lane, grave) in told {
            inner.untold.entry(lane.clone()).or_default().remove(&grave);
        }
        inner.untold.retain(|_, untold| *untold != Untold::default());
        if inner.untold == before { Ok(()) } else { self.save(&inner) }
    }

    /// Bytes of its files.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.chain.disk_bytes()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Origin {
    fn grave(&self, fate: Fate, at_ms: u64) -> Grave {
        let (stream, from) = (self.stream, self.seq);
        Grave { fate, stream, from, to: from + 1, first_ms: at_ms, last_ms: at_ms }
    }
}

impl Inner {
    fn add(&mut self, position: u64, letter: &Letter, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.bytes += u64::from(bytes);
        let Letter { lane, position: home, stream, seq, died_ms, .. } = letter;
        let (lane, died_ms) = (lane.clone(), *died_ms);
        let code = self.reasons.add(&lane, &letter.code);
        let (stream, seq) = (*stream, *seq);
        let origin = Origin { lane, position: *home, stream, seq, bytes, died_ms, code };
        *self.here.entry(origin.lane.clone()).or_default() += 1;
        self.places.insert((origin.lane.clone(), origin.position), position);
        self.letters.insert(position, origin);
    }

    fn forget(&mut self, number: u64) {
        let Some(origin) = self.letters.remove(&number) else { return };
        self.bytes -= u64::from(origin.bytes);
        if let Some(here) = self.here.get_mut(&origin.lane) {
            *here -= 1;
        }
        self.reasons.remove(&origin.lane, &origin.code);
        self.places.remove(&(origin.lane, origin.position));
    }
}

fn saved_state(
    end: u64,
    settled: &Settled,
    left: &BTreeMap<LaneName, Left>,
    untold: &BTreeMap<LaneName, Untold>,
) -> DeadState {
    DeadState {
        end,
        watermark: settled.watermark(),
        above: settled.above(usize::MAX),
        left: left.iter().map(|(lane, left)| (lane.clone(), *left)).collect(),
        untold: untold.iter().map(|(lane, untold)| (lane.clone(), untold.graves())).collect(),
    }
}

fn matches(letter: &Letter, filter: &DeadFilter) -> bool {
    // A code is a broker's word, which nobody remembers by its capitals.
    let reason = filter.reason.as_ref().map(|text| text.to_lowercase());
    let has = |text: &String| {
        letter.code.to_lowercase() == *text || letter.reason.to_lowercase().contains(text.as_str())
    };
    reason.is_none_or(|text| has(&text))
        && filter.since_ms.is_none_or(|since| letter.died_ms >= since)
}

fn disk(error: io::Error) -> SettleError {
    SettleError::Disk(error.to_string())
}
