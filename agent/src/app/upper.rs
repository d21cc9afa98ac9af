//! What is ended and begun anew when the configuration changes, each part only where something that
//! it goes by has changed.

use std::sync::Arc;
use std::time::Duration;

use super::admin::Admin;
use super::budget::BudgetFile;
use super::change::Plan;
use super::front::{self, FrontDoor};
use super::listen_http::HttpDoor;
use super::lower::Lower;
use super::task::Task;
use super::{centre, far, own};
use crate::centre::{Centre, Client};
use crate::config::Config;
use crate::degrade;
use crate::own::Own;
use crate::upstream::Upstream;
use tokio::net::TcpListener;

/// See the module.
pub(super) struct Upper {
    pub(super) upstream: Option<Arc<dyn Upstream>>,
    pub(super) own: Option<Own>,
    pub(super) centre: Option<Centre>,
    pub(super) degrading: Option<Task>,
    pub(super) following: Option<Task>,
    pub(super) budget_file: BudgetFile,
    pub(super) counting: Option<Task>,
    pub(super) http: Option<HttpDoor>,
    pub(super) front: Option<FrontDoor>,
    pub(super) admin: Option<Admin>,
}

/// What had to succeed before anything was ended.
#[derive(Default)]
pub(super) struct Prepared {
    pub(super) upstream: Option<Arc<dyn Upstream>>,
    pub(super) centre: Option<Client>,
    pub(super) http: Option<TcpListener>,
    pub(super) front: Option<TcpListener>,
    pub(super) admin: Option<TcpListener>,
}

impl Upper {
    /// Nothing of it runs yet.
    pub(super) fn new(budget_file: BudgetFile) -> Self {
        Self {
            upstream: None,
            own: None,
            centre: None,
            degrading: None,
            following: None,
            budget_file,
            counting: None,
            http: None,
            front: None,
            admin: None,
        }
    }

    /// Ends what `plan` names, the drain last: requests under way get `grace`.
    pub(super) async fn halt(&mut self, lower: &Lower, plan: &Plan, grace: Duration) {
        if let Some(centre) = self.centre.take_if(|_| plan.centre) {
            centre.stop().await;
        }
        if let Some(own) = self.own.take_if(|_| plan.own) {
            own.stop().await;
        }
        let degrading = self.degrading.take_if(|_| plan.lanes || plan.drain);
        let following = self.following.take_if(|_| plan.upstream);
        let counting = self.counting.take_if(|_| plan.budget);
        for task in [degrading, following, counting].into_iter().flatten() {
            task.stop().await;
        }
        if plan.drain {
            lower.drain.halt(grace).await;
        }
    }

    /// Begins by `config` what [`Upper::halt`] ended; the drain runs already.
    pub(super) fn begin(
        &mut self,
        lower: &Lower,
        config: &Config,
        plan: &Plan,
        client: Option<Client>,
    ) {
        let Lower { queue, drain, report, clock, .. } = lower;
        if plan.own {
            self.own = own::start(config, queue, drain, report, &lower.register, clock.clone());
        }
        if plan.centre {
            self.centre = client.and_then(|client| {
                centre::start(config, client, queue, drain, report.board(), clock.clone())
            });
        }
        if plan.lanes || plan.drain {
            let means = degrade::Means {
                queue: queue.clone(),
                drain: drain.clone(),
                lanes: config.lanes.iter().chain(&config.retired).cloned().collect(),
                clock: clock.clone(),
                board: report.degraded(),
            };
            self.degrading = Some(Task::spawn(|stop| degrade::run(means, stop)));
        }
        if plan.budget {
            let file = BudgetFile::of(config);
            self.budget_file = file.clone();
            self.counting = Some(Task::spawn(|stop| file.keep(drain.clone(), stop)));
        }
        if plan.upstream {
            let follow = |upstream| far::follow(upstream, drain.clone());
            self.following = self.upstream.clone().map(follow);
        }
    }

    /// Opens and closes the listeners as `config` says; new addresses are listened on already.
    pub(super) async fn listen(&mut self, lower: &Lower, config: &Config, ready: &mut Prepared) {
        self.listen_http(lower, config, ready.http.take()).await;
        let options = front::options(config);
        let address = options.as_ref().map(|options| options.address);
        if let Some(closed) = self.front.take_if(|front| Some(front.address) != address) {
            closed.close().await;
        }
        match (options, &self.front, ready.front.take()) {
            (Some(options), Some(front), _) => front.change(options),
            (Some(options), None, Some(listener)) => {
                let intake = &lower.intake;
                self.front = Some(FrontDoor::open(listener, options, intake, &lower.clock));
            }
            _ => {}
        }
        let wanted = config.listen.admin.as_ref();
        let closed = self.admin.take_if(|admin| Some(&admin.settings) != wanted);
        if let Some((settings, listener)) = wanted.zip(ready.admin.take()) {
            let files = lower.files.clone();
            self.admin = Some(Admin::start(listener, settings, lower.seen(), files));
        }
        if let Some(closed) = closed {
            closed.stop().await;
        }
    }

    async fn listen_http(&mut self, lower: &Lower, config: &Config, ready: Option<TcpListener>) {
        let settings = config.listen.http.as_ref();
        let address = settings.map(|settings| settings.address);
        if let Some(closed) = self.http.take_if(|http| Some(http.address) != address) {
            closed.close().await;
        }
        match (settings, &self.http, ready) {
            (Some(settings), Some(http), _) => http.change(settings),
            (Some(settings), None, Some(listener)) => {
                self.http = Some(HttpDoor::open(listener, settings, &lower.intake));
            }
            _ => {}
        }
    }
}
