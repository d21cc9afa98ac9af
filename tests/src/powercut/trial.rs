//! Recordings of the program, and the states of them that are tried.

use std::collections::BTreeSet;
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use super::agent::{self, End};
use super::cut::{Cut, Program, read, scratch};
use super::disk::Disk;
use super::ledger::Ledger;
use super::log::{self, Event};
use super::marks::{self, Mark};
use super::saves::Saves;
use super::states::{self, State, Variant};
use super::work::{DATA, Life};

const SIGKILL: i32 = 9;

/// What befalls a life.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    /// Nothing.
    Ends,
    /// It kills itself after so many events; it may end before that.
    Killed(u64),
    /// One sync of data fails: that with this number.
    Fails(u64),
}

/// The program to record and the library that does it.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Tools {
    pub load: PathBuf,
    pub recorder: PathBuf,
}

impl Tools {
    /// With the library that cargo built for the running test.
    pub fn new(load: &str) -> Self {
        let test = std::env::current_exe().unwrap();
        let recorder = test.parent().unwrap().join("librecorder.so");
        assert!(recorder.exists(), "{} is missing: cargo build -p recorder", recorder.display());
        Self { load: load.into(), recorder }
    }

    /// One life of the program on `root`.
    fn live(&self, root: &Path, log: &Path, life: Life, fate: Fate) {
        let mut command = Command::new(&self.load);
        let numbers = [life.number, life.seed, life.opens, life.records];
        command.arg(root).args(numbers.map(|number| number.to_string()));
        command.env("LD_PRELOAD", &self.recorder).env("RECORDER_ROOT", root);
        command.env("RECORDER_LOG", log).env("RECORDER_SYNC_US", "200");
        match fate {
            Fate::Ends => {}
            Fate::Killed(events) => {
                command.env("RECORDER_KILL_AT", events.to_string());
            }
            Fate::Fails(sync) => {
                command.env("RECORDER_FAIL_FDATASYNC", sync.to_string());
            }
        }
        let status = command.status().unwrap();
        let killed = matches!(fate, Fate::Killed(_)) && status.signal() == Some(SIGKILL);
        assert!(status.success() || killed, "the recorded program: {status}");
    }
}

/// What a program did, and what it had promised before.
pub struct Recording {
    /// Where it came from, for who has to see it again.
    pub name: String,
    folder: TempDir,
    events: Vec<Event>,
    marks: Vec<(usize, Mark)>,
    before: Ledger,
    base: Disk,
    of: Program,
}

impl Recording {
    /// Records lives that begin on `state`; the app knows `before`.
    pub fn of(
        name: &str,
        tools: &Tools,
        (state, before): (&State, Ledger),
        lives: &[(Life, Fate)],
    ) -> Self {
        let folder = scratch();
        let (root, log) = (folder.path().join("root"), folder.path().join("log"));
        std::fs::create_dir(&root).unwrap();
        states::write(state, &root);
        let base = Disk::of(&root);
        lives.iter().for_each(|(life, fate)| tools.live(&root, &log, *life, *fate));
        let (events, _) = log::read(&log);
        let marks = marks::among(&events);
        let (name, of) = (name.to_owned(), Program::Queue);
        let recording = Self { name, folder, events, marks, before, base, of };
        recording.prove();
        recording
    }

    /// Records lives of the whole agent, from its first start on.
    pub async fn of_agent(name: &str, tools: &Tools, seed: u64, lives: &[End]) -> Self {
        let folder = scratch();
        let (root, log) = (folder.path().join("root"), folder.path().join("log"));
        std::fs::create_dir(&root).unwrap();
        let base = Disk::of(&root);
        let taken = agent::record(tools, (&root, &log), seed, lives).await;
        let (events, times) = log::read(&log);
        let mut marks = marks::among(&events);
        // Nothing of a delivery is in an event that came before it.
        let place = |(at_us, mark)| (times.partition_point(|time_us| *time_us < at_us), mark);
        marks.extend(taken.into_iter().map(place));
        marks.sort_by_key(|(at, _)| *at);
        let (name, before, of) = (name.to_owned(), Ledger::default(), Program::Agent);
        let recording = Self { name, folder, events, marks, before, base, of };
        recording.prove();
        recording
    }

    /// Nothing was missed: replayed, it gives what is really there.
    fn prove(&self) {
        let mut disk = self.base.clone();
        self.events.iter().for_each(|event| disk.apply(event));
        let replayed = states::after_power_cut(&disk, DATA, Variant::WHOLE);
        let real = read(&self.folder.path().join("root"), Path::new(DATA));
        let differ = |path: &&PathBuf| replayed.get(*path) != real.get(*path);
        let all = replayed.keys().chain(real.keys());
        let missed: Vec<_> = all.filter(differ).collect();
        assert!(missed.is_empty(), "{}: the recorder missed something of {missed:?}", self.name);
    }

    /// As if the program had never synced its files, or its folders.
    pub fn without_syncs(mut self, of_folders: bool) -> Self {
        let folder = |event: &Event| match event {
            Event::Folder { inode, .. } => Some(*inode),
            _ => None,
        };
        let folders: BTreeSet<u64> = self.events.iter().filter_map(folder).collect();
        for event in &mut self.events {
            if let Event::SyncEnd { inode, .. } = event
                && folders.contains(inode) == of_folders
            {
                *inode = 0;
            }
        }
        self
    }

    /// What was recorded, in words.
    pub fn summary(&self) -> String {
        let count =
            |wanted: fn(&Mark) -> bool| self.marks.iter().filter(|(_, m)| wanted(m)).count();
        let stored = count(|mark| matches!(mark, Mark::Stored { .. }));
        let taken = count(|mark| matches!(mark, Mark::Ending { .. }));
        format!("{} events, {stored} records stored, {taken} taken", self.events.len())
    }

    /// How much was recorded.
    pub fn events(&self) -> usize {
        self.events.len()
    }

    /// Where the `nth` life begins.
    pub fn life(&self, nth: usize) -> usize {
        let starts = self.events.iter().enumerate().filter(|(_, event)| **event == Event::Start);
        starts.map(|(at, _)| at).nth(nth).unwrap_or(self.events.len() - 1)
    }

    /// When a record was refused for the first time.
    pub fn refusal(&self) -> Option<usize> {
        let refused = |mark: &Mark| matches!(mark, Mark::Refused { .. });
        self.marks.iter().find(|(_, mark)| refused(mark)).map(|(at, _)| *at)
    }

    /// Moments spread evenly over a part of the recording, in order, each with a seed.
    pub fn moments(&self, count: usize, part: Range<usize>, seed: u64) -> Vec<Moment> {
        let mut rng = StdRng::seed_from_u64(seed);
        let end = part.end.min(self.events.len());
        let span = (end - part.start) as f64;
        let moment = |nth: usize| {
            let at = (nth as f64 + rng.random::<f64>()) / count as f64 * span;
            Moment { prefix: (part.start + at as usize + 1).min(end), seed: rng.random() }
        };
        (0..count).map(moment).collect()
    }

    /// Hands the state at each moment to `take`.
    pub fn cut(&self, moments: &[Moment], mut take: impl FnMut(Cut)) {
        let (mut disk, mut ledger) = (self.base.clone(), self.before.clone());
        let (mut done, mut marks) = (0, self.marks.iter().peekable());
        let mut saves = Saves::default();
        for moment in moments {
            for (nth, event) in self.events.iter().enumerate().take(moment.prefix).skip(done) {
                disk.apply(event);
                saves.note(event, &mut ledger);
                while let Some((_, mark)) = marks.next_if(|(at, _)| *at <= nth) {
                    ledger.note(mark);
                }
            }
            done = moment.prefix;
            let variant = Variant::of(moment.seed);
            let state = states::after_power_cut(&disk, DATA, variant);
            let name = format!("{}:{}:{}", self.name, moment.prefix, moment.seed);
            take(Cut { name, variant, state, ledger: ledger.clone(), of: self.of });
        }
    }
}

/// When the power is cut: after so many events, with a choice by a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Moment {
    pub prefix: usize,
    pub seed: u64,
}
