//! `spillway broker`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{Exit, Failure};
use crate::config::Secret;

/// Arguments of `broker`.
#[derive(Debug, Args)]
pub(super) struct Broker {
    /// Where to listen, on this machine only
    #[arg(long, value_name = "ADDR", value_parser = loopback)]
    listen: SocketAddr,
    /// Access key that clients must use
    #[arg(long, value_name = "ID")]
    access_key: String,
    #[command(flatten)]
    secret: SecretFrom,
    /// Keeps messages in this folder instead of in memory
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct SecretFrom {
    /// File that holds the access key's secret
    #[arg(long, value_name = "FILE")]
    access_secret_file: Option<PathBuf>,
    /// The secret itself; other users of this machine can see it
    #[arg(long, value_name = "SECRET", value_parser = secret)]
    access_secret: Option<Secret>,
}

impl SecretFrom {
    fn read(&self) -> Result<Secret, Failure> {
        match (&self.access_secret, &self.access_secret_file) {
            (Some(secret), _) => Ok(secret.clone()),
            (None, Some(file)) => std::fs::read_to_string(file)
                .map(|text| Secret::new(text.trim()))
                .map_err(|error| {
                    let message = format!("{}: cannot be read: {error}", file.display());
                    Failure::new(Exit::Usage, message)
                }),
            (None, None) => Err(Failure::new(Exit::Usage, "give --access-secret-file FILE")),
        }
    }
}

fn secret(text: &str) -> Result<Secret, String> {
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(Secret::new(text)) }
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "write for example 127.0.0.1:8088")?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err("is not on this machine; the development broker listens on 127.0.0.1 or [::1] only".into())
}

/// PLACEHOLDER: the embedded broker is wired here.
pub(super) async fn run(args: Broker) -> Exit {
    if let Err(failure) = args.secret.read() {
        return failure.report();
    }
    let (listen, access_key, dir) = (args.listen, args.access_key, args.dir);
    tracing::debug!(%listen, access_key, ?dir, "broker");
    Failure::new(Exit::Usage, "broker is not wired yet").report()
}
