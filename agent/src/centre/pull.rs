//! One GET of the page, bounded in bytes and time, without redirects or repeats.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ETAG, HeaderValue, IF_NONE_MATCH, USER_AGENT};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy as client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use spillway_protocol::control::PAGE_BYTES_MAX;
use spillway_protocol::dial::{
    self, Carried, Connector, Dialer, Endpoint, Proxy, Target, TargetError,
};
use tokio::time::timeout;

/// Longest time of a pull.
const DEADLINE: Duration = Duration::from_secs(30);
/// Longest wait for a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Longest ETag that is kept, in bytes.
const ETAG_MAX: usize = 256;
const AGENT: &str = concat!("spillway/", env!("CARGO_PKG_VERSION"));

/// The way to the page could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Its address.
    #[error("control.url: {0} cannot be asked for; write for example \"https://centre.example/x\"")]
    Url(String),
    /// Its host.
    #[error("control.url: {0}")]
    Target(#[from] TargetError),
}

/// The way to one page.
pub struct Client {
    client: client::Client<Connector, Empty<Bytes>>,
    uri: Uri,
}

impl Client {
    /// To the page at `url`, trusting as `tls` says where it is https, through `proxy` unless it is
    /// on this machine. What its connections carry is counted at `carried`, as no record's.
    ///
    /// # Errors
    /// It cannot be prepared; see [`BuildError`].
    pub fn new(
        url: &str,
        tls: ClientConfig,
        proxy: Option<&Proxy>,
        carried: &Carried,
    ) -> Result<Self, BuildError> {
        let uri: Uri = url.parse().map_err(|_| BuildError::Url(url.to_owned()))?;
        let endpoint = endpoint(&uri).ok_or_else(|| BuildError::Url(url.to_owned()))?;
        let proxy = proxy.filter(|_| !endpoint.is_loopback()).cloned();
        let dialer = Dialer::new(proxy).counting(carried.aside());
        let target = Arc::new(Target::new(&endpoint, Some(&Arc::new(tls)), &dialer)?);
        let client = client::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            // The next pull is far: nothing is kept open for it.
            .pool_max_idle_per_host(0)
            .build(Connector::new(target, CONNECT_DEADLINE));
        Ok(Self { client, uri })
    }
}

fn endpoint(uri: &Uri) -> Option<Endpoint> {
    let tls = uri.scheme_str() == Some("https");
    let host = uri.host()?.trim_matches(['[', ']']).to_owned();
    Some(Endpoint { host, port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }), tls })
}

/// No page came.
#[derive(Debug, thiserror::Error)]
pub(super) enum PullError {
    #[error("it cannot be pulled: {0}; it is tried again")]
    Broken(String),
    #[error("it cannot be pulled: the answer is {0}; it is tried again")]
    Status(StatusCode),
    #[error("it has more than {PAGE_BYTES_MAX} bytes and is not read; put fewer requests on it")]
    TooLarge,
}

/// What came.
pub(super) enum Pulled {
    /// What was kept is the newest.
    Unchanged,
    /// A page, not looked at yet.
    New { body: Vec<u8>, etag: Option<HeaderValue> },
}

/// See the module.
pub(super) struct Puller {
    client: Client,
    etag: Option<HeaderValue>,
}

impl Puller {
    pub(super) fn new(client: Client) -> Self {
        Self { client, etag: None }
    }

    pub(super) async fn pull(&self) -> Result<Pulled, PullError> {
        let late = |_| PullError::Broken(format!("no answer within {} s", DEADLINE.as_secs()));
        timeout(DEADLINE, self.ask()).await.map_err(late)?
    }

    async fn ask(&self) -> Result<Pulled, PullError> {
        let Client { client, uri } = &self.client;
        let mut request = Request::get(uri).header(USER_AGENT, AGENT);
        if let Some(etag) = &self.etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let request = request.body(Empty::new()).map_err(|error| broken(&error))?;
        let answer = client.request(request).await.map_err(|error| broken(&error))?;
        match answer.status() {
            StatusCode::OK => {
                let etag = answer.headers().get(ETAG).filter(|etag| etag.len() <= ETAG_MAX);
                let etag = etag.cloned();
                Ok(Pulled::New { body: read(answer).await?, etag })
            }
            StatusCode::NOT_MODIFIED if self.etag.is_some() => Ok(Pulled::Unchanged),
            status => Err(PullError::Status(status)),
        }
    }

    /// The page with this tag was good: it need not come again.
    pub(super) fn keep(&mut self, etag: Option<HeaderValue>) {
        self.etag = etag;
    }
}

async fn read(answer: Response<Incoming>) -> Result<Vec<u8>, PullError> {
    let (mut incoming, mut body) = (answer.into_body(), Vec::new());
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        let chunk = frame.data_ref().map_or(&[][..], |data| data);
        if body.len() + chunk.len() > PAGE_BYTES_MAX {
            return Err(PullError::TooLarge);
        }
        body.extend_from_slice(chunk);
    }
    Ok(body)
}

/// The error with its causes: hyper's own words say only that something failed.
fn broken(error: &dyn std::error::Error) -> PullError {
    PullError::Broken(dial::chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_says_where_to_dial() {
        let found = |url: &str| endpoint(&url.parse().unwrap()).map(|endpoint| endpoint.url());
        for (url, wanted) in [
            ("https://centre.example/x?g=1", "https://centre.example:443"),
            ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080"),
            ("http://[::1]/x", "http://[::1]:80"),
        ] {
            assert_eq!(found(url).unwrap(), wanted);
        }
        assert_eq!(found("/x"), None);
    }
}
