//! The agent's admin listener as scrapers and browsers see it.

use std::collections::BTreeMap;
use std::io;

use tokio::net::TcpStream;

use crate::http::{self, Answer};
use crate::port;

/// The listener of one gateway.
#[derive(Debug, Clone, Copy)]
pub struct Admin {
    port: u16,
}

impl Admin {
    /// One that is to listen on a free port.
    #[expect(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        Self { port: port::free() }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The setting that makes an agent listen there on loopback; to stand before any section.
    pub fn settings(&self) -> String {
        format!("listen.admin.address = \"127.0.0.1:{}\"\n", self.port)
    }

    /// A connection to it.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect(("127.0.0.1", self.port)).await
    }

    /// The answer to a request with these further lines of its head, each with its line end.
    ///
    /// # Errors
    /// None came.
    pub async fn ask(&self, method: &str, path: &str, head: &str) -> io::Result<Answer> {
        let request = format!("{method} {path} HTTP/1.1\r\n{head}connection: close\r\n\r\n");
        http::exchange_on(self.connect().await?, request.as_bytes()).await
    }

    /// `GET path` as a scraper on this machine.
    ///
    /// # Errors
    /// No answer came.
    pub async fn get(&self, path: &str) -> io::Result<Answer> {
        self.ask("GET", path, &format!("host: 127.0.0.1:{}\r\n", self.port)).await
    }

    /// The value of each series, such as `spillway_records_waiting{lane="main"}`.
    pub async fn scrape(&self) -> BTreeMap<String, f64> {
        series(&self.get("/metrics").await.unwrap())
    }
}

/// What a scrape says.
pub fn series(answer: &Answer) -> BTreeMap<String, f64> {
    let text = String::from_utf8(answer.body.clone()).unwrap();
    assert_eq!(answer.status, 200, "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value = if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap() };
        (series.to_owned(), value)
    };
    samples.map(sample).collect()
}
