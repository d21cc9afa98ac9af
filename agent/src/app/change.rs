//! From one configuration to another, while records come and go: what does not depend on what has
//! changed goes on; nothing is ended before all that can fail has succeeded.

use std::time::Duration;

use tokio::task::spawn_blocking;

use super::budget::BudgetFile;
use super::certificates::Certificates;
use super::core::Core;
use super::far::UpstreamError;
use super::upper::Prepared;
use super::{admin, centre, far, front, listen_http, own, storage};
use crate::config::{Config, Gateway, Kept, Lane, Listen, RESEND_LANE};
use crate::drain::{self, Way};
use crate::entropy;
use crate::queue::ChangeError;

/// Longer than a request's own deadline: those under way end by themselves, and none is sent twice.
const GRACE: Duration = Duration::from_secs(30);

/// What has to be begun anew.
pub(super) struct Plan {
    /// The queue is opened with other options.
    pub(super) queue: bool,
    pub(super) drain: bool,
    pub(super) upstream: bool,
    pub(super) way: Way,
    pub(super) lanes: bool,
    pub(super) own: bool,
    pub(super) centre: bool,
    pub(super) budget: bool,
}

/// The configuration was not taken; what was in force still is, but where the queue is lost.
#[derive(Debug, thiserror::Error)]
pub(super) enum TakeError {
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error(transparent)]
    Centre(#[from] centre::ClientError),
    #[error(transparent)]
    Http(#[from] listen_http::BindError),
    #[error(transparent)]
    Front(#[from] front::BindError),
    #[error(transparent)]
    Admin(#[from] admin::BindError),
    #[error(transparent)]
    Queue(ChangeError),
    #[error("the change of the queue ended halfway; the agent is started again")]
    Halfway,
    #[error("the agent stops")]
    Stopping,
}

impl TakeError {
    /// What was in force goes on in this process.
    pub(super) fn leaves_all(&self) -> bool {
        !matches!(self, Self::Queue(ChangeError::Lost(_)) | Self::Halfway | Self::Stopping)
    }
}

impl Plan {
    /// Everything, as at a start.
    pub(super) fn all() -> Self {
        let way = Way::Other;
        let (queue, drain, upstream, lanes) = (true, true, true, true);
        Self { queue, drain, upstream, way, lanes, own: true, centre: true, budget: true }
    }

    pub(super) fn between(old: &Config, new: &Config) -> Self {
        let upstream = old.upstream != new.upstream;
        let lanes = old.all_lanes().ne(new.all_lanes());
        let budget = old.budget != new.budget;
        let queue = storage::part(old) != storage::part(new);
        let pace =
            (&old.drain, &old.backoff, &old.limits) != (&new.drain, &new.backoff, &new.limits);
        Self {
            queue,
            drain: queue || upstream || lanes || budget || pace,
            upstream,
            way: way(old, new),
            lanes,
            own: own::part(old) != own::part(new),
            centre: centre::part(old) != centre::part(new),
            budget,
        }
    }
}

impl Plan {
    /// The same where certificates were renewed.
    pub(super) fn renewing(mut self, old: &Certificates, new: &Certificates) -> Self {
        if old.upstream != new.upstream {
            (self.upstream, self.drain) = (true, true);
            self.way = match self.way {
                Way::Same => Way::Repaired,
                way => way,
            };
        }
        self.centre |= old.centre != new.centre;
        self
    }
}

fn way(old: &Config, new: &Config) -> Way {
    match (&old.upstream, &new.upstream) {
        (old, new) if old == new => Way::Same,
        (old, new) if old.as_ref().map(far::place) == new.as_ref().map(far::place) => Way::Repaired,
        _ => Way::Other,
    }
}

/// Settings that are in force from the next start on, where they differ from those of the present
/// one, whose data folder is `data_dir` as it was said.
pub(super) fn needs_restart(
    present: &Config,
    data_dir: &std::path::Path,
    new: &Config,
) -> Vec<String> {
    let (listens, listen) = (&present.listen, &new.listen);
    let differ = [
        ("gateway.id", present.gateway.id != new.gateway.id),
        ("gateway.data_dir", data_dir != new.gateway.data_dir),
        ("listen.socket", listens.socket != listen.socket),
        ("listen.mode", listens.mode != listen.mode),
        ("listen.control", listens.control != listen.control),
    ];
    differ.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect()
}

impl Core {
    /// `new` as it can be in force in this process: with the lanes that it retires, and without what
    /// needs a restart.
    pub(super) fn fitted(&self, new: Config) -> Config {
        let present = &self.config;
        let gateway = Gateway {
            id: present.gateway.id.clone(),
            data_dir: present.gateway.data_dir.clone(),
            ..new.gateway
        };
        let listen = Listen {
            socket: present.listen.socket.clone(),
            mode: present.listen.mode,
            control: present.listen.control.clone(),
            ..new.listen
        };
        let mut new = Config { gateway, listen, retired: Vec::new(), ..new };
        let transport = new.upstream.as_ref().map(|upstream| upstream.transport);
        let named: Vec<Lane> = new.all_lanes().collect();
        let gone = present.all_lanes().filter(|lane| self.is_open(lane));
        let gone = gone.filter(|lane| named.iter().all(|known| known.name != lane.name));
        new.retired = gone.map(|lane| lane.retired(transport)).collect();
        let stand_in = self.stand_in(&self.lower.report.standing().force);
        let is_it = |lane: &&mut Lane| Some(lane.name.as_str()) == stand_in.as_deref();
        if let Some(lane) = new.retired.iter_mut().find(is_it) {
            // Its records are for whichever lane is the default one.
            let default = new.lanes.iter().find(|lane| lane.default).unwrap_or(&new.lanes[0]);
            let default = default.clone().retired(transport);
            *lane = Lane { name: lane.name.clone(), ..default };
        }
        new
    }

    /// Whether the lane stays open though no configuration names it.
    fn is_open(&self, lane: &Lane) -> bool {
        let queue = &self.lower.queue;
        let retired = self.config.retired.iter().any(|retired| retired.name == lane.name);
        // What is sent again leaves by the settings of the lane that it was accepted in.
        let copies = queue.lanes().into_iter().find(|lane| lane.as_str() == RESEND_LANE);
        let copies = copies.and_then(|lane| queue.accounts(&lane));
        // Records may be on their way into lanes that were there until now, though they be empty.
        !retired || queue.remains(&lane.name) || copies.is_some_and(|copies| copies.waiting > 0)
    }

    /// Puts `new`, which is [`Core::fitted`], in force.
    pub(super) async fn take(&mut self, new: Config, kept: &Kept) -> Result<(), TakeError> {
        // Before they are read for use: what is renewed meanwhile is news for the next change.
        let certificates = Certificates::of(&new);
        let plan = Plan::between(&self.config, &new).renewing(&self.certificates, &certificates);
        let ready = self.prepare(&new, kept, &plan).await?;
        // Broken off from here on, by a panic, it would leave the drain halted for good.
        let halfway = self.lost.clone().drop_guard();
        let changed = self.go_over(new, &plan, ready).await;
        halfway.disarm();
        if changed.is_ok() {
            self.certificates = certificates;
        }
        changed
    }

    /// Ends and begins what `plan` names.
    async fn go_over(
        &mut self,
        new: Config,
        plan: &Plan,
        mut ready: Prepared,
    ) -> Result<(), TakeError> {
        let lower = self.lower.clone();
        self.upper.halt(&lower, plan, GRACE).await;
        if lower.stop.is_cancelled() {
            return Err(TakeError::Stopping);
        }
        let changed = if plan.queue { self.change_queue(&new).await } else { Ok(()) };
        let (config, changed) = match changed {
            Ok(()) => (&new, Ok(())),
            Err(error) => (&self.config, Err(error)),
        };
        if changed.is_ok() {
            lower.files.serve(config.all_lanes().count());
            lower.enter(&new, &self.config);
            if plan.upstream {
                self.upper.upstream = ready.upstream.take();
            }
            lower.report.show(config, self.upper.upstream.clone());
            lower.explain(config);
        }
        if plan.drain {
            let way = if changed.is_ok() { plan.way } else { Way::Same };
            self.drain_on(config, way);
        }
        let client = match &changed {
            Ok(()) => ready.centre.take(),
            Err(_) => centre::client(config, &lower.time, &lower.carried).unwrap_or_default(),
        };
        self.upper.begin(&lower, config, plan, client);
        if changed.is_ok() {
            self.upper.listen(&lower, &new, &mut ready).await;
            self.config = new;
        }
        changed
    }

    /// All that can fail, before anything is ended.
    async fn prepare(&self, new: &Config, kept: &Kept, plan: &Plan) -> Result<Prepared, TakeError> {
        let lower = &self.lower;
        let mut ready = Prepared::default();
        if plan.upstream {
            ready.upstream = lower.far().upstream(new, &self.file, kept)?;
        }
        if plan.centre {
            ready.centre = centre::client(new, &lower.time, &lower.carried)?;
        }
        let http = new.listen.http.as_ref();
        let open = self.upper.http.as_ref().map(|http| http.address);
        if open != http.map(|http| http.address) {
            let twin = listen_http::twin(self.handed_http.as_ref());
            ready.http = listen_http::bind(http, twin).await?;
        }
        let front = new.listen.mq_http.as_ref();
        let open = self.upper.front.as_ref().map(|front| front.address);
        if open != front.map(|front| front.address) {
            ready.front = front::bind(front).await?;
        }
        let admin = new.listen.admin.as_ref();
        let open = self.upper.admin.as_ref();
        if open.map(|open| &open.settings) != admin {
            let twin = admin.and_then(|settings| open?.twin(settings));
            ready.admin = match twin {
                Some(twin) => Some(twin),
                None => admin::bind(admin).await?,
            };
        }
        Ok(ready)
    }

    /// Opens the queue anew. A queue that is lost fails the agent: it is started again.
    async fn change_queue(&self, new: &Config) -> Result<(), TakeError> {
        let lower = self.lower.clone();
        let (new, old) = (lower.queue_options(new), lower.queue_options(&self.config));
        let queue = lower.queue.clone();
        let changed = spawn_blocking(move || queue.change(&new, &old)).await;
        let recovery = match changed {
            Ok(changed) => changed.inspect_err(|error| {
                if matches!(error, ChangeError::Lost(_)) {
                    tracing::error!(%error, "nothing can be stored any more");
                    self.lost.cancel();
                }
            }),
            Err(error) => {
                tracing::error!(%error, "the change of the queue failed");
                self.lost.cancel();
                return Err(TakeError::Halfway);
            }
        };
        let recovery = recovery.map_err(TakeError::Queue)?;
        tracing::info!(waiting = recovery.waiting, "queue open with other settings");
        Ok(())
    }

    /// The drain goes on, halted or not begun yet.
    fn drain_on(&self, config: &Config, way: Way) {
        let lower = &self.lower;
        let (_, budget) = BudgetFile::open(config, lower.carried.clone());
        let mut options = drain::Options::new(config, lower.is_fresh(), Default::default(), budget);
        options.no_upstream = self.no_upstream(config);
        let way = (self.upper.upstream.clone(), way);
        lower.drain.go_on(options, lower.queue.clone().into(), way, entropy::seed());
    }
}

#[cfg(test)]
mod tests;
