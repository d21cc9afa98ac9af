//! The official clients, publishing to the same broker. Each is a small program that warms up,
//! publishes, and prints one line of JSON: `{"records": 1000, "seconds": 1.5}`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::Error;
use crate::broker::{ACCESS_KEY, Broker, INSTANCE, SECRET};

/// What a client is asked to publish.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// Topic, which exists.
    pub topic: &'a str,
    /// Records, beside those of the warming up.
    pub records: u64,
    /// Published before the clock starts.
    pub warm_up: u64,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Sends under way at a time.
    pub concurrency: usize,
}

#[derive(Deserialize)]
struct Published {
    records: u64,
    seconds: f64,
}

impl Wish<'_> {
    fn arguments(&self) -> Vec<String> {
        let numbers = [self.records, self.warm_up, self.body_bytes as u64, self.concurrency as u64];
        let numbers = numbers.iter().map(u64::to_string);
        std::iter::once(self.topic.to_owned()).chain(numbers).collect()
    }

    /// Records a second of the Node client `@aliyunmq/mq-http-sdk`.
    ///
    /// # Errors
    /// If it cannot be run, or a record was not published.
    pub fn node(&self, broker: &Broker) -> Result<f64, Error> {
        let mut node = Command::new("node");
        node.arg(own("node/publish.js"))
            .args([broker.endpoint(), ACCESS_KEY, SECRET, INSTANCE])
            .args(self.arguments())
            .env("NODE_PATH", installed("sdk/node/node_modules")?);
        rate(node)
    }

    /// Records a second of the Java client `rocketmq-client-java`.
    ///
    /// # Errors
    /// If it cannot be run, or a record was not published.
    pub fn java(&self, port: u16, home: &Path) -> Result<f64, Error> {
        let mut java = Command::new("java");
        // It writes its log into the home folder.
        java.arg(format!("-Duser.home={}", home.display()))
            .args(["-Xmx512m", "-cp"])
            .arg(format!("{}/*", installed("rocketmq-client/lib")?.display()))
            .arg(own("java/Publish.java"))
            .arg(format!("127.0.0.1:{port}"))
            .args(self.arguments());
        rate(java)
    }

    /// Records a second of the classic Java client, which sends batches of `batch` from
    /// [`Wish::concurrency`] threads.
    ///
    /// # Errors
    /// If it cannot be run, or a record was not published.
    pub fn java_batches(&self, namesrv: u16, batch: usize, home: &Path) -> Result<f64, Error> {
        let mut java = Command::new("java");
        java.arg(format!("-Duser.home={}", home.display()))
            .args(["-Xmx512m", "-cp"])
            .arg(format!("{}/*", installed("rocketmq/lib")?.display()))
            .arg(own("java/PublishBatches.java"))
            .arg(format!("127.0.0.1:{namesrv}"))
            .args(self.arguments())
            .arg(batch.to_string());
        rate(java)
    }
}

fn rate(mut command: Command) -> Result<f64, Error> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).output()?;
    let words = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {}\n{words}{errors}", output.status).into());
    }
    let last = words.lines().last().unwrap_or_default();
    let published: Published = serde_json::from_str(last)?;
    Ok(published.records as f64 / published.seconds)
}

fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(crate) fn installed(path: &str) -> Result<PathBuf, Error> {
    let path = own("../tests/.cache").join(path);
    match path.is_dir() {
        true => Ok(path),
        false => Err(format!("{} is missing: benches/run installs it", path.display()).into()),
    }
}
