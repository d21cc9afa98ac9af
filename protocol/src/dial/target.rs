//! From an address to a byte stream: name, TCP, TLS.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::{CertificateTime, Endpoint, Tls, TlsError, chain, tls};

/// Name, TCP and TLS of one endpoint.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Quiet connections are tested this often, so that NAT keeps them and a dead peer is noticed.
/// HTTP/2 pings would do the same, but RocketMQ's proxy punishes them with a GOAWAY.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
const TCP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const TCP_KEEPALIVE_RETRIES: u32 = 3;
/// A connection whose bytes are not even acknowledged for so long is dead.
const TCP_UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// What HTTP/2 runs on.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// One access point, ready to be dialled.
pub struct Target {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Scheme and authority of requests.
    pub origin: Uri,
    /// Asked of the TCP connector, which knows plain http only.
    tcp: Uri,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// An endpoint cannot be dialled.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Its host cannot be part of an address, or no certificate can name it.
    #[error("{0} is not a host and a port; write \"host:port\"")]
    Endpoint(String),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Access points for HTTP/2, in their order.
///
/// # Errors
/// One of them cannot be dialled, or `tls` cannot be used. Certificates have to be good at `time`.
pub fn targets(
    endpoints: &[Endpoint],
    tls: &Tls,
    time: &CertificateTime,
) -> Result<Vec<Target>, TargetError> {
    let connector = match endpoints.iter().any(|endpoint| endpoint.tls) {
        true => {
            let mut config = tls::client_config(tls, time)?;
            config.alpn_protocols = vec![b"h2".to_vec()];
            Some(TlsConnector::from(Arc::new(config)))
        }
        false => None,
    };
    endpoints.iter().map(|endpoint| target(endpoint, connector.as_ref())).collect()
}

fn target(endpoint: &Endpoint, connector: Option<&TlsConnector>) -> Result<Target, TargetError> {
    let unusable = || TargetError::Endpoint(endpoint.authority());
    let uri = |text: String| Uri::try_from(text).map_err(|_| unusable());
    let tls = match connector.filter(|_| endpoint.tls) {
        None => None,
        Some(connector) => {
            let name = ServerName::try_from(endpoint.host.clone()).map_err(|_| unusable())?;
            Some((connector.clone(), name))
        }
    };
    Ok(Target {
        origin: uri(endpoint.url())?,
        tcp: uri(format!("http://{}", endpoint.authority()))?,
        endpoint: endpoint.clone(),
        tls,
    })
}

impl Target {
    /// Connects within 10 s.
    ///
    /// # Errors
    /// Where, and what failed.
    pub async fn dial(&self) -> Result<Box<dyn ByteStream>, String> {
        let address = self.endpoint.authority();
        let seconds = CONNECT_DEADLINE.as_secs();
        match timeout(CONNECT_DEADLINE, self.dial_patiently()).await {
            Ok(dialled) => dialled.map_err(|reason| format!("{address}: {reason}")),
            Err(_) => Err(format!("{address}: no connection within {seconds} s")),
        }
    }

    async fn dial_patiently(&self) -> Result<Box<dyn ByteStream>, String> {
        let stream = self.dial_tcp().await?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some((connector, name)) => match connector.connect(name.clone(), stream).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(error) => Err(format!("TLS: {error}")),
            },
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
        stream.map(TokioIo::into_inner).map_err(|error| chain(&error))
    }
}
