//! Messages that a broker's sudden end has torn.
//!
//! `RocketMQ`'s checksum covers a message's body, not its properties. If the broker is killed while
//! it writes one, the message may be there after its restart with properties that end in NUL or are
//! missing (seen with 5.5.0). Its id and number cannot be trusted, and nobody was told that it is
//! stored: the agent sends the record again, whole.

use std::collections::BTreeMap;

use super::{Delivery, Fault};

const NUL: char = '\0';

/// Why `delivery` is torn, if it is. `own` are the agent's properties of it.
pub(super) fn fault(delivery: &Delivery, own: &BTreeMap<String, String>) -> Option<Fault> {
    let named = [&delivery.keys, &delivery.tag, &delivery.order_key];
    let named = named.into_iter().flatten().chain([&delivery.message_id]);
    let pairs = own.iter().chain(&delivery.properties).flat_map(|(name, value)| [name, value]);
    let ends_in_nul = named.chain(pairs).any(|text| text.contains(NUL));
    let part = |fault: &Fault| matches!(fault, Fault::Origin { value: None, .. });
    let says = match delivery.faults.iter().find(|fault| part(fault)) {
        Some(missing) => missing.to_string(),
        None if ends_in_nul => "one of them has a NUL".to_owned(),
        None => return None,
    };
    Some(Fault::Unreadable(format!("its properties were torn at the broker: {says}")))
}
