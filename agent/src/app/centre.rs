//! Wires what the centre asks of this gateway.

use std::sync::Arc;

use spillway_protocol::dial::{Carried, CertificateTime, TlsError, tls};

use super::own;
use crate::centre::{self, Board, BuildError, Centre, Client, Means};
use crate::clock::WallClock;
use crate::config::{Config, Tls};
use crate::drain::DrainHandle;
use crate::entropy;
use crate::known_time::KnownTime;
use crate::own::Answers;
use crate::queue::Queue;

/// The way to the centre cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No authority to trust.
    #[error("control.ca: {0}")]
    Tls(#[from] TlsError),
    /// Its address.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// The way to the centre's page, where there is one; what it carries is counted at `carried`.
pub(super) fn client(
    config: &Config,
    time: &CertificateTime,
    carried: &Carried,
) -> Result<Option<Client>, ClientError> {
    let Some(control) = &config.control else { return Ok(None) };
    let tls = match control.url.starts_with("https:") {
        true => tls::client_config(&Tls { ca: control.ca.clone(), ..Tls::default() }, time)?,
        false => tls::no_tls()?,
    };
    let proxy = config.upstream.as_ref().and_then(|upstream| upstream.proxy.as_ref());
    let proxy = proxy.filter(|_| control.proxy);
    Ok(Some(Client::new(&control.url, tls, proxy, carried)?))
}

/// Pulls the centre's page once, where there is one, and does nothing of it: how many requests stand on it.
///
/// # Errors
/// Why it is not read.
pub async fn probe(config: &Config) -> Option<Result<usize, String>> {
    let control = config.control.as_ref()?;
    let time = KnownTime::load(&config.gateway.data_dir).certificates();
    let client = match client(config, &time, &Carried::default()) {
        Ok(client) => client?,
        Err(error) => return Some(Err(error.to_string())),
    };
    Some(centre::probe(client, &config.gateway.id, &control.public_key).await)
}

/// All that [`client`] and [`start`] go by.
pub(super) fn part(config: &Config) -> impl PartialEq + use<> {
    let proxy = config.upstream.as_ref().and_then(|upstream| upstream.proxy.clone());
    let topic = config.report.as_ref().map(|report| report.topic.clone());
    (config.control.clone(), proxy, topic, config.audit.is_some())
}

/// Starts it, where it is configured.
pub(super) fn start(
    config: &Config,
    client: Client,
    queue: &Queue,
    drain: &DrainHandle,
    board: Board,
    clock: Arc<dyn WallClock>,
) -> Option<Centre> {
    let control = config.control.clone()?;
    let topic = config.report.as_ref().map(|report| report.topic.clone());
    let means = Means {
        gateway: config.gateway.id.clone(),
        data_dir: config.gateway.data_dir.clone(),
        queue: queue.clone(),
        into: config.resend_lane()?.name,
        answers: own::post(config, queue).zip(topic).map(|(post, topic)| Answers::new(post, topic)),
        connection: drain.connection(),
        board,
        clock,
        seed: entropy::seed(),
    };
    Some(Centre::start(control, client, means))
}
