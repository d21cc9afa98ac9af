//! `spillway plan`.

mod asked;
mod page;
mod read;
mod text;

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) use self::asked::Arguments;
use super::exit::finish;
use super::{Exit, Failure, output};
use crate::fleet::{Policy, Scenario, simulate};
use crate::plan::{Answer, Question, Run, Scale, plot};

/// Baselines are watched for so long beyond the ideal time.
const CUT: f64 = 1.25;
/// ... but no longer than it takes for so many events: seconds of a processor.
const EVENTS: u64 = 10_000_000;
/// The same for ours, which hardly ever needs as many.
const OUR_EVENTS: u64 = 40_000_000;
/// The same for all where nothing is left out: a quarter of an hour.
const EXACT_EVENTS: u64 = 2_000_000_000;

pub(super) fn run(args: &Arguments) -> Exit {
    finish(plan(args))
}

fn plan(args: &Arguments) -> Result<String, Failure> {
    let question = args.question()?;
    question.prove().map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let scale = match args.exact {
        true => Scale::exact(&question),
        false => Scale::quick(&question),
    };
    let runs = simulate_all(args, &question, &scale);
    let answer = Answer::new(&question, &scale, args.seed, &runs);
    if let Some(file) = &args.svg {
        write(file, &plot::svg(&answer))?;
    }
    Ok(if args.json { output::json(&answer) } else { text::show(&question, &answer) })
}

fn write(file: &Path, svg: &str) -> Result<(), Failure> {
    std::fs::write(file, svg).map_err(|error| {
        let message = format!("{}: the plot cannot be written: {error}", file.display());
        Failure::new(Exit::Usage, message)
    })
}

/// Every way with every seed, on as many threads as there are processors. Each run is the same
/// whichever thread does it, and they are put together in their order.
fn simulate_all(args: &Arguments, question: &Question, scale: &Scale) -> Vec<Run> {
    let (own_most, most_events) = match args.exact {
        true => (EXACT_EVENTS, EXACT_EVENTS),
        false => (OUR_EVENTS, EVENTS),
    };
    let ours = Scenario { most_events: own_most, ..scale.scenario(question) };
    let horizon = ours.ideal().mul_f64(CUT).min(ours.horizon);
    let cut = Scenario { horizon, most_events, ..ours.clone() };
    let policies = args.policies();
    let scenario = |policy| if policy == Policy::SelfAnchored { &ours } else { &cut };
    let seeds = || (0..args.seeds).map(|n| args.seed.wrapping_add(n));
    let tasks: Vec<(Policy, u64)> =
        policies.iter().flat_map(|policy| seeds().map(|seed| (*policy, seed))).collect();
    let outcomes =
        side_by_side(&tasks, |(policy, seed)| simulate(scenario(*policy), *policy, *seed));
    let mut outcomes = outcomes.into_iter();
    let seeds = args.seeds as usize;
    let run = |policy| Run { policy, outcomes: outcomes.by_ref().take(seeds).collect() };
    policies.into_iter().map(run).collect()
}

fn side_by_side<T: Sync, R: Send>(tasks: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let take = || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(n) else { return };
            let result = work(task);
            if let Ok(mut done) = done.lock() {
                done.push((n, result));
                progress(done.len(), tasks.len());
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(tasks.len());
    progress(0, tasks.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(take);
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Says how far it is, to somebody who waits.
fn progress(done: usize, all: usize) {
    if std::io::stderr().is_terminal() {
        let end = if done == all { "\r\x1b[K" } else { "" };
        output::err(&format!("\rsimulating: {done} of {all} runs done{end}"));
    }
}
