//! Whether the far end can be reached: a connection and, with TLS, a handshake. Nothing is sent.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::failure::{tls_error, tls_reason};
use crate::config::Endpoint;

/// Connects to `endpoint` and hangs up again. The error is one sentence for a person.
pub async fn reach(
    endpoint: &Endpoint,
    tls: &Arc<ClientConfig>,
    deadline: Duration,
) -> Result<(), String> {
    let Endpoint { host, port, .. } = endpoint;
    match tokio::time::timeout(deadline, connect(endpoint, tls)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reason)) => Err(format!("{host}:{port}: {reason}")),
        Err(_) => Err(format!("{host}:{port}: no connection within {} s", deadline.as_secs())),
    }
}

async fn connect(endpoint: &Endpoint, tls: &Arc<ClientConfig>) -> Result<(), String> {
    let host = endpoint.host.trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, endpoint.port)).await.map_err(|e| e.to_string())?;
    if !endpoint.tls {
        return Ok(());
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
    let handshake = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
    handshake.map(drop).map_err(|error| match tls_error(&error) {
        Some(tls) => format!("TLS: {}", tls_reason(tls)),
        None => format!("TLS: {error}"),
    })
}
