//! The HTTP client that the exporter sends with: the one that is here anyway, with its TLS.

use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};

use super::{OtlpError, Settings};
use crate::dial::{CertificateTime, Tls, http_client, tls};

/// Longest wait for a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Longest answer that is read. What is right is a few bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Client(reqwest::Client);

impl Client {
    pub(super) fn new(settings: &Settings) -> Result<Self, OtlpError> {
        let tls = match settings.url()?.scheme() {
            "https" => {
                let tls = Tls { ca: settings.ca.clone(), ..Tls::default() };
                tls::client_config(&tls, &CertificateTime::default())?
            }
            _ => tls::no_tls()?,
        };
        let client = http_client(tls)
            .connect_timeout(CONNECT_DEADLINE)
            .user_agent(concat!("spillway-consumer/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| OtlpError::Build(error.to_string()))?;
        Ok(Self(client))
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.0.execute(request.try_into()?).await;
        let mut answer = sent.inspect_err(|error| tracing::debug!(?error, "no answer to spans"))?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err("the collector's answer is too long".into());
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = answer.status();
        std::mem::swap(response.headers_mut(), answer.headers_mut());
        Ok(response)
    }
}
