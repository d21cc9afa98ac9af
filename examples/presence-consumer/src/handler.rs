//! Messages into facts, and facts into the store.

use std::sync::Arc;

use spillway_protocol::consumer::{Delivery, Handler, Verdict};
use spillway_protocol::presence::Event;
use spillway_protocol::report::Report;

use crate::store::Store;
use crate::table::Fact;

/// Longest client and gateway id, in characters, as the tables have room for.
const ID_MAX: usize = 255;
/// Longest channel id.
const CHANNEL_MAX: usize = 128;
/// Longest address.
const IP_MAX: usize = 64;

/// What a topic carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Status events, of gateways and of devices at ApsaraMQ for MQTT.
    Presence,
    /// Reports and tombstones of gateways.
    Report,
}

/// Works one topic off.
pub(crate) struct Keeper {
    pub(crate) kind: Kind,
    pub(crate) store: Arc<dyn Store>,
}

impl Handler for Keeper {
    async fn handle(&self, batch: &[Delivery]) -> Vec<Verdict> {
        let read: Vec<_> = batch.iter().map(|delivery| facts(self.kind, delivery)).collect();
        let all: Vec<Fact> = read.iter().flatten().flatten().cloned().collect();
        if !all.is_empty()
            && let Err(error) = self.store.learn(&all).await
        {
            return vec![Verdict::away(error); batch.len()];
        }
        let verdict = |read: Result<_, _>| read.map_or_else(Verdict::failed, |_| Verdict::Done);
        read.into_iter().map(verdict).collect()
    }

    /// A message that is no event or report tells nothing, so only the log keeps it.
    async fn park(&self, delivery: &Delivery, reason: &str) -> Result<(), String> {
        let body = String::from_utf8_lossy(&delivery.body);
        tracing::error!(topic = delivery.topic, id = delivery.id(), reason, %body, "passed over");
        Ok(())
    }
}

/// What a message tells.
///
/// # Errors
/// It is not what its topic carries.
fn facts(kind: Kind, delivery: &Delivery) -> Result<Vec<Fact>, String> {
    if let Some(reason) = delivery.unreadable() {
        return Err(reason.to_owned());
    }
    // Both transports tell the store time; the sender's is better than none.
    let stored_ms = delivery.stored_ms.or(delivery.born_ms).unwrap_or(0);
    let mut facts = Vec::new();
    match kind {
        Kind::Presence => {
            let event = Event::from_json(&delivery.body)
                .map_err(|error| format!("the body is no status event: {error}"))?;
            check("clientId", &event.client_id, ID_MAX)?;
            check("channelId", &event.channel_id, CHANNEL_MAX)?;
            check("clientIp", &event.client_ip, IP_MAX)?;
            facts.push(Fact::Event { event, stored_ms });
        }
        Kind::Report if delivery.flag("report") => {
            let report = Report::from_json(&delivery.body)
                .map_err(|error| format!("the body is no report: {error}"))?;
            let (gateway, every_s) = (report.gateway, report.every_s);
            check("gateway", &gateway, ID_MAX)?;
            facts.push(Fact::Interval { gateway, stored_ms, every_s });
        }
        Kind::Report => {}
    }
    if let Some(origin) = &delivery.origin {
        check("sw_gw", &origin.gateway, ID_MAX)?;
        let presence = kind == Kind::Presence;
        facts.push(Fact::Heard { gateway: origin.gateway.clone(), stored_ms, presence });
    }
    Ok(facts)
}

/// A store that refused an id would hold up all others.
fn check(what: &str, text: &str, max: usize) -> Result<(), String> {
    if text.chars().count() > max || text.trim_end() != text {
        return Err(format!("{what} is longer than {max} characters or ends in white space"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(body: &str, flags: &str) -> Delivery {
        let mut delivery = Delivery {
            body: body.to_owned().into(),
            stored_ms: Some(9_000),
            ..Delivery::default()
        };
        let own = [
            ("sw_gw", "gw-0042"),
            ("sw_lane", "_agent"),
            ("sw_st", "00c0ffee"),
            ("sw_seq", "1"),
            ("sw_at", "7"),
            ("sw_flags", flags),
        ];
        delivery.read_properties(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        delivery
    }

    fn heard(presence: bool) -> Fact {
        Fact::Heard { gateway: "gw-0042".to_owned(), stored_ms: 9_000, presence }
    }

    #[test]
    fn events_reports_and_tombstones_are_told_apart() {
        let line = include_str!("../../../protocol/vectors/presence.jsonl").lines().next().unwrap();
        let event = Event::from_json(line.as_bytes()).unwrap();
        let told = facts(Kind::Presence, &delivery(line, "")).unwrap();
        assert_eq!(told, [Fact::Event { event, stored_ms: 9_000 }, heard(true)]);

        let report = include_str!("../../../protocol/vectors/report.json");
        let told = facts(Kind::Report, &delivery(report, "report")).unwrap();
        let every_s = Report::from_json(report.as_bytes()).unwrap().every_s;
        let gateway = "gw-0042".to_owned();
        assert_eq!(told, [Fact::Interval { gateway, stored_ms: 9_000, every_s }, heard(false)]);

        let tombstone = include_str!("../../../protocol/vectors/tombstone.json");
        assert_eq!(facts(Kind::Report, &delivery(tombstone, "tombstone")).unwrap(), [heard(false)]);
    }

    #[test]
    fn what_is_neither_is_charged() {
        assert!(facts(Kind::Presence, &delivery("{}", "")).unwrap_err().contains("status event"));
        assert!(facts(Kind::Report, &delivery("{}", "report")).unwrap_err().contains("report"));
        let line = include_str!("../../../protocol/vectors/presence.jsonl").lines().next().unwrap();
        for id in ["x".repeat(256), "gw-0042 ".to_owned()] {
            let line = line.replace("GID_gateways@@@gw-0042", &id);
            let refused = facts(Kind::Presence, &delivery(&line, "")).unwrap_err();
            assert!(refused.contains("clientId"), "{refused}");
        }
    }

    #[test]
    fn devices_of_apsaramq_for_mqtt_have_no_agent() {
        let line = include_str!("../../../protocol/vectors/presence.jsonl").lines().next().unwrap();
        let plain = Delivery { body: line.into(), stored_ms: Some(1), ..Delivery::default() };
        assert_eq!(facts(Kind::Presence, &plain).unwrap().len(), 1);
    }
}
