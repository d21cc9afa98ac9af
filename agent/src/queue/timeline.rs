//! When a lane's records were accepted, by the monotonic clock. Pure.
//!
//! A record knows what the clock on the wall said, which may be set while it waits. So it is noted,
//! as records are stored, how that clock stands to the monotonic one, and from which position on it
//! stood otherwise. Records of earlier runs have only their wall time: it counts where the clock was
//! set then, beside the first time of this run at which it was. A record of which nothing is known
//! is as old as this run, for nobody measured what was before.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::clock::was_set;

/// A clock that goes wrong by less at a time is put right slowly, and its times are taken as they
/// are.
const STEP_MS: i64 = 1000;
/// So often the clock may be set while records wait; what is older counts as of an earlier run.
const EPOCHS_MAX: usize = 16;

/// What a record knows of when it was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    /// By this machine's clock, ms since 1970.
    pub(super) ms: u64,
    /// Whether that had been set.
    pub(super) clock_set: bool,
}

/// See the module. Times of this run are ms since its start.
#[derive(Debug)]
pub(super) struct Timeline {
    start: Instant,
    /// The last look at the clock while a record was stored.
    seen_ms: i64,
    epochs: VecDeque<Epoch>,
    /// What the clock on the wall said at the start, as of its first time that it was set.
    set_ms: Option<i64>,
}

/// Records between two settings of the clock.
#[derive(Debug)]
struct Epoch {
    /// Its first position.
    from: u64,
    /// None of them was accepted before.
    since_ms: i64,
    /// What the clock on the wall would have said at the start.
    start_ms: i64,
}

impl Timeline {
    pub(super) fn new(wall_ms: u64, now: Instant) -> Self {
        let mut timeline = Self { start: now, seen_ms: 0, epochs: VecDeque::new(), set_ms: None };
        timeline.look(wall_ms, now);
        timeline
    }

    /// The clock on the wall says `wall_ms` now. Returns the time in this run, and what that clock
    /// would have said at its start.
    fn look(&mut self, wall_ms: u64, now: Instant) -> (i64, i64) {
        let run_ms = self.run_ms(now);
        let start_ms = signed(wall_ms).saturating_sub(run_ms);
        if was_set(wall_ms) {
            self.set_ms.get_or_insert(start_ms);
        }
        (run_ms, start_ms)
    }

    /// Records from the position `from` on are about to be stored.
    pub(super) fn note(&mut self, from: u64, wall_ms: u64, now: Instant) {
        let (run_ms, start_ms) = self.look(wall_ms, now);
        let since_ms = std::mem::replace(&mut self.seen_ms, run_ms);
        match self.epochs.back_mut() {
            Some(last) if last.start_ms.abs_diff(start_ms) < STEP_MS.unsigned_abs() => {
                last.start_ms = start_ms;
            }
            _ => self.epochs.push_back(Epoch { from, since_ms, start_ms }),
        }
        if self.epochs.len() > EPOCHS_MAX {
            self.epochs.pop_front();
        }
    }

    /// How long ago, in ms, the record at `position` was accepted; the clock on the wall says
    /// `wall_ms` now.
    pub(super) fn age_ms(
        &mut self,
        position: u64,
        accepted: Accepted,
        wall_ms: u64,
        now: Instant,
    ) -> u64 {
        let (run_ms, _) = self.look(wall_ms, now);
        let at_ms = self.accepted_at_ms(position, accepted);
        u64::try_from(run_ms.saturating_sub(at_ms)).unwrap_or(0)
    }

    fn accepted_at_ms(&self, position: u64, accepted: Accepted) -> i64 {
        let at = |start_ms: i64| signed(accepted.ms).saturating_sub(start_ms);
        let by_set = self.set_ms.filter(|_| accepted.clock_set).map(at);
        let Some(epoch) = self.epochs.iter().rev().find(|epoch| epoch.from <= position) else {
            return by_set.unwrap_or(0).min(0);
        };
        // A copy of an older record is not of this epoch, nor what was taken in just before the
        // clock was set.
        let measured = Some(at(epoch.start_ms)).filter(|at| *at > epoch.since_ms - STEP_MS);
        measured.or(by_set).unwrap_or(epoch.since_ms)
    }

    fn run_ms(&self, now: Instant) -> i64 {
        let run = now.saturating_duration_since(self.start);
        i64::try_from(run.as_millis()).unwrap_or(i64::MAX)
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;
    const HOUR_MS: u64 = 3_600_000;

    fn accepted(ms: u64) -> Accepted {
        Accepted { ms, clock_set: was_set(ms) }
    }

    #[test]
    fn a_copy_is_as_old_as_its_record_and_one_without_a_time_as_what_came_with_it() {
        let start = Instant::now();
        let at = |hours: u64| start + Duration::from_millis(hours * HOUR_MS);
        let mut timeline = Timeline::new(600_000, start);
        timeline.note(10, 600_000 + HOUR_MS, at(1));
        timeline.note(11, NOW_MS, at(2));
        let mut age = |position, ms| {
            timeline.age_ms(position, accepted(ms), NOW_MS + HOUR_MS, at(3)) / HOUR_MS
        };
        assert_eq!(age(11, NOW_MS), 1);
        assert_eq!(age(11, NOW_MS - 30 * HOUR_MS), 31, "a copy");
        assert_eq!(age(11, 600_000 + HOUR_MS), 2, "the clock was set while it was stored");
        assert_eq!(age(10, 600_000 + HOUR_MS), 2);
        assert_eq!((age(9, 600_000), age(9, NOW_MS), age(9, NOW_MS - 5 * HOUR_MS)), (3, 3, 6));
    }

    #[test]
    fn a_clock_that_is_set_again_and_again_costs_no_memory() {
        let (start, mut last) = (Instant::now(), 0);
        let mut timeline = Timeline::new(NOW_MS, start);
        for n in 0..1000 {
            last = NOW_MS + n % 2 * HOUR_MS;
            timeline.note(n, last, start);
        }
        assert_eq!(timeline.epochs.len(), EPOCHS_MAX);
        assert_eq!(timeline.age_ms(999, accepted(last), NOW_MS, start), 0);
    }

    proptest! {
        #[test]
        fn ages_of_this_run_are_true_whatever_the_clock_on_the_wall_does(
            steps in prop::collection::vec((1_u64..HOUR_MS, prop::option::weighted(0.1, 0..NOW_MS * 2)), 1..100),
        ) {
            let start = Instant::now();
            let (mut run_ms, mut wall_ms) = (0, NOW_MS);
            let mut timeline = Timeline::new(wall_ms, start);
            let (mut born, mut set) = (Vec::new(), 0);
            for (passed_ms, jump) in steps {
                (run_ms, wall_ms) = (run_ms + passed_ms, jump.unwrap_or(wall_ms + passed_ms));
                set += usize::from(jump.is_some());
                prop_assume!(set < EPOCHS_MAX);
                let now = start + Duration::from_millis(run_ms);
                timeline.note(born.len() as u64, wall_ms, now);
                born.push((run_ms, accepted(wall_ms)));
                for (position, (at_ms, accepted)) in born.iter().enumerate() {
                    let age_ms = timeline.age_ms(position as u64, *accepted, wall_ms, now);
                    prop_assert!(age_ms.abs_diff(run_ms - at_ms) <= STEP_MS.unsigned_abs());
                }
            }
        }
    }
}
