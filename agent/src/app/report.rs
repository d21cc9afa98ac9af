//! The agent's state at one moment, gathered from its parts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use spillway_protocol::local::status::{
    Files, Freshness, Lane as LaneStatus, Limit, Quarantine, Rates, Status,
};
use spillway_protocol::record::LaneName;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::attended;
use super::began::Began;
use super::keys;
use super::meter::Meter;
use super::standing::{SharedStanding, Standing};
use crate::admin::Letters;
use crate::centre::Board;
use crate::config::{Config, Lane};
use crate::control;
use crate::degrade;
use crate::drain::{DrainHandle, DrainStatus, LaneDrain};
use crate::open_files::{self, OpenFiles};
use crate::queue::{LaneFigures, Queue};
use crate::upstream::Upstream;

/// How often the rate of accepted records is sampled.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// The longest time without a sample that a busy machine explains.
const SILENT_MAX: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Report {
    gateway: String,
    queue: Queue,
    degraded: degrade::Board,
    drain: Arc<DrainHandle>,
    started: Instant,
    began: Began,
    accepted: Mutex<Meter>,
    files: OpenFiles,
    view: RwLock<Arc<View>>,
    standing: SharedStanding,
}

/// What the configuration in force says of it.
#[derive(Default)]
struct View {
    lanes: Vec<LaneName>,
    retired: Vec<LaneName>,
    /// The agent's own.
    own: Option<LaneName>,
    centre: Option<Board>,
    upstream: Option<Arc<dyn Upstream>>,
}

impl Report {
    /// Of the agent that the configuration describes.
    pub(super) fn new(
        config: &Config,
        standing: SharedStanding,
        queue: Queue,
        drain: Arc<DrainHandle>,
        files: OpenFiles,
    ) -> Self {
        Self {
            gateway: config.gateway.id.clone(),
            queue,
            degraded: degrade::Board::default(),
            drain,
            started: Instant::now(),
            began: Began::default(),
            accepted: Mutex::default(),
            files,
            view: RwLock::default(),
            standing,
        }
    }

    /// Shows this configuration from now on, with the way to RocketMQ that it leads to.
    pub(super) fn show(&self, config: &Config, upstream: Option<Arc<dyn Upstream>>) {
        let names = |lanes: &[Lane]| lanes.iter().map(|lane| lane.name.clone()).collect();
        let board = self.view().centre.clone();
        let view = View {
            lanes: names(&config.lanes),
            retired: names(&config.retired),
            own: config.own_lane().map(|lane| lane.name),
            centre: config.control.as_ref().map(|_| board.unwrap_or_default()),
            upstream,
        };
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    /// How the configuration stands.
    pub(super) fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.get()
    }

    /// The same, for whoever looks later.
    pub(super) fn shared_standing(&self) -> &SharedStanding {
        &self.standing
    }

    fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `GET /v1/status`.
    pub(super) fn status(&self) -> Status {
        self.status_of(self.drain.status())
    }

    /// The same, with what the drain has told.
    pub(super) fn status_of(&self, drain: DrainStatus) -> Status {
        let view = self.view();
        let lanes = self.user_lanes(&view, &drain);
        let waiting = lanes.iter().map(|lane| lane.waiting).sum();
        let accepted_per_s = self.meter().per_second();
        let aside = self.queue.inspection().quarantined();
        Status {
            gateway: self.gateway.clone(),
            stream: self.queue.stream().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: self.started.elapsed().as_secs(),
            configuration: self.standing().status(),
            lanes,
            own: view.own.as_ref().map(|own| self.own_lane(own, &drain)),
            control: view.centre.as_ref().map(Board::status),
            format: control::format(&self.queue.standing()),
            quarantine: Quarantine { segments: aside.segments, bytes: aside.bytes },
            rates: Rates {
                accepted_per_s,
                delivered_per_s: drain.delivered_per_s,
                delivered_bytes_per_s: drain.delivered_bytes_per_s,
            },
            budget: Some(drain.budget.clone()),
            pace: drain.pace.clone(),
            open_files: Files {
                open: open_files::count(),
                max: self.files.max(),
                refused: self.files.refused(),
            },
            drained_in_s: drain.drained_in_s(waiting, accepted_per_s),
            first_send_in_s: drain.first_send_in_s,
            access_keys: view.upstream.as_deref().and_then(keys::status),
            clock_offset_s: view.upstream.as_ref().and_then(|upstream| upstream.clock_offset_s()),
            link: drain.link,
        }
    }

    /// When this process began, in ms since 1970, by a clock that says this.
    pub(super) fn started_ms(&self, now_ms: u64, clock_set: bool) -> u64 {
        self.began.at_ms(now_ms, clock_set, self.started.elapsed())
    }

    /// What the agent does, in words. Cheap.
    pub(super) fn doing(&self) -> String {
        let view = self.view();
        let lanes = view.lanes.iter().chain(&view.retired);
        let accounts = lanes.filter_map(|lane| self.queue.accounts(lane));
        let waiting = accounts.map(|accounts| accounts.waiting).sum();
        attended::doing(waiting, &self.drain.status().link)
    }

    /// For how long the accounts have not been read, if that is too long: the queue or the
    /// machine's threads are stuck. Says nothing of an agent that stops.
    pub(super) fn silent(&self) -> Option<Duration> {
        let last = self.meter().newest().unwrap_or(self.started);
        Some(last.elapsed()).filter(|silent| *silent > SILENT_MAX)
    }

    /// The lane whose records have waited for the disk for too long, and how long.
    pub(super) fn stalled(&self) -> Option<(LaneName, Duration)> {
        self.queue.stalled().filter(|(_, time)| *time > SILENT_MAX)
    }

    /// For how long the queue's state has not been saved, where that is too long.
    pub(super) fn unkept(&self) -> Option<Duration> {
        self.queue.keeping().filter(|time| *time > SILENT_MAX)
    }

    /// For how long the drain has been at one step, where that is too long.
    pub(super) fn unsent(&self) -> Option<Duration> {
        self.drain.busy().filter(|time| *time > SILENT_MAX)
    }

    /// Why nothing that apps hand over is stored, if that is so: the data folder, or every lane.
    pub(super) fn closed(&self) -> Option<String> {
        self.queue.closed(&self.view().lanes)
    }

    /// Dead letters of users' lanes by lane and code.
    pub(super) fn letters(&self) -> Vec<Letters> {
        let of = |lane: &LaneName| (lane.to_string(), self.queue.dead_reasons(lane));
        let letters = |(lane, reasons): (String, Vec<(String, u64)>)| {
            let reasons = reasons.into_iter();
            reasons.map(move |(code, count)| Letters { lane: lane.clone(), code, count })
        };
        let view = self.view();
        let lanes = view.lanes.iter().chain(&view.retired);
        lanes.map(of).flat_map(letters).collect()
    }

    /// Where the centre's part shows how it stands.
    pub(super) fn board(&self) -> Board {
        self.view().centre.clone().unwrap_or_default()
    }

    /// Where the rules of `degrade` show how they stand.
    pub(super) fn degraded(&self) -> degrade::Board {
        self.degraded.clone()
    }

    /// Those of the configuration, and behind them the retired ones of which something is left.
    fn user_lanes(&self, view: &View, drain: &DrainStatus) -> Vec<LaneStatus> {
        let of = |name: &LaneName| drain.lanes.iter().find(|lane| lane.name == *name);
        let shown = |name: &LaneName| {
            let figures = self.queue.figures(name).unwrap_or_default();
            let freshness = of(name).and_then(|lane| self.freshness(lane));
            let (degraded, limit) = (self.degraded.status(name), self.limit(name));
            LaneStatus { freshness, degraded, limit, ..lane(name, &figures, of(name)) }
        };
        let users = view.retired.iter().filter(|name| !name.as_str().starts_with('_'));
        let left = users.filter(|name| self.queue.remains(name));
        let retired = left.map(|name| LaneStatus { retired: true, ..shown(name) });
        view.lanes.iter().map(shown).chain(retired).collect()
    }

    pub(super) fn freshness(&self, lane: &LaneDrain) -> Option<Freshness> {
        let goal = lane.freshness?;
        let (backlog, oldest) = self.queue.split(&lane.name, lane.live_from?);
        Some(Freshness { goal_ms: whole_ms(goal), oldest_live_ms: oldest.map(whole_ms), backlog })
    }

    fn limit(&self, name: &LaneName) -> Option<Limit> {
        let limit = self.queue.limit(name)?;
        Some(Limit { bytes: limit.cap_bytes?, used: limit.used_bytes, full: limit.full })
    }

    fn own_lane(&self, name: &LaneName, drain: &DrainStatus) -> LaneStatus {
        let figures = self.queue.figures(name).unwrap_or_default();
        let drain = drain.lanes.iter().find(|lane| lane.name == *name);
        LaneStatus { limit: self.limit(name), ..lane(name, &figures, drain) }
    }

    fn meter(&self) -> MutexGuard<'_, Meter> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Samples what was accepted until the agent stops.
pub(super) async fn sample(report: Arc<Report>, stop: CancellationToken) {
    let mut ticks = interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            now = ticks.tick() => {
                let view = report.view();
                let lanes = view.lanes.iter().chain(&view.retired);
                let accounts = lanes.filter_map(|lane| report.queue.accounts(lane));
                let accepted = accounts.map(|accounts| accounts.accepted).sum();
                report.meter().sample(accepted, now);
            }
        }
    }
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Records from which on what waits is a backlog.
const BACKLOG: u64 = 20;

fn lane(name: &LaneName, figures: &LaneFigures, drain: Option<&LaneDrain>) -> LaneStatus {
    let accounts = figures.accounts;
    let locked = figures.missing_key.map(|key| {
        let waiting = accounts.waiting;
        format!("{waiting} records wait for the key {key}; add it to [gateway] former_keys")
    });
    LaneStatus {
        name: name.to_string(),
        accepted: accounts.accepted,
        delivered: accounts.delivered,
        waiting: accounts.waiting,
        dead: accounts.dead,
        expired: accounts.expired,
        dropped: accounts.dropped,
        damaged: accounts.damaged,
        oldest_age_s: figures.oldest_age.map(|age| age.as_secs()),
        live_bytes: figures.live_bytes,
        disk_bytes: figures.disk_bytes,
        hold: drain.and_then(|lane| lane.hold.clone()),
        held_keys: drain.map_or(0, |lane| lane.held_keys),
        last_error: locked.or_else(|| drain?.last_error.clone()),
        hint: drain
            .and_then(|lane| lane.hint)
            .filter(|_| accounts.waiting >= BACKLOG)
            .map(str::to_owned),
        freshness: None,
        degraded: None,
        limit: None,
        retired: false,
    }
}
