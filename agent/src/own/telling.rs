//! Tells the far side what it will never get: see [`spillway_protocol::tombstone`].
//!
//! The queue keeps what was given up until it is told; told is what lies in the agent's own lane.
//! A crash between the two tells it twice.

use std::time::Duration;

use spillway_protocol::message::Flags;
use spillway_protocol::record::Topic;
use spillway_protocol::tombstone::{Range, Reason, Tombstones};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::post::{Letter, Post};
use crate::queue::{Fate, GivenUp};

/// Least time between two looks, so that what is given up in a row is told as one range.
const EVERY: Duration = Duration::from_secs(5);
/// Most ranges of one message: below 128 KiB.
const RANGES_MAX: usize = 500;

/// Tells until stopped.
pub(super) async fn run(post: Post, topic: Topic, stop: CancellationToken) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => tell(&post, &topic, &stop).await,
        }
    }
}

/// Tells everything that is untold.
pub(super) async fn tell(post: &Post, topic: &Topic, stop: &CancellationToken) {
    let asked = post.clone();
    let untold = spawn_blocking(move || asked.untold()).await.unwrap_or_default();
    for some in untold.chunks(RANGES_MAX) {
        let told = Tombstones {
            gateway: post.gateway().to_owned(),
            ranges: some.iter().map(range).collect(),
        };
        let body = match told.to_json() {
            Ok(body) => body,
            Err(error) => return tracing::error!(%error, "tombstones could not be written"),
        };
        let letter =
            Letter { id: None, topic: topic.clone(), tag: None, flags: Flags::TOMBSTONE, body };
        if post.send_surely(&letter, stop).await.is_none() {
            return;
        }
        let (post, some) = (post.clone(), some.to_vec());
        // Should it fail, they are told again.
        drop(spawn_blocking(move || post.told(&some)).await);
    }
}

fn range(given_up: &GivenUp) -> Range {
    let GivenUp { lane, stream, from, to, fate, first_ms, last_ms } = given_up;
    Range {
        lane: lane.to_string(),
        stream: stream.to_string(),
        from: *from,
        to: *to,
        reason: reason(*fate),
        count: given_up.count(),
        kept_every: match fate {
            Fate::Thinned(every) => Some(*every),
            _ => None,
        },
        first_ms: *first_ms,
        last_ms: *last_ms,
    }
}

fn reason(fate: Fate) -> Reason {
    match fate {
        Fate::Dead => Reason::Dead,
        Fate::Purged => Reason::Purged,
        Fate::Replayed => Reason::Replayed,
        Fate::Damaged => Reason::Damaged,
        Fate::Dropped => Reason::Dropped,
        Fate::Thinned(_) => Reason::Thinned,
        Fate::Expired => Reason::Expired,
    }
}
