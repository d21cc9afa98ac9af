//! The queue's threads: one a lane that stores, and the keeper.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use super::commit::Committer;
use super::inbox::Inbox;

/// Exit code after a panic (EX_SOFTWARE of sysexits.h).
const PANICKED: i32 = 70;

/// See the module.
pub(super) struct Threads {
    /// The keeper ends when it is dropped.
    keeper: Sender<()>,
    running: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts one for each committer, with its inbox, and one that keeps until it is told to stop.
    pub(super) fn start(
        committers: Vec<Committer>,
        keep: impl FnOnce(&Receiver<()>) + Send + 'static,
    ) -> io::Result<(Self, Vec<Arc<Inbox>>)> {
        let (mut running, mut inboxes) = (Vec::new(), Vec::new());
        for committer in committers {
            let inbox = Arc::new(Inbox::default());
            inboxes.push(inbox.clone());
            running.push(spawn("commit", move || watched(|| committer.run(&inbox))));
        }
        let (keeper, stop) = channel();
        running.push(spawn("keeper", move || keep(&stop)));
        let running = running.into_iter().collect::<io::Result<_>>()?;
        Ok((Self { keeper, running }, inboxes))
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
