//! The message of a bundle.

use super::{Compress, Part, pack};
use crate::message::{Defaults, Message, Stamp, fit_order_key};
use crate::record::Record;

/// Most bytes of KEYS: what the apps of many records gave would otherwise cost more than bundling
/// saves. Keys that do not fit are found in the bundle only.
const KEYS_MAX: usize = 256;

impl Message {
    /// Composes the message of several records, the first of which gives it its id, its number and
    /// its time. They must be of one lane and stream and agree in topic, tag and `order_key`.
    /// `None` if there are none.
    pub fn bundle(
        records: &[(&Record, &Stamp)],
        defaults: &Defaults<'_>,
        order_key: Option<&str>,
        compress: Compress,
    ) -> Option<Self> {
        let (first, stamp) = records.first()?;
        let parts: Vec<Part> =
            records.iter().map(|(record, stamp)| Part::of(record, stamp)).collect();
        let mark = if stamp.clock_set { "" } else { "~" };
        let properties = [
            ("sw_gw", stamp.gateway.clone()),
            ("sw_lane", stamp.lane.to_string()),
            ("sw_st", stamp.stream.to_string()),
            ("sw_seq", stamp.seq.to_string()),
            ("sw_at", format!("{mark}{}", stamp.accepted_ms)),
            ("sw_n", parts.len().to_string()),
            ("sw_flags", "bundle".to_owned()),
        ];
        Some(Self {
            topic: first.topic.as_ref().unwrap_or(defaults.topic).clone(),
            tag: first.tag.as_ref().or(defaults.tag).cloned(),
            id: first.id.clone(),
            key: keys(records),
            order_key: order_key.map(|key| fit_order_key(key).into_owned()),
            properties: properties.map(|(name, value)| (name.to_owned(), value)).into(),
            body: pack(&parts, compress).into(),
        })
    }
}

impl Part {
    /// The record as it travels in a bundle.
    pub fn of(record: &Record, stamp: &Stamp) -> Self {
        let key = record.message_key();
        let flags: Vec<&str> = stamp.flags.names().collect();
        Self {
            id: record.id.to_string(),
            key: (key != record.id.as_str()).then(|| key.to_owned()),
            seq: stamp.seq,
            accepted_ms: stamp.accepted_ms,
            clock_set: stamp.clock_set,
            flags: flags.join(","),
            properties: record
                .properties
                .iter()
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .collect(),
            body: record.body.clone(),
        }
    }
}

/// The first record's key, and the different keys that apps gave to the others: what a person
/// would search for. Ids that nobody gave are not among them.
fn keys(records: &[(&Record, &Stamp)]) -> String {
    let mut keys: Vec<&str> =
        records.first().map(|(record, _)| record.message_key()).into_iter().collect();
    let mut bytes = keys.iter().map(|key| key.len()).sum::<usize>();
    let given = records.iter().filter_map(|(record, _)| record.key.as_ref());
    for key in given.map(crate::record::MessageKey::as_str) {
        if bytes + 1 + key.len() <= KEYS_MAX && !keys.contains(&key) {
            bytes += 1 + key.len();
            keys.push(key);
        }
    }
    keys.join(" ")
}
