//! Waiting records are given up, oldest first. What is leased stays.

use super::{Active, Comb, End, Head, State};

impl Head {
    /// Gives up all that waits before `below`, and returns it as ranges.
    pub(in crate::queue) fn drop_below(&mut self, below: u64) -> Vec<(u64, u64)> {
        let ranges = self.drop_between(0, below, End::Dropped);
        self.note_all(&ranges);
        ranges
    }

    /// Gives up what waits in `from..to` because an operator said so, and returns it as ranges.
    pub(in crate::queue) fn purge(&mut self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let ranges = self.drop_between(from, to, End::Purged);
        self.note_all(&ranges);
        ranges
    }

    /// How many [`Head::purge`] would give up.
    pub(in crate::queue) fn purgeable(&self, from: u64, to: u64) -> u64 {
        let leased = |(position, active): (&u64, &Active)| {
            (from..to).contains(position) && active.state == State::Leased
        };
        let leased = self.active.iter().filter(|active| leased(*active)).count() as u64;
        self.waiting_in(from, to).saturating_sub(leased)
    }

    pub(super) fn drop_between(&mut self, from: u64, to: u64, end: End) -> Vec<(u64, u64)> {
        self.keys.forget(from, to);
        let mut ranges = self.drop_idle(to, end, |position| position >= from);
        for (start, to) in self.unleased(to) {
            let from = start.max(from);
            if from < to {
                self.close(from, to, end);
                ranges.push((from, to));
            }
        }
        ranges
    }

    fn note_all(&mut self, ranges: &[(u64, u64)]) {
        ranges.iter().for_each(|&(from, to)| self.note_lost(from, to));
    }

    /// Of what waits before `below` and at or behind `from`, keeps those whose number in the
    /// stream, which is the position less `base`, is a multiple of `every`. Returns the stretches
    /// that were thinned: of each exactly the multiples are kept. Only for a lane without order.
    pub(in crate::queue) fn thin(
        &mut self,
        (from, below): (u64, u64),
        every: u32,
        base: u64,
    ) -> Vec<(u64, u64)> {
        let goes = |position: u64| {
            position >= from && !position.saturating_sub(base).is_multiple_of(u64::from(every))
        };
        let mut ranges = self.drop_idle(below, End::Thinned(every), goes);
        self.note_all(&ranges);
        let watermark = self.settled.watermark();
        for (from, to) in self.looked.gaps(from.max(self.looked.watermark()), below) {
            for (from, to) in self.unthinned(from, to) {
                if self.thinned.add(Comb { from, to, every, base }, watermark) {
                    ranges.push((from, to));
                }
            }
        }
        self.pass_thinned();
        ranges.sort_unstable();
        ranges
    }

    /// The parts of `from..to` in which nothing was thinned before.
    fn unthinned(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut taken: Vec<Comb> = self.thinned.saved();
        taken.retain(|comb| comb.from < to && comb.to > from);
        let (mut parts, mut start) = (Vec::new(), from);
        for comb in taken {
            if start < comb.from {
                parts.push((start, comb.from));
            }
            start = start.max(comb.to);
        }
        if start < to {
            parts.push((start, to));
        }
        parts
    }

    /// Gives up what was looked at and is not leased, such as what failed and waits.
    fn drop_idle(&mut self, below: u64, end: End, goes: impl Fn(u64) -> bool) -> Vec<(u64, u64)> {
        let idle = self.active.iter().filter(|(_, active)| active.state != State::Leased);
        let idle = idle.map(|(&position, _)| position).filter(|p| *p < below && goes(*p));
        let mut idle: Vec<u64> = idle.collect();
        idle.sort_unstable();
        idle.iter().for_each(|position| self.settle(*position, end));
        idle.into_iter().map(|position| (position, position + 1)).collect()
    }

    /// What is not settled before `below`, without what is leased.
    fn unleased(&self, below: u64) -> Vec<(u64, u64)> {
        let mut leased: Vec<u64> =
            self.active.keys().copied().filter(|position| *position < below).collect();
        leased.sort_unstable();
        let (mut ranges, mut leased) = (Vec::new(), leased.into_iter().peekable());
        for (mut from, to) in self.settled.gaps(self.settled.watermark(), below) {
            while let Some(position) = leased.next_if(|position| *position < to) {
                if from < position {
                    ranges.push((from, position));
                }
                from = position + 1;
            }
            if from < to {
                ranges.push((from, to));
            }
        }
        ranges
    }

    /// The first position from `from` on that nobody looked at and that is to be sent.
    pub(super) fn next_unlooked(&mut self, from: u64) -> u64 {
        loop {
            let position = self.looked.next_unsettled(from);
            match self.thinned.run_at(position) {
                Some(end) => self.close_only(position, end, End::Dropped),
                None => return position,
            }
        }
    }

    /// The watermark passes what was thinned.
    pub(super) fn pass_thinned(&mut self) {
        while let Some(end) = self.thinned.run_at(self.settled.watermark()) {
            self.close_only(self.settled.watermark(), end, End::Dropped);
        }
    }

    /// The first position from `from` on that waits.
    pub(in crate::queue) fn next_waiting(&self, from: u64) -> u64 {
        let mut position = self.settled.next_unsettled(from);
        while let Some(end) = self.thinned.run_at(position) {
            position = self.settled.next_unsettled(end);
        }
        position
    }

    /// The first position from `from` on that does not wait, if there is one.
    pub(in crate::queue) fn next_gone(&self, from: u64) -> Option<u64> {
        let (settled, dropped) = (self.settled.next_settled(from), self.thinned.next_pending(from));
        settled.into_iter().chain(dropped).min()
    }

    /// Whether `position` waits.
    pub(in crate::queue) fn waits(&self, position: u64) -> bool {
        !self.settled.contains(position) && self.thinned.run_at(position).is_none()
    }

    /// How many of `from..to` wait.
    pub(in crate::queue) fn waiting_in(&self, from: u64, to: u64) -> u64 {
        let gone = self.settled.count_in(from, to) + self.thinned.pending_in(from, to);
        to.saturating_sub(from).saturating_sub(gone)
    }

    /// How many are dropped and no settled range yet.
    pub(in crate::queue) fn pending(&self) -> u64 {
        self.thinned.pending_in(0, u64::MAX)
    }

    /// What was thinned, for the state.
    pub(in crate::queue) fn thinned(&self) -> Vec<Comb> {
        self.thinned.saved()
    }
}
