//! What of the intake may change while connections are open: each request finds it as it is then.

use std::sync::{Arc, PoisonError, RwLock};

use super::clients::{Clients, Rights};
use super::{Intake, Options, Who};
use crate::config::{Client, Route};

/// See the module.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Bytes that clients may make the agent hold, all together.
    pub memory_bytes: usize,
    /// The upstream is the MQ HTTP API, or there is none yet: a topic has at most 64 characters, and a
    /// body that XML cannot carry at most 3 MiB.
    pub http_limits: bool,
    /// The upstream is the MQ HTTP API, which carries a time of delivery.
    pub delays: bool,
    /// Where records go by their properties.
    pub routes: Vec<Route>,
    /// Who may use the socket; with none, whoever reaches it.
    pub clients: Vec<Client>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            memory_bytes: 32 * 1024 * 1024,
            http_limits: false,
            delays: false,
            routes: Vec::new(),
            clients: Vec::new(),
        }
    }
}

/// [`Rules`] as they are applied.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) http_limits: bool,
    pub(super) delays: bool,
    pub(super) routes: Vec<Route>,
    pub(super) clients: Clients,
}

impl InForce {
    pub(super) fn first(options: &Options) -> Arc<RwLock<Arc<Self>>> {
        Arc::new(RwLock::new(Arc::new(Self::new(&options.rules, options, None))))
    }

    fn new(rules: &Rules, options: &Options, former: Option<&Self>) -> Self {
        let former = former.map(|former| &former.clients);
        let clients = Clients::new(&rules.clients, options.register.clone(), former);
        let Rules { http_limits, delays, routes, .. } = rules;
        Self { http_limits: *http_limits, delays: *delays, routes: routes.clone(), clients }
    }
}

impl Intake {
    /// Has `rules` from the next request on, of all connections.
    pub fn change(&self, rules: &Rules) {
        self.budget.resize(rules.memory_bytes);
        let mut present = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        *present = Arc::new(InForce::new(rules, &self.options, Some(&present)));
    }

    pub(super) fn in_force(&self) -> Arc<InForce> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What this connection may at this moment.
    pub(super) fn rights(&self) -> Rights {
        self.rights_by(&self.in_force())
    }

    /// The same by `rules`.
    pub(super) fn rights_by(&self, rules: &InForce) -> Rights {
        match &self.peer {
            Who::Trusted => Rights::All,
            Who::Peer(peer) => rules.clients.rights(*peer),
            Who::Holder(guest) => Rights::Guest(Arc::clone(guest)),
        }
    }
}
