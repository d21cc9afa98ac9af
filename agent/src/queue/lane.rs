//! A lane: a chain of records with its head, and what is saved of both.

mod ages;
mod dropping;
mod expiring;
mod holding;
mod inquiry;
mod leasing;
mod looking;
mod remaining;
mod saving;
mod tapping;
mod watching;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use spillway_protocol::message::{Stamp, StreamId};
use spillway_protocol::record::{LaneName, Record};
use tokio::sync::watch;
use tokio::time::Instant;

use super::api::{Accounts, Entry, GivenUp, LaneOptions, Ordering, Place, SettleError};
use super::chain::{Chain, Pack, Read};
use super::cipher::{KeyId, KeyMissing, Keys};
use super::dead::Dead;
use super::entry::{self, Letter, Origin, Stored};
use super::head::{End, Head, KeyHash, Refill};
use super::ids::told_end;
use super::lived::Lived;
use super::numbering::Numbering;
use super::ranges::Settled;
use super::state::{self, LaneState, Tally};
use super::store::Store;
use super::tap::Tap;
use super::timeline::{Accepted, Timeline};
use super::untold::{Grave, Untold};
use crate::clock::WallClock;
use leasing::LOOKS_MAX;
pub use tapping::{Happened, Tapping};
pub use watching::Settling;

/// Pause after a read that failed, as while the disk or the data folder is away: whoever waits for
/// records would ask again at once.
const READ_RETRY: Duration = Duration::from_secs(1);

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
    /// The saved state knows that all below it is settled: it is held no more.
    saved_to: AtomicU64,
    held: holding::Held,
    /// Segments above that of which the same is true, though something before them is not settled.
    done: Mutex<saving::Done>,
    /// The last position that could not be read for want of its key.
    locked: Mutex<Option<(u64, KeyId)>>,
    /// Counts changes; the state is saved when it moved.
    moved: AtomicU64,
    /// Segments from this position on stay, whatever is settled: their ids are not written yet.
    kept_from: AtomicU64,
    /// Segments from this position on stay for a resend.
    shelved_from: AtomicU64,
    changed: watch::Sender<u64>,
    /// The oldest that waited at the last look.
    oldest: Mutex<Option<(u64, Accepted)>>,
    timeline: Mutex<Timeline>,
    /// Where there is an age at which its records are given up: that, in ms.
    ttl: Option<(u64, Lived)>,
    /// Nothing is read before, since reading has failed.
    unread_until: Mutex<Option<Instant>>,
    watchers: watching::Watchers,
    tap: Tap,
    tell: bool,
}

/// What all lanes of a queue share.
pub(super) struct Shared {
    pub(super) gateway: String,
    /// New records get this one.
    pub(super) stream: StreamId,
    pub(super) dead: Arc<Dead>,
    pub(super) keys: Keys,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) changed: watch::Sender<u64>,
    /// Settled segments stay until they are released.
    pub(super) keeps: bool,
    /// See [`Options::tell`](super::Options::tell).
    pub(super) tell: bool,
}

struct Saved {
    moved: u64,
    /// What is settled in the newest saved state and in the one before. Segments of which all is in
    /// both may go: whichever slot survives, it does not miss them.
    settled: Settled,
    before: Settled,
    /// Something could go once the next state knows the same.
    again: bool,
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
        let saved: Option<LaneState> = state::decode(store.load_state()?)?;
        let saved_end = saved.as_ref().map(|s| s.end);
        let (chain, found) = Chain::recover(store.clone(), shared.keys.clone(), saved_end)?;
        // Their ids are still known, by numbers that must not become others'.
        chain.reaches(told_end(store.as_ref())?);
        let ttl = expiring::recover(options, store, chain.end(), shared)?;
        // Files of what is settled may be gone.
        let ranges = saved.iter().flat_map(|state| &state.above);
        ranges.for_each(|&(from, to)| chain.note_absent(from, to));
        let known = saved.iter().flat_map(|state| &state.streams);
        let numbering = Numbering::recover(known, found, shared.stream, chain.end());
        let head = match saved {
            Some(s) => {
                let settled = Settled::restore(s.watermark, &s.above);
                Head::new(options.ordering, settled, s.baseline, s.settled)
                    .with_lost(&s.lost, &s.untold, &s.thinned)
                    .with_expired(&s.expired)
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
            saved: Mutex::new(Saved::new(head.untold.clone())),
            saved_to: AtomicU64::new(head.settled().watermark()),
            held: holding::Held::default(),
            done: Mutex::default(),
            locked: Mutex::default(),
            moved: AtomicU64::new(1),
            kept_from: AtomicU64::new(u64::MAX),
            shelved_from: AtomicU64::new(if shared.keeps { 0 } else { u64::MAX }),
            changed: shared.changed.clone(),
            oldest: Mutex::new(None),
            timeline: Mutex::new(Timeline::new(shared.clock.now_ms(), Instant::now())),
            ttl,
            unread_until: Mutex::new(None),
            watchers: watching::Watchers::default(),
            tap: Tap::default(),
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

    /// Reading has failed: nothing is leased for a while.
    pub(super) fn rest(&self) {
        let until = Some(Instant::now() + READ_RETRY);
        *self.unread_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Until when nothing is leased, since reading has failed.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        let until = *self.unread_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.filter(|until| Instant::now() < *until)
    }

    /// Something was appended or settled.
    pub(super) fn touch(&self) {
        self.moved.fetch_add(1, Relaxed);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Reads `position`; damage there is settled as such, and a record that is too old as well.
    fn look(&self, head: &mut Head, position: u64) -> io::Result<Option<(Arc<Pack>, Found)>> {
        match self.chain.read(position)? {
            Read::Pack(pack) => match decode(&pack, position) {
                Some(found) if self.is_too_old(position, &found) => {
                    self.give_up_old(head, position);
                }
                Some(found) => return Ok(Some((pack, found))),
                None => {
                    pack.entry(position).map_or(Ok(()), |entry| entry::known(entry))?;
                    self.lose(head, position, position + 1);
                }
            },
            Read::Hole { until } => self.lose(head, position, until),
            Read::Locked { key, .. } => return Err(self.locked(position, key)),
            Read::End => {}
        }
        Ok(None)
    }

    /// The record at `position` is whole and sealed with a key that is not here: nothing is lost, and
    /// nothing behind it leaves before it.
    fn locked(&self, position: u64, key: KeyId) -> io::Error {
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        if locked.replace((position, key)).is_none_or(|(_, before)| before != key) {
            tracing::error!(lane = %self.name, %key, "records are sealed with a key that this agent does not have; they stay, and the lane waits for it: add it to [gateway] former_keys");
        }
        KeyMissing(key).into()
    }

    /// The key that a waiting record was found to need.
    pub(super) fn missing_key(&self) -> Option<KeyId> {
        let locked = *self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        let (position, key) = locked?;
        self.head().waits(position).then_some(key)
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
                    let key =
                        decode(&pack, position).map(|(stored, _)| self.key_hash(&stored.record));
                    found.extend((key == Some(refill.key)).then_some(position));
                    position += 1;
                }
                Read::Hole { until } => position = until,
                // Nobody can say whose they are.
                Read::Locked { key, .. } => return Err(self.locked(position, key)),
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

    /// What is known of a record; of a copy, what was known of the record it was made of.
    fn stamp(&self, pack: &Pack, position: u64, (stored, origin): &Found) -> Stamp {
        let own = || (self.name.clone(), pack.stream, position - pack.base);
        let of_copy = |origin: &Origin| (origin.lane.clone(), StreamId(origin.stream), origin.seq);
        stored.stamp(&self.gateway, origin.as_ref().map_or_else(own, of_copy))
    }

    /// Settles a leased position.
    pub(super) fn settle(&self, position: u64, end: End) {
        let mut head = self.head();
        head.settle(position, end);
        if end != End::Delivered {
            self.give_up(&mut head, (position, position + 1), end, self.now_ms());
        }
        drop(head);
        if end == End::Delivered {
            self.tap.tell((position, position + 1), end, || self.now_ms());
        }
        self.watchers.wake(position, position + 1, end == End::Delivered, |_| false);
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
        self.watchers.wake(from, to, false, |position| head.waits(position));
        self.tap.tell((from, to), end, || at_ms);
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
        self.dead.add(letter, || {
            self.tap.buried(letter);
            self.settle(letter.position, End::Dead);
        })
    }

    /// The accounts, which add up by construction: see [`Tally`] and [`Left`](state::Left).
    pub(super) fn accounts(&self) -> Accounts {
        // Before the head's lock: whoever writes a letter holds the other one for a sync.
        let (dead, left) = self.dead.figures(&self.name);
        let head = self.head();
        let (tally, baseline) = (head.tally(), head.baseline());
        let numbered = self.chain.end().saturating_sub(baseline);
        let pending = head.pending();
        let gone = head.settled().count_from(baseline) + pending;
        let waiting = numbered.saturating_sub(gone);
        let known = dead + left.replayed + left.purged;
        // Letters that neither lie there nor left were lost with a damaged file, unless they came
        // since `known` was read.
        let missing = tally.dead.saturating_sub(known);
        drop(head);
        let came =
            if missing > 0 { self.dead.figures(&self.name).0.saturating_sub(dead) } else { 0 };
        let (dead, lost) = (dead + came.min(missing), missing.saturating_sub(came));
        // Some are there and cannot be read for want of their key, whose they are neither.
        let locked = self.dead.locked_of(&self.name, lost);
        let (dead, lost) = (dead + locked, lost - locked);
        // More letters than the lane has noted: a crash came before it could, so these records
        // wait again and are there twice.
        let twice = known.saturating_sub(tally.dead);
        Accounts {
            accepted: (numbered + twice).saturating_sub(left.replayed),
            delivered: tally.delivered,
            waiting,
            dead,
            expired: tally.expired,
            dropped: tally.dropped + pending + left.purged,
            damaged: tally.damaged + lost,
        }
    }

    /// Where the record at `position` is.
    pub(super) fn place(&self, position: u64) -> Place {
        let (stream, seq) = self.numbering.number(position);
        let lane = self.name.clone();
        let (waits, expired, lost) = {
            let head = self.head();
            (head.waits(position), head.has_expired(position), head.is_lost(position))
        };
        if waits {
            Place::Waiting { lane, stream, seq }
        } else if expired {
            Place::Expired { lane, stream, seq }
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
        let mut position = self.head().next_waiting(from);
        while entries.len() < limit {
            position = match self.chain.read(position)? {
                Read::Pack(pack) => {
                    if let Some(found) = decode(&pack, position) {
                        let stamp = self.stamp(&pack, position, &found);
                        entries.push(Entry { position, record: found.0.record, stamp });
                    }
                    position + 1
                }
                Read::Hole { until } | Read::Locked { until, .. } => until,
                Read::End => break,
            };
            position = self.head().next_waiting(position);
        }
        Ok(entries)
    }

    /// The record at `position`, settled or not, while its segment is still there.
    pub(super) fn stored_at(&self, position: u64) -> io::Result<Option<(Stamp, Stored<Record>)>> {
        let pack = match self.chain.read(position)? {
            Read::Pack(pack) => pack,
            Read::Locked { key, .. } if self.head().waits(position) => {
                return Err(self.locked(position, key));
            }
            Read::Locked { key, .. } => return Err(KeyMissing(key).into()),
            Read::Hole { .. } | Read::End => return Ok(None),
        };
        Ok(decode(&pack, position).map(|found| (self.stamp(&pack, position, &found), found.0)))
    }

    /// Bytes of the waiting records: each segment's, by the share of it that is not settled.
    pub(super) fn live_bytes(&self) -> u64 {
        let sizes = self.chain.sizes();
        let head = self.head();
        let live = |(from, to, bytes): (u64, u64, u64)| {
            let waiting = head.waiting_in(from, to);
            u64::try_from(u128::from(bytes) * u128::from(waiting) / u128::from((to - from).max(1)))
                .unwrap_or(bytes)
        };
        sizes.into_iter().map(live).sum()
    }
}

/// A record, and where it comes from if it is a copy.
type Found = (Stored<Record>, Option<Origin>);

/// The record at `position` of `pack`; `None` if it cannot be read by this build.
fn decode(pack: &Pack, position: u64) -> Option<Found> {
    entry::decode_record(pack.entry(position)?).ok()
}

/// How many records wait in a chain that is not opened as a lane.
pub(super) fn waiting_in(store: Arc<dyn Store>, keys: &Keys) -> io::Result<u64> {
    let saved: Option<LaneState> = state::decode(store.load_state()?)?;
    let (chain, _) = Chain::recover(store, keys.clone(), saved.as_ref().map(|s| s.end))?;
    let saved_thinned = saved.as_ref().map(|s| s.thinned.clone());
    let settled =
        saved.map_or(Settled::below(chain.first()), |s| Settled::restore(s.watermark, &s.above));
    let head = Head::new(Ordering::None, settled, 0, Tally::default());
    let head = head.with_lost(&[], &[], saved_thinned.as_deref().unwrap_or_default());
    Ok(head.waiting_in(head.settled().watermark(), chain.end()))
}
