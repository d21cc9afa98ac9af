//! From an address to a byte stream: name, TCP, perhaps a proxy, TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{CertificateTime, Dialer, Endpoint, Tls, TlsError, tls};

/// Name, TCP and TLS of one endpoint.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// What HTTP runs on.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

impl Connection for Box<dyn ByteStream> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// One access point, ready to be dialled.
#[derive(Clone)]
pub struct Target {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Scheme and authority of requests.
    pub origin: Uri,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    dialer: Dialer,
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

/// No connection: nothing has been sent.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct DialError {
    /// Where to, and through which proxy.
    pub place: String,
    /// What failed.
    #[source]
    pub problem: DialProblem,
}

/// See [`DialError`].
#[derive(Debug, thiserror::Error)]
pub enum DialProblem {
    /// It took too long.
    #[error("no connection within {} s", .0.as_secs_f32())]
    Late(Duration),
    /// Name, TCP or proxy.
    #[error("{0}")]
    Way(String),
    /// The handshake.
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
}

/// Access points for HTTP/2, in their order, all dialled by `dialer`.
///
/// # Errors
/// One of them cannot be dialled, or `tls` cannot be used. Certificates have to be good at `time`.
pub fn targets(
    endpoints: &[Endpoint],
    tls: &Tls,
    time: &CertificateTime,
    dialer: &Dialer,
) -> Result<Vec<Target>, TargetError> {
    let config = match endpoints.iter().any(|endpoint| endpoint.tls) {
        true => {
            let mut config = tls::client_config(tls, time)?;
            config.alpn_protocols = vec![b"h2".to_vec()];
            Some(Arc::new(config))
        }
        false => None,
    };
    endpoints.iter().map(|endpoint| Target::new(endpoint, config.as_ref(), dialer)).collect()
}

impl Target {
    /// `endpoint`, by `tls` if it speaks TLS.
    ///
    /// # Errors
    /// It cannot be dialled.
    pub fn new(
        endpoint: &Endpoint,
        tls: Option<&Arc<ClientConfig>>,
        dialer: &Dialer,
    ) -> Result<Self, TargetError> {
        let unusable = || TargetError::Endpoint(endpoint.authority());
        let tls = match tls.filter(|_| endpoint.tls) {
            None => None,
            Some(config) => {
                let name = ServerName::try_from(endpoint.host.clone()).map_err(|_| unusable())?;
                Some((TlsConnector::from(Arc::clone(config)), name))
            }
        };
        dialer.expect_endpoint(endpoint);
        Ok(Self {
            origin: Uri::try_from(endpoint.url()).map_err(|_| unusable())?,
            endpoint: endpoint.clone(),
            tls,
            dialer: dialer.clone(),
        })
    }

    /// Connects within [`CONNECT_DEADLINE`].
    ///
    /// # Errors
    /// Where, and what failed.
    pub async fn dial(&self) -> Result<Box<dyn ByteStream>, DialError> {
        self.dial_within(CONNECT_DEADLINE).await
    }

    /// Connects within `deadline`.
    ///
    /// # Errors
    /// Where, and what failed.
    pub async fn dial_within(&self, deadline: Duration) -> Result<Box<dyn ByteStream>, DialError> {
        let dialled = match timeout(deadline, self.dial_patiently(deadline)).await {
            Ok(dialled) => dialled,
            Err(_) => Err(DialProblem::Late(deadline)),
        };
        dialled.map_err(|problem| {
            self.dialer.turn();
            DialError { place: self.place(), problem }
        })
    }

    /// Where it is, and through what, for a person.
    pub fn place(&self) -> String {
        let address = self.endpoint.authority();
        match self.dialer.proxy() {
            None => address,
            Some(proxy) => format!("{address} through the proxy {}", proxy.endpoint().authority()),
        }
    }

    async fn dial_patiently(&self, deadline: Duration) -> Result<Box<dyn ByteStream>, DialProblem> {
        let dialled = self.dialer.dial(&self.endpoint, deadline).await;
        let mut stream = dialled.map_err(DialProblem::Way)?;
        let Some((connector, name)) = &self.tls else {
            stream.establish();
            return Ok(Box::new(stream));
        };
        let handshake = connector.connect(name.clone(), stream).await;
        let mut stream = handshake.map_err(DialProblem::Tls)?;
        stream.get_mut().0.establish();
        Ok(Box::new(stream))
    }
}
