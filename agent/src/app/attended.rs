//! What the service manager hears of the agent: which of its parts turn, and what it does.

use std::sync::Arc;
use std::time::Duration;

use spillway_protocol::local::status::Link;
use tokio::runtime::Handle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Agent;
use super::report::Report;
use crate::queue::Queue;
use crate::service::{Attendance, Look, Manager, Part, Workers};

/// How often it is said anew what the agent does.
const DOING_EVERY: Duration = Duration::from_secs(5);

impl Agent {
    /// Has `manager` hear that this agent is ready, and from then on how it does, until what is
    /// returned is dropped.
    pub fn attended(&self, manager: &Manager, workers: &Workers) -> Arc<Attendance> {
        let lower = &self.lower;
        self.reloader.tell(manager);
        manager.ready(&lower.report.doing());
        let look = look(lower.queue.clone(), lower.intake_ended.clone(), lower.stop.clone());
        let attendance = Attendance::begin(manager, workers, Handle::current(), look);
        let attendance = Arc::new(attendance);
        if manager.listens() {
            let telling = tell(attendance.clone(), lower.report.clone(), lower.stop.clone());
            // It ends with the agent.
            drop(tokio::spawn(telling));
        }
        attendance
    }
}

/// The agent's parts. Nothing in it waits for a disk or a lock that is held over one.
fn look(queue: Queue, intake_ended: CancellationToken, stop: CancellationToken) -> Look {
    Box::new(move || {
        let turns = queue.turns();
        let synced = turns.iter().map(|turn| turn.synced).sum();
        let ended = intake_ended.is_cancelled() && !stop.is_cancelled();
        let intake = Part { name: "taking records in".to_owned(), busy: ended, rounds: 0 };
        let parts = turns.into_iter().map(|turn| {
            let (name, busy, rounds) = (turn.part, turn.busy, turn.rounds);
            Part { name, busy, rounds }
        });
        (parts.chain([intake]).collect(), synced)
    })
}

async fn tell(attendance: Arc<Attendance>, report: Arc<Report>, stop: CancellationToken) {
    loop {
        attendance.doing(report.doing());
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep(DOING_EVERY) => {}
        }
    }
}

/// One line for `systemctl status`.
pub(super) fn doing(waiting: u64, link: &Link) -> String {
    let state = link.state.word();
    let link =
        if link.reason.is_empty() { state.to_owned() } else { format!("{state}: {}", link.reason) };
    format!("records are taken in; {waiting} wait; link {link}")
}
