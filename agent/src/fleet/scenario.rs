//! What is simulated.

use std::time::Duration;

use crate::config;

/// How the broker says that it has enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// It queues up to so much work and refuses at once what comes beyond.
    Queue(Duration),
    /// It queues, and refuses what has waited so long, as RocketMQ does
    /// (`waitTimeMillsInSendQueue`, 200 ms): the refusal comes late.
    Late(Duration),
    /// It has no queue: what exceeds the rate is refused without any warning.
    Policer,
}

/// What happens while the fleet drains; times count from the moment the network is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    /// Nothing.
    None,
    /// The network is away again.
    SecondOutage {
        /// From.
        from: Duration,
        /// To.
        to: Duration,
    },
    /// The broker serves half as much.
    Halved {
        /// From.
        from: Duration,
        /// To.
        to: Duration,
    },
    /// The broker is stopped: connections are cut, its queue is gone.
    Restart {
        /// From.
        from: Duration,
        /// To.
        to: Duration,
    },
}

/// One fleet, one broker, one outage.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Gateways.
    pub gateways: u32,
    /// Each makes between so many records a second ...
    pub own_rate_per_s: (f64, f64),
    /// ... but this part of them ...
    pub heavy_part: f64,
    /// ... so many times more.
    pub heavy_times: f64,
    /// How long the network was away.
    pub outage: Duration,
    /// The broker's rate, in messages, as a multiple of what the fleet makes.
    pub capacity: f64,
    /// How it refuses.
    pub limit: Limit,
    /// TLS connects per second it takes, for each gateway of the fleet.
    pub connects_per_s: f64,
    /// Work of a TLS connect, in records.
    pub connect_work: f64,
    /// Work of a reject, in records.
    pub reject_work: f64,
    /// Connects that wait longer than this are not even seen.
    pub accept_backlog: Duration,
    /// Distance: round trips between these, log-uniform.
    pub round_trip: (Duration, Duration),
    /// Mean of what is added to a round trip by chance, as a part of it (exponential).
    pub jitter: f64,
    /// Part of the requests that is lost, drawn for each gateway between these; of half of them
    /// only the reply.
    pub loss: (f64, f64),
    /// How wrong gateways are about their own rate, to either side, as a part of it.
    pub own_rate_error: f64,
    /// Part of the gateways that follow [`super::Policy::Naive`] whatever the others do.
    pub naive_part: f64,
    /// Bytes of a message.
    pub message_bytes: usize,
    /// Records of a backlog that leave in one message; live ones leave alone.
    pub together: u32,
    /// Most requests that a gateway has in flight: 1 where each waits for the one before it.
    pub in_flight: u32,
    /// What happens meanwhile.
    pub disturbance: Disturbance,
    /// `[drain]` of every gateway.
    pub drain: config::Drain,
    /// `[backoff]` of every gateway.
    pub backoff: config::Backoff,
    /// It ends here if not all are drained before.
    pub horizon: Duration,
    /// It ends after so many events, too: a fleet that floods its broker makes no end of them.
    pub most_events: u64,
}

impl Scenario {
    /// A region comes back after ten minutes; capacity `capacity` times the live rate.
    pub fn outage(gateways: u32, capacity: f64) -> Self {
        let outage = Duration::from_secs(600);
        Self {
            gateways,
            own_rate_per_s: (0.2, 1.0),
            heavy_part: 0.05,
            heavy_times: 20.0,
            outage,
            capacity,
            limit: Limit::Queue(Duration::from_secs(1)),
            connects_per_s: 0.05,
            connect_work: 5.0,
            reject_work: 0.1,
            accept_backlog: Duration::from_secs(2),
            round_trip: (Duration::from_millis(50), Duration::from_millis(800)),
            jitter: 0.08,
            loss: (0.01, 0.03),
            own_rate_error: 0.1,
            naive_part: 0.0,
            message_bytes: 300,
            together: 1,
            in_flight: 64,
            disturbance: Disturbance::None,
            drain: config::Drain {
                adaptive: true,
                records_per_second: None,
                bytes_per_second: 256 << 10,
                reconnect_spread: None,
            },
            backoff: config::Backoff {
                initial: Duration::from_secs(5),
                max: Duration::from_secs(120),
            },
            horizon: outage.mul_f64(3.0 / (capacity - 1.0)),
            most_events: u64::MAX,
        }
    }

    /// How long a perfect drain would take: the whole capacity from the first moment on. What a
    /// disturbance takes away is added.
    pub fn ideal(&self) -> Duration {
        let spare = self.capacity - 1.0;
        let lost_s = match self.disturbance {
            Disturbance::None => 0.0,
            Disturbance::Halved { from, to } => (to - from).as_secs_f64() / 2.0,
            Disturbance::SecondOutage { from, to } | Disturbance::Restart { from, to } => {
                (to - from).as_secs_f64()
            }
        };
        let waiting_s = self.outage.as_secs_f64() / f64::from(self.together.max(1));
        let work = waiting_s + lost_s * self.capacity;
        Duration::from_secs_f64(work / spare)
    }
}
