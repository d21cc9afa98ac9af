//! `--metrics ADDRESS`: the far end for Prometheus. No label names a gateway: a fleet has too many. docs/metrics.md
//! lists the families.

mod books;
mod counts;
mod overdue;
mod server;
mod text;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use central_store::Database;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::Failure;
pub(crate) use books::Books;
pub(crate) use counts::{Batch, Counts};

/// Where and how often.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Asked {
    /// Answer GET /metrics on this address, or on this port of 127.0.0.1.
    #[arg(long, value_name = "ADDRESS or PORT", value_parser = address)]
    metrics: Option<SocketAddr>,
    /// How often the books of all gateways are looked through for the metrics.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    metrics_every: Duration,
    /// A gateway of which nothing came for so long counts as silent.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    silent_after: Duration,
    /// Numbers that are neither stored nor explained count as missing, not as on their way, when their
    /// gateway went on for so long since they are known, and as long again.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    missing_after: Duration,
}

/// A port by itself is one of loopback.
fn address(text: &str) -> Result<SocketAddr, String> {
    let port = text.parse::<u16>().map(|port| (Ipv4Addr::LOCALHOST, port).into());
    let address = port.or_else(|_| text.parse::<SocketAddr>());
    address
        .map_err(|_| "write a port such as 9466, or an address such as 127.0.0.1:9466".to_owned())
}

/// What is told of all topics.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// One a topic.
    pub(crate) topics: Vec<Arc<Counts>>,
    /// `None` until they were looked through once.
    pub(crate) books: Option<Books>,
}

/// Serves until it is dropped.
pub(crate) struct Metrics(Vec<tokio::task::JoinHandle<()>>);

impl Metrics {
    /// Begins to listen and to look, where that is wanted.
    pub(crate) async fn start(
        options: &Asked,
        topics: Vec<Arc<Counts>>,
        database: &Database,
    ) -> Result<Self, Failure> {
        let Some(address) = options.metrics else { return Ok(Self(Vec::new())) };
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| format!("--metrics {address}: {error}"))?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "metrics can be read from other machines, without a password");
        }
        tracing::info!(%address, "metrics");
        let (sender, receiver) = watch::channel(Told { topics, books: None });
        let looking = books::look(database.clone(), options.clone().into(), sender);
        Ok(Self(vec![tokio::spawn(server::serve(listener, receiver)), tokio::spawn(looking)]))
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl From<Asked> for books::Rhythm {
    fn from(options: Asked) -> Self {
        Self {
            every: options.metrics_every,
            silent_after: options.silent_after,
            missing_after: options.missing_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_by_itself_is_loopbacks() {
        assert_eq!(address("9466").unwrap(), "127.0.0.1:9466".parse().unwrap());
        assert_eq!(address("[::1]:1").unwrap(), "[::1]:1".parse().unwrap());
        assert!(address("host:1").is_err() && address("70000").is_err());
    }
}
