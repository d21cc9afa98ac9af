//! A lane: a chain of records with its head, and what is saved of both.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use spillway_protocol::message::{Flags, Stamp, StreamId};
use spillway_protocol::record::{LaneName, Record};
use tokio::sync::watch;
use tokio::time::Instant;

use super::api::{Accounts, Entry, GivenUp, LaneOptions, Place, SettleError};
use super::chain::{Chain, Pack, Read};
use super::dead::Dead;
use super::entry::{self, Letter, Stored};
use super::head::{End, Head, KeyHash, Next, Refill};
use super::lease::Lease;
use super::numbering::Numbering;
use super::ranges::Settled;
use super::state::{self, LaneState, RANGES_MAX, Tally};
use super::store::Store;
use super::untold::{Grave, Untold};
use crate::clock::WallClock;

/// Most entries that one call of [`Lane::lease`] looks at, so that it ends soon.
const LOOKS_MAX: usize = 4096;

/// See the module.
pub(super) struct Lane {
    pub(super) name: LaneName,
    pub(super) index: usize,
    gateway: String,
    pub(super) chain: Arc<Chain>,
    dead: Arc<Dead>,
    clock: Arc<dyn WallClock>,
    head: Mutex<Head>,
    numbering: Numbering,
    saved: Mutex<Saved>,
    /// Counts changes; the state is saved when it moved.
    moved: AtomicU64,
    /// Segments from this position on stay, whatever is settled.
    kept_from: AtomicU64,
    changed: watch::Sender<u64>,
    oldest: Mutex<Option<(u64, u64)>>,
    tell: bool,
}

/// What all lanes of a queue share.
pub(super) struct Shared {
    pub(super) gateway: String,
    /// New records get this one.
    pub(super) stream: StreamId,
    pub(super) dead: Arc<Dead>,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) changed: watch::Sender<u64>,
    /// See [`Options::tell`](super::Options::tell).
    pub(super) tell: bool,
}

#[derive(Default)]
struct Saved {
    moved: u64,
    /// Watermarks of the newest saved state and of the one before. Segments below the older may
    /// go: whichever slot survives, it does not miss them.
    watermark: u64,
    before: u64,
    /// Untold there: only this may be told, since a crash undoes what is not saved.
    untold: Untold,
}

impl Lane {
    /// Takes up what earlier runs left of this lane.
    pub(super) fn recover(
        options: &LaneOptions,
        index: usize,
        store: Arc<dyn Store>,
        shared: &Shared,
    ) -> io::Result<Self> {
        let saved: Option<LaneState> = state::decode(store.load_state()?);
        let (chain, found) = Chain::recover(store, saved.as_ref().map(|s| s.end))?;
        let known = saved.iter().flat_map(|state| &state.streams);
        let numbering = Numbering::recover(known, found, shared.stream, chain.end());
        let head = match saved {
            Some(s) => {
                let settled = Settled::restore(s.watermark, &s.above);
                Head::new(options.ordering, settled, s.baseline, s.settled)
                    .with_lost(&s.lost, &s.untold)
            }
            // Without a state nothing is known of what came before: all that is there is sent.
            None => Head::new(
                options.ordering,
                Settled::below(chain.first()),
                chain.first(),
                Tally::default(),
            ),
        };
        Ok(Self {
            name: options.name.clone(),
            index,
            gateway: shared.gateway.clone(),
            chain: Arc::new(chain),
            dead: shared.dead.clone(),
            clock: shared.clock.clone(),
            numbering,
            saved: Mutex::new(Saved { untold: head.untold.clone(), ..Saved::default() }),
            moved: AtomicU64::new(1),
            kept_from: AtomicU64::new(u64::MAX),
            changed: shared.changed.clone(),
            oldest: Mutex::new(None),
            tell: shared.tell,
            head: Mutex::new(head),
        })
    }

    /// The streams of its records, and their numbers.
    pub(super) fn numbering(&self) -> &Numbering {
        &self.numbering
    }

    pub(super) fn head(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Segments from `position` on may not be removed yet.
    pub(super) fn keep_from(&self, position: u64) {
        self.kept_from.store(position, Relaxed);
    }

    /// Something was appended or settled.
    pub(super) fn touch(&self) {
        self.moved.fetch_add(1, Relaxed);
        self.changed.send_modify(|count| *count += 1);
    }

    /// See [`Queue::lease`](super::Queue::lease).
    pub(super) fn lease(
        self: &Arc<Self>,
        count: usize,
        bytes: usize,
        now: Instant,
    ) -> io::Result<Vec<Lease>> {
        let mut leases: Vec<Lease> = Vec::new();
        let (mut room, mut looks) = (bytes, 0);
        let mut head = self.head();
        while leases.len() < count && looks < LOOKS_MAX {
            looks += 1;
            let (position, new) = match head.next(now, self.chain.end()) {
                Next::Nothing => break,
                Next::Refill(refill) => {
                    looks += self.refill(&mut head, refill)?;
                    continue;
                }
                Next::Again(position) => (position, false),
                Next::Look(position) => (position, true),
            };
            let (pack, stored) = match self.look(&mut head, position) {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                // What was leased before the unreadable one may go.
                Err(_) if !leases.is_empty() => break,
                Err(error) => return Err(error),
            };
            let size = stored.record.size_bytes();
            if !leases.is_empty() && size > room {
                break;
            }
            if new && !head.found(position, self.key_hash(&stored.record)) {
                continue;
            }
            room = room.saturating_sub(size);
            let attempts = head.lease(position);
            let stamp = self.stamp(&pack, position, &stored);
            leases.push(Lease::new(self.clone(), position, stored.record, stamp, attempts));
        }
        Ok(leases)
    }

    /// Reads `position`; damage there is settled as such.
    fn look(
        &self,
        head: &mut Head,
        position: u64,
    ) -> io::Result<Option<(Arc<Pack>, Stored<Record>)>> {
        match self.chain.read(position)? {
            Read::Pack(pack) => match decode(&pack, position) {
                Some(stored) => return Ok(Some((pack, stored))),
                None => self.lose(head, position, position + 1),
            },
            Read::Hole { until } => self.lose(head, position, until),
            Read::End => {}
        }
        Ok(None)
    }

    fn lose(&self, head: &mut Head, from: u64, until: u64) {
        let until = until.min(self.chain.end());
        tracing::error!(lane = %self.name, from, to = until - 1, "records are lost to a damaged file; it is kept in quarantine/");
        self.chain.mark_damaged(from);
        for (from, to) in head.settled().gaps(from, until) {
            self.give_up(head, (from, to), End::Damaged, self.now_ms());
        }
        head.damaged(from, until);
        self.touch();
    }

    /// Looks for more of one key, but not for long: the next call goes on. Returns at how many
    /// entries it looked.
    fn refill(&self, head: &mut Head, refill: Refill) -> io::Result<usize> {
        let (mut found, mut looks) = (Vec::new(), 0);
        let mut position = refill.from;
        while position < refill.to && found.len() < refill.limit && looks < LOOKS_MAX {
            looks += 1;
            match self.chain.read(position)? {
                Read::Pack(pack) => {
                    let key = decode(&pack, position).map(|stored| self.key_hash(&stored.record));
                    found.extend((key == Some(refill.key)).then_some(position));
                    position += 1;
                }
                Read::Hole { until } => position = until,
                Read::End => break,
            }
        }
        head.refill(refill, found, position.min(refill.to));
        Ok(looks)
    }

    /// Records without an order key share the gateway's, under which they are sent.
    fn key_hash(&self, record: &Record) -> KeyHash {
        let key = record.order_key.as_ref().map_or(self.gateway.as_str(), |key| key.as_str());
        Sha256::digest(key.as_bytes()).iter().take(8).fold(0, |n, &byte| n << 8 | u64::from(byte))
    }

    fn stamp<R>(&self, pack: &Pack, position: u64, stored: &Stored<R>) -> Stamp {
        Stamp {
            gateway: self.gateway.clone(),
            lane: self.name.clone(),
            stream: pack.stream,
            seq: position - pack.base,
            accepted_ms: stored.accepted_ms,
            clock_set: stored.clock_set,
            flags: Flags::from_bits(stored.flags),
        }
    }

    /// Settles a leased position.
    pub(super) fn settle(&self, position: u64, end: End) {
        let mut head = self.head();
        head.settle(position, end);
        if end != End::Delivered {
            self.give_up(&mut head, (position, position + 1), end, self.now_ms());
        }
        drop(head);
        self.touch();
    }

    /// Recovery found the record at `position` among the dead letters.
    pub(super) fn recovered_dead(&self, position: u64, died_ms: u64) {
        let mut head = self.head();
        head.recovered_dead(position);
        self.give_up(&mut head, (position, position + 1), End::Dead, died_ms);
    }

    /// Notes what the far side has to hear of these positions.
    fn give_up(&self, head: &mut Head, (from, to): (u64, u64), end: End, at_ms: u64) {
        let Some(fate) = end.fate() else { return };
        for (StreamId(stream), from, to) in self.numbering.spans(from, to) {
            head.untold.add(Grave { fate, stream, from, to, first_ms: at_ms, last_ms: at_ms });
        }
        if !self.tell {
            head.untold.forget_old();
        }
    }

    /// What was given up, durably, and is not told. Waits for a save under way.
    pub(super) fn untold(&self) -> Vec<GivenUp> {
        let graves = self.saved().untold.graves();
        graves.iter().map(|grave| GivenUp::of(&self.name, grave)).collect()
    }

    /// These are told; a crash before the next save tells them again.
    pub(super) fn told(&self, told: &Grave) {
        self.saved().untold.remove(told);
        self.head().untold.remove(told);
        self.moved.fetch_add(1, Relaxed);
    }

    /// Puts a leased position back.
    pub(super) fn defer(&self, position: u64, not_before: Option<Instant>, charged: bool) {
        self.head().defer(position, not_before, charged);
        self.changed.send_modify(|count| *count += 1);
    }

    /// What was put back for later may be leased now.
    pub(super) fn hasten(&self) {
        self.head().hasten();
        self.changed.send_modify(|count| *count += 1);
    }

    /// Moves a leased record to the dead letters. It is settled here once it is durable there; a
    /// crash in between is found by recovery.
    pub(super) fn bury(&self, letter: &Letter) -> Result<(), SettleError> {
        self.dead.add(letter)?;
        self.settle(letter.position, End::Dead);
        Ok(())
    }

    /// The accounts, which add up by construction: see [`Tally`] and [`Left`](state::Left).
    pub(super) fn accounts(&self) -> Accounts {
        // Before the head's lock: whoever writes a letter holds the other one for a sync.
        let (dead, left) = self.dead.figures(&self.name);
        let head = self.head();
        let (tally, baseline) = (head.tally(), head.baseline());
        let numbered = self.chain.end().saturating_sub(baseline);
        let waiting = numbered.saturating_sub(head.settled().count_from(baseline));
        let known = dead + left.replayed + left.purged;
        // Letters that neither lie there nor left were lost with a damaged file.
        let lost = tally.dead.saturating_sub(known);
        // More letters than the lane has noted: a crash came before it could, so these records
        // wait again and are there twice.
        let twice = known.saturating_sub(tally.dead);
        Accounts {
            accepted: (numbered + twice).saturating_sub(left.replayed),
            delivered: tally.delivered,
            waiting,
            dead,
            expired: tally.expired,
            dropped: tally.dropped + left.purged,
            damaged: tally.damaged + lost,
        }
    }

    /// Where the record at `position` is.
    pub(super) fn place(&self, position: u64) -> Place {
        let (stream, seq) = self.numbering.number(position);
        let lane = self.name.clone();
        let (waits, lost) = {
            let head = self.head();
            (!head.settled().contains(position), head.is_lost(position))
        };
        if waits {
            Place::Waiting { lane, stream, seq }
        } else if lost {
            Place::Dropped { lane, stream, seq }
        } else if self.dead.holds(&lane, position) {
            Place::Dead { lane, stream, seq }
        } else {
            Place::Delivered { lane, stream, seq }
        }
    }

    /// This machine's wall time.
    pub(super) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Waiting records from `from` on.
    pub(super) fn peek(&self, from: u64, limit: usize) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut position = self.head().settled().next_unsettled(from);
        while entries.len() < limit {
            position = match self.chain.read(position)? {
                Read::Pack(pack) => {
                    if let Some(stored) = decode(&pack, position) {
                        let stamp = self.stamp(&pack, position, &stored);
                        entries.push(Entry { position, record: stored.record, stamp });
                    }
                    position + 1
                }
                Read::Hole { until } => until,
                Read::End => break,
            };
            position = self.head().settled().next_unsettled(position);
        }
        Ok(entries)
    }

    /// The record at `position`, settled or not, while its segment is still there.
    pub(super) fn stored_at(&self, position: u64) -> io::Result<Option<(Stamp, Stored<Record>)>> {
        let Read::Pack(pack) = self.chain.read(position)? else {
            return Ok(None);
        };
        Ok(decode(&pack, position).map(|stored| (self.stamp(&pack, position, &stored), stored)))
    }

    /// When the oldest waiting record was accepted, ms since 1970.
    pub(super) fn oldest_accepted_ms(&self) -> Option<u64> {
        let position = self.head().settled().watermark();
        let mut oldest = self.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        if oldest.is_none_or(|(known, _)| known != position) {
            let (_, stored) = self.stored_at(position).ok()??;
            *oldest = Some((position, stored.accepted_ms));
        }
        oldest.map(|(_, accepted_ms)| accepted_ms)
    }

    /// Bytes of the waiting records: each segment's, by the share of it that is not settled.
    pub(super) fn live_bytes(&self) -> u64 {
        let sizes = self.chain.sizes();
        let head = self.head();
        let live = |(from, to, bytes): (u64, u64, u64)| {
            let settled = head.settled().count_in(from, to);
            let waiting = (to - from).saturating_sub(settled);
            u64::try_from(u128::from(bytes) * u128::from(waiting) / u128::from((to - from).max(1)))
                .unwrap_or(bytes)
        };
        sizes.into_iter().map(live).sum()
    }

    /// Whether there is anything to save, or segments that could go.
    pub(super) fn wants_saving(&self) -> bool {
        let saved = self.saved();
        saved.moved != self.moved.load(Relaxed)
            || (saved.before < saved.watermark
                && self.chain.removable_below(saved.watermark.min(self.kept_from.load(Relaxed))))
    }

    /// Saves the state, then removes segments that no saved state needs. Returns those that were
    /// put aside because they are damaged.
    pub(super) fn save(&self) -> io::Result<Vec<PathBuf>> {
        let mut saved = self.saved();
        let moved = self.moved.load(Relaxed);
        let state = self.state();
        self.chain.store().save_state(&state::encode(&state)?)?;
        let untold = Untold::restore(&state.untold);
        *saved = Saved { moved, watermark: state.watermark, before: saved.watermark, untold };
        self.chain.remove_below(saved.before.min(state.watermark).min(self.kept_from.load(Relaxed)))
    }

    fn state(&self) -> LaneState {
        let head = self.head();
        LaneState {
            end: self.chain.end(),
            watermark: head.settled().watermark(),
            above: head.settled().above(RANGES_MAX),
            baseline: head.baseline(),
            streams: self.numbering.saved(),
            settled: saved_tally(&head),
            lost: head.lost(),
            untold: head.untold.graves(),
        }
    }

    fn saved(&self) -> MutexGuard<'_, Saved> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tally as it will be true of the saved ranges: what lies above the last saved range is
/// sent again after a crash, so it counts as not delivered there.
fn saved_tally(head: &Head) -> Tally {
    let tally = head.tally();
    let all = head.settled();
    let saved = Settled::restore(all.watermark(), &all.above(RANGES_MAX));
    let unsaved = all.count_from(head.baseline()) - saved.count_from(head.baseline());
    Tally { delivered: tally.delivered.saturating_sub(unsaved), ..tally }
}

/// The record at `position` of `pack`; `None` if it cannot be read by this build.
fn decode(pack: &Pack, position: u64) -> Option<Stored<Record>> {
    entry::decode(pack.entry(position)?).ok()
}

/// How many records wait in a chain that is not opened as a lane.
pub(super) fn waiting_in(store: Arc<dyn Store>) -> io::Result<u64> {
    let saved: Option<LaneState> = state::decode(store.load_state()?);
    let (chain, _) = Chain::recover(store, saved.as_ref().map(|s| s.end))?;
    let settled =
        saved.map_or(Settled::below(chain.first()), |s| Settled::restore(s.watermark, &s.above));
    Ok(chain.end().saturating_sub(settled.watermark())
        - settled.count_in(settled.watermark(), chain.end()))
}
