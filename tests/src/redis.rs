//! A real Redis in a folder of its own, which keeps nothing on disk: `tests/run` installs
//! `redis-tools`. `redis-check-rdb` in there is the server itself, which goes by the name it is
//! called with; so no package with a service is needed.
//!
//! Starting and ending block the thread.

use std::path::{Path, PathBuf};

use ::redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use crate::port;
use crate::server::Server;

/// See the module. It is killed when this is dropped.
#[derive(Debug)]
pub struct Redis {
    dir: PathBuf,
    /// Where nobody gave a folder.
    _made: Option<TempDir>,
    settings: Vec<String>,
    port: u16,
    running: Option<Server>,
}

impl Redis {
    /// A running, empty server.
    pub fn start() -> Self {
        let made = tempfile::Builder::new().prefix("redis-").tempdir().unwrap();
        let server = Self::start_with(made.path(), &["--save", "", "--appendonly", "no"]);
        Self { _made: Some(made), ..server }
    }

    /// The same with settings of the caller's, and with what they make it write in `dir`.
    pub fn start_with(dir: &Path, settings: &[&str]) -> Self {
        let settings = settings.iter().map(|&word| word.to_owned()).collect();
        let dir = dir.to_owned();
        let mut server = Self { dir, _made: None, settings, port: port::free(), running: None };
        server.restart();
        server
    }

    /// Starts it again after its end, with the same port; it is empty again.
    pub fn restart(&mut self) {
        let port = self.port.to_string();
        let own = ["--port", &port, "--bind", "127.0.0.1"].map(str::to_owned);
        let arguments = [&own, &self.settings[..]].concat();
        let (dir, program) = (&self.dir, "redis-check-rdb");
        self.running = Some(Server::start(dir, "redis-server", program, &arguments, self.port));
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        self.running.take().expect("Redis does not run").end("KILL");
    }

    /// `redis://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection; the server has to run.
    pub async fn connect(&self) -> MultiplexedConnection {
        let client = ::redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.expect("Redis cannot be reached")
    }
}
