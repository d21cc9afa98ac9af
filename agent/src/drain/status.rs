//! What the drain tells of itself.

use std::time::Duration;

use spillway_protocol::local::status::{self, Hold};
use spillway_protocol::record::{LaneName, Topic};
use tokio::time::Instant;

use super::breaker::{Breaker, Held};
use super::state::{LaneState, State};
use crate::config::Order;
use crate::link::HeldLink;
use crate::pace::View;

/// The drain's part of `GET /v1/status`.
#[derive(Debug, Clone, PartialEq)]
pub struct DrainStatus {
    /// The link.
    pub link: status::Link,
    /// Lanes in the order of the configuration.
    pub lanes: Vec<LaneDrain>,
    /// Records delivered per second, over the last minute.
    pub delivered_per_s: f64,
    /// Body bytes delivered per second, over the last minute.
    pub delivered_bytes_per_s: f64,
    /// Seconds until the first send after a start or an outage is due.
    pub first_send_in_s: Option<u64>,
    /// Bytes on the wire today.
    pub budget: status::Budget,
    /// What the pace thinks.
    pub pace: status::Pace,
}

/// The drain's part of a lane's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneDrain {
    /// Name.
    pub name: LaneName,
    /// Why nothing leaves although the link is up.
    pub hold: Option<Hold>,
    /// Order keys held on their own.
    pub held_keys: u64,
    /// The last refusal or failure.
    pub last_error: Option<String>,
    /// Which of its own settings slows it.
    pub hint: Option<&'static str>,
    /// `freshness` of the lane.
    pub freshness: Option<Duration>,
    /// The position from which records are live there.
    pub live_from: Option<u64>,
}

impl DrainStatus {
    /// Seconds until `waiting` records are delivered at the present rate, with `accepted_per_s`
    /// coming in meanwhile; `None` if never.
    pub fn drained_in_s(&self, waiting: u64, accepted_per_s: f64) -> Option<u64> {
        let net = self.delivered_per_s - accepted_per_s;
        match waiting {
            0 => Some(0),
            _ if net <= 0.0 => None,
            _ => Some((waiting as f64 / net).ceil() as u64),
        }
    }
}

impl State {
    pub(super) fn status(&self, now: Instant, wall_ms: u64) -> DrainStatus {
        let (delivered_per_s, delivered_bytes_per_s) = self.meter.rates(now);
        let link = self.link.status(now, wall_ms);
        let held = self.link.held().map(|held| link_hold(held, link.since_s));
        let first = self.link.first_send_at(now);
        DrainStatus {
            lanes: self.lanes.iter().map(|lane| lane.status(held.as_ref(), now)).collect(),
            link,
            delivered_per_s,
            delivered_bytes_per_s,
            budget: self.budget.status(now, wall_ms),
            pace: pace(&self.pacer.view(now), self.slot),
            first_send_in_s: first.map(|at| at.duration_since(now).as_secs_f64().ceil() as u64),
        }
    }
}

fn pace(view: &View, slot: Duration) -> status::Pace {
    status::Pace {
        own_rate_per_s: view.own_rate_per_s,
        share: view.share,
        allowed_per_s: view.allowed_per_s,
        allowed_bytes_per_s: Some(view.allowed_bytes_per_s),
        queue_delay_ms: (view.queue_delay_s * 1000.0).round() as u64,
        reject_share: view.reject_share,
        paused_s: view.paused_for.map(|wait| wait.as_secs_f64().ceil() as u64),
        slot_s: slot.as_secs(),
        reason: view.reason.to_owned(),
    }
}

impl LaneState {
    fn status(&self, link: Option<&Hold>, now: Instant) -> LaneDrain {
        LaneDrain {
            name: self.config.name.clone(),
            hold: link.cloned().or_else(|| self.hold(now)).or_else(|| self.broken(now)),
            held_keys: self.held_keys(),
            last_error: self.last_error.as_ref().map(|trouble| trouble.told(now)),
            hint: self.hint(),
            freshness: self.config.freshness,
            live_from: self.live_from,
        }
    }

    /// A lane of one order without bundles.
    fn hint(&self) -> Option<&'static str> {
        let slow = self.config.order == Order::Lane && self.config.bundle.is_none();
        slow.then_some(
            "order = \"lane\" drains one message a round trip, since each waits for the one before \
             it; bundle = {} would send many in one, for consumers that unpack bundles",
        )
    }

    fn held_keys(&self) -> u64 {
        if self.config.order != Order::Key {
            return 0;
        }
        let refused: usize = self.breakers.values().map(Breaker::held_keys).sum();
        // One that was refused may break the connection, too.
        let known = |at: &u64| self.breakers.values().any(|breaker| breaker.is_stuck(*at));
        let breaking = self.breakages.suspect_positions().filter(|at| !known(at)).count();
        (refused + breaking) as u64
    }

    /// The head of a lane ordered as a whole breaks the connection: nothing else may leave.
    pub(super) fn broken(&self, now: Instant) -> Option<Hold> {
        let mut suspects = self.breakages.suspects().filter(|_| self.config.order == Order::Lane);
        let (since, reason) = suspects.next()?;
        Some(Hold {
            code: "connection".to_owned(),
            reason: format!("this record breaks the connection: {reason}"),
            remedy: "see what between here and the broker refuses or cuts it (size, a proxy, a \
                     time-out); it is tried again by itself"
                .to_owned(),
            since_s: now.duration_since(since).as_secs(),
        })
    }

    /// The hold of the lane's own topic, else of any topic its records named.
    fn hold(&self, now: Instant) -> Option<Hold> {
        let mut topics = std::iter::once(&self.config.topic).chain(self.breakers.keys());
        topics.find_map(|topic| self.hold_of(topic, now))
    }

    /// The hold of one topic.
    pub(super) fn hold_of(&self, topic: &Topic, now: Instant) -> Option<Hold> {
        let held = self.breaker(topic)?.held()?;
        Some(Hold {
            code: held.code.to_owned(),
            reason: format!("topic {topic}: {}", held.reason),
            remedy: self.remedy(held, topic),
            since_s: now.duration_since(held.since).as_secs(),
        })
    }

    fn remedy(&self, held: &Held, topic: &Topic) -> String {
        let lane = &self.config.name;
        match held.code {
            "topic_missing" => format!("create topic {topic} at the broker, or name another"),
            "topic_type" => format!(
                "give topic {topic} the message type that lane {lane} needs (FIFO where order is \
                 \"key\" or \"lane\", else NORMAL), or name another topic"
            ),
            "permission" => format!("allow this access key to publish to topic {topic}"),
            "dead_letters_full" => {
                "make room: spillway dead purge, or a larger [dead] keep".to_owned()
            }
            "dead_letters_disk" => {
                "see that the disk under [gateway] data_dir works and has room; \
                                    it is tried again by itself"
                    .to_owned()
            }
            "unknown" => format!(
                "see why the broker's answers are not valid; spillway dead accept {lane} moves \
                 these records to the dead letters"
            ),
            _ => format!(
                "put right what the broker refuses; spillway dead accept {lane} moves what it \
                 refuses to the dead letters"
            ),
        }
    }
}

fn link_hold(held: &HeldLink, since_s: u64) -> Hold {
    let remedy = match held.code {
        "credentials" => "put the access key of [upstream] right; records go on by themselves",
        "permission" => "allow this access key to publish; records go on by themselves",
        "clock" => "set this machine's clock; records go on by themselves",
        _ => "put right what the broker refuses; records go on by themselves",
    };
    Hold {
        code: held.code.to_owned(),
        reason: held.reason.clone(),
        remedy: remedy.to_owned(),
        since_s,
    }
}
