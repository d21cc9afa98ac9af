//! What stays when the configuration changes: the queue, the sockets with what was said on them, and
//! handles by which the parts know each other. Each of them takes other settings by itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use spillway_protocol::dial::{Carried, CertificateTime};
use spillway_protocol::record::LaneName;
use tokio_util::sync::CancellationToken;

use super::admin::Seen;
use super::entrance;
use super::far::Far;
use super::inquiry::Inquiry;
use super::report::Report;
use super::storage;
use crate::attendance::Register;
use crate::clock::WallClock;
use crate::config::{Config, Gateway};
use crate::control::{Desk, Door, Tailing, Topics};
use crate::drain::DrainHandle;
use crate::intake::{Intake, LaneTable};
use crate::open_files::OpenFiles;
use crate::queue::{self, Queue};

/// See the module.
pub(super) struct Lower {
    pub(super) clock: Arc<dyn WallClock>,
    /// `gateway.data_dir` as it was said; the queue may lie beside a newer agent's, within it.
    pub(super) data_dir: PathBuf,
    pub(super) queue: Queue,
    /// Nothing had been stored here before this start.
    pub(super) fresh: bool,
    pub(super) drain: Arc<DrainHandle>,
    pub(super) report: Arc<Report>,
    pub(super) register: Register,
    pub(super) files: OpenFiles,
    pub(super) table: LaneTable,
    pub(super) intake: Intake,
    pub(super) told: RwLock<Arc<Told>>,
    pub(super) time: CertificateTime,
    pub(super) carried: Carried,
    pub(super) stop: CancellationToken,
    pub(super) intake_ended: CancellationToken,
}

/// What operators are told by, as the configuration has it.
pub(super) struct Told {
    inquiry: Inquiry,
    door: Door,
    topics: Topics,
}

impl Told {
    pub(super) fn new(inquiry: Inquiry, config: &Config) -> Self {
        let topics = config.all_lanes().map(|lane| (lane.name.clone(), lane.topic.to_string()));
        let door = Door::of(config.listen.admin.as_ref());
        Self { inquiry, door, topics: Arc::new(topics.collect()) }
    }
}

impl Lower {
    /// What ways to the far end are made with.
    pub(super) fn far(&self) -> Far<'_> {
        let standing = self.report.shared_standing();
        Far { clock: &self.clock, time: &self.time, carried: &self.carried, standing }
    }

    /// How the agent is seen from outside.
    pub(super) fn seen(&self) -> Seen {
        let parts = (&self.intake, self.data_dir.as_path());
        Seen::new(&self.report, parts, &self.stop, &self.intake_ended)
    }

    /// How the queue is opened for `config`.
    pub(super) fn queue_options(&self, config: &Config) -> queue::Options {
        let gateway = Gateway { data_dir: self.data_dir.clone(), ..config.gateway.clone() };
        storage::queue_options(&Config { gateway, ..config.clone() })
    }

    /// Records that RocketMQ has, of each lane.
    pub(super) fn delivered(&self) -> BTreeMap<LaneName, u64> {
        let of = |lane: LaneName| {
            let delivered = self.queue.accounts(&lane)?.delivered;
            Some((lane, delivered))
        };
        self.queue.lanes().into_iter().filter_map(of).collect()
    }

    /// Whether records of some lane were delivered since that was `before`. Lanes may have come and
    /// gone meanwhile.
    pub(super) fn delivered_since(&self, before: &BTreeMap<LaneName, u64>) -> bool {
        let known = |lane| before.get(lane).copied().unwrap_or(0);
        self.delivered().iter().any(|(lane, delivered)| *delivered > known(lane))
    }

    /// Nothing has left this installation yet, so there is no fleet that it could return with.
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh && self.delivered().values().all(|delivered| *delivered == 0)
    }

    /// Takes records in as `new` says instead of `old`. The queue has the lanes of both: so none
    /// is refused that the one or the other knows.
    pub(super) fn enter(&self, new: &Config, old: &Config) {
        let lanes = entrance::lanes(new);
        self.table.set(entrance::both(&lanes, &entrance::lanes(old)));
        self.intake.change(&entrance::rules(new));
        self.table.set(lanes);
    }

    /// Answers operators by `config` from now on.
    pub(super) fn explain(&self, config: &Config) {
        let inquiry = Inquiry::running(
            config,
            self.queue.clone(),
            self.clock.clone(),
            self.report.clone(),
            self.drain.clone(),
        );
        let told = Arc::new(Told::new(inquiry, config));
        *self.told.write().unwrap_or_else(PoisonError::into_inner) = told;
    }

    fn told(&self) -> Arc<Told> {
        self.told.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What operators see and do, but for another configuration.
    pub(super) fn desk(self: &Arc<Self>) -> Desk {
        let accepting = self.drain.clone();
        let accept = Arc::new(move |lane: &LaneName| accepting.accept(lane));
        let [asking, opening, naming] = [(); 3].map(|()| self.clone());
        let freeing = self.drain.clone();
        let ask = Arc::new(move |asked: &_| asking.told().inquiry.ask(asked));
        let topics = move || naming.told().topics.clone();
        Desk::new(self.queue.clone(), accept, ask)
            .with_door(Arc::new(move || opening.told().door.clone()))
            .telling(Arc::new(move || freeing.freed()))
            .tailing(Tailing::new(self.stop.clone(), Arc::new(topics)))
    }
}
