//! What is asked: the command line, and a configuration below it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::read;
use crate::cli::{Failure, load};
use crate::config::{self, Config, Lane};
use crate::fleet::{Policy, Scenario};
use crate::plan::{Company, Content, Question};

/// Bytes of a bundle before it is compressed, and how long it waits: the configuration's defaults.
const BUNDLE_BYTES: u64 = 16 << 10;
const LINGER: Duration = Duration::from_millis(200);
/// Capacity and consumers, where nothing is said of them, over what the fleet makes.
const AMPLE: f64 = 2.0;

/// Sizes a fleet: simulates its return after an outage, with the agent's own code, and says what
/// it takes at the gateways, on the wire, at the broker and behind it
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    spillway plan --gateways 100000 --rate 1/min --outage 6h --capacity 5000\n  \
    spillway plan --gateways 2000 --rate 2 --bundle 64 --svg plan.svg\n  \
    spillway plan --config /etc/spillway/spillway.toml --outage 1d --consumer-rate 3000 --json\n\n\
    How to read the answer, and what it leaves out: docs/plan.md")]
pub(in crate::cli) struct Arguments {
    /// How many gateways there are
    #[arg(long, value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=10_000_000), help_heading = "The fleet")]
    gateways: u32,
    /// Records that a gateway makes, in the mean: 0.5 (a second), 30/min, 1800/h, 10/d
    #[arg(long, value_name = "RATE", default_value = "0.5", value_parser = read::rate_per_s,
          help_heading = "The fleet")]
    rate: f64,
    /// Part of the gateways that make many more records than the others
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = read::part,
          help_heading = "The fleet")]
    heavy: f64,
    /// How many times more
    #[arg(long, value_name = "TIMES", default_value = "20", value_parser = read::times,
          help_heading = "The fleet")]
    heavy_times: f64,
    /// Bytes of a record's body
    #[arg(long, value_name = "SIZE", default_value = "256 B", value_parser = read::record_bytes,
          help_heading = "The fleet")]
    record_size: u64,
    /// How long the network is away
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = read::duration,
          help_heading = "The fleet")]
    outage: Duration,

    /// MQ HTTP API (http) or RocketMQ 5 (grpc) [default: the configuration's, else http]
    #[arg(long, value_enum, hide_possible_values = true, help_heading = "The way")]
    transport: Option<Transport>,
    /// Longest round trip; the gateways' lie between a sixteenth of it and it
    #[arg(long, value_name = "TIME", default_value = "800ms", value_parser = read::duration,
          help_heading = "The way")]
    round_trip: Duration,
    /// Order of the lane: none, key or lane, which drains one message a round trip [default: the configuration's, else none]
    #[arg(long, value_enum, hide_possible_values = true, help_heading = "The way")]
    order: Option<Order>,
    /// Records in a message (2 to 512), for consumers that unpack bundles [default: the configuration's, else one]
    #[arg(long, value_name = "N", conflicts_with = "batch",
          value_parser = clap::value_parser!(u32).range(2..=512), help_heading = "The way")]
    bundle: Option<u32>,
    /// How long less than a bundle waits for more records [default: 200ms]
    #[arg(long, value_name = "TIME", value_parser = read::linger, requires = "bundle",
          help_heading = "The way")]
    linger: Option<Duration>,
    /// Messages in a request (2 to 512; gRPC without order) [default: the configuration's, else one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=512),
          help_heading = "The way")]
    batch: Option<u32>,
    /// What bodies are like, which decides what compression saves: telemetry, the same names and other values each
    /// time, as JSON from a sensor; or noise, of which little can be saved
    #[arg(
        long,
        value_enum,
        default_value = "telemetry",
        hide_possible_values = true,
        help_heading = "The way"
    )]
    content: Bodies,

    /// Messages that the broker takes, a second (a bundle is one) [default: twice what the fleet makes]
    #[arg(long, value_name = "RATE", value_parser = read::rate_per_s, help_heading = "The far side")]
    capacity: Option<f64>,
    /// Rows that the consumers store, a second [default: twice what the fleet makes]
    #[arg(long, value_name = "RATE", value_parser = read::rate_per_s, help_heading = "The far side")]
    consumer_rate: Option<f64>,
    /// How long the broker keeps a message, read or not
    #[arg(long, value_name = "TIME", default_value = "3d", value_parser = read::duration,
          help_heading = "The far side")]
    retention: Duration,

    /// Takes the sections drain and backoff, the transport and the default lane from this configuration
    #[arg(long, value_name = "FILE", help_heading = "The answer")]
    config: Option<PathBuf>,
    /// Other ways to return, for comparison; --svg draws naive, exponential and full-jitter if this is left out
    #[arg(
        long = "way",
        value_enum,
        value_delimiter = ',',
        value_name = "WAY",
        help_heading = "The answer"
    )]
    ways: Vec<Other>,
    /// Seed of chance: the same gives the same answer
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "The answer")]
    pub(super) seed: u64,
    /// Runs so many seeds; the worst of each figure counts
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..=100), help_heading = "The answer")]
    pub(super) seeds: u64,
    /// Simulates every gateway and all of the outage, however long it takes
    #[arg(long, help_heading = "The answer")]
    pub(super) exact: bool,
    /// Prints JSON, units in the names
    #[arg(long, help_heading = "The answer")]
    pub(super) json: bool,
    /// Draws the offered load over time
    #[arg(long, value_name = "FILE", help_heading = "The answer")]
    pub(super) svg: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Transport {
    Http,
    Grpc,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Order {
    None,
    Key,
    Lane,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Bodies {
    /// The same names and other values each time, such as JSON from a sensor
    Telemetry,
    /// Text of which little can be saved
    Noise,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Other {
    Naive,
    Exponential,
    FullJitter,
    DecorrelatedJitter,
    StaticBucket,
    Aimd,
    All,
}

impl Arguments {
    /// Ours first, then those asked for, each once.
    pub(super) fn policies(&self) -> Vec<Policy> {
        let others: &[Other] = match self.ways.is_empty() && self.svg.is_some() {
            true => &[Other::Naive, Other::Exponential, Other::FullJitter],
            false => &self.ways,
        };
        let wanted = |policy: &Policy| match policy {
            Policy::SelfAnchored => true,
            other => others.iter().any(|way| way.policy().is_none_or(|policy| policy == *other)),
        };
        Policy::ALL.into_iter().filter(wanted).collect()
    }

    pub(super) fn question(&self) -> Result<Question, Failure> {
        let config = self.config.as_deref().map(load).transpose()?;
        let config = config.as_ref();
        let lane = config.map(Config::default_lane);
        let defaults = Scenario::outage(self.gateways, AMPLE);
        let mut question = Question {
            gateways: self.gateways,
            rate_per_s: self.rate,
            heavy_part: self.heavy,
            heavy_times: self.heavy_times,
            record_bytes: self.record_size,
            content: match self.content {
                Bodies::Telemetry => Content::Telemetry,
                Bodies::Noise => Content::Noise,
            },
            outage: self.outage,
            capacity_per_s: 0.0,
            transport: self.transport(config),
            order: self.order(lane),
            company: self.company(lane),
            round_trip: self.round_trip,
            consumer_per_s: 0.0,
            retention: self.retention,
            drain: config.map_or(defaults.drain, |config| config.drain.clone()),
            backoff: config.map_or(defaults.backoff, |config| config.backoff.clone()),
            ordered_lanes: config.map_or_else(Vec::new, ordered),
            lane: lane.map_or_else(
                || ("main".to_owned(), "spillway".to_owned()),
                |lane| (lane.name.to_string(), lane.topic.to_string()),
            ),
        };
        let ample = AMPLE * question.live_messages_per_s();
        question.capacity_per_s = self.capacity.unwrap_or(ample);
        question.consumer_per_s = self.consumer_rate.unwrap_or(AMPLE * question.live_per_s());
        Ok(question)
    }

    fn transport(&self, config: Option<&Config>) -> config::Transport {
        let configured = config.and_then(|config| config.upstream.as_ref());
        match self.transport {
            Some(Transport::Http) => config::Transport::Http,
            Some(Transport::Grpc) => config::Transport::Grpc,
            None => configured.map_or(config::Transport::Http, |upstream| upstream.transport),
        }
    }

    fn order(&self, lane: Option<&Lane>) -> config::Order {
        match self.order {
            Some(Order::None) => config::Order::None,
            Some(Order::Key) => config::Order::Key,
            Some(Order::Lane) => config::Order::Lane,
            None => lane.map_or(config::Order::None, |lane| lane.order),
        }
    }

    fn company(&self, lane: Option<&Lane>) -> Company {
        let configured = lane.and_then(|lane| lane.bundle.as_ref());
        match (self.bundle, self.batch, configured, lane.and_then(|lane| lane.batch.as_ref())) {
            (Some(records), ..) => {
                let linger = self.linger.unwrap_or(LINGER);
                Company::Bundle {
                    records,
                    bytes: BUNDLE_BYTES.max(u64::from(records) * 256),
                    linger,
                }
            }
            (_, Some(records), ..) => Company::Batch { records },
            (_, _, Some(bundle), _) => Company::Bundle {
                records: bundle.records as u32,
                bytes: bundle.bytes as u64,
                linger: bundle.linger,
            },
            (.., Some(batch)) => Company::Batch { records: batch.records as u32 },
            _ => Company::Alone,
        }
    }
}

impl Other {
    /// `None` is all.
    fn policy(self) -> Option<Policy> {
        Some(match self {
            Self::Naive => Policy::Naive,
            Self::Exponential => Policy::Exponential,
            Self::FullJitter => Policy::FullJitter,
            Self::DecorrelatedJitter => Policy::DecorrelatedJitter,
            Self::StaticBucket => Policy::StaticBucket,
            Self::Aimd => Policy::Aimd,
            Self::All => return None,
        })
    }
}

/// The lanes beside the default one that drain one message a round trip.
fn ordered(config: &Config) -> Vec<String> {
    let slow =
        |lane: &&Lane| lane.order == config::Order::Lane && lane.bundle.is_none() && !lane.default;
    config.lanes.iter().filter(slow).map(|lane| lane.name.to_string()).collect()
}
