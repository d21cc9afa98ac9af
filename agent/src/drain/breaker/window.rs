//! The last outcomes of a topic.

use std::collections::VecDeque;

/// Outcomes looked back on.
const LENGTH: usize = 200;
/// Refusals in a row that hold.
pub(super) const RUN: u32 = 20;

/// What passed and what was refused, and for which code.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Newest last: the code of a refusal, or `None` for a pass.
    outcomes: VecDeque<Option<String>>,
    /// Newest refusals in a row of one code.
    run: u32,
}

impl Window {
    pub(super) fn note(&mut self, code: Option<&str>) {
        self.run = match (code, self.outcomes.back()) {
            (None, _) => 0,
            (Some(code), Some(Some(last))) if code == last => self.run + 1,
            (Some(_), _) => 1,
        };
        if self.outcomes.len() == LENGTH {
            self.outcomes.pop_front();
        }
        self.outcomes.push_back(code.map(str::to_owned));
    }

    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_clean(&self) -> bool {
        self.outcomes.iter().all(Option::is_none)
    }

    /// Whether this looks like an operator's mistake, in words: 20 in a row, or more than half of
    /// the last 200, for `code`.
    pub(super) fn trips(&self, code: &str) -> Option<String> {
        let same = |old: &&Option<String>| old.as_deref() == Some(code);
        let share = self.outcomes.iter().filter(same).count();
        if self.run >= RUN {
            Some(format!("{} refused in a row", self.run))
        } else if share > LENGTH / 2 {
            Some(format!("{share} of the last {} refused", self.outcomes.len()))
        } else {
            None
        }
    }
}
