//! The far side: what arrives at the broker, what is read, and what the broker deletes before.
//! Records are a fluid here; the oldest is read first.

use std::collections::VecDeque;

/// Steps for the time of the drain, and for one retention after it.
const STEPS: f64 = 2000.0;

/// Those who read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reader {
    /// Records per second that they store at most.
    pub(super) rate_per_s: f64,
    /// Seconds for which the broker keeps a message.
    pub(super) retention_s: f64,
    /// Records per second that arrive when all is drained.
    pub(super) live_per_s: f64,
}

/// How it goes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Reading {
    /// Seconds after the network is back, from which nothing waits any more; `None` is never.
    pub(super) caught_up_s: Option<f64>,
    /// Most records that wait unread at any time.
    pub(super) unread: f64,
    /// Records that the broker deletes unread until then; `None` where it never ends.
    pub(super) deleted: Option<f64>,
    /// Records that it deletes unread each day from then on, because more arrive than are read.
    pub(super) deleted_per_day: f64,
}

impl Reader {
    /// Reads what arrives: so many records in each of equal steps of `step_s` seconds.
    pub(super) fn read(&self, arrivals: &[f64], step_s: f64) -> Reading {
        let mut pool = Pool::default();
        let coarse = ((arrivals.len() as f64 / STEPS).ceil() as usize).max(1);
        for chunk in arrivals.chunks(coarse) {
            let span_s = step_s * chunk.len() as f64;
            pool.step(self, chunk.iter().sum(), span_s);
        }
        let (drained_s, over_per_s) = (pool.now_s, self.live_per_s - self.rate_per_s);
        let span_s = (self.retention_s / STEPS).max(step_s);
        // Until nothing of the drain waits, or, where more comes than is read, to the first
        // message that is too old.
        while pool.oldest_s().is_some_and(|at_s| over_per_s > 0.0 || at_s <= drained_s)
            && pool.now_s <= drained_s + self.retention_s
        {
            pool.step(self, self.live_per_s * span_s, span_s);
        }
        // From then on what waits only shrinks, and so does the time that it waits.
        let is_behind = pool.oldest_s().is_some() || self.rate_per_s < self.live_per_s;
        let caught_up_s = match (is_behind, over_per_s < 0.0) {
            (false, _) => Some(pool.empty_s),
            (true, true) => Some(pool.now_s + pool.sum / -over_per_s),
            (true, false) => None,
        };
        Reading {
            caught_up_s,
            unread: pool.most,
            deleted: caught_up_s.map(|_| pool.deleted),
            deleted_per_day: over_per_s.max(0.0) * 86_400.0,
        }
    }

    /// The least rate at which nothing is deleted unread, in records per second.
    pub(super) fn least_per_s(&self, arrivals: &[f64], step_s: f64) -> f64 {
        let total: f64 = arrivals.iter().sum();
        let (mut low, mut high) = (self.live_per_s, self.live_per_s + total / self.retention_s);
        for _ in 0..24 {
            let rate_per_s = (low + high) / 2.0;
            match (Self { rate_per_s, ..*self }).read(arrivals, step_s).deleted != Some(0.0) {
                true => low = rate_per_s,
                false => high = rate_per_s,
            }
        }
        high
    }
}

/// What waits at the broker, the oldest first.
#[derive(Debug, Default)]
struct Pool {
    now_s: f64,
    /// When each part had arrived, and how much of it waits.
    parts: VecDeque<(f64, f64)>,
    sum: f64,
    most: f64,
    deleted: f64,
    /// Since when nothing waits.
    empty_s: f64,
}

impl Pool {
    /// When the oldest of what waits arrived.
    fn oldest_s(&self) -> Option<f64> {
        self.parts.front().map(|(at_s, _)| *at_s)
    }

    fn step(&mut self, reader: &Reader, arrives: f64, span_s: f64) {
        let was_s = self.now_s;
        self.now_s += span_s;
        let had = self.sum;
        if arrives > 0.0 {
            self.parts.push_back((self.now_s, arrives));
            self.sum += arrives;
        }
        let can = reader.rate_per_s * span_s;
        if self.sum <= can {
            // It became empty on the way, if anything had waited.
            if had > 0.0 {
                let net_per_s = reader.rate_per_s - arrives / span_s;
                self.empty_s = was_s + (had / net_per_s.max(f64::MIN_POSITIVE)).min(span_s);
            }
            self.parts.clear();
            self.sum = 0.0;
            return;
        }
        self.take(can);
        let too_old_s = self.now_s - reader.retention_s;
        while let Some((_, amount)) = self.parts.pop_front_if(|(at_s, _)| *at_s < too_old_s) {
            self.deleted += amount;
            self.sum -= amount;
        }
        self.most = self.most.max(self.sum);
        self.empty_s = self.now_s;
    }

    fn take(&mut self, mut amount: f64) {
        self.sum -= amount;
        while let Some((_, waiting)) = self.parts.front_mut() {
            if *waiting > amount {
                *waiting -= amount;
                return;
            }
            amount -= *waiting;
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A backlog of an hour arrives within an hour, beside the live records.
    static ARRIVALS: [f64; 3600] = [2000.0; 3600];

    fn reader(rate_per_s: f64, retention_s: f64) -> Reader {
        Reader { rate_per_s, retention_s, live_per_s: 1000.0 }
    }

    fn near(value: f64, expected: f64) -> bool {
        (value - expected).abs() <= 0.01 * expected
    }

    #[test]
    fn who_reads_as_fast_as_it_arrives_is_never_behind() {
        let reading = reader(2000.0, 3600.0).read(&ARRIVALS, 1.0);
        assert_eq!((reading.unread, reading.deleted), (0.0, Some(0.0)));
        assert_eq!(reading.caught_up_s, Some(0.0));
    }

    #[test]
    fn who_reads_more_slowly_catches_up_later_and_what_waits_is_what_came_too_fast() {
        let reading = reader(1500.0, 86_400.0).read(&ARRIVALS, 1.0);
        assert!(near(reading.unread, 1_800_000.0), "{reading:?}");
        assert!(near(reading.caught_up_s.unwrap(), 7200.0), "{reading:?}");
        assert_eq!((reading.deleted, reading.deleted_per_day), (Some(0.0), 0.0));
    }

    #[test]
    fn what_waits_longer_than_the_retention_is_deleted() {
        // At the end of the hour 3.24 million wait; the last would be read 2945 s later.
        let reading = reader(1100.0, 1200.0).read(&ARRIVALS, 1.0);
        let deleted = reading.deleted.unwrap();
        assert!((1_000_000.0..2_000_000.0).contains(&deleted), "{reading:?}");
        assert!(reading.caught_up_s.is_some(), "{reading:?}");
        let longer = reader(1100.0, 4800.0).read(&ARRIVALS, 1.0);
        assert_eq!(longer.deleted, Some(0.0));
        // What the hour brought is read or deleted by then, and what came since waits.
        let hardly = reader(1001.0, 1200.0).read(&ARRIVALS, 1.0);
        assert!(near(hardly.caught_up_s.unwrap(), 4800.0 + 1200.0 * 1000.0), "{hardly:?}");
    }

    #[test]
    fn who_is_slower_than_what_is_made_never_catches_up() {
        let reading = reader(900.0, 7200.0).read(&ARRIVALS, 1.0);
        assert_eq!(reading.caught_up_s, None);
        assert!(near(reading.deleted_per_day, 8_640_000.0));
        assert_eq!(reading.deleted, None);
        // Two hours after the drain the first message of after it is still there.
        assert!(reading.unread > 3_960_000.0 && reading.unread < 7_200_000.0, "{reading:?}");
    }

    #[test]
    fn the_least_rate_deletes_nothing_and_a_lower_one_does() {
        let reader = reader(1.0, 1200.0);
        let least = reader.least_per_s(&ARRIVALS, 1.0);
        let at = |part: f64| {
            let rate_per_s = least * part;
            Reader { rate_per_s, ..reader }.read(&ARRIVALS, 1.0).deleted
        };
        assert_eq!(at(1.001), Some(0.0));
        assert!(at(0.99).unwrap() > 0.0, "{least}");
    }
}
