//! A fleet's return in reality beside the simulated one: so many real agents on this machine, an
//! embedded broker with a capacity, an outage, and the same scenario in `fleet::simulate`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use spillway::broker::faults::{Capacity, Plan};
use spillway::broker::{Broker, BrokerOptions, Stored};
use spillway::config::Secret;
use spillway::fleet::{Limit, Outcome, Policy, Scenario, simulate};
use spillway_benches::broker::{ACCESS_KEY, INSTANCE, SECRET};
use spillway_benches::figure::{Rounds, number, table};
use spillway_benches::fleet::{self, Gateway, now_ms};
use spillway_benches::process::TICKS_PER_SECOND;
use spillway_benches::{Error, folder::folder, machine};

/// Topic of the agents' lane.
const TOPIC: &str = "bench-0";
/// The broker's queue, as the simulation has it.
const QUEUE: Duration = Duration::from_secs(1);
/// Between two looks at the broker.
const LOOK: Duration = Duration::from_millis(500);
/// Bins of the load, and of them in the window of a second, as the simulation has it.
const BIN_MS: u64 = 100;
const WINDOW: usize = 10;
/// A record that waited longer than this was backlog, in ms.
const LATE_MS: u64 = 10_000;
/// Given up after so many times the ideal, beyond the spread of the first sends.
const GIVEN_UP: f64 = 6.0;

/// Real agents beside simulated ones.
#[derive(Debug, Parser)]
struct Args {
    /// Agents
    #[arg(long, default_value_t = 100)]
    gateways: u32,
    /// Each makes between so many records a second ...
    #[arg(long, default_value_t = 0.2)]
    own_least: f64,
    /// ... and so many
    #[arg(long, default_value_t = 0.6)]
    own_most: f64,
    /// Length of the outage, in seconds
    #[arg(long, default_value_t = 120)]
    outage_s: u64,
    /// The broker's rate as a multiple of what the fleet makes
    #[arg(long, default_value_t = 2.0)]
    capacity: f64,
    /// Seed of the real fleet's rates
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Simulated runs
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// Folder for the agents' queues
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Only shows that it works
    #[arg(long)]
    smoke: bool,
}

/// What is compared.
struct Figures {
    capacity_per_s: f64,
    peak: f64,
    /// Over the ideal time, for the last gateway and for half of them.
    drained: Option<f64>,
    drained_p50: Option<f64>,
    offered: u64,
    rejected: u64,
}

impl From<Outcome> for Figures {
    fn from(outcome: Outcome) -> Self {
        let Outcome { capacity_per_s, peak, drained, drained_p50, offered, rejected, .. } = outcome;
        Self { capacity_per_s, peak, drained, drained_p50, offered, rejected }
    }
}

// The apps of all agents, and the broker.
#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Error> {
    let mut args = Args::parse();
    if args.smoke {
        args = Args { gateways: 4, own_least: 2.0, own_most: 4.0, outage_s: 4, seeds: 3, ..args };
    }
    let folder = folder(args.dir.as_deref())?;
    machine::describe(folder.path());
    println!(
        "{} agents of {}–{} records/s, {} s of outage, a broker of {} times the live rate.\n",
        args.gateways, args.own_least, args.own_most, args.outage_s, args.capacity
    );
    let scenario = scenario(&args);
    let reality = reality(&args, &scenario, folder.path()).await?;
    let simulated: Vec<Figures> = (0..args.seeds)
        .map(|seed| simulate(&scenario, Policy::SelfAnchored, args.seed + seed).into())
        .collect();
    let rows = [row("reality", &[reality]), row(&format!("{} simulated", args.seeds), &simulated)];
    table(&["", "capacity/s", "peak 1 s", "last drained", "half", "offered", "rejects"], &rows);
    println!("Load average at the end: {}", machine::load_average());
    Ok(())
}

/// What happens on this machine, as the simulation knows it: no TLS, no losses, next to no distance.
fn scenario(args: &Args) -> Scenario {
    let outage = Duration::from_secs(args.outage_s);
    let plain = Scenario::outage(args.gateways, args.capacity);
    let ideal = outage.mul_f64(1.0 / (args.capacity - 1.0));
    Scenario {
        own_rate_per_s: (args.own_least, args.own_most),
        heavy_part: 0.0,
        outage,
        limit: Limit::Queue(QUEUE),
        connects_per_s: 1000.0,
        connect_work: 0.0,
        round_trip: (Duration::from_micros(500), Duration::from_millis(1)),
        loss: (0.0, 0.0),
        own_rate_error: 0.0,
        horizon: ideal.mul_f64(GIVEN_UP) + Duration::from_secs(120),
        ..plain
    }
}

async fn broker(address: SocketAddr, per_s: f64) -> Result<Broker, Error> {
    let keys = vec![(ACCESS_KEY.to_owned(), Secret::new(SECRET))];
    let queue_ms = u64::try_from(QUEUE.as_millis())?;
    let faults = Plan { capacity: Some(Capacity { per_s, queue_ms }), ..Plan::default() };
    Ok(Broker::start(BrokerOptions { faults, ..BrokerOptions::new(address, keys) }).await?)
}

/// The fleet meets an outage and comes back.
async fn reality(
    args: &Args,
    scenario: &Scenario,
    folder: &std::path::Path,
) -> Result<Figures, Error> {
    let port = tokio::task::spawn_blocking(spillway_tests::port::free).await?;
    let address: SocketAddr = ([127, 0, 0, 1], port).into();
    let upstream = format!(
        "transport = \"http\"\nendpoint = \"http://{address}\"\ninstance_id = \"{INSTANCE}\"\n\
         access_key_id = \"{ACCESS_KEY}\"\naccess_key_secret = \"{SECRET}\"\n"
    );
    let before = broker(address, 1e6).await?;
    let own_per_s = (args.own_least, args.own_most);
    let gateways = fleet::start(args.gateways, own_per_s, &upstream, folder, args.seed).await?;
    let capacity_per_s = args.capacity * gateways.iter().map(|g| g.own_per_s).sum::<f64>();
    // The link of each has been up, and will be lost.
    while arrivals(&before).len() < gateways.len() {
        tokio::time::sleep(LOOK).await;
    }
    let delivered = arrivals(&before);
    before.stop().await;
    tokio::time::sleep(scenario.outage).await;
    let broker = broker(address, capacity_per_s).await?;
    let back_ms = now_ms();
    let drained_ms = await_drained(&gateways, &delivered, &broker, scenario.horizon).await?;
    resources(&gateways)?;
    Ok(figures(&broker, back_ms, capacity_per_s, scenario, drained_ms))
}

/// When each record of a gateway first arrived, by its number.
type Arrivals = BTreeMap<String, BTreeMap<u64, u64>>;

fn arrivals(broker: &Broker) -> Arrivals {
    let mut all = Arrivals::new();
    for message in broker.messages(Some(INSTANCE), TOPIC) {
        let gateway = message.property("sw_gw").unwrap_or_default().to_owned();
        let seq = message.property("sw_seq").and_then(|seq| seq.parse().ok()).unwrap_or(0);
        all.entry(gateway).or_default().entry(seq).or_insert(message.publish_ms);
    }
    all
}

/// When each gateway had drained. The fleet is drained once nothing waits anywhere that was not just
/// made; each gateway was when the last record arrived that had waited for long.
async fn await_drained(
    gateways: &[Gateway],
    delivered: &Arrivals,
    broker: &Broker,
    horizon: Duration,
) -> Result<Vec<u64>, Error> {
    let deadline = now_ms() + u64::try_from(horizon.as_millis())?;
    loop {
        let (now_ms, arrived) = (now_ms(), arrivals(broker));
        let drained = |gateway| drained_ms(gateway, delivered, &arrived, now_ms);
        let drained: Vec<u64> = gateways.iter().filter_map(drained).collect();
        if drained.len() == gateways.len() || now_ms > deadline {
            return Ok(drained);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn drained_ms(
    gateway: &Gateway,
    delivered: &Arrivals,
    arrived: &Arrivals,
    now_ms: u64,
) -> Option<u64> {
    let (before, arrived) = (delivered.get(&gateway.id), arrived.get(&gateway.id)?);
    let mut last_ms = *arrived.values().min()?;
    for (seq, accepted_ms) in gateway.accepted() {
        match arrived.get(&seq) {
            Some(at_ms) if *at_ms > accepted_ms + LATE_MS => last_ms = last_ms.max(*at_ms),
            Some(_) => {}
            None if before.is_some_and(|before| before.contains_key(&seq)) => {}
            None if accepted_ms + LATE_MS > now_ms => {}
            None => return None,
        }
    }
    Some(last_ms)
}

fn figures(
    broker: &Broker,
    back_ms: u64,
    capacity_per_s: f64,
    scenario: &Scenario,
    mut drained_ms: Vec<u64>,
) -> Figures {
    let messages = broker.messages(Some(INSTANCE), TOPIC);
    let ideal_ms = scenario.ideal().as_secs_f64() * 1e3;
    drained_ms.sort_unstable();
    let over = |at_ms: &u64| at_ms.saturating_sub(back_ms) as f64 / ideal_ms;
    let all = drained_ms.len() == scenario.gateways as usize;
    let half = (scenario.gateways as usize).div_ceil(2).max(1) - 1;
    let rejected = broker.faults().refused();
    Figures {
        capacity_per_s,
        peak: peak(&messages, back_ms) / capacity_per_s,
        drained: drained_ms.last().filter(|_| all).map(over),
        drained_p50: drained_ms.get(half).map(over),
        offered: messages.len() as u64 + rejected,
        rejected,
    }
}

/// The most that arrived in any second.
fn peak(messages: &[std::sync::Arc<Stored>], back_ms: u64) -> f64 {
    let mut bins: Vec<u64> = Vec::new();
    for message in messages {
        let bin = usize::try_from(message.publish_ms.saturating_sub(back_ms) / BIN_MS).unwrap_or(0);
        bins.resize(bins.len().max(bin + 1), 0);
        bins[bin] += 1;
    }
    let most = bins.windows(WINDOW).map(|window| window.iter().sum::<u64>()).max();
    most.unwrap_or_else(|| bins.iter().sum()) as f64
}

/// What the fleet's processes cost this machine.
fn resources(gateways: &[Gateway]) -> Result<(), Error> {
    let usages: Result<Vec<_>, Error> = gateways.iter().map(Gateway::usage).collect();
    let usages = usages?;
    let mib = |figure: fn(&spillway_benches::process::Usage) -> u64| {
        let each: Rounds = usages.iter().map(|usage| figure(usage) as f64 / 1024.0).collect();
        let all = usages.iter().map(|usage| figure(usage) as f64 / 1024.0).sum();
        vec![each.show(1), number(all, 0)]
    };
    let cpu: Rounds = usages.iter().map(|usage| usage.ticks as f64 / TICKS_PER_SECOND).collect();
    let cpu_all: f64 = usages.iter().map(|usage| usage.ticks as f64 / TICKS_PER_SECOND).sum();
    let rows = [
        ("resident, MiB", mib(|usage| usage.resident_kib)),
        ("of its own, MiB (PSS)", mib(|usage| usage.proportional_kib)),
        ("most resident, MiB", mib(|usage| usage.peak_kib)),
        ("CPU since the start, s", vec![cpu.show(2), number(cpu_all, 1)]),
    ];
    let rows = rows.map(|(name, cells)| [vec![name.to_owned()], cells].concat());
    table(&["the agents' processes", "each", "all"], &rows);
    Ok(())
}

fn row(name: &str, all: &[Figures]) -> Vec<String> {
    let show = |figure: &dyn Fn(&Figures) -> f64, digits| {
        all.iter().map(figure).collect::<Rounds>().show(digits)
    };
    let time = |figure: fn(&Figures) -> Option<f64>| match all.iter().map(figure).collect() {
        Some::<Rounds>(rounds) => rounds.show(3),
        None => "not all".to_owned(),
    };
    vec![
        name.to_owned(),
        show(&|f| f.capacity_per_s, 1),
        show(&|f| f.peak, 3),
        time(|f| f.drained),
        time(|f| f.drained_p50),
        show(&|f| f.offered as f64, 0),
        show(&|f| f.rejected as f64, 0),
    ]
}
