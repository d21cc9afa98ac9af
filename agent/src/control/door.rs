//! Where the status page is, and what lets in there. The one answer of the control socket with a
//! secret in it: who may ask for it may read the agent's configuration as well.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::config;

/// `GET /v1/admin`: `None` without `[listen.admin]`.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Door {
    /// Where it listens.
    pub admin: Option<AdminAt>,
}

/// What `[listen.admin]` says. It has no `Debug`, so that its token stands in no log.
#[derive(Clone, Serialize, Deserialize)]
pub struct AdminAt {
    /// Address and port.
    pub address: SocketAddr,
    /// Names by which this machine may be asked.
    pub hosts: Vec<String>,
    /// The token, where there is one.
    pub token: Option<String>,
}

impl Door {
    /// As the configuration has it.
    pub fn of(settings: Option<&config::Admin>) -> Self {
        let at = |config::Admin { address, token, hosts }: &config::Admin| AdminAt {
            address: *address,
            hosts: hosts.clone(),
            token: token.as_ref().map(|token| token.reveal().to_owned()),
        };
        Self { admin: settings.map(at) }
    }
}
