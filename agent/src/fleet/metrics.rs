//! What a run is judged by.

/// Microseconds of a bin of the load.
const BIN_US: u64 = 100_000;
/// Bins of the sliding window of a second.
const WINDOW: usize = 10;
/// Bins of a tenth of a second for latencies: two hours.
const LATENCY_BINS: usize = 72_000;

/// Load offered to the broker over time, in bins of 0.1 s from the moment the network is back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Load {
    /// Records that arrived, accepted or not.
    pub records: Vec<f32>,
    /// Work: records 1, rejects and connects as the scenario has it.
    pub work: Vec<f32>,
    /// Records whose message was answered as accepted, those of a bundle each.
    pub delivered: Vec<f32>,
}

impl Load {
    /// Microseconds of a bin.
    pub const BIN_US: u64 = BIN_US;
}

/// Latencies in seconds, to a tenth.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Latency {
    /// Half of the records were faster.
    pub p50_s: f64,
    /// 99 of a hundred were.
    pub p99_s: f64,
    /// Records counted.
    pub count: u64,
}

/// Why a run ended before all gateways had drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It had its [`most_events`](super::Scenario::most_events).
    Events,
    /// It came to its [`horizon`](super::Scenario::horizon).
    Time,
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Records per second that the fleet makes.
    pub live_per_s: f64,
    /// Records per second that the broker serves.
    pub capacity_per_s: f64,
    /// Most records offered in any second, divided by the capacity.
    pub peak: f64,
    /// The same in work.
    pub peak_work: f64,
    /// Seconds until the last gateway had drained, divided by the ideal; `None` if not all did.
    pub drained: Option<f64>,
    /// The same for half of the gateways, and for 99 of a hundred.
    pub drained_p50: Option<f64>,
    /// See there.
    pub drained_p99: Option<f64>,
    /// Part of the gateways that had drained in the end.
    pub drained_part: f64,
    /// Requests that arrived.
    pub offered: u64,
    /// Of them, rejected.
    pub rejected: u64,
    /// Accepted though it had been accepted before: resends after a lost reply.
    pub repeated: u64,
    /// Connects that arrived.
    pub connects: u64,
    /// Records made after the network was back and not critical: from their making to the
    /// broker's answer.
    pub live: Latency,
    /// Critical records: from their making, or from when the network was back, to the answer.
    pub critical: Latency,
    /// Records made during the outage: from when the network was back to the answer.
    pub backlog: Latency,
    /// Over time.
    pub load: Load,
    /// The bound that ended it; `None` if all had drained.
    pub stopped: Option<Stopped>,
    /// Seconds until its end from when the network was back, divided by the ideal.
    pub lasted: f64,
    /// A hash over all events: the same run has the same.
    pub trace: u64,
    /// Events of the run.
    pub events: u64,
}

/// Which latency a record counts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Critical,
    Live,
    Backlog,
}

/// Counts while the simulation runs.
#[derive(Debug)]
pub(super) struct Metrics {
    back_us: u64,
    load: Load,
    histograms: [Vec<u32>; 3],
    pub(super) offered: u64,
    pub(super) rejected: u64,
    pub(super) repeated: u64,
    pub(super) connects: u64,
}

impl Metrics {
    pub(super) fn new(back_us: u64) -> Self {
        Self {
            back_us,
            load: Load::default(),
            histograms: [const { Vec::new() }; 3].map(|_: Vec<u32>| vec![0; LATENCY_BINS]),
            offered: 0,
            rejected: 0,
            repeated: 0,
            connects: 0,
        }
    }

    /// Work arrives; `record` where it is one.
    pub(super) fn arrived(&mut self, work: f64, record: bool, now_us: u64) {
        let bin = (now_us.saturating_sub(self.back_us) / BIN_US) as usize;
        if self.load.work.len() <= bin {
            self.load.work.resize(bin + 1, 0.0);
            self.load.records.resize(bin + 1, 0.0);
        }
        self.load.work[bin] += work as f32;
        self.load.records[bin] += f32::from(u8::from(record));
    }

    /// A message with so many records was delivered, the first made at `made_us`.
    pub(super) fn delivered(&mut self, class: Class, records: u32, made_us: u64, now_us: u64) {
        let bin = (now_us.saturating_sub(self.back_us) / BIN_US) as usize;
        if self.load.delivered.len() <= bin {
            self.load.delivered.resize(bin + 1, 0.0);
        }
        self.load.delivered[bin] += records as f32;
        let from_us = match class {
            Class::Live => made_us,
            Class::Critical => made_us.max(self.back_us),
            Class::Backlog => self.back_us,
        };
        let bin = (now_us.saturating_sub(from_us) / BIN_US) as usize;
        self.histograms[class as usize][bin.min(LATENCY_BINS - 1)] += 1;
    }

    /// Sums up.
    pub(super) fn outcome(
        self,
        live_per_s: f64,
        capacity_per_s: f64,
        ideal_s: f64,
        mut drained_us: Vec<u64>,
        gateways: usize,
    ) -> Outcome {
        drained_us.sort_unstable();
        let part = |part: f64| {
            let rank = ((gateways as f64 * part).ceil() as usize).max(1) - 1;
            let at_us = *drained_us.get(rank)?;
            Some(at_us.saturating_sub(self.back_us) as f64 / 1e6 / ideal_s)
        };
        let (drained, drained_p50, drained_p99) = (part(1.0), part(0.5), part(0.99));
        let latency = |class: Class| latency(&self.histograms[class as usize]);
        Outcome {
            live_per_s,
            capacity_per_s,
            peak: peak(&self.load.records) / capacity_per_s,
            peak_work: peak(&self.load.work) / capacity_per_s,
            drained,
            drained_p50,
            drained_p99,
            drained_part: drained_us.len() as f64 / gateways as f64,
            offered: self.offered,
            rejected: self.rejected,
            repeated: self.repeated,
            connects: self.connects,
            live: latency(Class::Live),
            critical: latency(Class::Critical),
            backlog: latency(Class::Backlog),
            load: self.load,
            stopped: None,
            lasted: 0.0,
            trace: 0,
            events: 0,
        }
    }
}

/// The most in any second.
fn peak(bins: &[f32]) -> f64 {
    let sum = |window: &[f32]| window.iter().map(|bin| f64::from(*bin)).sum::<f64>();
    match bins.len() < WINDOW {
        true => sum(bins),
        false => bins.windows(WINDOW).map(sum).fold(0.0, f64::max),
    }
}

fn latency(histogram: &[u32]) -> Latency {
    let count: u64 = histogram.iter().map(|n| u64::from(*n)).sum();
    let percentile = |part: f64| {
        let rank = (count as f64 * part).ceil() as u64;
        let mut seen = 0;
        let bin = histogram.iter().position(|n| {
            seen += u64::from(*n);
            seen >= rank
        });
        bin.map_or(0.0, |bin| (bin + 1) as f64 * BIN_US as f64 / 1e6)
    };
    Latency { p50_s: percentile(0.5), p99_s: percentile(0.99), count }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_that_of_any_second_and_not_of_whole_ones() {
        let mut metrics = Metrics::new(1_000_000);
        for n in 0..10 {
            metrics.arrived(1.0, true, 1_000_000 + 650_000 + n * 90_000);
        }
        let outcome = metrics.outcome(1.0, 5.0, 1.0, Vec::new(), 1);
        assert_eq!((outcome.peak, outcome.peak_work, outcome.drained), (2.0, 2.0, None));
    }

    #[test]
    fn percentiles_and_drains_are_read_off() {
        let mut metrics = Metrics::new(0);
        for n in 0..100 {
            metrics.delivered(Class::Live, 1, n * 1000, n * 1000 + n * 100_000);
        }
        let outcome =
            metrics.outcome(1.0, 1.0, 10.0, (0..100).map(|n| n * 1_000_000).collect(), 100);
        assert_eq!((outcome.live.p50_s, outcome.live.p99_s, outcome.live.count), (5.0, 9.9, 100));
        assert_eq!((outcome.drained, outcome.drained_p50), (Some(9.9), Some(4.9)));
    }
}
