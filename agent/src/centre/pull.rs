//! One GET of the page, bounded in bytes and time, without redirects, proxies or repeats.

use std::time::Duration;

use reqwest::header::{ETAG, HeaderValue, IF_NONE_MATCH};
use reqwest::{Response, StatusCode};
use rustls::ClientConfig;
use spillway_protocol::control::PAGE_BYTES_MAX;
use spillway_protocol::dial::http_client;

/// Longest time of a pull.
const DEADLINE: Duration = Duration::from_secs(30);
/// Longest wait for a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Longest ETag that is kept, in bytes.
const ETAG_MAX: usize = 256;

/// The HTTP client could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client for [control] could not be built: {0}")]
pub struct BuildError(#[from] reqwest::Error);

/// A client that trusts as `tls` says.
///
/// # Errors
/// It cannot be built; see [`BuildError`].
pub fn client(tls: ClientConfig) -> Result<reqwest::Client, BuildError> {
    let client = http_client(tls)
        .connect_timeout(CONNECT_DEADLINE)
        .timeout(DEADLINE)
        // The next pull is far: nothing is kept open for it.
        .pool_max_idle_per_host(0)
        .user_agent(concat!("spillway/", env!("CARGO_PKG_VERSION")))
        .build()?;
    Ok(client)
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
    client: reqwest::Client,
    url: String,
    etag: Option<HeaderValue>,
}

impl Puller {
    pub(super) fn new(client: reqwest::Client, url: String) -> Self {
        Self { client, url, etag: None }
    }

    pub(super) async fn pull(&self) -> Result<Pulled, PullError> {
        let mut request = self.client.get(&self.url);
        if let Some(etag) = &self.etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let answer = request.send().await.map_err(broken)?;
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

async fn read(mut answer: Response) -> Result<Vec<u8>, PullError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > PAGE_BYTES_MAX {
            return Err(PullError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The error with its causes: reqwest's own words name only the address.
fn broken(error: reqwest::Error) -> PullError {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    PullError::Broken(text)
}
