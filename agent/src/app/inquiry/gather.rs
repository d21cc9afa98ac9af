//! Facts of the agent, of a lane, of a record.

use std::time::Duration;

use spillway_protocol::local::status::{Degraded, Freshness, LaneBudget, LinkState, Status};
use spillway_protocol::record::{LaneName, Topic};

use super::{Agent, Inquiry, seconds};
use crate::budget;
use crate::config::{self, OnReject, Order, WhenFull};
use crate::drain::{DrainHandle, DrainStatus, LaneDrain, Mishap, mute_reason};
use crate::queue::{Entry, Fate, Lot, Turn, Whereabouts};
use crate::why::facts;

/// Waiting records from which on a lane of smaller priority is one that others wait for.
const BACKLOG: u64 = 20;
/// So many of the oldest tell whether others leave while a topic is held.
const OLDEST: usize = 100;

/// The agent as it stands when something is asked.
pub(super) struct Moment {
    pub(super) gateway: facts::Gateway,
    /// Of a running one.
    drain: Option<DrainStatus>,
}

impl Inquiry {
    pub(super) fn moment(&self) -> Moment {
        let accounts = self.lanes.iter().filter_map(|lane| self.queue.accounts(&lane.name));
        let known = facts::Gateway {
            gateway: self.gateway.clone(),
            bounds: self.bounds.clone(),
            waiting: accounts.map(|accounts| accounts.waiting).sum(),
            ..facts::Gateway::default()
        };
        match &self.agent {
            Agent::Running(report, drain) => {
                let drain = drain.status();
                let gateway = self.with_status(known, report.status_of(drain.clone()), &drain);
                Moment { gateway, drain: Some(drain) }
            }
            Agent::Stopped(stopped) => {
                let gateway = facts::Gateway { stopped: Some(stopped.clone()), ..known };
                Moment { gateway, drain: None }
            }
        }
    }

    fn with_status(
        &self,
        known: facts::Gateway,
        status: Status,
        drain: &DrainStatus,
    ) -> facts::Gateway {
        // What holds the link holds every lane.
        let held = drain.lanes.first().filter(|_| drain.link.state == LinkState::Held);
        facts::Gateway {
            hold: held.and_then(|lane| lane.hold.clone()),
            mute: mute_reason(&drain.link).map(str::to_owned),
            access_keys: status.access_keys,
            pace: status.pace,
            rates: status.rates,
            budget: status.budget.filter(|_| self.has_budget).map(|budget| facts::Budget {
                bytes_per_day: budget.bytes_per_day.unwrap_or_default(),
                reserve: budget.reserve.unwrap_or_default(),
                resets_in_s: budget.resets_in_s,
            }),
            first_send_in_s: status.first_send_in_s,
            configuration: Some(status.configuration.state).filter(|state| state != "in force"),
            drained_in_s: status.drained_in_s,
            link: Some(status.link),
            ..known
        }
    }

    pub(super) fn lane_facts(&self, moment: &Moment, name: &LaneName) -> facts::Lane {
        let Some(lane) = self.lanes.iter().find(|lane| lane.name == *name) else {
            return facts::Lane::default();
        };
        let figures = self.queue.figures(name).unwrap_or_default();
        let known = facts::Lane {
            name: name.to_string(),
            waiting: figures.accounts.waiting,
            oldest_age_s: figures.oldest_age.map(|age| age.as_secs()),
            one_at_a_time: lane.order == Order::Lane && lane.bundle.is_none(),
            buries: lane.order != Order::Lane && lane.on_reject == OnReject::DeadLetter,
            behind_lanes: self.behind(lane),
            is_first: budget::is_first(lane, &self.lanes),
            missing_key: figures.missing_key.map(|key| key.to_string()),
            full: self.queue.limit(name).and_then(|limit| limit.full),
            given_up: facts::GivenUp {
                expired: figures.accounts.expired,
                dropped: figures.accounts.dropped,
                damaged: figures.accounts.damaged,
            },
            drops_oldest: lane.when_full == WhenFull::DropOldest,
            degrades: !lane.degrade.is_empty(),
            ..facts::Lane::default()
        };
        match (&self.agent, &moment.drain) {
            (Agent::Running(_, drain), Some(status)) => self.with_drain(known, lane, drain, status),
            _ => known,
        }
    }

    /// Lanes of smaller priority in which much waits.
    fn behind(&self, lane: &config::Lane) -> Vec<String> {
        let before = self.lanes.iter().filter(|other| other.priority < lane.priority);
        let waits = |other: &&config::Lane| {
            self.queue.accounts(&other.name).is_some_and(|accounts| accounts.waiting >= BACKLOG)
        };
        before.filter(waits).map(|other| other.name.to_string()).collect()
    }

    fn with_drain(
        &self,
        known: facts::Lane,
        lane: &config::Lane,
        drain: &DrainHandle,
        status: &DrainStatus,
    ) -> facts::Lane {
        let name = &lane.name;
        let of_link = status.link.state == LinkState::Held;
        let told = status.lanes.iter().find(|told| told.name == *name);
        let outlook = drain.lane_outlook(name).unwrap_or_default();
        let topic = drain.topic_outlook(name, &lane.topic).unwrap_or_default();
        let hold = told.and_then(|told| told.hold.clone()).filter(|_| !of_link);
        let stopped = |part: &LaneBudget| part.name == known.name && part.stopped;
        facts::Lane {
            held_part: match topic.hold {
                None if hold.is_some() => facts::Part::OtherTopics,
                _ => facts::Part::Lane,
            },
            others_leave: hold.is_some() && topic.hold.is_none() && self.leave(lane, drain),
            hold,
            asked_in_s: topic.asked_in.map(seconds),
            paused_s: topic.paused_for.map(seconds),
            rests_s: outlook.rests_for.map(seconds),
            first_send_in_s: outlook.first_send_in.map(seconds),
            budget_stopped: self.has_budget && status.budget.lanes.iter().any(stopped),
            degraded: self.degraded(name),
            held_keys: told.map_or(0, |told| told.held_keys),
            held_key: outlook.held_key.map(|(at, mishap)| self.head(name, at, Some(mishap))),
            failed: outlook.failed as u64,
            failure: self.oldest_failure(name, drain),
            freshness: told.and_then(|told| self.freshness(told)),
            last_error: told.and_then(|told| told.last_error.clone()),
            ..known
        }
    }

    /// Whether any of the oldest records may leave though a topic is held.
    fn leave(&self, lane: &config::Lane, drain: &DrainHandle) -> bool {
        let free = |topic: Topic| {
            drain.topic_outlook(&lane.name, &topic).is_some_and(|outlook| outlook.hold.is_none())
        };
        let oldest = || self.queue.peek(&lane.name, 0, OLDEST).into_iter();
        lane.order != Order::Lane && oldest().any(|entry| self.topic(&entry).is_some_and(free))
    }

    fn degraded(&self, lane: &LaneName) -> Option<Degraded> {
        match &self.agent {
            Agent::Running(report, _) => report.degraded().status(lane),
            Agent::Stopped(_) => None,
        }
    }

    fn freshness(&self, lane: &LaneDrain) -> Option<Freshness> {
        match &self.agent {
            Agent::Running(report, _) => report.freshness(lane),
            Agent::Stopped(_) => None,
        }
    }

    /// The oldest waiting record, if it failed.
    fn oldest_failure(&self, lane: &LaneName, drain: &DrainHandle) -> Option<facts::Head> {
        let oldest = self.queue.peek(lane, 0, 1).first()?.position;
        let mishap = drain.mishap(lane, oldest)?;
        Some(self.head(lane, oldest, Some(mishap)))
    }

    /// A record that others wait for.
    fn head(&self, lane: &LaneName, position: u64, mishap: Option<Mishap>) -> facts::Head {
        let found = self.queue.whereabouts(lane, position);
        facts::Head {
            seq: found.as_ref().map_or(0, |found| found.seq),
            id: found.as_ref().and_then(id),
            failure: mishap.map(failure),
            again_in_s: found.as_ref().and_then(again_in_s),
        }
    }

    /// A record's lane, as far as it matters for the record: of holds and pauses, those of its topic.
    pub(super) fn record_lane_facts(&self, moment: &Moment, found: &Whereabouts) -> facts::Lane {
        let lane = self.lane_facts(moment, &found.lane);
        let Agent::Running(_, drain) = &self.agent else { return lane };
        let topic = found.entry.as_ref().and_then(|entry| self.topic(entry));
        let Some(topic) = topic else { return lane };
        if !matches!(found.lot, Lot::Waiting { .. }) {
            return lane;
        }
        let outlook = drain.topic_outlook(&found.lane, &topic).unwrap_or_default();
        let own = self.lanes.iter().any(|own| own.name == found.lane && own.topic == topic);
        facts::Lane {
            hold: outlook.hold,
            others_leave: false,
            held_part: if own { facts::Part::Lane } else { facts::Part::OneTopic },
            asked_in_s: outlook.asked_in.map(seconds),
            paused_s: outlook.paused_for.map(seconds),
            ..lane
        }
    }

    /// Where the record goes, by the lane it was accepted in.
    fn topic(&self, entry: &Entry) -> Option<Topic> {
        let lane = self.lanes.iter().find(|lane| lane.name == entry.stamp.lane);
        entry.record.topic.clone().or_else(|| lane.map(|lane| lane.topic.clone()))
    }

    pub(super) fn record_facts(&self, found: &Whereabouts) -> facts::Record {
        facts::Record {
            id: id(found),
            lane: found.lane.to_string(),
            stream: found.stream.to_string(),
            present_stream: found.stream == self.queue.stream(),
            seq: found.seq,
            age_s: found.age.map(|age| age.as_secs()),
            lot: self.lot(found),
        }
    }

    fn lot(&self, found: &Whereabouts) -> facts::Lot {
        match found.lot {
            Lot::Waiting { turn, ahead } => facts::Lot::Waiting(self.waiting(found, turn, ahead)),
            Lot::Delivered { stored } => facts::Lot::Delivered { kept: stored && self.keeps },
            Lot::Dead => facts::Lot::Dead(self.letter(found)),
            Lot::Forgotten => facts::Lot::Forgotten,
            Lot::GivenUp(fate) => facts::Lot::GivenUp(fate.and_then(loss)),
        }
    }

    fn waiting(&self, found: &Whereabouts, turn: Turn, ahead: u64) -> facts::Waiting {
        let waiting = facts::Waiting { ahead, ..facts::Waiting::default() };
        let Agent::Running(_, drain) = &self.agent else { return waiting };
        let (lane, position) = (&found.lane, found.position);
        let live_from = drain.lane_outlook(lane).and_then(|outlook| outlook.live_from);
        let behind = match turn {
            Turn::Behind(at) => Some(self.head(lane, at, drain.mishap(lane, at))),
            Turn::Leased | Turn::Ready | Turn::Deferred(_) => None,
        };
        facts::Waiting {
            sending_s: drain.sending(lane, position).map(|since: Duration| since.as_secs()),
            failure: drain.mishap(lane, position).map(failure),
            again_in_s: again_in_s(found),
            behind,
            backlog: live_from.is_some_and(|from| position < from),
            ..waiting
        }
    }

    fn letter(&self, found: &Whereabouts) -> facts::Letter {
        let letter = self.queue.dead_at(&found.lane, found.position);
        letter.map_or_else(facts::Letter::default, |letter| facts::Letter {
            number: letter.number,
            died_ago_s: self.ago_s(letter.died_ms),
            code: letter.code,
            reason: letter.reason,
        })
    }
}

fn id(found: &Whereabouts) -> Option<String> {
    found.entry.as_ref().map(|entry| entry.record.id.to_string())
}

fn again_in_s(found: &Whereabouts) -> Option<u64> {
    match found.lot {
        Lot::Waiting { turn: Turn::Deferred(at), .. } => {
            Some(seconds(at.saturating_duration_since(tokio::time::Instant::now())))
        }
        _ => None,
    }
}

fn failure(mishap: Mishap) -> facts::Failure {
    facts::Failure { code: mishap.code, reason: mishap.reason, tries: mishap.tries }
}

/// Of a dead letter that is no more the lane knows only that it died.
fn loss(fate: Fate) -> Option<facts::Loss> {
    match fate {
        Fate::Dropped => Some(facts::Loss::Dropped),
        Fate::Expired => Some(facts::Loss::Expired),
        Fate::Thinned(every) => Some(facts::Loss::Thinned(every)),
        Fate::Dead | Fate::Purged => Some(facts::Loss::Purged),
        Fate::Damaged => Some(facts::Loss::Damaged),
        Fate::Replayed => None,
    }
}
