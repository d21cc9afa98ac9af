//! One topic.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::watch;

use super::Stored;
use super::group::Group;
use super::journal::{Entry, Journal};

/// Messages, groups and file of one topic.
pub(super) struct Topic {
    /// Messages in order; the first one's offset is `base`.
    pub(super) messages: VecDeque<Arc<Stored>>,
    pub(super) base: u64,
    pub(super) groups: HashMap<String, Group>,
    pub(super) journal: Option<Journal>,
    pub(super) changed: watch::Sender<()>,
}

impl Topic {
    pub(super) fn new(journal: Option<Journal>) -> Self {
        Self {
            messages: VecDeque::new(),
            base: 0,
            groups: HashMap::new(),
            journal,
            changed: watch::Sender::new(()),
        }
    }

    pub(super) fn replay(
        journal: Journal,
        entries: Vec<Entry<Stored>>,
        keep_messages: usize,
    ) -> Self {
        let mut topic = Self::new(Some(journal));
        for entry in entries {
            match entry {
                Entry::Publish(stored) => topic.push(Arc::new(stored), keep_messages),
                Entry::Ack { group, offset } => {
                    topic.groups.entry(group).or_default().settle(offset);
                }
            }
        }
        topic
    }

    pub(super) fn end(&self) -> u64 {
        self.base + self.messages.len() as u64
    }

    pub(super) fn push(&mut self, stored: Arc<Stored>, keep_messages: usize) {
        self.messages.push_back(stored);
        while self.messages.len() > keep_messages {
            self.messages.pop_front();
            self.base += 1;
        }
    }
}
