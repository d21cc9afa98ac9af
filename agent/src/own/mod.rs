//! The agent's own records, in the lane `_agent` of the queue, outside the accounts of users:
//!
//! - [`report`]: how this gateway is (`[report]`)
//! - `telling`: which numbers will never arrive, and why (`[report]`)
//! - `answers`: what the centre asked for and cannot be sent again (`[control]`)
//! - [`presence`]: when its link was there (`[presence]`); `guests`, `stay`: when local clients were;
//!   `session`: what of that outlives a crash
//!
//! They go the way of every record: synced, numbered, drained, kept while the link is away. `post`
//! is their intake.

mod answers;
mod guests;
mod post;
pub mod presence;
pub mod report;
mod session;
mod stay;
mod telling;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use answers::Answers;
pub use guests::Guests;
pub use post::Post;
pub use presence::Presence;
pub use report::Reporting;

/// Pause before something that the disk refused is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// What writes the agent's own records, at work.
pub struct Own {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Own {
    /// Starts what is configured; reports bring the tombstones with them. Must be called within a
    /// tokio runtime.
    pub fn start(
        report: Option<Reporting>,
        presence: Option<Presence>,
        guests: Option<Guests>,
    ) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = Vec::new();
        if let Some(report) = report {
            let (post, topic) = (report.post.clone(), report.topic.clone());
            tasks.push(tokio::spawn(telling::run(post, topic, stop.clone())));
            tasks.push(tokio::spawn(report.run(stop.clone())));
        }
        if let Some(presence) = presence {
            tasks.push(tokio::spawn(presence.run(stop.clone())));
        }
        if let Some(guests) = guests {
            tasks.push(tokio::spawn(guests.run(stop.clone())));
        }
        Self { stop, tasks }
    }

    /// Says goodbye, and lets that leave if the link is up. Queue and drain must still run.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a writer of the agent's own records had ended before");
            }
        }
    }
}
