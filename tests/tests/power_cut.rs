//! Power cuts on the real store: see [`spillway_tests::powercut`].
//!
//! A state that fails is kept, and `SPILLWAY_CUT=FOLDER` tries it alone.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use spillway_tests::powercut::agent::End;
use spillway_tests::powercut::cut::{Cut, judge_all};
use spillway_tests::powercut::ledger::Ledger;
use spillway_tests::powercut::states::State;
use spillway_tests::powercut::trial::{Fate, Recording, Tools};
use spillway_tests::powercut::verdict::Verdict;
use spillway_tests::powercut::work::Life;
use spillway_tests::{full, random};
use tokio::task::block_in_place;

/// States judged at the same time.
const WORKERS: usize = 2;
/// Events before and after a refusal that are looked at closely.
const AROUND: usize = 20;
/// A known defect: of a group in several packs that was never synced, a later pack may survive without
/// an earlier one. Recovery takes the hole for damage and says so, though nobody was ever told that
/// these records are stored. With its mend this becomes `false`, or goes.
const TORN_GROUPS_COUNT_AS_DAMAGE: bool = true;
/// States that fail and are kept.
const KEPT: usize = 3;

/// What all states came to.
#[derive(Default)]
struct Figures {
    states: usize,
    events: usize,
    records: usize,
    /// States with records whose app never heard of them, or heard that they are not stored.
    unanswered: usize,
    refused: usize,
    /// States in which a torn group counts as damage.
    torn: usize,
    aside: usize,
    opening: Duration,
    opening_max: Duration,
    failed: Vec<(String, Vec<String>)>,
    /// Of these, so many are kept.
    keep: usize,
}

impl Figures {
    fn add(&mut self, cut: &Cut, verdict: Verdict) {
        self.states += 1;
        self.records += verdict.found;
        self.unanswered += usize::from(verdict.unanswered.0 > 0);
        self.refused += usize::from(verdict.unanswered.1 > 0);
        self.torn += usize::from(verdict.torn > 0);
        self.aside += usize::from(verdict.aside > 0);
        self.opening += verdict.opening;
        self.opening_max = self.opening_max.max(verdict.opening);
        if !verdict.faults.is_empty() {
            if self.failed.len() < self.keep {
                let folder = kept(self.failed.len());
                cut.save(&folder);
                println!("{cut:?} is kept: SPILLWAY_CUT={}", folder.display());
            }
            self.failed.push((format!("{cut:?}"), verdict.faults));
        }
    }

    /// States that lose what was acknowledged.
    fn losing(&self) -> usize {
        let losses = |faults: &[String]| faults.iter().any(|fault| fault.ends_with("is lost"));
        self.failed.iter().filter(|(_, faults)| losses(faults)).count()
    }
}

fn kept(nth: usize) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("power-cut-{}-{nth}", std::process::id()))
}

/// Recordings of one test, and the states tried of them.
struct Trial {
    tools: Tools,
    rng: StdRng,
    lives: u64,
    figures: Figures,
}

impl Trial {
    fn new(part: u64) -> Self {
        let tools = Tools::new(env!("CARGO_BIN_EXE_power_cut_load"));
        let rng = random::rng(random::seed(), part);
        let figures = Figures { keep: KEPT, ..Figures::default() };
        Self { tools, rng, lives: 0, figures }
    }

    fn life(&mut self, opens: u64, records: u64, fate: Fate) -> (Life, Fate) {
        self.lives += 1;
        // Seeds of a lane's segments must differ from one life to the next.
        (Life { number: self.lives, seed: self.rng.next_u64() >> 8, opens, records }, fate)
    }

    fn record(
        &mut self,
        name: &str,
        before: (&State, Ledger),
        lives: &[(Life, Fate)],
    ) -> Recording {
        let recording = Recording::of(name, &self.tools, before, lives);
        self.figures.events += recording.events();
        recording
    }

    /// Tries states of a part of `recording`, spread evenly.
    fn try_states(&mut self, recording: &Recording, count: usize, part: Range<usize>) {
        let moments = recording.moments(count, part, self.rng.next_u64());
        let make = |cuts: SyncSender<Cut>| {
            recording.cut(&moments, |cut| cuts.send(cut).unwrap());
        };
        judge_all(WORKERS, make, |cut, verdict| self.figures.add(&cut, verdict));
    }

    /// Says what was tried, and fails if anything was wrong.
    fn end(self, began: Instant) {
        let Figures { states, events, records, unanswered, refused, torn, aside, .. } =
            self.figures;
        let mean = self.figures.opening / u32::try_from(states.max(1)).unwrap();
        println!(
            "{states} states of {events} events with {records} records in {:?}; open after {mean:?}, \
             at most {:?}; unanswered records in {unanswered}, refused ones in {refused}, a segment \
             put aside in {aside}, a torn group counted as damage in {torn}",
            began.elapsed(),
            self.figures.opening_max,
        );
        assert!(TORN_GROUPS_COUNT_AS_DAMAGE || torn == 0, "{torn} states have such a group");
        assert_eq!(refused, 0, "states in which refused records came back");
        let (failed, losing) = (&self.figures.failed, self.figures.losing());
        let first = &failed[..failed.len().min(10)];
        assert!(
            failed.is_empty(),
            "{} states fail, of which {losing} lose what was acknowledged; the first: {first:#?}",
            failed.len()
        );
    }
}

/// Of so many states, the share in per cent of the plain run's 500 or the full run's 10,000.
fn share(percent: usize) -> usize {
    if full() { 100 * percent } else { 5 * percent }
}

fn nothing() -> (State, Ledger) {
    (State::new(), Ledger::default())
}

/// The queue at work: opened, killed, closed; and, after a power cut, at work again.
#[test]
fn what_was_acknowledged_outlives_a_power_cut_at_any_moment() {
    let (began, mut trial) = (Instant::now(), Trial::new(1));
    let kill_at = trial.rng.random_range(1000..5000);
    let lives = [
        trial.life(3, 120, Fate::Ends),
        trial.life(2, 120, Fate::Killed(kill_at)),
        trial.life(2, 80, Fate::Ends),
    ];
    let (state, ledger) = nothing();
    let main = trial.record("work", (&state, ledger), &lives);
    trial.try_states(&main, share(50), 0..main.events());
    let again = if full() { 40 } else { 4 };
    let mut cuts = Vec::new();
    main.cut(&main.moments(again, 0..main.events(), trial.rng.next_u64()), |cut| cuts.push(cut));
    for cut in cuts {
        let kill_at = trial.rng.random_range(1..1200);
        let lives = [trial.life(1, 30, Fate::Killed(kill_at)), trial.life(1, 30, Fate::Ends)];
        let second = trial.record(&format!("after {}", cut.name), (&cut.state, cut.ledger), &lives);
        trial.try_states(&second, share(20) / again, 0..second.events());
    }
    trial.end(began);
}

/// The whole agent at work, from its first start on: apps hand over through its socket, a broker takes
/// and refuses, one life is killed. On some of the states the agent itself is started.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_agent_acknowledged_outlives_a_power_cut_at_any_moment() {
    let (began, mut trial) = (Instant::now(), Trial::new(5));
    let (states, starts, worked) = if full() { (10_000, 40, 20) } else { (200, 3, 3) };
    let kill_at = trial.rng.random_range(1_000..3_000);
    let lives = [End::Killed(kill_at), End::Stopped(Duration::from_secs(worked))];
    let seed = trial.rng.next_u64();
    let agent = Recording::of_agent("agent", &trial.tools, seed, &lives).await;
    trial.figures.events += agent.events();
    println!("recorded after {:?}: {}", began.elapsed(), agent.summary());
    let moments = agent.moments(starts, 0..agent.events(), trial.rng.next_u64());
    let mut cuts = Vec::new();
    agent.cut(&moments, |cut| cuts.push(cut));
    block_in_place(|| trial.try_states(&agent, states, 0..agent.events()));
    for cut in cuts {
        let faults = cut.judge_started().await;
        assert!(faults.is_empty(), "{cut:?}: {faults:#?}");
    }
    trial.end(began);
}

/// The first start of all is killed at any moment; the next one goes on.
#[test]
fn a_first_start_that_was_killed_costs_nothing_either() {
    let (began, mut trial) = (Instant::now(), Trial::new(2));
    let (births, kill_to) = if full() { (100, 200) } else { (10, 100) };
    for nth in 0..births {
        let kill_at = 1 + nth * kill_to / births + trial.rng.random_range(0..kill_to / births);
        let lives = [trial.life(1, 5, Fate::Killed(kill_at)), trial.life(1, 5, Fate::Ends)];
        let (state, ledger) = nothing();
        let birth = trial.record(&format!("birth {kill_at}"), (&state, ledger), &lives);
        trial.try_states(&birth, share(20) / births as usize, birth.life(1)..birth.events());
    }
    trial.end(began);
}

/// A sync fails once: what it was to make durable is refused.
#[test]
fn what_was_acknowledged_after_a_sync_that_failed_outlives_a_power_cut() {
    let (began, mut trial) = (Instant::now(), Trial::new(3));
    let failures = if full() { 20 } else { 2 };
    let count = share(10) / failures;
    for _ in 0..failures {
        let fails = Fate::Fails(trial.rng.random_range(1..200));
        let lives = [trial.life(1, 60, fails), trial.life(1, 20, Fate::Ends)];
        let (state, ledger) = nothing();
        let failure = trial.record(&format!("{fails:?}"), (&state, ledger), &lives);
        // Some states around the refusal, if it was not a state that could not be saved.
        let near = failure.refusal().map_or(0..failure.events(), |at| at - AROUND..at + AROUND);
        trial.try_states(&failure, count / 2, near);
        trial.try_states(&failure, count / 2, 0..failure.events());
    }
    trial.end(began);
}

/// Without the queue's syncs, of files or of folders, records are lost and found to be.
#[test]
fn a_queue_that_did_not_sync_would_be_found_out() {
    for of_folders in [false, true] {
        let mut trial = Trial::new(4);
        trial.figures.keep = 0;
        let (state, ledger) = nothing();
        let life = trial.life(1, 20, Fate::Ends);
        let careless = trial.record("careless", (&state, ledger), &[life]);
        let careless = careless.without_syncs(of_folders);
        trial.try_states(&careless, 40, 0..careless.events());
        assert!(trial.figures.losing() > 5, "of folders: {of_folders}");
    }
}

/// One state that failed before.
#[test]
fn a_kept_state_is_tried_alone() {
    let Some(folder) = std::env::var_os("SPILLWAY_CUT") else { return };
    let verdict = Cut::load(Path::new(&folder)).judge();
    assert!(verdict.faults.is_empty(), "{:#?}", verdict.faults);
}
