//! How the clocks went while a lane's records came: from it their age follows. Pure.
//!
//! *Lived* time is real time since the lane's first look, as far as it was measured: by the
//! machine's uptime while it was on (asleep or not, whether or not an agent ran), and by the clock
//! on the wall while it was off, if that was set before and after, has not gone back and shows no
//! more than a year. It is read only some minutes after power-on, so that it can be put right
//! first. A clock that is set at any other time changes nothing.
//!
//! A record knows only what the clock on the wall said. So it is noted, as records are stored, what
//! that clock would have said when lived time began, and from which position on it was otherwise.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::clock::{Uptime, was_set};
use crate::queue::timeline::Accepted;

/// A clock that goes wrong by less at a time is put right slowly, and its times are taken as they
/// are.
const STEP_MS: i64 = 1000;
/// So often the clock may be set while records wait; what was stored before has no time then.
const EPOCHS_MAX: usize = 16;
/// Longer than this no machine is off: its clock is wrong.
const OFF_MAX_MS: i64 = 366 * 24 * 3_600_000;
/// So long after power-on the clock on the wall is believed: it may come up wrong, and is put right
/// once there is a network.
pub(super) const PUT_RIGHT_MS: u64 = 300_000;

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) uptime: Uptime,
    /// ms since 1970.
    pub(super) wall_ms: u64,
}

/// See the module. Times are ms of lived time where nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Course {
    /// The boot, its uptime, and the lived time at the last look.
    boot: Option<u128>,
    uptime_ms: u64,
    lived_ms: i64,
    /// Whether the time is counted in which the machine was off before this boot.
    off_counted: bool,
    /// What the clock on the wall would have said when lived time began, while it was last set.
    set_ms: Option<i64>,
    epochs: VecDeque<Epoch>,
}

/// Records between two settings of the clock on the wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Epoch {
    /// Its first position.
    from: u64,
    /// None of them was accepted before.
    since_ms: i64,
    /// What the clock on the wall would have said when lived time began. `None`: it was set too
    /// often.
    zero_ms: Option<i64>,
}

impl Course {
    /// Of a lane that ends at `end`. Records in it are as old as a clock says that was set when they
    /// came and now, or else come now.
    pub(super) fn begin(end: u64, now: Moment) -> Self {
        let wall_ms = signed(now.wall_ms);
        let set_ms = was_set(now.wall_ms).then_some(wall_ms);
        let believed_ms = set_ms.filter(|_| now.uptime.ms >= PUT_RIGHT_MS);
        let before = Epoch { from: 0, since_ms: -OFF_MAX_MS, zero_ms: believed_ms };
        let epoch = Epoch { from: end, since_ms: 0, zero_ms: Some(wall_ms) };
        Self {
            boot: now.uptime.boot,
            uptime_ms: now.uptime.ms,
            lived_ms: 0,
            off_counted: true,
            set_ms,
            epochs: [before, epoch].into(),
        }
    }

    /// An agent starts. Returns whether this is to be saved.
    pub(super) fn resume(&mut self, now: Moment) -> bool {
        let same = self.boot.is_some() && self.boot == now.uptime.boot;
        if same && now.uptime.ms >= self.uptime_ms {
            return self.look(now).1;
        }
        // All of this uptime came after the last look, and what is noted from now on after what was.
        self.lived_ms += 1;
        self.boot = now.uptime.boot;
        self.uptime_ms = 0;
        self.off_counted = false;
        self.look(now);
        true
    }

    /// Returns the lived time, and whether something is to be saved.
    pub(super) fn look(&mut self, now: Moment) -> (i64, bool) {
        let passed_ms = signed(now.uptime.ms.saturating_sub(self.uptime_ms));
        self.lived_ms += passed_ms;
        self.uptime_ms = self.uptime_ms.max(now.uptime.ms);
        let changed = was_set(now.wall_ms) && self.look_at_set(signed(now.wall_ms));
        (self.lived_ms, changed)
    }

    /// The clock on the wall, which was set, says this.
    fn look_at_set(&mut self, wall_ms: i64) -> bool {
        if !self.off_counted {
            if self.uptime_ms < PUT_RIGHT_MS {
                return false;
            }
            self.count_off(wall_ms);
            return true;
        }
        let set_ms = wall_ms - self.lived_ms;
        let stepped = self.set_ms.is_none_or(|known| known.abs_diff(set_ms) >= step());
        if stepped {
            self.set_ms = Some(set_ms);
        }
        stepped
    }

    /// Counts the time in which the machine was off before this boot: all since that boot is later.
    fn count_off(&mut self, wall_ms: i64) {
        let off_ms = self.set_ms.map(|set_ms| wall_ms - set_ms - self.lived_ms);
        let off_ms = off_ms.filter(|off| (0..=OFF_MAX_MS).contains(off)).unwrap_or(0);
        let boot_ms = self.lived_ms - signed(self.uptime_ms);
        for epoch in self.epochs.iter_mut().filter(|epoch| epoch.since_ms >= boot_ms) {
            epoch.since_ms += off_ms;
            epoch.zero_ms = epoch.zero_ms.map(|zero| zero - off_ms);
        }
        self.lived_ms += off_ms;
        self.join();
        self.off_counted = true;
        self.set_ms = Some(wall_ms - self.lived_ms);
    }

    /// Epochs that follow each other and differ no more are one.
    fn join(&mut self) {
        let mut joined: VecDeque<Epoch> = VecDeque::new();
        for epoch in self.epochs.drain(..) {
            let same = |last: &Epoch| {
                let both = last.zero_ms.zip(epoch.zero_ms);
                last.since_ms >= 0 && both.is_some_and(|(a, b)| a.abs_diff(b) < step())
            };
            if !joined.back().is_some_and(same) {
                joined.push_back(epoch);
            }
        }
        self.epochs = joined;
    }

    /// Records from the position `from` on are about to be stored; none was accepted before the last
    /// look, and what lies below `settled` is asked after no more. Returns whether this is to be
    /// saved first.
    pub(super) fn note(&mut self, from: u64, settled: u64, now: Moment) -> bool {
        let since_ms = self.lived_ms;
        let (lived_ms, changed) = self.look(now);
        let zero_ms = signed(now.wall_ms) - lived_ms;
        let same = |epoch: &Epoch| epoch.zero_ms.is_some_and(|z| z.abs_diff(zero_ms) < step());
        if self.epochs.back().is_some_and(same) {
            return changed;
        }
        // Counting the time that the machine was off can leave the last look far behind.
        let since_ms = since_ms.max(self.epochs.back().map_or(since_ms, |last| last.since_ms));
        self.epochs.push_back(Epoch { from, since_ms, zero_ms: Some(zero_ms) });
        while self.epochs.get(1).is_some_and(|second| second.from <= settled) {
            self.epochs.pop_front();
        }
        if self.epochs.len() > EPOCHS_MAX
            && let Some(first) = self.epochs.pop_front()
            && let Some(second) = self.epochs.front_mut()
        {
            *second = Epoch { zero_ms: None, ..first };
        }
        true
    }

    /// How long before the last look, in ms, the record at `position` was accepted, as far as it was
    /// measured.
    pub(super) fn age_ms(&self, position: u64, accepted: Accepted) -> u64 {
        let at_ms = self.accepted_at_ms(position, accepted);
        u64::try_from(self.lived_ms.saturating_sub(at_ms)).unwrap_or(0)
    }

    fn accepted_at_ms(&self, position: u64, accepted: Accepted) -> i64 {
        let nth = self.epochs.iter().rposition(|epoch| epoch.from <= position).unwrap_or(0);
        // What was taken in just before the clock was set is of the epoch before.
        let mut near = [Some(nth), nth.checked_sub(1)].into_iter().flatten();
        let found = near.find_map(|nth| self.measured(nth, accepted));
        found.unwrap_or_else(|| self.until_ms(nth))
    }

    /// When it was accepted, by the clock of this epoch, if that can be.
    fn measured(&self, nth: usize, accepted: Accepted) -> Option<i64> {
        let epoch = self.epochs.get(nth)?;
        // What came before the first look has only its word.
        let known = epoch.since_ms >= 0 || accepted.clock_set;
        let at_ms = signed(accepted.ms) - epoch.zero_ms.filter(|_| known)?;
        let times = epoch.since_ms - STEP_MS..=self.until_ms(nth) + STEP_MS;
        times.contains(&at_ms).then_some(at_ms)
    }

    /// No record of this epoch was accepted later.
    fn until_ms(&self, nth: usize) -> i64 {
        self.epochs.get(nth + 1).map_or(self.lived_ms, |next| next.since_ms)
    }

    /// Lived time at the last look.
    pub(super) fn lived_ms(&self) -> i64 {
        self.lived_ms
    }
}

fn step() -> u64 {
    STEP_MS.unsigned_abs()
}

fn signed(ms: u64) -> i64 {
    // Far from the ends, so that sums stay inside.
    i64::try_from(ms).unwrap_or(i64::MAX).min(i64::MAX / 4)
}
