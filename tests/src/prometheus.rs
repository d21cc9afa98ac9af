//! A real Prometheus that scrapes one agent each second, in a folder of its own. `tests/run` puts its
//! programs into `tests/.cache/prometheus`, without Debian's service.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::gateway::PATIENCE;
use crate::http;
use crate::port;
use crate::server::Server;

/// See the module. It is killed when this is dropped.
#[derive(Debug)]
pub struct Prometheus {
    port: u16,
    _server: Server,
    _dir: TempDir,
}

impl Prometheus {
    /// One that scrapes what listens on `target` of 127.0.0.1, and knows these rules.
    pub fn start(target: u16, rules: &Path) -> Self {
        Self::scraping(&[target], rules)
    }

    /// The same of several.
    pub fn scraping(targets: &[u16], rules: &Path) -> Self {
        let targets: Vec<String> =
            targets.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let targets = targets.join(", ");
        let dir = tempfile::Builder::new().prefix("prometheus-").tempdir().unwrap();
        let rules = rules.display();
        let settings = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [\"{rules}\"]\n\
             scrape_configs:\n  - job_name: spillway\n    static_configs: [{{ targets: [{targets}] }}]\n"
        );
        std::fs::write(dir.path().join("prometheus.yml"), settings).unwrap();
        let port = port::free();
        let arguments = [
            "--config.file=prometheus.yml".to_owned(),
            "--storage.tsdb.path=data".to_owned(),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let program = program("prometheus").display().to_string();
        let server = Server::start(dir.path(), "prometheus", &program, &arguments, port);
        Self { port, _server: server, _dir: dir }
    }

    /// What it says to a query, such as `up`: its series.
    ///
    /// # Errors
    /// What Prometheus has against it.
    pub async fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        let mut path = reqwest::Url::parse("http://localhost/api/v1/query").unwrap();
        path.query_pairs_mut().append_pair("query", query);
        let answer = self.ask(path.as_str().trim_start_matches("http://localhost")).await;
        match answer["data"]["result"].as_array() {
            Some(series) if answer["status"] == "success" => Ok(series.clone()),
            _ => Err(answer.to_string()),
        }
    }

    /// Waits until a query finds something.
    pub async fn until(&self, query: &str) {
        let begun = Instant::now();
        while self.query(query).await.is_ok_and(|series| series.is_empty()) {
            assert!(begun.elapsed() < PATIENCE, "{query} finds nothing");
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Each rule as it stands: its name, its health and its last error.
    pub async fn rules(&self) -> Vec<Value> {
        let answer = self.ask("/api/v1/rules").await;
        let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
        groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap()).collect()
    }

    async fn ask(&self, path: &str) -> Value {
        let head = "host: localhost\r\nconnection: close\r\n\r\n";
        let request = format!("GET {path} HTTP/1.1\r\n{head}");
        loop {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
            let answer = http::exchange_on(stream, request.as_bytes()).await.unwrap();
            // It listens before it has read its rules.
            if answer.status != 503 {
                return answer.json();
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// What `promtool` says to these arguments, in this folder.
pub fn promtool(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(program("promtool")).args(arguments).current_dir(dir).output().unwrap()
}

fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/prometheus/usr/bin").join(name);
    assert!(path.exists(), "{name} is missing: tests/run fetches it");
    path
}
