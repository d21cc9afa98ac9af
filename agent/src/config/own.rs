//! What the agent sends of its own, report and presence, and again: audit.

use std::time::Duration;

use spillway_protocol::record::{LaneName, Topic};

use super::lane::{required, topic};
use super::section::Section;
use super::{Audit, Config, Lane, OnReject, Order, Presence, Report, Transport, WhenFull, unit};

/// The lane of the agent's own records. No configuration can name it, nor an app use it.
const OWN_LANE: &str = "_agent";
/// The lane of delivered records that are sent again.
pub const RESEND_LANE: &str = "_resend";
const KEEP_BYTES: u64 = 1 << 30;
const KEEP_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
const EVERY: Duration = Duration::from_secs(15 * 60);
/// A shorter interval would be a load of its own.
const EVERY_LEAST: Duration = Duration::from_secs(1);
/// Longest part of a client id (group, name of a local client), in characters.
const ID_PART_MAX: usize = 64;
/// Many apps open a connection for each record.
const LINGER: Duration = Duration::from_secs(30);

pub(super) fn report(section: Section<'_>, transport: Option<Transport>) -> Option<Report> {
    let topic = required(&section, "topic", "\"gateway-report\"", |text| topic(text, transport));
    let every = section.with_unit("every", "\"15m\"", |text| match unit::duration(text)? {
        every if every < EVERY_LEAST => Err("is less than a second".to_owned()),
        every => Ok(every),
    });
    section.finish();
    Some(Report { topic: topic?, every: every.unwrap_or(EVERY) })
}

pub(super) fn presence(section: Section<'_>, transport: Option<Transport>) -> Option<Presence> {
    let topic = required(&section, "topic", "\"gateway-status\"", |text| topic(text, transport));
    let client_group = required(&section, "client_group", "\"GID_gateways\"", id_part);
    let linger = section.with_unit("linger", "\"30s\"", unit::duration).unwrap_or(LINGER);
    section.finish();
    Some(Presence { topic: topic?, client_group: client_group?, linger })
}

pub(super) fn audit(section: Section<'_>) -> Audit {
    let keep_bytes = section.with_unit("keep", "\"1 GiB\"", unit::size_bytes);
    let keep_for = section.with_unit("keep_for", "\"7d\"", unit::duration);
    section.finish();
    Audit { keep_bytes: keep_bytes.unwrap_or(KEEP_BYTES), keep_for: keep_for.unwrap_or(KEEP_FOR) }
}

/// A part of a client id.
pub(super) fn id_part(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if let Some(other) = text.chars().find(|c| !fits(*c)) {
        return Err(format!("holds {other:?}; letters, digits, _ and - are taken"));
    }
    match text.len() {
        ..=ID_PART_MAX => Ok(text.to_owned()),
        long => Err(format!("has {long} characters, at most {ID_PART_MAX} fit")),
    }
}

impl Config {
    /// The agent's own lane, where something needs it: behind all others, and nothing of it is
    /// ever given up. Its records carry their topic.
    pub fn own_lane(&self) -> Option<Lane> {
        let report = self.report.as_ref().map(|report| &report.topic);
        let topic = report.or(self.presence.as_ref().map(|presence| &presence.topic))?;
        behind_all(OWN_LANE, topic)
    }

    /// The lane of records that are sent again. They leave as records of the lane that each was
    /// accepted in; the topic stands for none.
    pub fn resend_lane(&self) -> Option<Lane> {
        self.audit.as_ref().and_then(|_| behind_all(RESEND_LANE, &self.default_lane().topic))
    }

    /// The lanes of users, those of former configurations, and the agent's own where there are some.
    pub fn all_lanes(&self) -> impl Iterator<Item = Lane> {
        let users = self.lanes.iter().chain(&self.retired).cloned();
        users.chain(self.own_lane()).chain(self.resend_lane())
    }
}

/// A lane behind all others, but for its share, of which nothing is ever given up.
pub(super) fn behind_all(name: &str, topic: &Topic) -> Option<Lane> {
    Some(Lane {
        name: LaneName::parse(name).ok()?,
        topic: topic.clone(),
        tag: None,
        priority: u32::MAX,
        weight: 1,
        min_share_percent: 5,
        default: false,
        order: Order::None,
        on_reject: OnReject::Hold,
        quota_bytes: None,
        when_full: WhenFull::Reject,
        bundle: None,
        batch: None,
        freshness: None,
        lz4: false,
        degrade: Vec::new(),
        ttl: None,
    })
}
