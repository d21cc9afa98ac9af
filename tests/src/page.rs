//! The centre's page, served by the real `central-control` or, for what that never does, by hand.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use spillway_protocol::control::{PublicKey, Request, SEED_BYTES, Sealer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::gateway::built;
use crate::mariadb::MariaDb;
use crate::port;

/// A running `central-control`. It is killed when this is dropped.
pub struct CentralControl {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
    /// The public half of its key.
    pub key: PublicKey,
}

impl CentralControl {
    /// Makes a key and starts serving.
    pub async fn start() -> Self {
        Self::of(None).await
    }

    /// The same, asking for what the tables of a database have missed for `grace`.
    pub async fn of_tables(database: &MariaDb, grace: &str) -> Self {
        Self::of(Some((database, grace))).await
    }

    async fn of(tables: Option<(&MariaDb, &str)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("control.key");
        std::fs::create_dir(folder.path().join("requests")).unwrap();
        let mut keygen = Command::new(built("central-control"));
        let output = keygen.arg("keygen").arg("--key").arg(&key).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let key = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        let mut control = Self { folder, port: port::free(), child: None, key };
        control.serve(tables).await;
        control
    }

    async fn serve(&mut self, tables: Option<(&MariaDb, &str)>) {
        let mut command = Command::new(built("central-control"));
        command.arg("serve").arg("--key").arg(self.file("control.key"));
        match tables {
            None => command.arg("--requests").arg(self.file("requests")),
            Some((database, grace)) => {
                command.args(["--tables", "--grace", grace]).envs(database.environment())
            }
        };
        command.arg("--listen").arg(format!("127.0.0.1:{}", self.port));
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            let child = self.child.as_mut().unwrap();
            assert!(child.try_wait().unwrap().is_none(), "central-control ended");
            tokio::task::yield_now().await;
        }
    }

    /// Asks a gateway for something, in the place of what it was asked before.
    pub fn ask(&self, gateway: &str, requests: &[Request]) {
        let fresh = self.file("requests").join("new");
        std::fs::write(&fresh, serde_json::to_vec(requests).unwrap()).unwrap();
        std::fs::rename(&fresh, self.file("requests").join(format!("{gateway}.json"))).unwrap();
    }

    /// What stands in `[control] url`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/spillway/{{gateway}}.json", self.port)
    }

    /// Where it listens on this machine.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for CentralControl {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// How a [`Scripted`] server answers.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// Status code.
    pub status: u16,
    /// Tag; a request that names it is answered with 304.
    pub etag: Option<String>,
    /// Body.
    pub body: Vec<u8>,
}

/// What a [`Scripted`] server has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requests.
    pub requests: u64,
    /// Those that were answered with 304.
    pub unchanged: u64,
}

/// A server in the test's process that answers whatever it is told to.
pub struct Scripted {
    script: Arc<Mutex<Script>>,
    seen: watch::Receiver<Seen>,
    port: u16,
    task: JoinHandle<()>,
}

impl Scripted {
    /// Starts it.
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = Arc::new(Mutex::new(script));
        let (tell, seen) = watch::channel(Seen::default());
        let task = tokio::spawn(serve(listener, script.clone(), tell));
        Self { script, seen, port, task }
    }

    /// Answers so from now on.
    pub fn answer(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    /// What it has seen.
    pub fn seen(&self) -> Seen {
        *self.seen.borrow()
    }

    /// Waits until it has seen what is wanted.
    pub async fn until(&self, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.clone();
        let found = tokio::time::timeout(crate::gateway::PATIENCE, seen.wait_for(wanted)).await;
        *found.expect("the agent asks in time").unwrap()
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What stands in `[control] url`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/page.json", self.port)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, script: Arc<Mutex<Script>>, tell: watch::Sender<Seen>) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n")
            && stream.read_buf(&mut request).await.unwrap_or(0) > 0
        {}
        let request = String::from_utf8_lossy(&request).to_lowercase();
        let script = script.lock().unwrap().clone();
        let known = |etag: &String| request.contains(&format!("if-none-match: {etag}"));
        let unchanged = script.etag.as_ref().is_some_and(known);
        let (status, body) =
            if unchanged { (304, &[][..]) } else { (script.status, &*script.body) };
        let etag = script.etag.map(|etag| format!("etag: {etag}\r\n")).unwrap_or_default();
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} x\r\nconnection: close\r\n{etag}content-length: {length}\r\n\r\n"
        );
        // Whoever has read enough may hang up.
        let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
        let _ = stream.shutdown().await;
        tell.send_modify(|seen| {
            seen.requests += 1;
            seen.unchanged += u64::from(unchanged);
        });
    }
}

/// A key that tests sign with.
pub fn sealer(seed: u8) -> Sealer {
    Sealer::from_seed(&[seed; SEED_BYTES]).unwrap()
}
