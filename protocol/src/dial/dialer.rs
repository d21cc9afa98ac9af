//! TCP to an endpoint, or to the proxy before it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::net::TcpStream;
use tower_service::Service;

use super::carried::Counted;
use super::names::Names;
use super::{Carried, Endpoint, Proxy, chain};

/// Quiet connections are tested this often, so that NAT keeps them and a dead peer is noticed.
/// HTTP/2 pings would do the same, but RocketMQ's proxy punishes them with a GOAWAY.
pub(super) const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
const TCP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const TCP_KEEPALIVE_RETRIES: u32 = 3;
/// A connection whose bytes are not even acknowledged for so long is dead.
const TCP_UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// How all connections of one far end are made. Clones share what names were found to mean.
#[derive(Debug, Clone, Default)]
pub struct Dialer {
    proxy: Option<Arc<Proxy>>,
    names: Names,
    carried: Carried,
}

impl Dialer {
    /// Connections go through `proxy`, where there is one.
    pub fn new(proxy: Option<Proxy>) -> Self {
        let dialer = Self { proxy: proxy.map(Arc::new), ..Self::default() };
        if let Some(proxy) = &dialer.proxy {
            dialer.expect(&proxy.endpoint().host);
        }
        dialer
    }

    /// What its connections carry is counted there.
    #[must_use]
    pub fn counting(self, carried: Carried) -> Self {
        Self { carried, ..self }
    }

    /// The proxy on the way.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_deref()
    }

    /// Addresses to which there has to be a route: of the proxy, else of the endpoints, as their
    /// names were last found to mean. Empty before a name was asked.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.names.addresses()
    }

    /// The last connection led nowhere, or broke: the next begins with another address of the
    /// same name, where it has several.
    pub fn turn(&self) {
        self.names.turn();
    }

    /// Connections will go to `endpoint`.
    pub(super) fn expect_endpoint(&self, endpoint: &Endpoint) {
        if self.proxy.is_none() {
            self.expect(&endpoint.host);
        }
    }

    /// An address need not be asked for.
    fn expect(&self, host: &str) {
        if let Ok(address) = host.parse() {
            self.names.note(host, vec![address]);
        }
    }

    /// Connects within `deadline`, which all addresses of a name share.
    ///
    /// # Errors
    /// What failed.
    pub(super) async fn dial(
        &self,
        endpoint: &Endpoint,
        deadline: Duration,
    ) -> Result<Counted<TcpStream>, String> {
        let Some(proxy) = &self.proxy else {
            return self.tcp(endpoint, deadline).await;
        };
        let reached = self.tcp(proxy.endpoint(), deadline).await;
        let mut stream = reached.map_err(|reason| format!("no way to the proxy: {reason}"))?;
        proxy.connect(&mut stream, &endpoint.authority()).await?;
        Ok(stream)
    }

    async fn tcp(&self, hop: &Endpoint, deadline: Duration) -> Result<Counted<TcpStream>, String> {
        let mut connector = HttpConnector::new_with_resolver(self.names.clone());
        connector.set_nodelay(true);
        connector.set_keepalive(Some(TCP_KEEPALIVE));
        connector.set_keepalive_interval(Some(TCP_KEEPALIVE_INTERVAL));
        connector.set_keepalive_retries(Some(TCP_KEEPALIVE_RETRIES));
        connector.set_tcp_user_timeout(Some(TCP_UNACKNOWLEDGED));
        // Shared by a name's addresses, so that a dead first one leaves time for the next.
        connector.set_connect_timeout(Some(deadline));
        let uri = Uri::try_from(format!("http://{}", hop.authority()));
        let uri = uri.map_err(|_| format!("{} is not a host and a port", hop.authority()))?;
        self.carried.opening();
        let stream = connector.call(uri).await.map_err(|error| chain(&error))?;
        Ok(Counted::new(stream.into_inner(), self.carried.clone()))
    }
}
