//! What ended tasks leave to do.

use tokio::task::{Id, JoinError};
use tokio::time::Instant;

use super::{Done, Driver, Job};
use crate::drain::settle::Settlement;
use crate::drain::source::{Parcel, Source};
use crate::drain::state::Flight;
use crate::drain::stock::Stock;
use crate::queue::SettleError;
use crate::upstream::Outcome;

impl<S: Source> Driver<S> {
    pub(super) fn settle(&mut self, done: Result<(Id, Done), JoinError>) {
        let now = Instant::now();
        let (id, done) = match done {
            Ok((id, done)) => (id, Ok(done)),
            Err(error) => (error.id(), Err(error.to_string())),
        };
        match (self.jobs.remove(&id), done) {
            (Some(Job::Send(flight, parcels)), Ok(Done::Sent(outcome))) => {
                self.settle_records(flight, parcels, outcome, now);
            }
            (Some(Job::Send(flight, parcels)), Err(reason)) => {
                // Nobody answered: it proves nothing, and the record may have arrived.
                let outcome = Outcome::Unknown { reason, link: true };
                self.settle_records(flight, parcels, outcome, now);
            }
            (Some(Job::Bury(flight, code)), Ok(Done::Buried(result))) => {
                self.stocks[flight.facts.lane].outdate();
                self.shared.state().buried(&flight, &code, result, now);
            }
            (Some(Job::Bury(flight, code)), Err(reason)) => {
                self.stocks[flight.facts.lane].outdate();
                let result = Err(SettleError::Disk(reason));
                self.shared.state().buried(&flight, &code, result, now);
            }
            (Some(Job::Probe(era)), Ok(Done::Probed(result))) => {
                self.shared.state().probed(era, result, now);
            }
            (Some(Job::Probe(era)), Err(reason)) => {
                self.shared.state().probed(era, Err(reason), now);
            }
            // No other pairs are made.
            _ => {}
        }
    }

    fn settle_records(
        &mut self,
        flight: Flight,
        mut parcels: Vec<S::Parcel>,
        outcome: Outcome,
        now: Instant,
    ) {
        let lane = flight.facts.lane;
        let mut state = self.shared.look(now);
        let settlement = state.judge(&flight, outcome, now);
        let (up, era) = (state.link.is_up(), state.link.era());
        let doubt = std::mem::take(&mut state.doubt);
        let hastened = state.lanes.iter().any(|lane| lane.hastened);
        drop(state);
        if settlement != Settlement::Ack {
            self.stocks[lane].outdate();
        }
        match settlement {
            Settlement::Ack => parcels.into_iter().for_each(S::Parcel::ack),
            Settlement::Defer { until, charged } => {
                parcels.into_iter().for_each(|parcel| parcel.defer(until, charged));
            }
            Settlement::Bury { code, reason } => {
                // Only what left alone is judged so.
                let Some(parcel) = parcels.pop() else { return };
                let buried = parcel.dead_letter(code.clone(), reason);
                let task = async move { Done::Buried(buried.await) };
                let id = self.tasks.spawn(task).id();
                self.jobs.insert(id, Job::Bury(flight, code));
            }
        }
        if hastened {
            self.hasten();
        }
        if doubt && up {
            self.ask(era);
        }
        if !up {
            // Their order, and what came meanwhile, is the queue's to decide when it is back.
            self.stocks.iter_mut().for_each(Stock::clear);
        }
    }
}
