//! What `status` shows of the rules.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spillway_protocol::local::status::Degraded;
use spillway_protocol::record::LaneName;
use tokio::time::Instant;

/// How lanes give way. Clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<LaneName, Shown>>>);

/// How one lane gives way.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    /// The rule that was last in force.
    pub(super) rule: String,
    /// Since when it is.
    pub(super) since: Option<Instant>,
    pub(super) paused: bool,
    /// Dropped since the start.
    pub(super) dropped: u64,
}

impl Board {
    /// As `status` has it; `None` of a lane in which no rule was ever in force.
    pub fn status(&self, lane: &LaneName) -> Option<Degraded> {
        let shown = self.shown();
        let shown = shown.get(lane).filter(|shown| !shown.rule.is_empty())?;
        Some(Degraded {
            rule: shown.rule.clone(),
            since_s: shown.since.map(|at| at.elapsed().as_secs()),
            paused: shown.paused,
            dropped: shown.dropped,
        })
    }

    pub(super) fn show(&self, lane: &LaneName, change: impl FnOnce(&mut Shown)) {
        change(self.shown().entry(lane.clone()).or_default());
    }

    /// Only lanes for which `ruled` says so still give way; what was dropped stays known.
    pub(super) fn begin(&self, ruled: impl Fn(&LaneName) -> bool) {
        for (_, shown) in self.shown().iter_mut().filter(|(lane, _)| !ruled(lane)) {
            (shown.since, shown.paused) = (None, false);
        }
    }

    fn shown(&self) -> MutexGuard<'_, BTreeMap<LaneName, Shown>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_without_rules_gives_way_no_longer_and_what_was_dropped_stays_known() {
        let board = Board::default();
        let [bulk, other] = ["bulk", "other"].map(|name| LaneName::parse(name).unwrap());
        for lane in [&bulk, &other] {
            board.show(lane, |shown| {
                let (rule, since) = ("backlog 6h".to_owned(), Some(Instant::now()));
                *shown = Shown { rule, since, paused: true, dropped: 3 };
            });
        }
        board.begin(|lane| *lane == other);
        let (gone, kept) = (board.status(&bulk).unwrap(), board.status(&other).unwrap());
        assert_eq!((gone.since_s, gone.paused, gone.dropped), (None, false, 3));
        assert_eq!((kept.since_s, kept.paused, kept.dropped), (Some(0), true, 3));
    }
}
