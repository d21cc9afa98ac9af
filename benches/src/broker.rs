//! The embedded broker in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::{Error, folder};

/// Access key of everybody.
pub const ACCESS_KEY: &str = "bench-key";
/// Its secret.
pub const SECRET: &str = "bench-secret";
/// Instance of the topics.
pub const INSTANCE: &str = "MQ_INST_1_bench";

/// A running broker; killed when dropped.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    endpoint: String,
}

impl Broker {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// If it does not say where it listens.
    pub fn start() -> Result<Self, Error> {
        let mut child = Command::new(folder::binary()?)
            .args(["broker", "--listen", "127.0.0.1:0"])
            .args(["--access-key", ACCESS_KEY, "--access-secret", SECRET])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let endpoint = line.split([' ', ',']).find(|word| word.starts_with("http://"));
        let endpoint = endpoint.unwrap_or_default().to_owned();
        let broker = Self { child, endpoint };
        match broker.endpoint.is_empty() {
            false => Ok(broker),
            true => Err(format!("the broker did not start: {line}").into()),
        }
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The lines of `[upstream]` that lead here.
    pub fn upstream(&self) -> String {
        upstream(&self.endpoint)
    }
}

/// The lines of `[upstream]` that lead to a broker by way of `endpoint`.
pub fn upstream(endpoint: &str) -> String {
    format!(
        "transport = \"http\"\nendpoint = \"{endpoint}\"\ninstance_id = \"{INSTANCE}\"\n\
         access_key_id = \"{ACCESS_KEY}\"\naccess_key_secret = \"{SECRET}\"\n"
    )
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to kill and nobody to wait for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
