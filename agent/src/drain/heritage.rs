//! What a drain that goes on with other settings knows from before.

use std::mem::take;

use tokio::time::Instant;

use super::Options;
use super::change::Way;
use super::state::{LaneState, State};
use crate::config::Action;
use crate::link::Backoff;

impl State {
    /// Takes over from `former`, in which nothing is under way any more. Holds and failures of a
    /// lane stay known while the same would become of its records.
    pub(super) fn inherit(&mut self, former: &mut Self, options: &Options, way: Way, now: Instant) {
        std::mem::swap(&mut self.meter, &mut former.meter);
        std::mem::swap(&mut self.notices, &mut former.notices);
        self.issued = former.issued;
        self.budget.go_on(&former.budget);
        self.link.follow(&former.link);
        for lane in &mut self.lanes {
            let known = former.lanes.iter_mut().find(|known| known.config.name == lane.config.name);
            if let Some(known) = known {
                lane.inherit(known, way);
            }
        }
        if way == Way::Other {
            // The pace is that of a start; how fast records are made here is known.
            return;
        }
        std::mem::swap(&mut self.pacer, &mut former.pacer);
        self.pacer.rebound(&options.drain, now);
        std::mem::swap(&mut self.link, &mut former.link);
        self.link.carry_on(Backoff::new(&options.backoff), way == Way::Repaired, now);
        (self.proofs, self.answered_proof) = (former.proofs, former.answered_proof);
        self.strange_proof = former.strange_proof;
        self.doubt = former.doubt;
    }
}

impl LaneState {
    fn inherit(&mut self, former: &mut Self, way: Way) {
        // Without such a rule nobody would let it go on.
        let pauses = self.config.degrade.iter().any(|rule| rule.action == Action::Pause);
        self.paused = former.paused && pauses;
        self.rested_until = former.rested_until;
        // Records of groups that failed leave alone, wherever they go.
        self.scattered = take(&mut former.scattered);
        self.doubtful = take(&mut former.doubtful);
        let fate = |lane: &Self| {
            let config = &lane.config;
            (config.topic.clone(), config.tag.clone(), config.order, config.on_reject)
        };
        if way == Way::Other || fate(self) != fate(former) {
            return;
        }
        self.breakers = take(&mut former.breakers);
        self.breakages = take(&mut former.breakages);
        self.last_error = former.last_error.take();
    }
}
