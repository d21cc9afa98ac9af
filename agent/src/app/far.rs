//! The way to RocketMQ.

use std::path::PathBuf;
use std::sync::Arc;

use spillway_protocol::dial::{Carried, CertificateTime};
use uuid::Uuid;

use super::access;
use crate::clock::WallClock;
use crate::config::{Config, Kept, Transport};
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

/// The way to RocketMQ that the configuration describes.
pub fn upstream(
    config: &Config,
    upstream: &crate::config::Upstream,
    clock: &Arc<dyn WallClock>,
) -> Result<Arc<dyn Upstream>, UpstreamError> {
    let time = KnownTime::load(&config.gateway.data_dir).certificates();
    Far { clock, time: &time, carried: &Carried::default() }.connected(upstream, None)
}

/// What ways to the far end are made with.
pub(super) struct Far<'a> {
    pub(super) clock: &'a Arc<dyn WallClock>,
    /// By which certificates are judged.
    pub(super) time: &'a CertificateTime,
    /// Where bytes are counted.
    pub(super) carried: &'a Carried,
}

impl Far<'_> {
    /// The way to RocketMQ, if the configuration has one, which is that in `file`, or that of `kept`.
    pub(super) fn upstream(
        &self,
        config: &Config,
        file: &str,
        kept: &Kept,
    ) -> Result<Option<Arc<dyn Upstream>>, UpstreamError> {
        let source = access::source(PathBuf::from(file), kept.clone());
        let upstream = config.upstream.as_ref();
        upstream.map(|upstream| self.connected(upstream, Some(source))).transpose()
    }

    /// The way to RocketMQ; refused credentials are read again from `source`.
    pub(super) fn connected(
        &self,
        upstream: &crate::config::Upstream,
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
