//! The way to RocketMQ that the configuration describes.

use std::path::PathBuf;
use std::sync::Arc;

use spillway_protocol::dial::{Carried, CertificateTime, Endpoint};
use uuid::Uuid;

use super::access::Origin;
use super::standing::SharedStanding;
use super::task::Task;
use super::{access, keys, network};
use crate::clock::WallClock;
use crate::config::{self, Config, Kept, Transport};
use crate::drain::DrainHandle;
use crate::known_time::KnownTime;
use crate::upstream::grpc::{self, GrpcUpstream};
use crate::upstream::http::{self, HttpUpstream};
use crate::upstream::{CredentialsSource, Upstream};

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

/// The way to RocketMQ that the configuration describes. Must be called within a tokio runtime.
pub fn upstream(
    config: &Config,
    upstream: &config::Upstream,
    clock: &Arc<dyn WallClock>,
) -> Result<Arc<dyn Upstream>, UpstreamError> {
    let time = KnownTime::load(&config.gateway.data_dir).certificates();
    let source = upstream.access.command.as_ref().map(|words| access::command(words, clock));
    let (carried, standing) = (&Carried::default(), &SharedStanding::default());
    Far { clock, time: &time, carried, standing }.connected(upstream, source)
}

/// What makes it another far end, whichever keys and ways lead there.
pub(super) fn place(upstream: &config::Upstream) -> (Transport, &[Endpoint], Option<&str>) {
    (upstream.transport, &upstream.endpoints, upstream.namespace.as_deref())
}

/// Tells `drain` what becomes of the way and of its access keys.
pub(super) fn follow(upstream: Arc<dyn Upstream>, drain: Arc<DrainHandle>) -> Task {
    Task::spawn(|stop| async move {
        let keys = keys::follow(upstream.clone(), drain.clone(), stop.clone());
        tokio::join!(keys, network::follow(upstream, drain, stop));
    })
}

/// What ways to the far end are made with.
pub(super) struct Far<'a> {
    pub(super) clock: &'a Arc<dyn WallClock>,
    /// By which certificates are judged.
    pub(super) time: &'a CertificateTime,
    /// Where bytes are counted.
    pub(super) carried: &'a Carried,
    /// Says whether what is in force is the file's.
    pub(super) standing: &'a SharedStanding,
}

impl Far<'_> {
    /// The way to RocketMQ, if the configuration has one, which is that in `file`, or that of `kept`.
    pub(super) fn upstream(
        &self,
        config: &Config,
        file: &str,
        kept: &Kept,
    ) -> Result<Option<Arc<dyn Upstream>>, UpstreamError> {
        let Some(upstream) = &config.upstream else { return Ok(None) };
        let standing = self.standing.clone();
        let (file, kept) = (PathBuf::from(file), kept.clone());
        let origin = Origin { file, kept, standing };
        let source = access::source(origin, upstream, self.clock);
        self.connected(upstream, Some(source)).map(Some)
    }

    /// The way to RocketMQ; access keys are read again from `source`.
    pub(super) fn connected(
        &self,
        upstream: &config::Upstream,
        source: Option<CredentialsSource>,
    ) -> Result<Arc<dyn Upstream>, UpstreamError> {
        let (clock, time, carried) = (self.clock.clone(), self.time.clone(), self.carried.clone());
        Ok(match upstream.transport {
            Transport::Http => {
                let http = HttpUpstream::with_time(upstream, clock, time, carried)?;
                match source {
                    Some(source) => Arc::new(http.reading_credentials(source)),
                    None => Arc::new(http),
                }
            }
            Transport::Grpc => {
                let client_id = format!("spillway@{}", Uuid::new_v4().simple());
                let grpc = GrpcUpstream::with_time(upstream, client_id, clock, time, carried)?;
                match source {
                    Some(source) => Arc::new(grpc.reading_credentials(source)),
                    None => Arc::new(grpc),
                }
            }
        })
    }
}
