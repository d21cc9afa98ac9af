//! Queue delay: how much longer answers take than they do when nothing queues anywhere.

use std::time::Duration;

/// Answers after which the quiet response time counts as known: then only quiet ones add to it.
const KNOWN: u32 = 16;
/// The quiet response time is the mean over about so many quiet answers.
const ANSWERS: u32 = 128;
/// The quiet response time follows a lasting change within about this many seconds.
const FOLLOW_S: f64 = 600.0;
/// Answers that come faster than a quiet line's say so plainly: then it follows much sooner.
const FOLLOW_DOWN_S: f64 = 20.0;
/// And when the delay stays though the rate is at its floor, it is no queue of this fleet's.
const RELEARN_S: f64 = 60.0;
/// A longer delay is no queue of records: a topic that is slow by itself must not slow the others.
const DELAY_MOST_S: f64 = 1.6;
/// Time constant of the quick mean, in seconds.
const QUICK_S: f64 = 1.0;
/// An answer weighs at least this much in the quick mean, however many come in a second ...
const QUICK_LEAST: f64 = 1.0 / 8.0;
/// ... and at most this much in the slow one.
const SLOW_MOST: f64 = 0.3;

/// What answers are like on a quiet line. Kept over restarts: one that is learned anew during a
/// rush would take the rush for quiet.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Quiet {
    /// Mean response time in seconds.
    pub base_s: f64,
    /// Mean deviation from it, in seconds.
    pub deviation_s: f64,
    /// Answers it was learned from, at most a few.
    pub known: u32,
}

/// The queue delay as answers tell it.
#[derive(Debug, Clone, Default)]
pub struct Delay {
    quiet: Quiet,
    quick_s: f64,
    slow_s: f64,
}

impl Delay {
    /// As an earlier run learned it.
    pub fn new(quiet: Quiet) -> Self {
        Self { quiet, ..Self::default() }
    }

    /// What is known of the quiet line.
    pub fn quiet(&self) -> Quiet {
        self.quiet
    }

    /// The delay over the last second, in seconds; negative where the line got faster.
    pub fn quick_s(&self) -> f64 {
        self.quick_s
    }

    /// The same over several answers.
    pub fn slow_s(&self) -> f64 {
        self.slow_s
    }

    /// An answer took `response`, the one before came `dt` seconds ago. Where `calm`, nothing of
    /// ours waits and nobody is refused, so this is what a quiet line is like. Returns the
    /// answer's own delay in seconds.
    pub fn answered(&mut self, response: Duration, dt: f64, calm: bool) -> f64 {
        let response_s = response.as_secs_f64();
        self.learn(response_s, dt, calm);
        let delay_s = (response_s - self.quiet.base_s).min(DELAY_MOST_S);
        let weight = weight(dt);
        self.quick_s += weight * (delay_s - self.quick_s);
        self.slow_s += weight.min(SLOW_MOST) * (delay_s - self.slow_s);
        let slack = self.quiet.deviation_s / 2.0;
        if self.slow_s < -slack && !calm {
            self.shift((self.slow_s + slack) * (dt / FOLLOW_DOWN_S).min(1.0));
        }
        delay_s
    }

    /// The rate is at its floor and still answers are late: what lasts for `dt` seconds more is
    /// the line's own.
    pub fn relearn(&mut self, dt: f64) {
        self.shift(self.slow_s * (dt / RELEARN_S).min(1.0));
    }

    /// The line was gone: what was queued then is not there any more.
    pub fn forget(&mut self) {
        (self.quick_s, self.slow_s) = (0.0, 0.0);
    }

    fn learn(&mut self, response_s: f64, dt: f64, calm: bool) {
        let quiet = &mut self.quiet;
        let young = quiet.known < KNOWN;
        if !young && !calm {
            return;
        }
        let weight = 1.0 / f64::from(quiet.known + 1);
        let weight = if young { weight } else { weight.min(dt / FOLLOW_S) };
        let error = response_s - quiet.base_s;
        quiet.base_s += weight * error;
        if quiet.known > 0 {
            quiet.deviation_s += weight * (error.abs() - quiet.deviation_s);
        }
        quiet.known = (quiet.known + 1).min(ANSWERS - 1);
    }

    /// Moves the base, and with it the delays that were measured from it.
    fn shift(&mut self, by_s: f64) {
        let base_s = (self.quiet.base_s + by_s).max(0.0);
        let moved_s = base_s - self.quiet.base_s;
        self.quiet.base_s = base_s;
        self.quick_s -= moved_s;
        self.slow_s -= moved_s;
    }
}

/// Weight of an answer in a mean over the last second.
pub(super) fn weight(dt: f64) -> f64 {
    (1.0 - (-dt / QUICK_S).exp()).max(QUICK_LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn repeat(delay: &mut Delay, times: u64, answer: impl Fn(u64) -> (Duration, f64, bool)) {
        for (response, dt, calm) in (0..times).map(answer) {
            delay.answered(response, dt, calm);
        }
    }

    fn learned() -> Delay {
        let mut delay = Delay::default();
        repeat(&mut delay, 32, |n| (ms(95 + n % 2 * 10), 1.0, true));
        delay
    }

    #[test]
    fn the_mean_of_the_first_answers_is_the_base_and_what_exceeds_it_is_queue() {
        let mut delay = learned();
        assert!((delay.quiet().base_s - 0.1).abs() < 0.002, "{delay:?}");
        repeat(&mut delay, 20, |_| (ms(180), 0.5, false));
        assert!((delay.slow_s() - 0.08).abs() < 0.005, "{delay:?}");
        assert!((delay.quiet().base_s - 0.1).abs() < 0.002, "a rush is not taken for quiet");
    }

    #[test]
    fn a_faster_line_is_known_within_a_minute_and_a_slower_one_only_when_it_lasts() {
        let mut delay = learned();
        repeat(&mut delay, 60, |_| (ms(50), 1.0, false));
        assert!((0.049..0.056).contains(&delay.quiet().base_s), "{delay:?}");
        let mut delay = learned();
        for _ in 0..180 {
            delay.answered(ms(300), 1.0, false);
            delay.relearn(1.0);
        }
        assert!((0.28..0.301).contains(&delay.quiet().base_s), "{delay:?}");
        let mut delay = learned();
        repeat(&mut delay, 60, |_| (ms(300), 1.0, true));
        assert!(delay.quiet().base_s < 0.125, "a minute's delay moves it a tenth: {delay:?}");
    }

    #[test]
    fn many_answers_a_second_weigh_no_more_than_few_in_the_base() {
        let mut delay = learned();
        repeat(&mut delay, 60_000, |_| (ms(300), 0.001, true));
        assert!(delay.quiet().base_s < 0.125, "{delay:?}");
    }
}
