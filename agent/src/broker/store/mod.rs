//! Topics, their messages and groups: in memory, and in a folder where one is given.

mod draft;
mod group;
mod journal;
mod stored;
mod topic;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use spillway_protocol::rocketmq::http::ack::AckFailure;
use spillway_protocol::rocketmq::http::consume::Consumed;
use spillway_protocol::rocketmq::http::fault::Code;
use tokio::sync::watch;
use tokio::time::Instant;

use super::BrokerOptions;
pub(super) use draft::Draft;
use group::{Group, Handle};
use journal::{Entry, Journal, Loaded};
pub use stored::Stored;
use topic::Topic;

/// The broker's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder cannot be read or written.
    #[error("{}: {source}; choose another --dir or repair its permissions", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A line other than the last is damaged.
    #[error("{}, line {line}: {reason}; move the file away to start without its messages", path.display())]
    Damaged {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// A topic of an instance; an empty instance is none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TopicId {
    pub(super) instance: String,
    pub(super) topic: String,
}

impl TopicId {
    pub(super) fn new(instance: Option<&str>, topic: &str) -> Self {
        Self { instance: instance.unwrap_or_default().to_owned(), topic: topic.to_owned() }
    }
}

/// What a consumer asks for.
pub(super) struct Ask<'a> {
    pub(super) group: &'a str,
    /// Tags joined by `||`; all without.
    pub(super) tags: Option<&'a str>,
    pub(super) count: usize,
    pub(super) orderly: bool,
    pub(super) invisible: Duration,
}

/// One moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) wall_ms: u64,
}

/// What a consumer gets.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) messages: Vec<Consumed>,
    /// When something that is out of sight now comes back.
    pub(super) next_due: Option<Instant>,
}

/// All topics.
pub(super) struct Store {
    state: Mutex<State>,
    dir: Option<PathBuf>,
    keep_messages: usize,
}

struct State {
    topics: HashMap<TopicId, Topic>,
    /// Of message ids and receipt handles; starts at the clock, so that a restart repeats none.
    counter: u64,
}

impl Store {
    pub(super) fn open(options: &BrokerOptions) -> Result<Self, StoreError> {
        let mut topics = HashMap::new();
        let keep_messages = options.keep_messages.unwrap_or(usize::MAX);
        for loaded in journal::load(options.dir.as_deref())? {
            let Loaded { id, journal, entries } = loaded;
            topics.insert(id, Topic::replay(journal, entries, keep_messages));
        }
        let counter = options.clock.now_ms().saturating_mul(1_000_000);
        let state = Mutex::new(State { topics, counter });
        Ok(Self { state, dir: options.dir.clone(), keep_messages })
    }

    /// Stores a message and says its id.
    pub(super) fn publish(
        &self,
        id: &TopicId,
        draft: Draft,
        now_ms: u64,
    ) -> std::io::Result<String> {
        let mut state = self.state();
        let message_id = state.next_message_id();
        let topic = self.topic(&mut state, id)?;
        let offset = topic.end();
        let stored = Arc::new(draft.stored(offset, message_id.clone(), now_ms));
        if let Some(journal) = &mut topic.journal {
            journal.append(&Entry::Publish(&stored))?;
        }
        topic.push(stored, self.keep_messages);
        topic.changed.send_replace(());
        Ok(message_id)
    }

    /// An id that no message has.
    pub(super) fn next_message_id(&self) -> String {
        self.state().next_message_id()
    }

    /// Hands messages to a group, which begins at the oldest message when it is new.
    pub(super) fn receive(&self, id: &TopicId, ask: &Ask<'_>, now: Now) -> Received {
        let mut state = self.state();
        let State { topics, counter } = &mut *state;
        let Some(topic) = topics.get_mut(id) else {
            return Received::default();
        };
        if !topic.groups.contains_key(ask.group) {
            topic.groups.insert(ask.group.to_owned(), Group::starting_at(topic.base));
        }
        match topic.groups.get_mut(ask.group) {
            Some(group) => group.receive(&topic.messages, topic.base, ask, now, counter),
            None => Received::default(),
        }
    }

    /// Told of every publish from now on.
    pub(super) fn watch(&self, id: &TopicId) -> watch::Receiver<()> {
        let mut state = self.state();
        let topic = state.topics.entry(id.clone()).or_insert_with(|| Topic::new(None));
        topic.changed.subscribe()
    }

    /// How many wait for a topic's next message.
    #[cfg(test)]
    pub(super) fn watchers(&self, id: &TopicId) -> usize {
        let state = self.state();
        state.topics.get(id).map_or(0, |topic| topic.changed.receiver_count())
    }

    /// Acknowledges handles; those that fail are told.
    pub(super) fn ack(
        &self,
        id: &TopicId,
        group: &str,
        handles: &[String],
        now: Instant,
    ) -> std::io::Result<Vec<AckFailure>> {
        let mut state = self.state();
        let mut failures = Vec::new();
        for text in handles {
            let offset = state.topics.get_mut(id).and_then(|topic| {
                let group = topic.groups.get_mut(group)?;
                group.ack(Handle::parse(text)?, now)
            });
            match offset {
                Some(offset) => self.note_ack(&mut state, id, group, offset)?,
                None => failures.push(AckFailure {
                    code: Code::ReceiptHandleError.as_str().to_owned(),
                    message: "the handle is expired, used up or not this group's".to_owned(),
                    handle: text.clone(),
                }),
            }
        }
        if let Some(topic) = state.topics.get(id) {
            // The next of an order key may go now.
            topic.changed.send_replace(());
        }
        Ok(failures)
    }

    fn note_ack(
        &self,
        state: &mut State,
        id: &TopicId,
        group: &str,
        offset: u64,
    ) -> std::io::Result<()> {
        match &mut self.topic(state, id)?.journal {
            Some(journal) => journal.append(&Entry::Ack { group: group.to_owned(), offset }),
            None => Ok(()),
        }
    }

    /// The messages of a topic.
    pub(super) fn list(&self, id: &TopicId) -> Vec<Arc<Stored>> {
        let state = self.state();
        let topic = state.topics.get(id);
        topic.map_or_else(Vec::new, |topic| topic.messages.iter().cloned().collect())
    }

    /// All topics with the number of their messages.
    pub(super) fn topics(&self) -> Vec<Value> {
        let state = self.state();
        let mut list: Vec<_> = state.topics.iter().collect();
        list.sort_by_key(|(id, _)| *id);
        let line = |(id, topic): (&TopicId, &Topic)| json!({"instance": id.instance, "topic": id.topic, "messages": topic.messages.len()});
        list.into_iter().map(line).collect()
    }

    /// The topic, which comes into being here, and its file where there is a folder.
    fn topic<'a>(&self, state: &'a mut State, id: &TopicId) -> std::io::Result<&'a mut Topic> {
        let topic = state.topics.entry(id.clone()).or_insert_with(|| Topic::new(None));
        if let (None, Some(dir)) = (&topic.journal, &self.dir) {
            topic.journal = Some(Journal::create(dir, id)?);
        }
        Ok(topic)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_message_id(&mut self) -> String {
        self.counter += 1;
        format!("{:032X}", self.counter)
    }
}
