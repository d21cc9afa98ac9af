//! The queue on a damaged folder: everything that is whole comes out, once and in order, nothing is
//! invented, what is lost is counted, and it goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use spillway::clock::SystemClock;
use spillway::queue::inspect::{Inspection, Room};
use spillway::queue::{Accounts, DeadFilter, Entry, Fate, Queue};
use spillway_protocol::message::Stamp;
use spillway_protocol::record::Record;

use super::LANES;
use super::harm::{Damage, Harm, Kind};
use super::made::{self, Ended, Known, Made};
use super::packs;

/// Longest that a start may take.
pub const START_MAX: Duration = Duration::from_secs(20);
/// Known ids of a lane that are handed over again.
const REPEATS: usize = 3;
const LEASES: usize = 10_000;
/// Damage that leaves nothing of the newest pack after a kill, before a state has noted how far it went,
/// cannot be told from a pack that never was: its numbers are given again.
const LOST_WITHOUT_A_TRACE: [Damage; 4] =
    [Damage::Zero(512), Damage::Zero(4096), Damage::ZeroAll, Damage::Cut];

/// What a round came to.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Everything that should not be.
    pub faults: Vec<String>,
    /// Records that are counted as damaged.
    pub lost: usize,
    /// A number was given again after damage that left no trace.
    pub reused: bool,
}

/// A damaged folder, and what has to come out of it.
pub struct Case<'a> {
    /// What was put into it.
    pub made: &'a Made,
    /// It is as a kill left it: its states are a moment old.
    pub killed: bool,
    /// What was damaged.
    pub harm: Harm,
    /// What is whole: of each lane by number, and the dead letters under "dead".
    whole: BTreeMap<&'static str, BTreeSet<u64>>,
}

/// What came out.
#[derive(Debug, Default)]
pub struct Found {
    /// What waited, in the order in which it came: lane, number and record.
    pub waiting: Vec<(String, u64)>,
    /// Numbers of dead letters.
    pub dead: Vec<u64>,
    /// Of each lane once nothing waits any more.
    pub accounts: BTreeMap<String, Accounts>,
    /// Numbers that the far side would be told to be lost, where that is known.
    pub told: Option<BTreeSet<(String, u64)>>,
}

impl<'a> Case<'a> {
    /// The folder `data` as it is now.
    pub fn new(made: &'a Made, killed: bool, harm: Harm, data: &Path) -> Self {
        let mut whole: BTreeMap<_, _> =
            LANES.map(|lane| (lane, packs::whole(&data.join("lanes").join(lane)))).into();
        whole.insert("dead", packs::whole(&data.join("dead")));
        Self { made, killed, harm, whole }
    }

    /// Records that are whole and wait.
    pub fn owed(&self) -> impl Iterator<Item = (&'static str, u64, &Known)> {
        let all = LANES.into_iter().flat_map(|lane| {
            (1..).zip(&self.made.records[lane]).map(move |(seq, known)| (lane, seq, known))
        });
        let owed = |(lane, seq, known): &(&str, u64, &Known)| {
            known.ended == Ended::Waiting && self.whole[lane].contains(seq)
        };
        all.filter(owed)
    }

    /// Whether the newest states are known: else what ended last may not be known to have ended.
    fn states_are_known(&self) -> bool {
        !self.killed && self.harm.kind != Kind::State
    }

    /// Notes a record that came out, if it is what was put in.
    pub fn known(&self, record: &Record, stamp: &Stamp) -> Result<&Known, String> {
        let (lane, stream) = (stamp.lane.as_str(), stamp.stream.to_string());
        self.same(lane, &stream, stamp.seq, record.id.as_str(), &record.body)
    }

    /// The same for one that arrived.
    pub fn same(
        &self,
        lane: &str,
        stream: &str,
        seq: u64,
        id: &str,
        body: &[u8],
    ) -> Result<&Known, String> {
        let known = self.made.known(lane, seq).filter(|_| stream == self.made.stream);
        let known = known.filter(|known| known.id.as_str() == id && known.body == body);
        known.ok_or_else(|| format!("{lane} {stream} {seq}: {id} was never put in there"))
    }

    /// Notes everything about what came out that should not be.
    pub fn hold_against(&self, found: &Found, verdict: &mut Verdict) {
        verdict.lost = found.accounts.values().map(|accounts| accounts.damaged as usize).sum();
        verdict.faults.extend(self.missing(found));
        verdict.faults.extend(self.too_much(found));
        for lane in LANES {
            verdict.faults.extend(self.miscounted(lane, found));
        }
    }

    /// Notes the number that a new record got.
    pub fn note_new(&self, lane: &str, stream: &str, seq: u64, verdict: &mut Verdict) {
        if self.is_new(lane, stream, seq) {
            return;
        }
        let lost_end = self.whole[lane].last().is_none_or(|last| seq > *last);
        verdict.reused |= lost_end;
        let untraced = LOST_WITHOUT_A_TRACE.contains(&self.harm.damage);
        if !(untraced && self.killed && lost_end) {
            verdict.faults.push(format!("{lane}: a new record got {stream} {seq}"));
        }
    }

    fn missing(&self, found: &Found) -> Vec<String> {
        let waiting: BTreeSet<_> = found.waiting.iter().map(|(l, s)| (l.as_str(), *s)).collect();
        let dead: BTreeSet<u64> = found.dead.iter().copied().collect();
        let mut faults = Vec::new();
        for (lane, seq, _) in self.owed().filter(|(lane, seq, _)| !waiting.contains(&(*lane, *seq)))
        {
            faults.push(format!("{lane} {seq} is whole and does not come out"));
        }
        for number in self.letters().filter(|number| self.whole["dead"].contains(number)) {
            if !dead.contains(&number) {
                faults.push(format!("letter {number} is whole and is not there"));
            }
        }
        faults
    }

    fn letters(&self) -> impl Iterator<Item = u64> {
        self.made.records.values().flatten().filter_map(|known| match known.ended {
            Ended::Dead(number) => Some(number),
            _ => None,
        })
    }

    fn too_much(&self, found: &Found) -> Vec<String> {
        let mut faults = Vec::new();
        let mut seen = BTreeSet::new();
        for (lane, seq) in &found.waiting {
            if !seen.insert((lane, seq)) {
                faults.push(format!("{lane} {seq} comes out twice"));
            }
            let ended = self.made.known(lane, *seq).map(|known| known.ended);
            if self.states_are_known() && ended != Some(Ended::Waiting) {
                faults.push(format!("{lane} {seq} comes out again: {ended:?}"));
            }
        }
        let letters: BTreeSet<u64> = self.letters().collect();
        let unknown = found.dead.iter().filter(|number| !letters.contains(number));
        faults.extend(unknown.map(|number| format!("letter {number} is there, and was not")));
        faults
    }

    fn miscounted(&self, lane: &'static str, found: &Found) -> Option<String> {
        let accounts = found.accounts.get(lane).copied().unwrap_or_default();
        let came = found.waiting.iter().filter(|(l, _)| l == lane).count() as u64;
        let records = &self.made.records[lane];
        let count = |wanted: &dyn Fn(&Ended) -> bool| {
            records.iter().filter(|known| wanted(&known.ended)).count() as u64
        };
        let all = records.len() as u64;
        let waiting = count(&|ended| *ended == Ended::Waiting);
        let letters = count(&|ended| matches!(ended, Ended::Dead(_)));
        let here = count(&|ended| matches!(ended, Ended::Dead(n) if found.dead.contains(n)));
        let right = match self.states_are_known() {
            true => {
                accounts
                    == Accounts {
                        accepted: all,
                        delivered: count(&|ended| *ended == Ended::Delivered) + came,
                        waiting: 0,
                        dead: here,
                        expired: 0,
                        dropped: count(&|ended| *ended == Ended::Dropped),
                        damaged: (waiting - came) + (letters - here),
                    }
            }
            // What a state that is a moment old does not know, and no segment any more, is unknown.
            false => {
                let whole = self.whole[lane].last().copied().unwrap_or(0);
                let lost = (1..=all).filter(|seq| !self.whole[lane].contains(seq)).count() as u64;
                accounts.waiting == 0
                    && (whole..=all).contains(&accounts.accepted)
                    && accounts.damaged <= lost + (letters - here)
            }
        };
        if !right || !accounts.balanced() {
            let counted = (all, came, waiting, here, letters);
            return Some(format!(
                "{lane}: {accounts:?}; all, came, waited, here, letters: {counted:?}"
            ));
        }
        let told = found.told.as_ref().filter(|_| self.states_are_known())?;
        let lost = self.lost(lane);
        let told: BTreeSet<u64> =
            told.iter().filter(|(of, _)| of == lane).map(|(_, seq)| *seq).collect();
        (told != lost).then(|| format!("{lane}: {lost:?} are lost, and told are {told:?}"))
    }

    fn lost(&self, lane: &'static str) -> BTreeSet<u64> {
        let waits = (1..).zip(&self.made.records[lane]).filter(|(_, k)| k.ended == Ended::Waiting);
        waits.map(|(seq, _)| seq).filter(|seq| !self.whole[lane].contains(seq)).collect()
    }

    /// Whether nobody ever had this number.
    fn is_new(&self, lane: &str, stream: &str, seq: u64) -> bool {
        stream != self.made.stream || self.made.known(lane, seq).is_none()
    }

    /// Opens the queue in `data` and empties it.
    ///
    /// # Panics
    /// If something panics in the queue.
    pub fn judge(&self, data: &Path, rng: &mut StdRng) -> Verdict {
        let mut verdict = Verdict::default();
        let seen = self.look(data, &mut verdict.faults);
        let began = Instant::now();
        let queue = match Queue::open(self.made.options(data, rng.next_u64()), clock()) {
            Ok((queue, _)) => queue,
            Err(error) => {
                verdict.faults.push(format!("the queue does not open: {error}"));
                return verdict;
            }
        };
        if began.elapsed() > START_MAX {
            verdict.faults.push(format!("it took {:?} to open", began.elapsed()));
        }
        verdict.faults.extend(self.repeat(&queue));
        let mut found = self.empty(&queue, &mut verdict.faults);
        if seen != (found.waiting.iter().cloned().collect(), found.dead.clone()) {
            verdict
                .faults
                .push("what only looks sees something else than what comes out".to_owned());
        }
        let added = self.add(&queue, rng, &mut verdict);
        queue.close();
        // Only what is saved is told.
        found.told = Some(told(&queue));
        self.hold_against(&found, &mut verdict);
        drop(queue);
        let (queue, _) = Queue::open(self.made.options(data, rng.next_u64()), clock()).unwrap();
        verdict.faults.extend(again(&queue, &found, &added));
        queue.close();
        verdict
    }

    /// What can be seen of the folder while no agent runs: what waits, and the letters' numbers. That
    /// changes nothing.
    fn look(&self, data: &Path, faults: &mut Vec<String>) -> (BTreeSet<(String, u64)>, Vec<u64>) {
        let before = contents(data);
        let seen = match Inspection::open(&self.made.options(data, 0), clock()) {
            Ok(inspection) => {
                let room = Room { records: LEASES, body_bytes: usize::MAX };
                let page =
                    |lane: &str| inspection.page(&made::lane(lane), 0, room).unwrap().entries;
                let of = |entry: Entry| (entry.stamp.lane.to_string(), entry.stamp.seq);
                let waiting = LANES.into_iter().flat_map(page).map(of).collect();
                let letters = inspection.letters(&DeadFilter::default()).unwrap();
                (waiting, letters.iter().map(|letter| letter.number).collect())
            }
            Err(error) => {
                faults.push(format!("the folder cannot be looked into: {error}"));
                Default::default()
            }
        };
        if contents(data) != before {
            faults.push("looking has changed something".to_owned());
        }
        seen
    }

    /// Ids of records that are there are known.
    fn repeat(&self, queue: &Queue) -> Vec<String> {
        let mut faults = Vec::new();
        for lane in LANES {
            let with_id = self.owed().filter(|(of, _, known)| *of == lane && known.app_id);
            for (lane, seq, known) in with_id.take(REPEATS) {
                let again = made::submit(queue, lane, known).wait();
                if !again.as_ref().is_ok_and(|receipt| receipt.duplicate && receipt.seq == seq) {
                    faults.push(format!("{lane} {seq} is not known again: {again:?}"));
                }
            }
        }
        faults
    }

    fn empty(&self, queue: &Queue, faults: &mut Vec<String>) -> Found {
        let mut found = Found::default();
        for letter in queue.dead_list(&DeadFilter::default()) {
            match self.known(&letter.record, &letter.stamp) {
                Ok(_) => found.dead.push(letter.number),
                Err(fault) => faults.push(fault),
            }
        }
        for name in LANES {
            let lane = made::lane(name);
            let mut last = BTreeMap::new();
            loop {
                let leases = queue.lease(&lane, LEASES, usize::MAX);
                if leases.is_empty() {
                    break;
                }
                for lease in leases {
                    let key = lease.record.order_key.clone();
                    let before = last.insert((name == "keyed").then_some(key), lease.position);
                    if before.is_some_and(|before| before > lease.position) {
                        faults.push(format!("{name}: {before:?} before {}", lease.position));
                    }
                    match self.known(&lease.record, &lease.stamp) {
                        Ok(_) => found.waiting.push((name.to_owned(), lease.stamp.seq)),
                        Err(fault) => faults.push(fault),
                    }
                    lease.ack();
                }
            }
            found.accounts.insert(name.to_owned(), queue.accounts(&lane).unwrap());
        }
        found
    }

    /// New records get numbers that nobody had.
    fn add(&self, queue: &Queue, rng: &mut StdRng, verdict: &mut Verdict) -> Vec<Known> {
        let mut added = Vec::new();
        for lane in LANES {
            let known = made::fresh(rng);
            match made::submit(queue, lane, &known).wait() {
                Ok(new) => self.note_new(lane, &new.stream.to_string(), new.seq, verdict),
                Err(error) => verdict.faults.push(format!("{lane}: a new one is refused: {error}")),
            }
            added.push(known);
        }
        added
    }
}

fn contents(data: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: PathBuf| std::fs::read(&path).map(|bytes| (path, bytes)).unwrap();
    made::files(data).into_iter().map(read).collect()
}

fn clock() -> Arc<SystemClock> {
    Arc::new(SystemClock)
}

/// Opened once more: only what was added waits, and the accounts are the same.
fn again(queue: &Queue, found: &Found, added: &[Known]) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, known) in LANES.into_iter().zip(added) {
        let lane = made::lane(name);
        let bodies: Vec<_> =
            queue.peek(&lane, 0, 10).into_iter().map(|entry| entry.record.body).collect();
        if bodies.len() != 1 || bodies[0] != known.body {
            faults.push(format!("{name}: {} wait after all was delivered", bodies.len()));
        }
        let before = found.accounts.get(name).copied().unwrap_or_default();
        let wanted = Accounts { accepted: before.accepted + 1, waiting: 1, ..before };
        let now = queue.accounts(&lane).unwrap();
        if now != wanted {
            faults.push(format!("{name}: {now:?} after {before:?} and one more"));
        }
    }
    faults
}

/// Numbers that are told to be lost.
fn told(queue: &Queue) -> BTreeSet<(String, u64)> {
    let told = queue.untold();
    let damaged = told.iter().filter(|range| range.fate == Fate::Damaged);
    damaged
        .flat_map(|range| (range.from..=range.to).map(|seq| (range.lane.to_string(), seq)))
        .collect()
}
