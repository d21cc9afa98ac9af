//! What messages that were given back to the broker have been charged, until they come again.

use std::collections::{HashMap, VecDeque};

/// More than this many messages that fail and never come back are somebody else's by now.
const KEPT_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Charges {
    by_message: HashMap<String, u32>,
    /// Oldest first; some are gone from the map already.
    order: VecDeque<String>,
}

impl Charges {
    /// Remembers the charges of a message that is given back.
    pub(super) fn keep(&mut self, message_id: &str, charges: u32) {
        if charges == 0 {
            return;
        }
        if self.by_message.insert(message_id.to_owned(), charges).is_none() {
            self.order.push_back(message_id.to_owned());
        }
        while self.order.len() > KEPT_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.by_message.remove(&oldest);
            }
        }
    }

    /// The charges of a message that has come again.
    pub(super) fn of(&self, message_id: &str) -> u32 {
        self.by_message.get(message_id).copied().unwrap_or(0)
    }

    /// The message is settled.
    pub(super) fn forget(&mut self, message_id: &str) {
        self.by_message.remove(message_id);
        // What is left in the order of keeping goes in its turn.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_are_kept_until_the_message_is_settled_and_never_grow_without_bound() {
        let mut charges = Charges::default();
        charges.keep("a", 2);
        charges.keep("b", 0);
        assert_eq!((charges.of("a"), charges.of("b")), (2, 0));
        charges.forget("a");
        assert_eq!(charges.of("a"), 0);
        for number in 0..=KEPT_MAX {
            charges.keep(&number.to_string(), 1);
        }
        assert_eq!((charges.of("0"), charges.of("1")), (0, 1));
        assert!(charges.by_message.len() <= KEPT_MAX);
    }
}
