//! Leased records of one lane that have not left: a few that may go next, and those that wait for
//! their topic.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::breaker::ROUND;
use super::company::Company;
use super::freshness::Freshness;
use super::plan::Readiness;
use super::source::Parcel;
use super::state::{Facts, State};
use crate::queue::Front;

/// Failed records of held topics kept at hand; others keep their place in the queue, so that
/// some that did not fail are at hand for probes, too.
const SUSPECTS: usize = 4;

/// A full stock is exchanged for records that came due no oftener than this: they may lie behind
/// those that are here already.
const REFRESH: Duration = Duration::from_secs(15);

/// A queue that has something but hands out nothing (it cannot be read) is asked no oftener.
const AGAIN: Duration = Duration::from_millis(250);

/// Leased, unsent records of a lane, oldest first.
#[derive(Debug)]
pub(super) struct Stock<P> {
    parcels: VecDeque<(Facts, P)>,
    /// What was leased to leave with one of them and in its order, by its position.
    behind: BTreeMap<u64, Vec<(Facts, P)>>,
    company: Company,
    /// Bytes of leased records; one may be larger.
    bytes_max: usize,
    /// The lane shares between live records and its backlog.
    freshness: Option<Freshness>,
    dry: Option<Dry>,
    /// A record went back into the queue since the last lease; it may come before these.
    stale: bool,
    /// How often records went back into the queue.
    returns: u64,
    /// Leases in a row that brought nothing though there was something to lease.
    failed: u32,
    /// When the last of these were leased.
    filled_at: Option<Instant>,
}

/// The lane in the queue as it was, and what went back there: with the same mark, a lease that
/// brought nothing would bring nothing again.
pub(super) type Mark = ([u64; 3], u64);

/// The queue had nothing more when the lane had this mark.
#[derive(Debug)]
struct Dry {
    mark: Mark,
    due: Option<Instant>,
}

impl<P: Parcel> Stock<P> {
    pub(super) fn new(company: Company, bytes_max: usize, freshness: Option<Freshness>) -> Self {
        Self {
            parcels: VecDeque::new(),
            behind: BTreeMap::new(),
            company,
            bytes_max,
            freshness,
            dry: None,
            stale: false,
            returns: 0,
            failed: 0,
            filled_at: None,
        }
    }

    /// Takes what was leased. With nothing, the lane is dry: its `mark`
    /// before the lease, `due` when a deferred record comes.
    pub(super) fn add(
        &mut self,
        leased: Vec<(Facts, P)>,
        mark: Mark,
        due: Option<Instant>,
        state: &State,
        now: Instant,
    ) {
        let failed = leased.is_empty() && due.is_some_and(|due| due <= now);
        self.failed = if failed { self.failed.saturating_add(1) } else { 0 };
        let due = if failed { Some(now + AGAIN) } else { due };
        self.dry = leased.is_empty().then_some(Dry { mark, due });
        self.filled_at = Some(now);
        self.keep(leased, state, now);
    }

    /// Takes live records that were leased ahead of the backlog.
    pub(super) fn add_live(&mut self, leased: Vec<(Facts, P)>, state: &State, now: Instant) {
        if let Some(freshness) = self.freshness.as_mut().filter(|_| leased.is_empty()) {
            freshness.came_back_empty(now);
        }
        self.keep(leased, state, now);
    }

    fn keep(&mut self, leased: Vec<(Facts, P)>, state: &State, now: Instant) {
        let held = |facts: &Facts| state.steps_back(facts);
        let mut suspects = self.parcels.iter().filter(|(facts, _)| held(facts)).count();
        for (facts, parcel) in self.heads(leased) {
            suspects += usize::from(held(&facts));
            match held(&facts) && suspects > SUSPECTS {
                true => {
                    self.behind.remove(&facts.position);
                    parcel.defer(Some(now + ROUND), false);
                }
                false => self.parcels.push_back((facts, parcel)),
            }
        }
    }

    /// The first of each order; the others of it are put behind.
    fn heads(&mut self, leased: Vec<(Facts, P)>) -> Vec<(Facts, P)> {
        let (mut heads, mut first) = (Vec::new(), BTreeMap::new());
        for (facts, parcel) in leased {
            let order = facts.order.clone().filter(|_| self.company.is_ordered());
            match order.as_ref().and_then(|order| first.get(order)) {
                Some(head) => self.behind.entry(*head).or_default().push((facts, parcel)),
                None => {
                    first.extend(order.map(|order| (order, facts.position)));
                    heads.push((facts, parcel));
                }
            }
        }
        heads
    }

    /// All that is leased.
    fn all(&self) -> impl Iterator<Item = &Facts> {
        let behind = self.behind.values().flatten();
        self.parcels.iter().chain(behind).map(|(facts, _)| facts)
    }

    /// How many records are leased and have not left.
    pub(super) fn count(&self) -> usize {
        self.all().count()
    }

    /// Whether the queue may have something that is not here. `present` is its present mark.
    pub(super) fn wants(&self, present: impl FnOnce() -> [u64; 3], now: Instant) -> bool {
        let dry = |dry: &Dry| {
            // The first failure may have been a race with a new record; the second is none.
            let same = self.failed > 1 || dry.mark == self.mark(present());
            same && dry.due.is_none_or(|due| due > now)
        };
        !self.is_full() && !self.dry.as_ref().is_some_and(dry)
    }

    /// The mark of the lane where the queue's own is `present`.
    pub(super) fn mark(&self, present: [u64; 3]) -> Mark {
        (present, self.returns)
    }

    /// Records at hand.
    pub(super) fn len(&self) -> usize {
        self.parcels.len()
    }

    pub(super) fn is_full(&self) -> bool {
        let (count, bytes) = self.room();
        count == 0 || bytes == 0
    }

    /// Records and bytes that may still be leased. Half of it is kept for live records.
    pub(super) fn room(&self) -> (usize, usize) {
        let (parcels, bytes) = self.held(|_| true);
        let parcels = self.company.parcels_max().saturating_sub(parcels);
        let room = (parcels, self.bytes_max.saturating_sub(bytes));
        match self.freshness {
            None => room,
            Some(_) => smaller(room, self.half_beside(self.held(|facts| !self.is_live(facts)))),
        }
    }

    /// The same for live records, whatever the backlog's bytes.
    pub(super) fn room_for_live(&self) -> (usize, usize) {
        let parcels = self.company.parcels_max().saturating_sub(self.count());
        let half = self.half_beside(self.held(|facts| self.is_live(facts)));
        smaller((parcels, self.bytes_max), half)
    }

    fn half_beside(&self, (parcels, bytes): (usize, usize)) -> (usize, usize) {
        let half = self.company.parcels_max() / 2;
        (half.saturating_sub(parcels), (self.bytes_max / 2).saturating_sub(bytes))
    }

    /// Records and bytes that are here.
    fn held(&self, which: impl Fn(&Facts) -> bool) -> (usize, usize) {
        let held = self.all().filter(|facts| which(facts));
        held.fold((0, 0), |(count, bytes), facts| (count + 1, bytes + facts.bytes))
    }

    fn is_live(&self, facts: &Facts) -> bool {
        self.freshness.as_ref().is_some_and(|freshness| freshness.is_live(facts.position))
    }

    /// Where the live front begins, if the lane has one.
    pub(super) fn live_from(&self) -> Option<u64> {
        self.freshness.as_ref().map(Freshness::from)
    }

    /// Moves the live front on, given what could be leased of it.
    pub(super) fn note_front(&mut self, front: Front, now: Instant) {
        let here = self.all().filter(|facts| self.is_live(facts)).map(|facts| facts.position);
        let oldest = here.chain(front.first).min();
        let Some(freshness) = &mut self.freshness else { return };
        let before = freshness.from();
        freshness.note(front.end, oldest, front.stretches, now);
        let given_up = before..freshness.from();
        let count = self.parcels.len();
        // What is backlog from now on goes back behind what is older.
        self.parcels.retain(|(facts, _)| !given_up.contains(&facts.position));
        self.returns += u64::from(self.parcels.len() < count);
    }

    /// Whether something older than the live front is here.
    pub(super) fn has_backlog(&self) -> bool {
        self.parcels.iter().any(|(facts, _)| !self.is_live(facts))
    }

    /// When live records are asked for again after a lease that brought none.
    pub(super) fn live_rests_until(&self, now: Instant) -> Option<Instant> {
        self.freshness.as_ref()?.rests_until(now)
    }

    /// Whether a record of the live front, or of the backlog, may leave now.
    pub(super) fn has_ready(&self, live: bool, state: &State, now: Instant) -> bool {
        let mut of_side = self.parcels.iter().filter(|(facts, _)| self.is_live(facts) == live);
        of_side.any(|(facts, _)| state.readiness(facts, now) == Readiness::Ready)
    }

    /// A record of the lane went back into the queue.
    pub(super) fn outdate(&mut self) {
        self.stale = true;
        self.returns += 1;
    }

    /// Gives everything back to the queue.
    pub(super) fn clear(&mut self) {
        let empty = Self::new(self.company, self.bytes_max, self.freshness.take());
        *self = Self { returns: self.returns + 1, failed: self.failed, ..empty };
    }

    /// A stock full of records that may not leave hides what went back into the queue or came
    /// due there (at `due`), such as the only record that could end a hold. It is given back; the
    /// queue leases the oldest first.
    pub(super) fn refresh(&mut self, due: impl FnOnce() -> Option<Instant>, now: Instant) {
        let full = self.is_full();
        if full && (self.stale || self.hidden_due(due).is_some_and(|due| due <= now)) {
            self.clear();
        }
    }

    /// When a deferred record that is due at `due` is worth an exchange, if the stock is full.
    pub(super) fn hidden_due(&self, due: impl FnOnce() -> Option<Instant>) -> Option<Instant> {
        let filled_at = self.filled_at.filter(|_| self.is_full())?;
        Some(due()?.max(filled_at + REFRESH))
    }

    /// What the lane has to send.
    pub(super) fn readiness(&self, state: &State, now: Instant) -> Readiness {
        let dry = self.dry.as_ref().filter(|_| !self.is_full());
        let due = dry.and_then(|dry| dry.due);
        let mut best = due.map_or(Readiness::Empty, Readiness::Due);
        for (facts, _) in &self.parcels {
            best = match (best, state.readiness(facts, now)) {
                (_, Readiness::Ready) => return Readiness::Ready,
                (Readiness::Due(a), Readiness::Due(b)) => Readiness::Due(a.min(b)),
                (Readiness::Due(at), _) | (_, Readiness::Due(at)) => Readiness::Due(at),
                (Readiness::Busy, _) | (_, Readiness::Busy) => Readiness::Busy,
                (_, other) => other,
            };
        }
        best
    }

    /// The record that leaves next: the first that may. A probe of a held topic is the last,
    /// which is likelier to differ from those that were refused.
    fn next(&self, state: &State, now: Instant) -> Option<usize> {
        let ready = |facts: &Facts| state.readiness(facts, now) == Readiness::Ready;
        if state.link.held().is_some() {
            return self.next_asker(state, ready);
        }
        if let Some(other) = self.next_witness(state, ready) {
            return Some(other);
        }
        let mut parcels = self.parcels.iter();
        let first = match &self.freshness {
            None => parcels.position(|(facts, _)| ready(facts))?,
            Some(freshness) => self.next_of_sides(freshness, state, ready)?,
        };
        let topic = &self.parcels[first].0.topic;
        let probe = |facts: &Facts| facts.topic == *topic && state.is_probe(facts) && ready(facts);
        let last = || self.parcels.iter().rposition(|(facts, _)| probe(facts));
        let is_probe = state.is_probe(&self.parcels[first].0);
        Some(is_probe.then(last).flatten().unwrap_or(first))
    }

    /// While the far end can be reached but no record is answered, or not by RocketMQ: one that has not failed, which
    /// tells whether those that did are to blame.
    fn next_witness(&self, state: &State, ready: impl Fn(&Facts) -> bool) -> Option<usize> {
        let unproven = match state.link.is_up() {
            true => !state.link.is_proven(),
            false => state.link.asks_records(),
        };
        let failed = |facts: &Facts| state.lanes[facts.lane].breakages.knows(facts.position);
        let witness = || self.parcels.iter().position(|(f, _)| ready(f) && !failed(f));
        unproven.then(witness).flatten()
    }

    /// The record that asks whether the link is still held: the oldest of the topic that was asked
    /// for least lately.
    fn next_asker(&self, state: &State, ready: impl Fn(&Facts) -> bool) -> Option<usize> {
        let asked = |facts: &Facts| state.blame.last_asked(facts.lane, &facts.topic);
        let parcels = self.parcels.iter().enumerate().filter(|(_, (facts, _))| ready(facts));
        parcels.min_by_key(|(_, (facts, _))| asked(facts)).map(|(index, _)| index)
    }

    /// The first of the side whose turn it is, of live records and the backlog. Where that is too
    /// large for what is left of the day, the other side need not wait for the next one.
    fn next_of_sides(
        &self,
        freshness: &Freshness,
        state: &State,
        ready: impl Fn(&Facts) -> bool,
    ) -> Option<usize> {
        let [live, backlog] = [true, false].map(|live| {
            let of_side = |facts: &Facts| freshness.is_live(facts.position) == live;
            self.parcels.iter().position(|(facts, _)| of_side(facts) && ready(facts))
        });
        let (turn, other) = match freshness.prefers_live(live.is_some(), backlog.is_some()) {
            true => (live, backlog),
            false => (backlog, live),
        };
        let fits = |index: &usize| state.fits(&self.parcels[*index].0);
        turn.filter(fits).or(other.filter(fits)).or(turn)
    }

    /// Takes the record to leave next.
    pub(super) fn take(&mut self, state: &State, now: Instant) -> Option<(Facts, P)> {
        self.parcels.remove(self.next(state, now)?)
    }

    /// What the record to leave next costs, about.
    pub(super) fn next_cost_bytes(&self, state: &State, now: Instant) -> u64 {
        self.next(state, now).map_or(0, |index| self.parcels[index].0.cost_bytes())
    }

    /// Takes what leaves with `head`, which has just been taken. Of what was leased to leave with
    /// it, the rest goes back.
    pub(super) fn take_company(
        &mut self,
        head: &(Facts, P),
        state: &State,
        now: Instant,
    ) -> Vec<(Facts, P)> {
        let behind = self.behind.remove(&head.0.position).unwrap_or_default();
        let mut group = Group::new(self.company, head, state, now);
        if self.company.is_ordered() {
            let count = behind.len();
            // From the first one on that does not go none may overtake it.
            let goes = |other| group.offer(other, state).is_none();
            let gone = behind.into_iter().map(goes).take_while(|gone| *gone).count();
            if gone < count {
                self.outdate();
            }
            return group.taken;
        }
        let side = self.is_live(&head.0);
        // A group that live records do not fill has room for the backlog, and the other way round.
        for side in [side, !side] {
            let mut stay = Vec::new();
            while group.is_open()
                && let Some(other) = self.parcels.pop_front()
            {
                match self.is_live(&other.0) == side {
                    true => stay.extend(group.offer(other, state)),
                    false => stay.push(other),
                }
            }
            stay.into_iter().rev().for_each(|parcel| self.parcels.push_front(parcel));
        }
        let taken = group.taken;
        self.note_sent(&head.0, &taken);
        taken
    }

    /// What leaves counts for the share between live records and the backlog.
    fn note_sent(&mut self, head: &Facts, others: &[(Facts, P)]) {
        let all = others.iter().map(|(facts, _)| facts).chain([head]);
        let (live, backlog): (Vec<_>, Vec<_>) = all.partition(|facts| self.is_live(facts));
        let (live, backlog) = (live.len() as u64, backlog.len() as u64);
        let waits = self.has_backlog();
        if let Some(freshness) = &mut self.freshness {
            freshness.sent(live, backlog, waits);
        }
    }
}

fn smaller(a: (usize, usize), b: (usize, usize)) -> (usize, usize) {
    (a.0.min(b.0), a.1.min(b.1))
}

/// What leaves with one record, while it is chosen.
struct Group<'a, P> {
    company: Company,
    head: &'a (Facts, P),
    alone: bool,
    bytes: usize,
    taken: Vec<(Facts, P)>,
    now: Instant,
}

impl<'a, P: Parcel> Group<'a, P> {
    fn new(company: Company, head: &'a (Facts, P), state: &State, now: Instant) -> Self {
        let alone = !company.is_kept() || state.goes_alone(&head.0);
        Self { company, head, alone, bytes: head.0.bytes, taken: Vec::new(), now }
    }

    /// Whether there is room for another.
    fn is_open(&self) -> bool {
        let full = self.taken.len() + 1 >= self.company.records || self.bytes >= self.company.bytes;
        !self.alone && !full
    }

    /// Takes one that goes with the others; gives back one that does not.
    fn offer(&mut self, other: (Facts, P), state: &State) -> Option<(Facts, P)> {
        let (facts, parcel) = &other;
        let goes = self.is_open()
            && self.bytes + facts.bytes <= self.company.bytes
            && self.company.suits(&self.head.1, parcel)
            && !state.goes_alone(facts)
            && state.readiness(facts, self.now) == Readiness::Ready;
        if !goes {
            return Some(other);
        }
        self.bytes += facts.bytes;
        self.taken.push(other);
        None
    }
}
