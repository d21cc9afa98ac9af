//! A drain goes on with other settings: it is halted, and begun anew with what it knows.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::handle::Fresh;
use super::source::Source;
use super::{DrainHandle, Options};
use crate::upstream::Upstream;

/// Where the far end is, compared with before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Where it was, and everything on the way as it was.
    Same,
    /// Where it was, by another key, proxy or certificate: what was refused may pass.
    Repaired,
    /// Elsewhere, or nowhere: the link begins as at a start, in this gateway's slot.
    Other,
}

impl DrainHandle {
    /// Sends nothing new, gives what is in flight `grace` to finish, and waits for
    /// [`DrainHandle::go_on`]; all leases have ended when this returns. What it says of itself is
    /// as it was then.
    pub async fn halt(&self, grace: Duration) {
        self.run().halt(grace).await;
    }

    /// Goes on after [`DrainHandle::halt`]. Who holds this handle notices nothing: link, pace, holds
    /// and counts go on too, as far as they are of the same far end
    /// and lanes. Of `options`, what the pace learned and what was counted today is what it knows itself.
    pub fn go_on<S: Source>(
        &self,
        mut options: Options,
        source: Arc<S>,
        (upstream, way): (Option<Arc<dyn Upstream>>, Way),
        seed: u64,
    ) {
        let former = self.run();
        {
            let state = former.shared.look(Instant::now());
            options.memory = state.pacer.memory();
            options.budget.stored = state.budget.stored();
        }
        let fresh = Fresh {
            seed,
            clock: self.clock.clone(),
            end: self.end.clone(),
            connection: former.shared.connection.clone(),
        };
        let run = fresh.run(options, source, upstream, Some((former.shared.as_ref(), way)));
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(run);
    }
}
