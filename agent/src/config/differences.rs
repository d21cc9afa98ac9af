//! In what two configurations differ, by the names of their sections and lanes.

use super::{Config, Lane};

/// Sections and lanes (`lane.NAME`) of `new` that are not as in `old`, and lanes that are gone.
pub fn differences(old: &Config, new: &Config) -> Vec<String> {
    let (ol, nl) = (&old.listen, &new.listen);
    let sections = [
        ("gateway", old.gateway != new.gateway),
        ("limits", old.limits != new.limits),
        ("listen.http", ol.http != nl.http),
        ("listen.mq_http", ol.mq_http != nl.mq_http),
        ("listen.admin", ol.admin != nl.admin),
        ("client", old.clients != new.clients),
        ("upstream", old.upstream != new.upstream),
        ("route", old.routes != new.routes),
        ("dead", old.dead != new.dead),
        ("drain", old.drain != new.drain),
        ("backoff", old.backoff != new.backoff),
        ("budget", old.budget != new.budget),
        ("report", old.report != new.report),
        ("presence", old.presence != new.presence),
        ("audit", old.audit != new.audit),
        ("control", old.control != new.control),
    ];
    let sections = sections.into_iter().filter(|(_, differ)| *differ);
    let other = |lane: &&Lane| old.lanes.iter().all(|known| known != *lane);
    let gone = |lane: &&Lane| new.lanes.iter().all(|known| known.name != lane.name);
    let lanes = new.lanes.iter().filter(other).chain(old.lanes.iter().filter(gone));
    let lanes = lanes.map(|lane| format!("lane.{}", lane.name));
    sections.map(|(name, _)| name.to_owned()).chain(lanes).collect()
}
