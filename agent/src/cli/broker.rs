//! `spillway broker`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::signal::Stop;
use super::{Exit, Failure, output};
use crate::broker::faults::Plan;
use crate::broker::{self, BrokerOptions};
use crate::config::Secret;
use crate::entropy;

/// Arguments of `broker`.
#[derive(Debug, Args)]
pub(super) struct Broker {
    /// Where to listen, on this machine only
    #[arg(long, value_name = "ADDR", value_parser = loopback)]
    listen: SocketAddr,
    /// Access key that clients must use; POST {"grant": [{"id": .., "secret": ..}], "revoke": [..]} to
    /// /_keys changes them at run time
    #[arg(long, value_name = "ID")]
    access_key: String,
    #[command(flatten)]
    secret: SecretFrom,
    /// Keeps messages in this folder instead of in memory
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Faults from the start, as JSON; at run time POST the same to /_faults. For example
    /// {"latency_ms": 200, "rules": [{"kind": "lost_reply", "probability": 0.1}]}. Kinds: throttle,
    /// server_error, lost_reply, cut, refuse_signature, topic_missing, refuse_record, wrong_md5,
    /// lose. {"capacity": {"per_s": 80, "queue_ms": 1000}} serves no more than that
    #[arg(long, value_name = "JSON", value_parser = faults)]
    faults: Option<Plan>,
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
                    let message = format!(
                        "{}: cannot be read: {error}; name a file that holds the secret and that this user can read",
                        file.display()
                    );
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

fn faults(text: &str) -> Result<Plan, String> {
    serde_json::from_str(text).map_err(|error| {
        format!("is not what --help shows ({error}); write for example {{\"latency_ms\": 200}}")
    })
}

pub(super) async fn run(args: Broker) -> Exit {
    let mut stop = Stop::listen();
    match start(args).await {
        Ok(broker) => {
            output::out(&format!(
                "MQ HTTP API on {}, for development; Ctrl-C stops it\n",
                broker.endpoint()
            ));
            stop.told().await;
            broker.stop().await;
            Exit::Done
        }
        Err(failure) => failure.report(),
    }
}

async fn start(args: Broker) -> Result<broker::Broker, Failure> {
    let keys = vec![(args.access_key, args.secret.read()?)];
    let options = BrokerOptions {
        dir: args.dir,
        faults: args.faults.unwrap_or_default(),
        seed: entropy::seed(),
        ..BrokerOptions::new(args.listen, keys)
    };
    let started = broker::Broker::start(options).await;
    started.map_err(|error| Failure::new(Exit::TryAgain, error.to_string()))
}
