//! The queue's threads: one a lane that stores, and the keeper.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use spillway_protocol::record::LaneName;

use super::commit::Committer;
use super::inbox::Inbox;
use super::pulse::{Pulse, Rounds};

/// Exit code after a panic (EX_SOFTWARE of sysexits.h).
const PANICKED: i32 = 70;

/// See the module.
pub(super) struct Threads {
    /// The keeper ends when it is dropped.
    keeper: Sender<()>,
    running: Vec<JoinHandle<()>>,
    pulses: Pulses,
}

/// The rounds of all of them.
#[derive(Default)]
struct Pulses {
    /// Of each lane, with its name and what it has to do.
    lanes: Vec<(LaneName, Arc<Inbox>, Arc<Pulse>)>,
    keeper: Arc<Pulse>,
}

impl Threads {
    /// Starts one for each committer, with its inbox, and one that keeps until it is told to stop.
    pub(super) fn start(
        committers: Vec<Committer>,
        keep: impl FnOnce(&Receiver<()>, &Pulse) + Send + 'static,
    ) -> io::Result<(Self, Vec<Arc<Inbox>>)> {
        let (mut running, mut inboxes) = (Vec::new(), Vec::new());
        let mut pulses = Pulses::default();
        for committer in committers {
            let inbox = Arc::new(Inbox::default());
            inboxes.push(inbox.clone());
            let pulse = Arc::new(Pulse::default());
            pulses.lanes.push((committer.lane.name.clone(), inbox.clone(), pulse.clone()));
            running.push(spawn("commit", move || watched(|| committer.run(&inbox, &pulse))));
        }
        let (keeper, stop) = channel();
        let pulse = pulses.keeper.clone();
        running.push(spawn("keeper", move || keep(&stop, &pulse)));
        let running = running.into_iter().collect::<io::Result<_>>()?;
        Ok((Self { keeper, running, pulses }, inboxes))
    }

    /// How far each has come.
    pub(super) fn turns(&self) -> Vec<Rounds> {
        let lanes = self
            .pulses
            .lanes
            .iter()
            .map(|(lane, inbox, pulse)| pulse.turn(format!("storing {lane}"), inbox.len() > 0));
        let keeper = self.pulses.keeper.turn("saving the state".to_owned(), false);
        lanes.chain([keeper]).collect()
    }

    /// For how long lanes that are storing have been at what they took last.
    pub(super) fn storing(&self) -> impl Iterator<Item = (&LaneName, Duration)> {
        let lanes = self.pulses.lanes.iter();
        lanes.filter_map(|(lane, _, pulse)| Some((lane, pulse.under_way()?)))
    }

    /// For how long the keeper has been at one step.
    pub(super) fn keeping(&self) -> Option<Duration> {
        self.pulses.keeper.under_way()
    }

    /// Waits until all have ended; those of closed inboxes do.
    pub(super) fn join(self) {
        drop(self.keeper);
        for thread in self.running {
            if thread.join().is_err() {
                tracing::error!("a thread of the queue panicked");
            }
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// A lane without its committer could only refuse for ever, so a panic in one ends the process:
/// what was acknowledged is safe, and the service manager starts it anew.
fn watched(work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        tracing::error!("the thread that stores records panicked; the agent ends");
        std::process::exit(PANICKED);
    }
}
