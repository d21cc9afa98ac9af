//! The far side: a real `MariaDB`, messages for it, and who writes them there.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use central_store::{Database, Settings};
use spillway::clock::SystemClock;
use spillway::config::{Credentials, Secret, Transport};
use spillway::upstream::http::HttpUpstream;
use spillway_protocol::message::Message;
use spillway_tests::mariadb::MariaDb;
use spillway_tests::sample;

use crate::broker::{ACCESS_KEY, Broker, INSTANCE, SECRET};
use crate::{Error, folder};

/// As `central-consumer` makes it from its own map.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS patient_records (\
    local_record_id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, \
    patient_id VARCHAR(64) NOT NULL, notes TEXT, device_timestamp DATETIME(3), \
    UNIQUE KEY identity (local_record_id)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";
/// Between two looks at the table.
const LOOK: Duration = Duration::from_millis(25);
/// Longest wait for all rows.
const WRITTEN_MAX: Duration = Duration::from_secs(600);
/// Publishers side by side.
const PUBLISHERS: usize = 16;

/// Who consumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// `central-consumer` with at most so many messages in a transaction.
    Ours {
        /// Its `--batch`.
        batch: u16,
    },
    /// The Node client, which works so many of the messages that it received at a time.
    Node {
        /// How many.
        at_once: u16,
    },
}

/// A server whose tables are there.
///
/// # Errors
/// If it does not start.
pub async fn database() -> Result<(MariaDb, Database), Error> {
    // It blocks its thread while it starts.
    let server = tokio::task::spawn_blocking(MariaDb::start).await?;
    let environment = server.environment();
    let find = |name| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone());
    let database = Database::new(&Settings::read(find)?);
    database.create_tables().await?;
    server.run(&[TABLE]).await;
    Ok((server, database))
}

/// Publishes, with nobody's clock running.
///
/// # Errors
/// If the broker has no port.
pub async fn publish(broker: &Broker, messages: &[Message]) -> Result<(), Error> {
    let port = broker.endpoint().rsplit(':').next().unwrap_or_default().parse()?;
    let part = async |part: &[Message]| -> Result<(), Error> {
        let secret = Secret::new(SECRET);
        let credentials = Credentials { id: ACCESS_KEY.to_owned(), secret, security_token: None };
        let upstream = sample::upstream(Transport::Http, port, Some(INSTANCE), Some(credentials));
        let upstream = HttpUpstream::new(&upstream, Arc::new(SystemClock))?;
        sample::publish(&upstream, part).await;
        Ok(())
    };
    let parts = messages.chunks(messages.len().div_ceil(PUBLISHERS).max(1));
    futures::future::try_join_all(parts.map(part)).await?;
    Ok(())
}

impl Who {
    /// Rows a second into an empty table, from a topic with so many messages: from the last look
    /// that saw no row to the first that saw all.
    ///
    /// # Errors
    /// If it ends, or is not done in time.
    pub async fn rows_per_second(
        self,
        broker: &Broker,
        server: &MariaDb,
        topic: &str,
        rows: u64,
    ) -> Result<f64, Error> {
        server.run(&["TRUNCATE patient_records", "TRUNCATE sw_seen"]).await;
        let mut running = Running(self.command(broker, server, topic)?.spawn()?);
        let begun = Instant::now();
        let mut from = begun;
        loop {
            let at = Instant::now();
            let count = server.count("SELECT COUNT(*) FROM patient_records").await;
            if count == rows {
                return Ok(rows as f64 / (at - from).as_secs_f64());
            }
            if count == 0 {
                from = at;
            }
            if let Some(status) = running.0.try_wait()? {
                return Err(format!("{self:?} ended with {count} rows: {status}").into());
            }
            if begun.elapsed() > WRITTEN_MAX {
                return Err(format!("{self:?}: {count} rows").into());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn command(self, broker: &Broker, server: &MariaDb, topic: &str) -> Result<Command, Error> {
        let mut command = match self {
            Self::Ours { batch } => {
                let mut ours = Command::new(consumer()?);
                ours.args(["run", "--batch", &batch.to_string()]).env("RUST_LOG", "warn");
                ours
            }
            Self::Node { at_once } => {
                let mut node = Command::new("node");
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("node/consume.js");
                node.arg(script).arg(at_once.to_string());
                node.env("NODE_PATH", crate::peer::installed("sdk/node/node_modules")?);
                node
            }
        };
        command.env("ROCKETMQ_ENDPOINT", broker.endpoint());
        command.env("ROCKETMQ_INSTANCE_ID", INSTANCE);
        command.env("ALIBABA_ACCESS_KEY", ACCESS_KEY).env("ALIBABA_SECRET_KEY", SECRET);
        command.env("ROCKETMQ_TOPIC", topic).env("ROCKETMQ_GROUP_ID", "GID_bench");
        command.envs(server.environment()).stdin(Stdio::null());
        Ok(command)
    }
}

/// The binary that is measured.
///
/// # Errors
/// If it is not built.
pub fn consumer() -> Result<std::path::PathBuf, Error> {
    let binary = folder::beside("central-consumer")?;
    match binary.exists() {
        true => Ok(binary),
        false => {
            Err(format!("{} is missing: cargo build -p central-consumer", binary.display()).into())
        }
    }
}

/// Killed when dropped: its rows are there.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to kill and nobody to wait for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
