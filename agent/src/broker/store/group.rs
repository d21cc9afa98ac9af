//! Where a consumer group stands in a topic: what is settled, what is out, what comes next.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use spillway_protocol::rocketmq::http::consume::Consumed;
use spillway_protocol::rocketmq::http::digest::body_md5;
use tokio::time::Instant;

use super::{Ask, Now, Received, Stored};

/// A message that was handed out so often in vain is given up.
const TIMES_MAX: u64 = 288;

/// The state of one group.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Everything before this offset is settled.
    next: u64,
    /// Settled beyond it.
    settled: BTreeSet<u64>,
    /// Handed out and not acknowledged, by offset.
    out: BTreeMap<u64, Delivery>,
}

#[derive(Debug, Clone, Copy)]
struct Delivery {
    number: u64,
    times: u64,
    first_ms: u64,
    until: Instant,
}

/// A receipt handle: the message's place, and the number of this one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle {
    offset: u64,
    number: u64,
}

impl Handle {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (offset, number) = text.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        Some(Self { offset: hex(offset)?, number: hex(number)? })
    }
}

impl std::fmt::Display for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{:x}", self.offset, self.number)
    }
}

impl Group {
    pub(super) fn starting_at(next: u64) -> Self {
        Self { next, ..Self::default() }
    }

    /// Hands out up to `ask.count` messages. In order means: what is out blocks its sharding key
    /// until it is acknowledged or comes back.
    pub(super) fn receive(
        &mut self,
        messages: &VecDeque<Arc<Stored>>,
        base: u64,
        ask: &Ask<'_>,
        now: Now,
        counter: &mut u64,
    ) -> Received {
        self.forget_below(base);
        let mut received = Received::default();
        let mut blocked: HashSet<&str> = HashSet::new();
        let first = usize::try_from(self.next - base).unwrap_or(usize::MAX);
        for stored in messages.iter().skip(first) {
            if received.messages.len() == ask.count {
                break;
            }
            let key = stored.order_key.as_deref().unwrap_or_default();
            if self.settled.contains(&stored.offset) || (ask.orderly && blocked.contains(key)) {
                continue;
            }
            if !wanted(stored, ask.tags) || self.given_up(stored.offset, now) {
                self.settle(stored.offset);
                continue;
            }
            if let Some(due) = self.out_of_sight_until(stored, now) {
                blocked.insert(key);
                received.next_due = Some(received.next_due.map_or(due, |next| next.min(due)));
                continue;
            }
            *counter += 1;
            received.messages.push(self.hand_out(stored, *counter, ask.invisible, now));
        }
        received
    }

    /// Acknowledges one delivery and says which message it was; `None` if the handle is of no
    /// use any more.
    pub(super) fn ack(&mut self, handle: Handle, now: Instant) -> Option<u64> {
        let delivery = self.out.get(&handle.offset)?;
        if delivery.number != handle.number || delivery.until <= now {
            return None;
        }
        self.settle(handle.offset);
        Some(handle.offset)
    }

    /// The message at `offset` is done with.
    pub(super) fn settle(&mut self, offset: u64) {
        self.out.remove(&offset);
        if offset >= self.next {
            self.settled.insert(offset);
        }
        while self.settled.remove(&self.next) {
            self.next += 1;
        }
    }

    fn forget_below(&mut self, base: u64) {
        if self.next < base {
            self.next = base;
            self.settled = self.settled.split_off(&base);
            self.out = self.out.split_off(&base);
            while self.settled.remove(&self.next) {
                self.next += 1;
            }
        }
    }

    fn given_up(&self, offset: u64, now: Now) -> bool {
        let delivery = self.out.get(&offset);
        delivery.is_some_and(|d| d.times >= TIMES_MAX && d.until <= now.instant)
    }

    fn out_of_sight_until(&self, stored: &Stored, now: Now) -> Option<Instant> {
        if let Some(delivery) = self.out.get(&stored.offset) {
            return Some(delivery.until).filter(|until| *until > now.instant);
        }
        let wait_ms = stored.start_deliver_ms?.checked_sub(now.wall_ms).filter(|ms| *ms > 0)?;
        Some(now.instant + Duration::from_millis(wait_ms))
    }

    fn hand_out(
        &mut self,
        stored: &Stored,
        number: u64,
        invisible: Duration,
        now: Now,
    ) -> Consumed {
        let before = self.out.get(&stored.offset);
        let delivery = Delivery {
            number,
            times: before.map_or(0, |delivery| delivery.times) + 1,
            first_ms: before.map_or(now.wall_ms, |delivery| delivery.first_ms),
            until: now.instant + invisible,
        };
        self.out.insert(stored.offset, delivery);
        let invisible_ms = u64::try_from(invisible.as_millis()).unwrap_or(u64::MAX);
        Consumed {
            message_id: stored.message_id.clone(),
            body_md5: body_md5(stored.body.as_bytes()),
            body: stored.body.clone(),
            receipt_handle: Handle { offset: stored.offset, number }.to_string(),
            publish_ms: stored.publish_ms,
            first_consume_ms: delivery.first_ms,
            next_consume_ms: now.wall_ms.saturating_add(invisible_ms),
            consumed_times: delivery.times,
            tag: stored.tag.clone(),
            properties: stored.properties.clone(),
        }
    }
}

fn wanted(stored: &Stored, tags: Option<&str>) -> bool {
    tags.is_none_or(|tags| tags.split("||").any(|tag| stored.tag.as_deref() == Some(tag.trim())))
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
