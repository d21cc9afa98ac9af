//! What is asked, and what follows from it without a simulation.

use std::time::Duration;

use thiserror::Error;

use super::wire::Content;
use crate::config::{Backoff, Drain, Order, Transport};

/// The rates of ordinary gateways lie between these multiples of their mean, so 1 to 5.
const RATES: (f64, f64) = (1.0 / 3.0, 5.0 / 3.0);
/// A broker that takes less, as a multiple of what the fleet makes, hardly ever drains it.
const HEADROOM_LEAST: f64 = 1.01;

/// What leaves in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// One record.
    Alone,
    /// Several records in one message: at most so many, so many bytes before they are compressed,
    /// and less than that after so long.
    Bundle {
        /// Most records.
        records: u32,
        /// Most bytes of them.
        bytes: u64,
        /// How long less than a bundle waits for more.
        linger: Duration,
    },
    /// Several messages in one request.
    Batch {
        /// Most messages.
        records: u32,
    },
}

/// A fleet, a broker, an outage, and those who read.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Gateways.
    pub gateways: u32,
    /// Mean of the records that each makes, per second.
    pub rate_per_s: f64,
    /// This part of the gateways ...
    pub heavy_part: f64,
    /// ... makes so many times as many as the others.
    pub heavy_times: f64,
    /// Bytes of a record's body.
    pub record_bytes: u64,
    /// What bodies are like.
    pub content: Content,
    /// How long the network is away.
    pub outage: Duration,
    /// Messages per second that the broker takes; a bundle is one.
    pub capacity_per_s: f64,
    /// Which wire.
    pub transport: Transport,
    /// Order of the lane that carries the records.
    pub order: Order,
    /// What leaves together.
    pub company: Company,
    /// The longest round trip.
    pub round_trip: Duration,
    /// Records per second that the far side stores.
    pub consumer_per_s: f64,
    /// How long the broker keeps a message, read or not.
    pub retention: Duration,
    /// `[drain]` of every gateway.
    pub drain: Drain,
    /// `[backoff]` of every gateway.
    pub backoff: Backoff,
    /// Further lanes of a configuration that drain one message a round trip.
    pub ordered_lanes: Vec<String>,
    /// Name and topic of the lane that carries the records.
    pub lane: (String, String),
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PlanError {
    /// The backlog grows for ever.
    #[error(
        "the fleet makes {live_per_s:.0} messages/s and the broker takes {capacity_per_s:.0}: it \
         never drains, and falls behind without any outage. --capacity {least:.0} drains an outage \
         in five times its length, {twice:.0} in its own length{bundle}"
    )]
    NeverDrains {
        /// Messages that the fleet makes, per second.
        live_per_s: f64,
        /// What the broker takes.
        capacity_per_s: f64,
        /// 1.2 times the first.
        least: f64,
        /// Twice the first.
        twice: f64,
        /// What else would help.
        bundle: &'static str,
    },
    /// It would, but so slowly that nobody can wait for it, nor for its simulation.
    #[error(
        "the broker takes only {headroom:.4} times the {live_per_s:.0} messages/s that the fleet \
         makes: a drain would take over a hundred times the outage, and any other traffic would \
         stop it. --capacity {least:.0} drains an outage in five times its length, {twice:.0} in \
         its own length{bundle}"
    )]
    HardlyDrains {
        /// What the broker takes over what the fleet makes.
        headroom: f64,
        /// Messages that the fleet makes, per second.
        live_per_s: f64,
        /// 1.2 times that.
        least: f64,
        /// Twice that.
        twice: f64,
        /// What else would help.
        bundle: &'static str,
    },
    /// The MQ HTTP API knows no batches.
    #[error(
        "--batch needs --transport grpc: the MQ HTTP API takes one message a request; write \
         --bundle instead, for consumers that unpack bundles"
    )]
    BatchOverHttp,
    /// RocketMQ spreads a batch over all queues.
    #[error("--batch breaks the order: write --order none, or --bundle instead of --batch")]
    BatchInOrder,
}

impl Question {
    /// Whether there is an answer.
    pub fn prove(&self) -> Result<(), PlanError> {
        if matches!(self.company, Company::Batch { .. }) {
            match (self.transport, self.order) {
                (Transport::Http, _) => return Err(PlanError::BatchOverHttp),
                (_, Order::None) => {}
                _ => return Err(PlanError::BatchInOrder),
            }
        }
        let (live_per_s, headroom) = (self.live_messages_per_s(), self.headroom());
        if headroom >= HEADROOM_LEAST {
            return Ok(());
        }
        let (least, twice) = ((1.2 * live_per_s).ceil(), (2.0 * live_per_s).ceil());
        let bundle = match self.company {
            Company::Bundle { .. } => "; so does a longer --linger, which fills the bundles",
            _ => "; --bundle with a --linger puts several records into one message",
        };
        let capacity_per_s = self.capacity_per_s;
        Err(match capacity_per_s > live_per_s {
            true => PlanError::HardlyDrains { headroom, live_per_s, least, twice, bundle },
            false => PlanError::NeverDrains { live_per_s, capacity_per_s, least, twice, bundle },
        })
    }

    /// Records that the fleet makes, per second.
    pub fn live_per_s(&self) -> f64 {
        f64::from(self.gateways) * self.rate_per_s
    }

    /// Mean of an ordinary gateway and of a heavy one, records per second.
    pub fn class_rates_per_s(&self) -> (f64, f64) {
        let ordinary = self.rate_per_s / (1.0 + self.heavy_part * (self.heavy_times - 1.0));
        (ordinary, ordinary * self.heavy_times)
    }

    /// Range of what ordinary gateways make, records per second.
    pub fn rates_per_s(&self) -> (f64, f64) {
        let (ordinary, _) = self.class_rates_per_s();
        (ordinary * RATES.0, ordinary * RATES.1)
    }

    /// What the heaviest gateway makes, records per second.
    pub fn heaviest_per_s(&self) -> f64 {
        let (_, most) = self.rates_per_s();
        if self.heavy_part > 0.0 { most * self.heavy_times.max(1.0) } else { most }
    }

    /// Most records that leave in one message: of a backlog all do.
    pub fn in_message(&self) -> f64 {
        match self.company {
            Company::Bundle { records, bytes, .. } => {
                let fit = (bytes / self.record_bytes.max(1)).max(1);
                f64::from(records).min(fit as f64)
            }
            _ => 1.0,
        }
    }

    /// Records that leave in one request.
    pub fn in_request(&self) -> f64 {
        match self.company {
            Company::Batch { records } => f64::from(records),
            _ => self.in_message(),
        }
    }

    /// Records in a message of live ones, which wait no longer than the linger for each other.
    pub fn in_live_message(&self) -> f64 {
        let Company::Bundle { linger, .. } = self.company else {
            return 1.0;
        };
        let messages =
            |rate: f64| rate / (1.0 + rate * linger.as_secs_f64()).min(self.in_message());
        let (ordinary, heavy) = self.class_rates_per_s();
        let light_part = 1.0 - self.heavy_part;
        self.rate_per_s / (light_part * messages(ordinary) + self.heavy_part * messages(heavy))
    }

    /// Messages that the fleet makes while all is well, per second.
    pub fn live_messages_per_s(&self) -> f64 {
        self.live_per_s() / self.in_live_message()
    }

    /// The broker's capacity over what the fleet makes.
    pub fn headroom(&self) -> f64 {
        self.capacity_per_s / self.live_messages_per_s()
    }

    /// Records that wait when the network is back.
    pub fn backlog(&self) -> f64 {
        self.live_per_s() * self.outage.as_secs_f64()
    }

    /// A perfect drain: the whole capacity from the first moment on.
    pub fn ideal_s(&self) -> f64 {
        let messages = self.backlog() / self.in_message();
        messages / (self.capacity_per_s - self.live_messages_per_s())
    }

    /// What a gateway of such a rate sends at most where each message waits for the one before it,
    /// and how long it drains, in seconds; `None` is for ever.
    pub fn one_at_a_time(&self, rate_per_s: f64) -> (f64, Option<f64>) {
        let most_per_s = self.in_message() / self.round_trip.as_secs_f64();
        let waiting = rate_per_s * self.outage.as_secs_f64();
        let spare = most_per_s - rate_per_s;
        (most_per_s, (spare > 0.0).then(|| waiting / spare))
    }
}
