//! The MQ HTTP front that the configuration describes.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::task::Task;
use crate::clock::WallClock;
use crate::config::{Config, Endpoint, MqHttp, Transport, Upstream};
use crate::intake::{self, Front, FrontOptions, Instance, Intake};

/// The front's address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("[listen.mq_http]: cannot listen on {address}: {source}; choose another port")]
pub struct BindError {
    /// The address.
    address: SocketAddr,
    /// What the system says.
    source: std::io::Error,
}

/// Listens, if the configuration asks for it.
pub(super) async fn bind(settings: Option<&MqHttp>) -> Result<Option<TcpListener>, BindError> {
    let Some(&MqHttp { address, .. }) = settings else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).await;
    listener.map(Some).map_err(|source| BindError { address, source })
}

/// The front, and what serves it.
pub(super) struct FrontDoor {
    pub(super) address: SocketAddr,
    front: Arc<Front>,
    task: Task,
}

impl FrontDoor {
    /// Serves what `listener` brings.
    pub(super) fn open(
        listener: TcpListener,
        options: FrontOptions,
        intake: &Intake,
        clock: &Arc<dyn WallClock>,
    ) -> Self {
        let address = options.address;
        let front = Arc::new(Front::new(intake.clone(), options, Arc::clone(clock)));
        let served = front.clone();
        let task = Task::spawn(|stop| intake::serve_mq_http(listener, served, stop));
        Self { address, front, task }
    }

    /// Another configuration, at the same address.
    pub(super) fn change(&self, options: FrontOptions) {
        self.front.change(options);
    }

    /// Closes the address once what is under way is answered.
    pub(super) async fn close(self) {
        self.task.stop().await;
    }
}

/// What the configuration says of the front, if it asks for one.
pub(super) fn options(config: &Config) -> Option<FrontOptions> {
    let settings = config.listen.mq_http.as_ref()?;
    let upstream = config.upstream.as_ref();
    Some(FrontOptions {
        address: settings.address,
        access_keys: settings.access_keys.clone(),
        instance: instance(upstream),
        consume_at: consume_at(upstream),
    })
}

fn instance(upstream: Option<&Upstream>) -> Instance {
    match upstream {
        Some(upstream) if upstream.transport == Transport::Http => {
            Instance::Upstreams(upstream.namespace.clone())
        }
        _ => Instance::Any,
    }
}

fn consume_at(upstream: Option<&Upstream>) -> String {
    let Some(upstream) = upstream else {
        return "the RocketMQ that [upstream] will name; there is none yet".to_owned();
    };
    let endpoints: Vec<String> = upstream.endpoints.iter().map(Endpoint::url).collect();
    let endpoints = endpoints.join(", ");
    match (upstream.transport, &upstream.namespace) {
        (Transport::Http, Some(instance)) => format!("{endpoints} (instance {instance})"),
        (Transport::Http, None) => endpoints,
        (Transport::Grpc, _) => format!("{endpoints}, with a gRPC client of RocketMQ 5"),
    }
}
