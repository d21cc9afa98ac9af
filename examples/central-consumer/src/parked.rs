//! Messages that cannot be stored, put aside whole with the reason, so that the others go on.

use central_store::seen::Sightings;
use central_store::{Fault, Sighting, Tries};
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Value};
use spillway_protocol::consumer::Delivery;

use crate::batch::{Writer, commit, sighting};

const INSERT: &str = "INSERT INTO parked_messages (topic, consumer_group, record_id, message_id, \
    tag, message_keys, order_key, reason, deliveries, gateway, stream, lane, seq, flags, \
    accepted_ms, stored_ms, properties, body) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
    ON DUPLICATE KEY UPDATE deliveries = VALUES(deliveries), reason = VALUES(reason)";

/// Longest texts, in characters, as the table has them.
const NAME: usize = 255;
const KEYS: usize = 1024;
const REASON: usize = 4000;

/// Parks a message. It counts as arrived: the centre has it, and the gateway need not send it again.
///
/// # Errors
/// The database is away.
pub(crate) async fn park(
    writer: &Writer,
    group: &str,
    delivery: &Delivery,
    reason: &str,
) -> Result<(), Fault> {
    let sightings: Vec<Sighting> = sighting(delivery).into_iter().collect();
    let seen = Sightings::prepare(&writer.database, &writer.lanes, &sightings).await?;
    let values = values(group, delivery, reason);
    let mut tries = Tries::default();
    while let Err(fault) = insert(writer, values.clone(), &seen).await {
        tries.again(fault)?;
    }
    tracing::warn!(id = delivery.id(), topic = delivery.topic, reason, "parked");
    Ok(())
}

async fn insert(writer: &Writer, values: Vec<Value>, seen: &Sightings) -> Result<(), Fault> {
    let mut transaction = writer.database.begin().await?;
    transaction.exec_drop(INSERT, Params::Positional(values)).await?;
    seen.write(&mut transaction).await?;
    commit(transaction).await
}

fn values(group: &str, delivery: &Delivery, reason: &str) -> Vec<Value> {
    let name = |text: &str| Value::from(cut(text, NAME));
    let optional = |text: Option<&str>, most| text.map(|text| cut(text, most)).into();
    let properties = serde_json::to_string(&delivery.properties).unwrap_or_default();
    let origin = delivery.origin.as_ref();
    vec![
        name(&delivery.topic),
        name(group),
        name(delivery.id()),
        name(&delivery.message_id),
        optional(delivery.tag.as_deref(), NAME),
        optional(delivery.keys.as_deref(), KEYS),
        optional(delivery.order_key.as_deref(), NAME),
        cut(reason, REASON).into(),
        delivery.attempt.into(),
        origin.map(|origin| cut(&origin.gateway, NAME)).into(),
        origin.map(|origin| origin.stream.to_string()).into(),
        origin.map(|origin| cut(&origin.lane, NAME)).into(),
        origin.map(|origin| origin.seq).into(),
        origin.map(|origin| cut(&origin.flags.join(","), NAME).to_owned()).into(),
        origin.map(|origin| origin.accepted_ms).into(),
        delivery.stored_ms.into(),
        properties.into(),
        delivery.body.to_vec().into(),
    ]
}

/// The table is strict, and a message has to be parked whatever is in it.
fn cut(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!((cut("äöü", 2), cut("äö", 2), cut("", 2)), ("äö", "äö", ""));
    }
}
