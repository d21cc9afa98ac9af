//! From an address to a byte stream: name, TCP, TLS.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::BuildError;
use crate::config;
use crate::upstream::tls;

/// Name, TCP and TLS of one endpoint.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Quiet connections are tested this often, so that NAT keeps them and a dead peer is noticed.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
const TCP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const TCP_KEEPALIVE_RETRIES: u32 = 3;
/// A connection whose bytes are not even acknowledged for so long is dead.
const TCP_UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// What HTTP/2 runs on.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// One access point, ready to be dialled.
pub(super) struct Target {
    /// `host:port`, for people.
    pub(super) address: String,
    /// Scheme and authority of requests.
    pub(super) origin: Uri,
    pub(super) host: String,
    pub(super) port: u16,
    /// Asked of the TCP connector, which knows plain http only.
    tcp: Uri,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// The access points in the order configured.
pub(super) fn targets(upstream: &config::Upstream) -> Result<Vec<Target>, BuildError> {
    if upstream.endpoints.is_empty() {
        return Err(BuildError::NoEndpoint);
    }
    let connector = match upstream.endpoints.iter().any(|endpoint| endpoint.tls) {
        true => Some(tls_connector(&upstream.tls)?),
        false => None,
    };
    let target = |endpoint| target(endpoint, &upstream.tls, connector.as_ref());
    upstream.endpoints.iter().map(target).collect()
}

fn tls_connector(tls: &config::Tls) -> Result<TlsConnector, BuildError> {
    let mut config = tls::client_config(tls)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn target(
    endpoint: &config::Endpoint,
    tls: &config::Tls,
    connector: Option<&TlsConnector>,
) -> Result<Target, BuildError> {
    let host = endpoint.host.trim_matches(['[', ']']).to_owned();
    let address = match host.contains(':') {
        true => format!("[{host}]:{}", endpoint.port),
        false => format!("{host}:{}", endpoint.port),
    };
    let uri = |scheme| {
        Uri::try_from(format!("{scheme}://{address}"))
            .map_err(|_| BuildError::Endpoint(address.clone()))
    };
    let name = tls.server_name.as_ref().unwrap_or(&host);
    let tls = match connector.filter(|_| endpoint.tls) {
        None => None,
        Some(connector) => {
            let name = ServerName::try_from(name.clone())
                .map_err(|_| BuildError::ServerName(name.clone()))?;
            Some((connector.clone(), name))
        }
    };
    Ok(Target {
        origin: uri(if endpoint.tls { "https" } else { "http" })?,
        tcp: uri("http")?,
        host,
        port: endpoint.port,
        tls,
        address,
    })
}

impl Target {
    /// Connects within the deadline, or says what failed.
    pub(super) async fn dial(&self) -> Result<Box<dyn ByteStream>, String> {
        match timeout(CONNECT_DEADLINE, self.dial_patiently()).await {
            Ok(result) => result.map_err(|reason| format!("{}: {reason}", self.address)),
            Err(_) => Err(format!(
                "{}: no connection within {} s",
                self.address,
                CONNECT_DEADLINE.as_secs()
            )),
        }
    }

    async fn dial_patiently(&self) -> Result<Box<dyn ByteStream>, String> {
        let stream = self.dial_tcp().await?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some((connector, name)) => connector
                .connect(name.clone(), stream)
                .await
                .map(|stream| Box::new(stream) as Box<dyn ByteStream>)
                .map_err(|error| format!("TLS: {error}")),
        }
    }

    async fn dial_tcp(&self) -> Result<TcpStream, String> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_keepalive(Some(TCP_KEEPALIVE));
        connector.set_keepalive_interval(Some(TCP_KEEPALIVE_INTERVAL));
        connector.set_keepalive_retries(Some(TCP_KEEPALIVE_RETRIES));
        connector.set_tcp_user_timeout(Some(TCP_UNACKNOWLEDGED));
        // Shared by a name's addresses, so that a dead first one leaves time for the next.
        connector.set_connect_timeout(Some(CONNECT_DEADLINE));
        let stream = connector.call(self.tcp.clone()).await;
        stream.map(hyper_util::rt::TokioIo::into_inner).map_err(|error| chain(&error))
    }
}

/// An error with its causes, which for connections say more than the error itself.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}
