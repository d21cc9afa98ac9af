//! The agent starts.

use std::sync::{Arc, RwLock};

use futures::FutureExt;
use spillway_protocol::dial::Carried;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::accepted::AcceptedFile;
use super::budget::BudgetFile;
use super::certificates::Certificates;
use super::change::Plan;
use super::choice::Choice;
use super::core::{Core, reason};
use super::doors::Doors;
use super::far::Far;
use super::inquiry::Inquiry;
use super::lower::{Lower, Told};
use super::pace::PaceFile;
use super::reload::Reloader;
use super::report::{self, Report};
use super::standing::{Force, SharedStanding, Standing};
use super::storage::{self, in_folder};
use super::upper::{Prepared, Upper};
use super::written::Written;
use super::{Agent, StartError, beside, centre, entrance, remember, serve_desk, until_ended};
use crate::attendance::Register;
use crate::clock::WallClock;
use crate::config::Config;
use crate::drain::{self, Drain};
use crate::entropy;
use crate::intake::{self, LaneTable};
use crate::known_time::KnownTime;
use crate::open_files::OpenFiles;
use crate::queue::Queue;
use crate::service::Handed;
use crate::upstream::Upstream;

impl Agent {
    /// Starts everything. From the moment this returns, records are taken in, on the sockets that
    /// the service manager has `handed` over, else on those that are configured.
    ///
    /// # Errors
    /// See [`StartError`]; the parts that had started are stopped again.
    pub async fn start(
        mut choice: Choice,
        clock: Arc<dyn WallClock>,
        handed: Handed,
    ) -> Result<Self, StartError> {
        let mut known_time = KnownTime::load(&choice.config.gateway.data_dir);
        let (time, carried) = (known_time.certificates(), Carried::default());
        let certificates = Certificates::of(&choice.config);
        let standing = SharedStanding::default();
        let far = Far { clock: &clock, time: &time, carried: &carried, standing: &standing };
        let mut ready = ways(&mut choice, &far)?;
        // Another agent is seen by its socket first: that message helps more than the lock's.
        let doors = doors(&mut choice, handed).await?;
        let (queue, recovery) = storage::open_queue(&choice.config, &clock)?;
        storage::tell(&queue, &recovery);
        let options = storage::queue_options(&choice.config);
        let takeovers = beside::begin(&choice.config, &queue, options).await;
        let config = in_folder(choice.config.clone(), queue.standing().root);
        known_time.keep_in(&config.gateway.data_dir);
        let pace_file = PaceFile::new(&config.gateway.data_dir);
        let (budget_file, budget) = BudgetFile::open(&config, carried.clone());
        let options = drain::Options::new(&config, recovery.fresh, pace_file.load(), budget);
        let upstream = ready.upstream.clone();
        let lower = lower(&choice, &config, (queue, options, upstream), &far);
        let Doors { intake, control, http, handed_http, front, admin, files } = doors;
        (ready.http, ready.front, ready.admin) = (http, front, admin);
        let mut core = core(&lower, choice, config, (budget_file, ready)).await;
        (core.handed_http, core.certificates) = (handed_http, certificates);
        let lost = core.lost.clone();
        let watched = core.trial.as_ref().map(|trial| trial.over.clone());
        let reloader = Reloader::new(core);
        watched.into_iter().for_each(|over| reloader.watch(over));
        let mut servers = serve(&lower, &reloader, intake, control);
        let stop = || lower.stop.clone();
        servers.extend([
            tokio::spawn(remember(known_time, lower.queue.changed(), stop())),
            tokio::spawn(pace_file.keep(lower.drain.clone(), stop())),
            tokio::spawn(beside::finish(takeovers, stop())),
        ]);
        Ok(Self { lower, reloader, servers, lost, _sockets: files })
    }
}

/// What stays whatever configuration comes later.
fn lower(
    choice: &Choice,
    config: &Config,
    (queue, mut options, upstream): (Queue, drain::Options, Option<Arc<dyn Upstream>>),
    far: &Far<'_>,
) -> Arc<Lower> {
    far.standing.get().clone_from(&choice.standing);
    options.no_upstream = reason(&choice.standing.force, &choice.standing.faults)
        .filter(|_| config.upstream.is_none());
    let (clock, source, fresh) = (far.clock.clone(), Arc::new(queue.clone()), options.fresh);
    let drain = Drain::spawn(options, source, upstream.clone(), entropy::seed(), clock.clone());
    let drain = Arc::new(drain);
    let files = OpenFiles::of_process(config.all_lanes().count());
    let standing = far.standing.clone();
    let report = Report::new(config, standing, queue.clone(), drain.clone(), files.clone());
    let report = Arc::new(report);
    report.show(config, upstream);
    let (register, table) = (Register::default(), LaneTable::new(entrance::lanes(config)));
    let seats = (table.clone(), register.clone(), files.clone());
    let intake = entrance::intake(config, queue.clone(), report.clone(), seats);
    let inquiry =
        Inquiry::running(config, queue.clone(), clock.clone(), report.clone(), drain.clone());
    let told = Told::new(inquiry, config);
    Arc::new(Lower {
        clock,
        data_dir: choice.config.gateway.data_dir.clone(),
        queue,
        fresh,
        drain,
        report,
        register,
        files,
        table,
        intake,
        told: RwLock::new(Arc::new(told)),
        time: far.time.clone(),
        carried: far.carried.clone(),
        stop: CancellationToken::new(),
        intake_ended: CancellationToken::new(),
    })
}

/// The ways to the far end. A resilient start goes on without those that cannot be prepared.
fn ways(choice: &mut Choice, far: &Far<'_>) -> Result<Prepared, StartError> {
    let file = choice.standing.file.clone();
    let mut ready = Prepared::default();
    match far.upstream(&choice.config, &file, &choice.kept) {
        Ok(upstream) => ready.upstream = upstream,
        Err(error) if choice.resilient => {
            choice.config.upstream = None;
            choice.lacks("upstream", &error);
        }
        Err(error) => return Err(error.into()),
    }
    match centre::client(&choice.config, far.time, far.carried) {
        Ok(client) => ready.centre = client,
        Err(error) if choice.resilient => {
            choice.config.control = None;
            choice.lacks("control", &error);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(ready)
}

/// What is listened on. A resilient start goes on without the addresses that cannot be.
async fn doors(choice: &mut Choice, handed: Handed) -> Result<Doors, StartError> {
    let opened = Doors::open(&choice.config.listen, handed, choice.resilient).await;
    let (doors, faults) = opened?;
    for (section, error) in faults {
        match section {
            "listen.admin" => choice.config.listen.admin = None,
            "listen.http" => choice.config.listen.http = None,
            _ => choice.config.listen.mq_http = None,
        }
        choice.lacks(section, &error);
    }
    Ok(doors)
}

impl Choice {
    /// Goes on without a section.
    fn lacks(&mut self, section: &str, error: &impl std::fmt::Display) {
        tracing::error!(section, %error, "cannot be used; the agent goes on without it");
        let Standing { force, faults, file, .. } = &mut self.standing;
        faults.push(format!("{file}: {section}: {error}"));
        if matches!(force, Force::File) {
            *force = Force::Partly;
        }
    }
}

/// Begins all that goes by the configuration.
async fn core(
    lower: &Arc<Lower>,
    choice: Choice,
    config: Config,
    (budget_file, mut ready): (BudgetFile, Prepared),
) -> Core {
    let Choice { standing, kept, former, before, .. } = choice;
    for fault in &standing.faults {
        tracing::error!(fault, state = standing.state(), "the configuration");
    }
    let mut upper = Upper::new(budget_file);
    upper.upstream = ready.upstream.take();
    upper.begin(lower, &config, &Plan::all(), ready.centre.take());
    upper.listen(lower, &config, &mut ready).await;
    let accepted = AcceptedFile::new(&config.gateway.data_dir);
    let refused = former.as_ref().and_then(|former| former.refused.clone());
    let mark = former.as_ref().and_then(|former| former.trial.clone());
    let mut core = Core {
        lower: lower.clone(),
        upper,
        file: standing.file.clone(),
        config,
        certificates: Certificates::default(),
        kept,
        accepted,
        stored: former,
        written: Written::default(),
        trial: None,
        handed_http: None,
        lost: CancellationToken::new(),
    };
    if let (Force::Trial(_), Some(mark), Some(before)) = (&standing.force, mark, before) {
        core.begin_trial(before, mark);
    }
    let refused = refused.filter(|_| matches!(standing.force, Force::FellBack));
    // It is logged, and tried again.
    drop(core.save(refused).await);
    core
}

/// Takes records in, and answers operators.
fn serve(
    lower: &Arc<Lower>,
    reloader: &Reloader,
    sockets: tokio::net::UnixListener,
    control: tokio::net::UnixListener,
) -> Vec<JoinHandle<()>> {
    let serving = intake::serve(sockets, lower.intake.clone(), lower.stop.clone());
    let serving = until_ended(serving, lower.intake_ended.clone().drop_guard());
    let reloading = reloader.clone();
    let reload = move |wish| {
        let reloading = reloading.clone();
        async move { reloading.reload(wish).await }.boxed()
    };
    let desk = lower.desk().reloading(Arc::new(reload));
    let (files, stop) = (lower.files.clone(), lower.stop.clone());
    vec![
        tokio::spawn(serving),
        tokio::spawn(serve_desk(control, files, desk, stop.clone())),
        tokio::spawn(report::sample(lower.report.clone(), stop.clone())),
        tokio::spawn(reloader.clone().store_again(stop)),
    ]
}
