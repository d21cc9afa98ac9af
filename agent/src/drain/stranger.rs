//! Answers that are not RocketMQ's: a captive portal's page, another server's, a gateway that failed.
//! They are the way's fault and not the record's, however many wait, and a connection proves nothing
//! there: the link is down until RocketMQ answers a record. Only where it answers others meanwhile,
//! time and again, is it something about the record, such as a size that a gateway takes offence at.

use tokio::time::Instant;

use super::breakage::Breakages;
use super::settle::{FREE, Settlement};
use super::state::{Flight, State};

impl State {
    /// Not RocketMQ answered. Where the request may have been passed on, a single such answer says
    /// little of the link, like none at all.
    pub(super) fn strange(
        &mut self,
        flight: &Flight,
        reason: &str,
        passed_on: bool,
        now: Instant,
    ) -> Settlement {
        // Of requests that leave together, the first decides: the others are of its era.
        if flight.era != self.link.era() {
            return FREE;
        }
        let (facts, answered) = (&flight.facts, self.answered_proof);
        let between = std::mem::replace(&mut self.strange_proof, answered) < answered;
        let breakages = &mut self.lanes[facts.lane].breakages;
        let failures = breakages.failed(facts.position, answered, reason, now);
        let settlement = if between && Breakages::is_suspect(failures) {
            self.blamed(flight, failures, reason, now)
        } else if passed_on && self.link.is_up() {
            self.unanswered(flight, reason, now)
        } else {
            self.link.down(flight.era, reason, now, &mut self.rng);
            FREE
        };
        self.link.only_records_tell();
        settlement
    }
}
