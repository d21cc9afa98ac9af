//! The agent as a whole: the one place that knows all parts and how they hang together.

mod access;
mod admin;
mod attended;
mod beside;
mod budget;
mod centre;
mod desk;
mod doors;
mod far;
mod front;
mod inquiry;
mod keys;
mod limits;
mod listen_http;
mod meter;
mod network;
mod own;
mod pace;
mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use spillway_protocol::dial::Carried;
use spillway_protocol::record::RecordId;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use self::admin::{Admin, Seen};
use self::budget::BudgetFile;
use self::doors::Doors;
use self::far::Far;
pub use self::far::upstream;
use crate::attendance::Register;
use crate::centre::Centre;
use crate::clock::WallClock;
use crate::config::{Config, EncryptionKey, Gateway, Order, Transport};
use crate::control::{self, Desk};
use crate::degrade;
use crate::drain::{self, Drain, DrainHandle};
use crate::intake::{self, Intake, LaneInfo, Queued, socket::SocketFile};
use crate::known_time::KnownTime;
use crate::open_files::OpenFiles;
use crate::own::Own;
use crate::queue::inspect::Inspection;
use crate::queue::{
    Keep, Keys, LaneOptions, Newer, OpenError, Options, Ordering, Packing, Queue, Recovery,
};
use crate::service::Handed;
use crate::upstream::{grpc, http};
use crate::{entropy, host};
pub use centre::probe as probe_centre;
pub use inquiry::{last_active, stopped_desk};
use pace::PaceFile;
use report::Report;

/// Time that requests in flight get when the agent stops.
const GRACE: Duration = Duration::from_secs(10);
/// How often the newest time that was learned is written down.
const REMEMBER_EVERY: Duration = Duration::from_secs(600);

/// Why the agent cannot start. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The queue.
    #[error(transparent)]
    Queue(#[from] OpenError),
    /// The way to RocketMQ.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// A socket.
    #[error(transparent)]
    Socket(#[from] intake::socket::BindError),
    /// The intake over TCP.
    #[error(transparent)]
    ListenHttp(#[from] listen_http::BindError),
    /// The MQ HTTP front.
    #[error(transparent)]
    Front(#[from] front::BindError),
    /// The admin address.
    #[error(transparent)]
    Admin(#[from] admin::BindError),
    /// The way to the centre.
    #[error(transparent)]
    Centre(#[from] centre::ClientError),
}

/// Why the way to RocketMQ cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Over HTTP.
    #[error(transparent)]
    Http(#[from] http::BuildError),
    /// Over gRPC.
    #[error(transparent)]
    Grpc(#[from] grpc::BuildError),
}

/// A running agent.
pub struct Agent {
    queue: Queue,
    drain: Arc<DrainHandle>,
    stop: CancellationToken,
    servers: Vec<JoinHandle<()>>,
    report: Arc<Report>,
    own: Option<Own>,
    centre: Option<Centre>,
    budget_file: BudgetFile,
    admin: Option<Admin>,
    intake_ended: CancellationToken,
    /// Those that are the agent's own are removed when it is gone.
    _sockets: [Option<SocketFile>; 2],
}

impl Agent {
    /// Starts everything. From the moment this returns, records are taken in, on the sockets that
    /// the service manager has `handed` over, else on those that are configured.
    ///
    /// # Errors
    /// See [`StartError`]; the parts that had started are stopped again.
    pub async fn start(
        config: Config,
        file: String,
        clock: Arc<dyn WallClock>,
        handed: Handed,
    ) -> Result<Self, StartError> {
        let files = OpenFiles::of_process(config.all_lanes().count());
        let mut known_time = KnownTime::load(&config.gateway.data_dir);
        let (time, carried) = (known_time.certificates(), Carried::default());
        let far = Far { clock: &clock, time: &time, carried: &carried };
        let upstream = far.upstream(&config, &file)?;
        let centre_client = centre::client(&config, &time, &carried)?;
        // Another agent is seen by its socket first: that message helps more than the lock's.
        let doors = Doors::open(&config.listen, handed).await?;
        let (queue, recovery) = open_queue(&config, &clock)?;
        tell(&queue, &recovery);
        let takeovers = beside::begin(&config, &queue, queue_options(&config)).await;
        let config = in_folder(config, queue.standing().root);
        known_time.keep_in(&config.gateway.data_dir);
        let pace_file = PaceFile::new(&config.gateway.data_dir);
        let (budget_file, budget) = BudgetFile::open(&config, carried);
        let drain = Arc::new(Drain::spawn(
            drain::Options::new(&config, recovery.fresh, pace_file.load(), budget),
            Arc::new(queue.clone()),
            upstream.clone(),
            entropy::seed(),
            clock.clone(),
        ));
        let report = Report::new(&config, file, queue.clone(), drain.clone(), upstream.clone());
        let (report, stop) = (Arc::new(report.with_files(files.clone())), CancellationToken::new());
        let register = own::register(&config);
        let own = own::start(&config, &queue, &drain, &report, &register, clock.clone());
        let centre = centre_client.and_then(|client| {
            centre::start(&config, client, &queue, &drain, report.board(), clock.clone())
        });
        let degrading = degrading(&config, &queue, &drain, &report, clock.clone());
        let intake = self::intake(&config, queue.clone(), report.clone(), register, files.clone());
        let desk = desk::running(&config, &queue, &report, &drain, clock.clone(), &stop);
        let over_tcp = doors.tcp.serve(&config, &intake, &clock, &stop);
        let intake_ended = CancellationToken::new();
        let serving = intake::serve(doors.intake, intake, stop.clone());
        let serving = until_ended(serving, intake_ended.clone().drop_guard());
        let mut servers = vec![
            tokio::spawn(serving),
            tokio::spawn(serve_desk(doors.control, files.clone(), desk, stop.clone())),
            tokio::spawn(report::sample(report.clone(), stop.clone())),
            tokio::spawn(remember(known_time, stop.clone())),
            tokio::spawn(pace_file.keep(drain.clone(), stop.clone())),
            tokio::spawn(budget_file.clone().keep(drain.clone(), stop.clone())),
            tokio::spawn(degrade::run(degrading, stop.clone())),
            tokio::spawn(beside::finish(takeovers, stop.clone())),
        ];
        servers.extend(over_tcp);
        servers.extend(upstream.into_iter().flat_map(|far| far::follow(&far, &drain, &stop)));
        let seen = Seen::new(&report, &stop, &intake_ended);
        let admin = doors.admin.zip(config.listen.admin.as_ref());
        let admin = admin.map(|(listener, settings)| Admin::start(listener, settings, seen, files));
        Ok(Self {
            queue,
            drain,
            stop,
            servers,
            report,
            own,
            centre,
            budget_file,
            admin,
            intake_ended,
            _sockets: doors.files,
        })
    }

    /// The same as `GET /v1/status`.
    pub fn status(&self) -> spillway_protocol::local::status::Status {
        self.report.status()
    }

    /// Waits until the drain has failed, which it never should: without it nothing leaves.
    pub async fn failed(&self) {
        if self.drain.ended().await == drain::Ended::Stopped {
            std::future::pending().await
        }
    }

    /// Refuses new records, lets what is under way finish within a grace time, and syncs.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Some(centre) = self.centre {
            centre.stop().await;
        }
        if let Some(own) = self.own {
            own.stop().await;
        }
        self.drain.stop(GRACE).await;
        for mut server in self.servers {
            match timeout(GRACE, &mut server).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "a part of the agent had ended before"),
                // A client that never ends its request must not keep the queue from closing.
                Err(_) => server.abort(),
            }
        }
        if let Some(admin) = self.admin {
            admin.stop().await;
        }
        let (queue, stored) = (self.queue.clone(), self.drain.count());
        let close = move || {
            self.budget_file.save(&stored);
            queue.close();
        };
        if tokio::task::spawn_blocking(close).await.is_err() {
            tracing::error!("the queue could not be closed; what was acknowledged is safe");
        }
    }
}

/// What the rules of `degrade` need.
fn degrading(
    config: &Config,
    queue: &Queue,
    drain: &Arc<DrainHandle>,
    report: &Report,
    clock: Arc<dyn WallClock>,
) -> degrade::Means {
    degrade::Means {
        queue: queue.clone(),
        drain: drain.clone(),
        lanes: config.lanes.clone(),
        clock,
        board: report.degraded(),
    }
}

/// The queue that the configuration describes.
pub fn open_queue(
    config: &Config,
    clock: &Arc<dyn WallClock>,
) -> Result<(Queue, Recovery), OpenError> {
    Queue::open(queue_options(config), clock.clone())
}

/// The same, only to raise the level of its folder: also where its records are to be sealed once
/// that is done.
pub fn open_queue_to_commit(
    config: &Config,
    clock: &Arc<dyn WallClock>,
) -> Result<(Queue, Recovery), OpenError> {
    let mut options = queue_options(config);
    options.packing.keys = options.packing.keys.to_read();
    Queue::open(options, clock.clone())
}

/// The same, to look into while no agent runs. Writes nothing.
pub fn inspect_queue(config: &Config, clock: &Arc<dyn WallClock>) -> Result<Inspection, OpenError> {
    Inspection::open(&queue_options(config), clock.clone())
}

fn queue_options(config: &Config) -> Options {
    let lane = |lane: &crate::config::Lane| LaneOptions {
        name: lane.name.clone(),
        ordering: ordering(lane.order),
        ttl: lane.ttl,
    };
    Options {
        data_dir: config.gateway.data_dir.clone(),
        gateway: config.gateway.id.clone(),
        host: host::fingerprint(),
        lanes: config.all_lanes().map(|own| lane(&own)).collect(),
        segment_bytes: segment_bytes(config),
        limits: limits::limits(config),
        dead_keep_bytes: config.dead.keep_bytes,
        waiting_bytes_max: intake_bytes(config),
        tell: config.report.is_some(),
        keep: config.audit.as_ref().map(|audit| Keep {
            bytes: audit.keep_bytes,
            time_ms: u64::try_from(audit.keep_for.as_millis()).unwrap_or(u64::MAX),
        }),
        packing: packing(config),
        seed: entropy::seed(),
    }
}

/// The small files lie where the queue does.
fn in_folder(config: Config, data_dir: PathBuf) -> Config {
    let gateway = Gateway { data_dir, ..config.gateway };
    Config { gateway, ..config }
}

/// What is done to records before they are written. The agent's own are not compressed: they are few.
fn packing(config: &Config) -> Packing {
    let lanes = config.lanes.iter().filter(|lane| lane.lz4);
    Packing { lz4: lanes.map(|lane| lane.name.clone()).collect(), keys: keys(&config.gateway) }
}

/// The keys that the configuration names.
pub fn keys(gateway: &Gateway) -> Keys {
    let former = gateway.former_keys.iter().map(EncryptionKey::bytes);
    Keys::new(gateway.encryption_key.as_ref().map(EncryptionKey::bytes), former)
}

fn tell(queue: &Queue, recovery: &Recovery) {
    let standing = queue.standing();
    if let Some(Newer { path, version }) = standing.newer.as_ref().filter(|_| standing.aside) {
        let (file, folder) = (path.display(), standing.root.display());
        tracing::error!(%file, version, %folder, "a newer agent wrote the data folder: nothing there is touched or sent, records go to a folder beside; install the newer agent again, which takes them over");
    }
    let (waiting, stream) = (recovery.waiting, queue.stream());
    tracing::info!(waiting, %stream, fresh = recovery.fresh, "queue open");
    for (lane, waiting) in &recovery.orphans {
        tracing::warn!(
            lane,
            waiting,
            "records wait in a lane that is not configured; they stay until it is again"
        );
    }
}

/// A lane costs about a segment in memory: all of them together take a quarter of `memory`.
fn segment_bytes(config: &Config) -> u64 {
    let share = config.limits.memory_bytes / 4 / config.all_lanes().count().max(1) as u64;
    share.clamp(1 << 20, 8 << 20)
}

/// What apps may make the agent hold: half of `memory`; the rest is for segments and for what is
/// on its way to the broker.
fn intake_bytes(config: &Config) -> usize {
    usize::try_from(config.limits.memory_bytes / 2).unwrap_or(usize::MAX)
}

fn ordering(order: Order) -> Ordering {
    match order {
        Order::None => Ordering::None,
        Order::Key => Ordering::Key,
        Order::Lane => Ordering::Lane,
    }
}

fn intake(
    config: &Config,
    queue: Queue,
    report: Arc<Report>,
    register: Register,
    files: OpenFiles,
) -> Intake {
    let http_limits =
        config.upstream.as_ref().is_some_and(|upstream| upstream.transport == Transport::Http);
    let options = intake::Options {
        memory_bytes: intake_bytes(config),
        http_limits,
        routes: config.routes.clone(),
        clients: config.clients.clone(),
        register: Some(register),
        files,
        ..intake::Options::default()
    };
    let default = &config.default_lane().name;
    let lane = |lane: &crate::config::Lane| LaneInfo {
        name: lane.name.clone(),
        topic: lane.topic.clone(),
        default: lane.name == *default,
        ordering: ordering(lane.order),
    };
    let lanes: Vec<LaneInfo> = config.lanes.iter().map(lane).collect();
    let queued = Queued::new(queue, lanes, move || report.status());
    Intake::new(Arc::new(queued), options, fresh_id)
}

/// Ids in the order of time, so that they compress and sort well.
fn fresh_id() -> RecordId {
    RecordId::from(Uuid::now_v7())
}

/// Writes down what time it was, as it is learned.
async fn remember(mut known: KnownTime, stop: CancellationToken) {
    loop {
        let ended = timeout(REMEMBER_EVERY, stop.cancelled()).await.is_ok();
        let write = move || {
            known.save();
            known
        };
        match tokio::task::spawn_blocking(write).await {
            Ok(written) if !ended => known = written,
            _ => return,
        }
    }
}

/// `part`; however it ends, `_ended` is dropped then.
async fn until_ended(part: impl Future<Output = ()>, _ended: DropGuard) {
    part.await;
}

async fn serve_desk(
    listener: tokio::net::UnixListener,
    files: OpenFiles,
    desk: Desk,
    stop: CancellationToken,
) {
    let stopped = async move { stop.cancelled().await };
    if let Err(error) = control::serve(listener, files, desk, stopped).await {
        tracing::error!(%error, "the control socket ended");
    }
}
