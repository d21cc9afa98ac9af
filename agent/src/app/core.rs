//! The agent's configuration in force, and all that goes by it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use futures::future::OptionFuture;
use spillway_protocol::record::LaneName;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::accepted::{AcceptedFile, Stored, Trial};
use super::certificates::Certificates;
use super::front::FrontDoor;
use super::listen_http::HttpDoor;
use super::lower::Lower;
use super::standing::Force;
use super::upper::Upper;
use super::written::Written;
use crate::centre::Centre;
use crate::config::{Config, Kept};
use crate::own::Own;

/// See the module.
pub(super) struct Core {
    pub(super) lower: Arc<Lower>,
    pub(super) upper: Upper,
    /// The configuration's file.
    pub(super) file: String,
    pub(super) config: Config,
    /// What the files hold that it names.
    pub(super) certificates: Certificates,
    /// What is kept of it.
    pub(super) kept: Kept,
    pub(super) accepted: AcceptedFile,
    /// What of the last one that was accepted lies in the data folder, or is to.
    pub(super) stored: Option<Stored>,
    /// Whether it does.
    pub(super) written: Written,
    pub(super) trial: Option<OnTrial>,
    /// What the service manager passed for `[listen.http]`, whether it is configured now or not.
    pub(super) handed_http: Option<OwnedFd>,
    /// The queue cannot be opened any more.
    pub(super) lost: CancellationToken,
}

/// A configuration that is in force until it is kept.
pub(super) struct OnTrial {
    /// What comes back.
    pub(super) before: Before,
    /// Of each lane that was open when it began.
    pub(super) delivered_before: BTreeMap<LaneName, u64>,
    /// Ends who watches it.
    pub(super) over: CancellationToken,
    pub(super) mark: Trial,
    /// The former could not come back: when that is tried next.
    pub(super) again_at: Option<Instant>,
}

/// What comes back where a trial is not kept.
#[derive(Debug, Clone)]
pub(super) struct Before {
    pub(super) config: Config,
    pub(super) kept: Kept,
    /// Why not all of it can be used.
    pub(super) faults: Vec<String>,
}

impl Core {
    /// Why there is no way to RocketMQ, where there is none though the file may have one.
    pub(super) fn no_upstream(&self, config: &Config) -> Option<String> {
        if config.upstream.is_some() {
            return None;
        }
        let standing = self.lower.report.standing();
        reason(&standing.force, &standing.faults)
    }

    /// Writes down what would be in force after a start without a file.
    ///
    /// # Errors
    /// See [`Core::store`].
    pub(super) async fn save(&mut self, refused: Option<String>) -> io::Result<()> {
        let mut stored = self.to_store(None);
        stored.trial = self.trial.as_ref().map(|trial| trial.mark.clone());
        stored.refused = refused;
        self.store(stored).await
    }

    /// Writes down which lanes `coming` has, before one of them takes a record: a start without its file
    /// knows how they are sent. With a `mark` that it is on trial, before it can do harm: a start that
    /// finds its file goes on with the trial.
    ///
    /// # Errors
    /// See [`Core::store`]; a `mark` is not tried again.
    pub(super) async fn announce(
        &mut self,
        coming: (&Config, &Kept),
        mark: Option<Trial>,
    ) -> io::Result<()> {
        let mut stored = self.to_store(Some(coming));
        if mark.is_some() {
            stored.trial = mark;
            self.stored = Some(stored);
            return self.write_down().await;
        }
        stored.trial = self.trial.as_ref().map(|trial| trial.mark.clone());
        self.store(stored).await
    }

    /// Takes an announcement back: `before` is what was written down then.
    pub(super) async fn withdraw(&mut self, before: Option<Stored>) {
        self.stored = before;
        let done = self.write_down().await;
        if done.is_err() {
            self.written.tell(self.accepted.path(), &done);
        }
    }

    /// What comes back if the configuration on trial, or the one that is `coming`, does not stay. The
    /// lanes of both are known.
    fn to_store(&self, coming: Option<(&Config, &Kept)>) -> Stored {
        let lower = &self.lower;
        let force = lower.report.standing().force.clone();
        let makeshift = matches!(force, Force::Salvaged | Force::Nothing);
        let mut kept = self.trial.as_ref().map_or(&self.kept, |trial| &trial.before.kept).clone();
        // What was accepted comes back once it can be used again.
        let better = self.stored.as_ref().filter(|stored| makeshift && stored.accepted);
        better.iter().for_each(|stored| kept.clone_from(&stored.kept));
        let accepted = !makeshift || better.is_some();
        let former = self.stored.as_ref().map(|stored| &stored.kept);
        let (config, new) = coming.unzip();
        let sources: Vec<&Kept> = [Some(&self.kept), former, new].into_iter().flatten().collect();
        let mut lanes: Vec<_> = self.config.all_lanes().collect();
        for lane in config.into_iter().flat_map(Config::all_lanes) {
            if lanes.iter().all(|known| known.name != lane.name) {
                lanes.push(lane);
            }
        }
        kept.retire(&sources, lanes.iter());
        let mut stored = Stored::new(kept, accepted, lower.clock.now_ms());
        stored.stand_in = self.stand_in(&force);
        stored
    }

    /// May take as long as the disk does.
    ///
    /// # Errors
    /// The disk's. It is logged, and tried again later.
    async fn store(&mut self, stored: Stored) -> io::Result<()> {
        self.stored = Some(stored);
        let done = self.write_down().await;
        self.written.tell(self.accepted.path(), &done);
        done
    }

    /// Tries again where that failed.
    pub(super) async fn store_again(&mut self) {
        if self.written.is_failing() {
            let done = self.write_down().await;
            self.written.tell(self.accepted.path(), &done);
        }
    }

    async fn write_down(&self) -> io::Result<()> {
        let Some(stored) = self.stored.clone() else { return Ok(()) };
        let file = self.accepted.clone();
        let written = tokio::task::spawn_blocking(move || file.save(&stored)).await;
        written.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// The lane whose records are for whichever lane is the default one.
    pub(super) fn stand_in(&self, force: &Force) -> Option<String> {
        if matches!(force, Force::Nothing) {
            return Some(self.config.default_lane().name.to_string());
        }
        let former = self.stored.as_ref().and_then(|stored| stored.stand_in.clone())?;
        let waits = self.config.retired.iter().any(|lane| lane.name.as_str() == former);
        waits.then_some(former)
    }

    /// Ends everything above the queue, and gives what is under way `grace`.
    pub(super) async fn stop(&mut self, grace: Duration) {
        let (lower, upper) = (&self.lower, &mut self.upper);
        if let Some(trial) = self.trial.take() {
            trial.over.cancel();
        }
        let http = OptionFuture::from(upper.http.take().map(HttpDoor::close));
        let front = OptionFuture::from(upper.front.take().map(FrontDoor::close));
        let (centre, own) = (upper.centre.take(), upper.own.take());
        let rest = async {
            OptionFuture::from(centre.map(Centre::stop)).await;
            OptionFuture::from(own.map(Own::stop)).await;
            lower.drain.stop(grace).await;
        };
        // Nobody hands over records from now on; what is under way is answered while the queue stores.
        tokio::join!(http, front, rest);
        let tasks = [upper.degrading.take(), upper.following.take(), upper.counting.take()];
        for task in tasks.into_iter().flatten() {
            task.stop().await;
        }
    }
}

/// Why nothing is sent.
pub(super) fn reason(force: &Force, faults: &[String]) -> Option<String> {
    let fault = faults.first()?;
    let rest = "records wait";
    match force {
        Force::File | Force::Trial(_) => None,
        _ => {
            // The last is that of what is in force, where it has one.
            let own = faults.iter().rfind(|fault| fault.contains(": upstream")).unwrap_or(fault);
            Some(format!("the configuration cannot be used: {own}; {rest}"))
        }
    }
}
