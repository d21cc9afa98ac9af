//! Which of what the agent said to be delivered is known to a state that is durable: then it stays
//! delivered. A lane's states are saved one after the other, each as the lane is once the one before
//! is durable; so a state knows all that was said before that.

use std::collections::HashMap;

use super::ledger::Ledger;
use super::log::Event;

/// The lanes' states, as they are written.
#[derive(Debug, Default)]
pub(super) struct Saves {
    /// By inode.
    slots: HashMap<u64, Slot>,
    /// By lane, what was said before its last state was durable.
    said: HashMap<String, u64>,
}

#[derive(Debug)]
struct Slot {
    lane: String,
    /// What the state that was written last knows at least.
    written: Option<u64>,
}

impl Saves {
    /// Looks at the next event; `ledger` knows all marks before it.
    pub(super) fn note(&mut self, event: &Event, ledger: &mut Ledger) {
        match event {
            // What the one before said and had not saved is not known to this one.
            Event::Start => {
                self.said.clear();
                ledger.forget_told();
            }
            Event::Create { inode, path } => {
                let slot = lane_of(path).map(|lane| (*inode, Slot { lane, written: None }));
                self.slots.extend(slot);
            }
            Event::Write { inode, .. } => {
                if let Some(slot) = self.slots.get_mut(inode) {
                    slot.written = self.said.get(&slot.lane).copied();
                }
            }
            Event::SyncEnd { inode, .. } => {
                let Some(slot) = self.slots.get_mut(inode) else { return };
                if let Some(known) = slot.written.take() {
                    ledger.settle(&slot.lane, known);
                }
                self.said.insert(slot.lane.clone(), ledger.told(&slot.lane));
            }
            _ => {}
        }
    }
}

/// The lane of a state's path.
fn lane_of(path: &str) -> Option<String> {
    let (lane, slot) = path.strip_prefix("data/lanes/")?.split_once('/')?;
    slot.starts_with("state-").then(|| lane.to_owned())
}
