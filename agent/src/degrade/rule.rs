//! Whether a rule is in force: from its threshold on, until the pressure is a tenth below it. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// What is dropped is logged no oftener.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// A rule's state.
#[derive(Debug, Clone, Default)]
pub(super) struct Force {
    since: Option<Instant>,
    /// Dropped and not logged.
    unlogged: u64,
    logged_at: Option<Instant>,
}

/// How a pressure stands to a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// At or above it.
    Over,
    /// Less than a tenth below it.
    Near,
    /// Further below it.
    Under,
}

impl Level {
    /// Of a part that is used up, 0 to 1, and a threshold in percent.
    pub(super) fn of(part: f64, percent: u32) -> Self {
        let threshold = f64::from(percent) / 100.0;
        match part {
            part if part >= threshold => Self::Over,
            part if part >= threshold * 0.9 => Self::Near,
            _ => Self::Under,
        }
    }
}

impl Force {
    /// Takes in the level; whether the rule is in force from now on differs: `Some`.
    pub(super) fn update(&mut self, level: Level, now: Instant) -> Option<bool> {
        let on = match level {
            Level::Over => true,
            Level::Near => self.since.is_some(),
            Level::Under => false,
        };
        let changed = on != self.since.is_some();
        if changed {
            self.since = on.then_some(now);
        }
        changed.then_some(on)
    }

    /// Since when it is in force.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// So many were dropped; returns how many are to be logged now.
    pub(super) fn dropped(&mut self, count: u64, now: Instant) -> u64 {
        self.unlogged += count;
        let due = self.logged_at.is_none_or(|at| now >= at + LOG_EVERY) || self.since.is_none();
        if !due || self.unlogged == 0 {
            return 0;
        }
        self.logged_at = Some(now);
        std::mem::take(&mut self.unlogged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_in_force_stays_until_the_pressure_is_a_tenth_below() {
        let (mut force, now) = (Force::default(), Instant::now());
        let mut at = |part| force.update(Level::of(part, 80), now);
        assert_eq!(at(0.79), None);
        assert_eq!(at(0.80), Some(true));
        assert_eq!(at(0.73), None);
        assert_eq!(at(0.81), None);
        assert_eq!(at(0.71), Some(false));
        assert_eq!(at(0.79), None, "it does not flap");
    }

    #[test]
    fn what_is_dropped_is_logged_once_a_minute_and_at_the_end() {
        let (mut force, now) = (Force::default(), Instant::now());
        force.update(Level::Over, now);
        assert_eq!(force.dropped(5, now), 5);
        assert_eq!(force.dropped(6, now + LOG_EVERY / 2), 0);
        assert_eq!(force.dropped(7, now + LOG_EVERY), 13);
        assert_eq!(force.dropped(8, now + LOG_EVERY), 0);
        force.update(Level::Under, now);
        assert_eq!(force.dropped(0, now + LOG_EVERY), 8);
    }
}
