//! What is known of channels and gateways, and how a message changes it. Pure.
//!
//! Every change is a union: it can come at any time, in any order and more than once, and the
//! table is the same in the end. Nothing is decided here; [`crate::answer`] does that.

use std::collections::BTreeMap;

use spillway_protocol::presence::{Event, EventType};

/// Something that a message tells. Stores keep what these say, and read it back as a [`Table`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fact {
    /// A channel was opened or is gone.
    Event {
        /// The message's body.
        event: Event,
        /// When the broker stored it, ms since 1970.
        stored_ms: u64,
    },
    /// The broker stored something of a gateway.
    Heard {
        /// Which.
        gateway: String,
        /// When, ms since 1970 by the broker's clock.
        stored_ms: u64,
        /// Whether it was a presence event.
        presence: bool,
    },
    /// A gateway reports every so often.
    Interval {
        /// Which.
        gateway: String,
        /// When the report was stored, ms since 1970 by the broker's clock.
        stored_ms: u64,
        /// Seconds.
        every_s: u64,
    },
}

/// One time that a client was connected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Channel {
    /// When it was opened, ms since 1970 by the client's clock; none while only its end is known.
    pub(crate) connected_ms: Option<u64>,
    /// Whether its end is known.
    pub(crate) cleaned: bool,
    /// The client's address as it knows it; empty while only the end is known.
    pub(crate) client_ip: String,
    /// When the broker stored the newest event, ms since 1970.
    pub(crate) stored_ms: u64,
}

/// What is known of a gateway that sends by Spillway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Gateway {
    /// When the broker stored the newest of it, ms since 1970.
    pub(crate) heard_ms: u64,
    /// Store time and interval (s) of the newest report.
    pub(crate) report: Option<(u64, u64)>,
    /// Whether it sends presence events: then they say whether it is connected.
    pub(crate) presence: bool,
}

/// All that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// By client id and channel id.
    pub(crate) channels: BTreeMap<(String, String), Channel>,
    /// By gateway id.
    pub(crate) gateways: BTreeMap<String, Gateway>,
}

impl Channel {
    /// Not gone yet, as far as is known.
    pub(crate) fn is_live(&self) -> bool {
        self.connected_ms.is_some() && !self.cleaned
    }

    fn learn(&mut self, event: &Event, stored_ms: u64) {
        self.stored_ms = self.stored_ms.max(stored_ms);
        match event.event_type {
            EventType::Connect => {
                let earliest = self.connected_ms.map_or(event.time, |ms| ms.min(event.time));
                self.connected_ms = Some(earliest);
                // Repeats agree; if they did not, the order must not matter all the same.
                if event.client_ip > self.client_ip {
                    self.client_ip.clone_from(&event.client_ip);
                }
            }
            EventType::TcpClean => self.cleaned = true,
            EventType::Disconnect => {}
        }
    }
}

impl Table {
    /// Takes a fact in. A `disconnect` says nothing that `tcpclean` does not.
    pub(crate) fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::Event { event, .. } if event.event_type == EventType::Disconnect => {}
            Fact::Event { event, stored_ms } => {
                let key = (event.client_id.clone(), event.channel_id.clone());
                self.channels.entry(key).or_default().learn(event, *stored_ms);
            }
            Fact::Heard { gateway, stored_ms, presence } => {
                let gateway = self.gateways.entry(gateway.clone()).or_default();
                gateway.heard_ms = gateway.heard_ms.max(*stored_ms);
                gateway.presence |= presence;
            }
            Fact::Interval { gateway, stored_ms, every_s } => {
                let gateway = self.gateways.entry(gateway.clone()).or_default();
                gateway.report = gateway.report.max(Some((*stored_ms, *every_s)));
            }
        }
    }

    /// Channels whose end is known and whose newest event was stored before `before_ms`: they
    /// have been kept only because a late or repeated `connect` would bring them back to life.
    pub(crate) fn forgettable(&self, before_ms: u64) -> impl Iterator<Item = &(String, String)> {
        let old = move |channel: &Channel| channel.cleaned && channel.stored_ms < before_ms;
        self.channels.iter().filter(move |(_, channel)| old(channel)).map(|(key, _)| key)
    }
}

impl FromIterator<Fact> for Table {
    fn from_iter<I: IntoIterator<Item = Fact>>(facts: I) -> Self {
        let mut table = Self::default();
        facts.into_iter().for_each(|fact| table.learn(&fact));
        table
    }
}
