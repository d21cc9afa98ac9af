//! Looks after the day's bytes: what was carried, what may still leave, and the end of it.

use spillway_protocol::local::status::LinkState;
use tokio::time::Instant;

use super::Driver;
use crate::drain::plan::{LaneView, Readiness};
use crate::drain::source::Source;
use crate::drain::stock::Stock;

impl<S: Source> Driver<S> {
    /// Takes in what connections have carried. Where that is all that they may today, what is
    /// leased goes back, and the link rests.
    pub(super) fn count(&mut self, now: Instant) {
        let mut state = self.shared.look(now);
        let before = state.link.state();
        state.heed_budget(now);
        let rests = state.link.state() == LinkState::Budget;
        drop(state);
        if rests && before != LinkState::Budget {
            self.stocks.iter_mut().for_each(Stock::clear);
        }
        self.closed &= rests;
    }

    /// Lanes whose next record does not fit in what they may use today wait for the next day.
    pub(super) fn ration(&self, views: &mut [LaneView], now: Instant) {
        let mut state = self.shared.state();
        if !state.budget.is_bounded() {
            return;
        }
        for (lane, view) in views.iter_mut().enumerate() {
            if view.state != Readiness::Ready {
                continue;
            }
            let rested_until = state.lanes[lane].rested_until.filter(|until| *until > now);
            if let Some(until) = rested_until {
                view.state = Readiness::Due(until);
            } else {
                let cost_bytes = self.stocks[lane].next_cost_bytes(&state, now);
                if !state.budget.admits(lane, cost_bytes) {
                    view.state = Readiness::Due(state.budget.ends_at());
                }
            }
        }
    }

    /// While the link rests for want of bytes, no connection stays open; called when nothing is
    /// under way.
    pub(super) fn close(&mut self) {
        let rests = self.shared.state().link.state() == LinkState::Budget;
        if rests
            && !std::mem::replace(&mut self.closed, true)
            && let Some(upstream) = &self.upstream
        {
            upstream.close();
        }
    }
}
