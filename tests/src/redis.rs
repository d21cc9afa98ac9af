//! A real Redis in a folder of its own, which keeps nothing on disk: `tests/run` installs
//! `redis-tools`. `redis-check-rdb` in there is the server itself, which goes by the name it is
//! called with; so no package with a service is needed.
//!
//! Starting and ending block the thread.

use ::redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use crate::port;
use crate::server::Server;

/// See the module. It is killed when this is dropped.
#[derive(Debug)]
pub struct Redis {
    dir: TempDir,
    port: u16,
    running: Option<Server>,
}

impl Redis {
    /// A running, empty server.
    pub fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("redis-").tempdir().unwrap();
        let mut server = Self { dir, port: port::free(), running: None };
        server.restart();
        server
    }

    /// Starts it again after its end, with the same port; it is empty again.
    pub fn restart(&mut self) {
        let arguments = [
            "--port",
            &self.port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        .map(str::to_owned);
        let (dir, program) = (self.dir.path(), "redis-check-rdb");
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
