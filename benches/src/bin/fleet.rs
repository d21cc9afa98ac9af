//! A fleet's return in figures: the tables under "Fleet" in `docs/benchmarks.md`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use spillway::fleet::{Disturbance, Limit, Outcome, Policy, Scenario, simulate};

/// Simulates fleets and prints a table.
#[derive(Debug, Parser)]
struct Arguments {
    /// Gateways.
    #[arg(long, default_value = "1000", value_delimiter = ',')]
    gateways: Vec<u32>,
    /// The broker's rate over the live rate.
    #[arg(long, default_value = "2,1.2", value_delimiter = ',')]
    capacity: Vec<f64>,
    /// First seed.
    #[arg(long, default_value_t = 100)]
    seed: u64,
    /// Seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Side by side.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Policies: ours, or all.
    #[arg(long, default_value = "ours")]
    policies: String,
    /// Which scenarios: outage, disturbed.
    #[arg(long, default_value = "outage")]
    scenarios: String,
    /// A line for each seed.
    #[arg(long)]
    each: bool,
}

/// A row to be.
struct Task {
    name: String,
    policy: Policy,
    scenario: Scenario,
}

fn main() {
    let arguments = Arguments::parse();
    let tasks = tasks(&arguments);
    println!(
        "| scenario | gateways | C/L | way | seeds | peak 1 s | in work | last drained | half | 99 % \
         | rejects | live p50 / p99 s | critical p99 s | backlog p99 s | s of CPU |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for task in &tasks {
        let outcomes = run(task, &arguments);
        if arguments.each {
            for (seed, outcome, took) in &outcomes {
                println!("{}", row(task, &format!("#{seed}"), &[(outcome, *took)]));
            }
        }
        let all: Vec<_> = outcomes.iter().map(|(_, outcome, took)| (outcome, *took)).collect();
        println!("{}", row(task, &arguments.seeds.to_string(), &all));
    }
}

fn tasks(arguments: &Arguments) -> Vec<Task> {
    let policies: &[Policy] = match arguments.policies.as_str() {
        "all" => &Policy::ALL,
        "others" => &Policy::ALL[1..],
        "aimd" => &[Policy::Aimd],
        _ => &[Policy::SelfAnchored],
    };
    let mut tasks = Vec::new();
    for &gateways in &arguments.gateways {
        for &capacity in &arguments.capacity {
            for (name, scenario) in scenarios(&arguments.scenarios, gateways, capacity) {
                for &policy in policies {
                    let mut scenario = scenario.clone();
                    if gateways >= 100_000 && policy != Policy::SelfAnchored {
                        scenario.horizon = scenario.ideal();
                    }
                    tasks.push(Task { name: name.to_owned(), policy, scenario });
                }
            }
        }
    }
    tasks
}

fn scenarios(which: &str, gateways: u32, capacity: f64) -> Vec<(&'static str, Scenario)> {
    let plain = Scenario::outage(gateways, capacity);
    if which == "outage" {
        return vec![("outage", plain)];
    }
    let (from, to) = (Duration::from_secs(200), Duration::from_secs(220));
    let with = |disturbance| Scenario { disturbance, ..plain.clone() };
    let until = |s: u64| (Duration::from_secs(s), Duration::from_secs(s + 300));
    let second = Disturbance::SecondOutage { from: until(300).0, to: until(300).1 };
    let halved = Disturbance::Halved { from: until(200).0, to: until(200).1 };
    vec![
        ("second outage", with(second)),
        ("capacity halved", with(halved)),
        ("broker restart", with(Disturbance::Restart { from, to })),
        ("policer", Scenario { limit: Limit::Policer, ..plain.clone() }),
        (
            "200 ms queue, late rejects",
            Scenario { limit: Limit::Late(Duration::from_millis(200)), ..plain.clone() },
        ),
        ("one third naive", Scenario { naive_part: 1.0 / 3.0, ..plain.clone() }),
        (
            "sparse (mean 0.02/s)",
            Scenario {
                own_rate_per_s: (0.01, 0.03),
                heavy_part: 0.0,
                horizon: plain.horizon * 2,
                ..plain.clone()
            },
        ),
    ]
}

/// Runs all seeds, several side by side.
fn run(task: &Task, arguments: &Arguments) -> Vec<(u64, Outcome, Duration)> {
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed) as u64;
            if n >= arguments.seeds {
                return;
            }
            let started = Instant::now();
            let seed = arguments.seed + n;
            let outcome = simulate(&task.scenario, task.policy, seed);
            if let Ok(mut outcomes) = outcomes.lock() {
                outcomes.push((seed, outcome, started.elapsed()));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(work);
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_default();
    outcomes.sort_by_key(|(seed, ..)| *seed);
    outcomes
}

/// The worst of all seeds in every column.
fn row(task: &Task, seeds: &str, outcomes: &[(&Outcome, Duration)]) -> String {
    let worst = |figure: &dyn Fn(&Outcome) -> f64| {
        outcomes.iter().map(|(outcome, _)| figure(outcome)).fold(0.0, f64::max)
    };
    let time = |figure: &dyn Fn(&Outcome) -> Option<f64>| {
        let all: Option<Vec<f64>> = outcomes.iter().map(|(outcome, _)| figure(outcome)).collect();
        match all {
            Some(all) => format!("{:.3}", all.into_iter().fold(0.0, f64::max)),
            None => "never".to_owned(),
        }
    };
    let drained = match time(&|o| o.drained) {
        never if never == "never" => {
            let least = outcomes.iter().map(|(o, _)| o.drained_part).fold(1.0, f64::min);
            format!("not by {:.1} (then {:.1} %)", horizon(task), 100.0 * least)
        }
        time => time,
    };
    let rejects = worst(&|o| o.rejected as f64 / o.offered.max(1) as f64);
    let cpu = outcomes.iter().map(|(_, took)| took.as_secs_f64()).fold(0.0, f64::max);
    format!(
        "| {} | {} | {} | {:?} | {seeds} | {:.3} | {:.3} | {drained} | {} | {} | {:.2} % | {:.1} / {:.1} | {:.1} | {:.0} | {cpu:.0} |",
        task.name,
        task.scenario.gateways,
        task.scenario.capacity,
        task.policy,
        worst(&|o| o.peak),
        worst(&|o| o.peak_work),
        time(&|o| o.drained_p50),
        time(&|o| o.drained_p99),
        100.0 * rejects,
        worst(&|o| o.live.p50_s),
        worst(&|o| o.live.p99_s),
        worst(&|o| o.critical.p99_s),
        worst(&|o| o.backlog.p99_s),
    )
}

fn horizon(task: &Task) -> f64 {
    task.scenario.horizon.as_secs_f64() / task.scenario.ideal().as_secs_f64()
}
