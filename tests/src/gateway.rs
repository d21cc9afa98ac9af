//! A gateway: a folder with a configuration and a queue, and the real agent on it, running or not.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use spillway_protocol::local::status::{Lane, Status};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::http;
use crate::manager::Manager;

/// Time for what has no bound of its own; a machine that is busy with builds is slow.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// Lines of the agent's log that a failure shows.
const LOG_LINES: usize = 60;

/// The binary under test: `SPILLWAY_BIN`, else the one beside the running test.
pub fn binary() -> PathBuf {
    std::env::var_os("SPILLWAY_BIN").map_or_else(|| built("spillway"), PathBuf::from)
}

/// A binary of the workspace, as built with the running test.
pub fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().and_then(Path::parent).unwrap().join(name);
    assert!(binary.exists(), "{} is missing: cargo build --workspace", binary.display());
    binary
}

/// See the module. The agent is killed when this is dropped.
#[derive(Debug)]
pub struct Gateway {
    folder: TempDir,
    wrapper: Vec<String>,
    manager: Option<Arc<Manager>>,
    resilient: bool,
    child: Option<Child>,
}

impl Gateway {
    /// A gateway whose agent has not been started; `settings` is its configuration without
    /// gateway and sockets.
    pub fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let gateway =
            Self { folder, wrapper: vec![], manager: None, resilient: false, child: None };
        gateway.configure(settings);
        gateway
    }

    /// A gateway with an id of its own.
    pub fn named(id: &str, settings: &str) -> Self {
        let gateway = Self::new(settings);
        let file = gateway.file("conf.d/id.toml");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, format!("gateway.id = {id:?}\n")).unwrap();
        gateway
    }

    /// Starts the agent through another program, such as a tracer, from now on.
    pub fn wrapped(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Starts the agent with `--resilient` from now on.
    pub fn resilient(mut self) -> Self {
        self.resilient = true;
        self
    }

    /// Starts the agent as this service manager does, from now on.
    pub fn managed(mut self, manager: &Arc<Manager>) -> Self {
        self.manager = Some(manager.clone());
        self.wrapped(&Manager::words().each_ref().map(String::as_str))
    }

    /// Changes the configuration; it is read at the next start.
    pub fn configure(&self, settings: &str) {
        self.write(&self.data_dir(), &self.socket(), settings);
    }

    /// The same with a queue and a socket that may be another gateway's.
    pub fn write(&self, data_dir: &Path, socket: &Path, settings: &str) {
        let text = format!(
            "gateway.id = \"gw-test\"\ngateway.data_dir = {data_dir:?}\n\
             listen.socket = {socket:?}\n{settings}"
        );
        std::fs::write(self.file("spillway.toml"), text).unwrap();
    }

    /// A file in the gateway's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The intake socket.
    pub fn socket(&self) -> PathBuf {
        self.file("spillway.sock")
    }

    /// The queue's folder.
    pub fn data_dir(&self) -> PathBuf {
        self.file("data")
    }

    /// What the agent has logged, over all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.file("agent.log")).unwrap_or_default()
    }

    /// Starts the agent and does not wait for it.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "the agent runs already");
        let log = File::options().create(true).append(true).open(self.file("agent.log")).unwrap();
        let agent = [binary().into_os_string()];
        let words: Vec<_> = self.wrapper.iter().map(Into::into).chain(agent).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["run", "--config"]).arg(self.file("spillway.toml"));
        command.args(self.resilient.then_some("--resilient"));
        command.env_remove("CREDENTIALS_DIRECTORY").env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.manager.iter().for_each(|manager| manager.pass(&mut command));
        self.child = Some(command.spawn().unwrap());
    }

    /// Starts the agent and waits until it answers.
    pub async fn start_ready(&mut self) -> Status {
        self.start();
        self.ready().await
    }

    /// Waits until the agent that was started answers.
    pub async fn ready(&mut self) -> Status {
        self.until("it answers", |_| true).await
    }

    /// SIGKILL. Returns when the agent is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The data folder, as if it stood on another machine from now on; the agent must not run.
    pub fn move_to_another_host(&self) {
        let file = self.data_dir().join("identity");
        let text = std::fs::read(&file).unwrap();
        let mut identity: serde_json::Value = serde_json::from_slice(&text).unwrap();
        identity["host"] = "0000000000000000".into();
        std::fs::write(file, identity.to_string()).unwrap();
    }

    /// SIGTERM, without waiting; to the agent itself also where it was started through a wrapper.
    pub fn terminate(&self, pid: u32) {
        let kill = Command::new("kill").args(["-TERM", &pid.to_string()]).status();
        assert!(kill.unwrap().success(), "SIGTERM to {pid}");
    }

    /// The process that was started.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the agent does not run").id()
    }

    /// Whether the agent that was started has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some());
        if ended {
            self.child = None;
        }
        ended
    }

    /// Waits until the agent ends by itself.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        let child = self.child.as_mut().expect("the agent does not run");
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                self.child = None;
                return status;
            }
            assert!(Instant::now() < deadline, "it still runs after {within:?}\n{}", self.tail());
            sleep(POLL).await;
        }
    }

    /// SIGTERM; the agent has to end well within the time.
    pub async fn stop(&mut self, within: Duration) {
        self.terminate(self.pid());
        let status = self.ended(within).await;
        assert!(status.success(), "{status}\n{}", self.tail());
    }

    /// The agent's state, if it answers.
    pub async fn status(&self) -> Option<Status> {
        let answer = http::get(&self.socket(), "/v1/status").await.ok()?;
        (answer.status == 200).then(|| serde_json::from_slice(&answer.body).unwrap())
    }

    /// Polls until the agent's state is as wanted, within [`PATIENCE`].
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        self.until_within(PATIENCE, what, wanted).await
    }

    /// Polls until the agent's state is as wanted.
    pub async fn until_within(
        &mut self,
        within: Duration,
        what: &str,
        wanted: impl Fn(&Status) -> bool,
    ) -> Status {
        let deadline = Instant::now() + within;
        let mut last = None;
        loop {
            if let Some(status) = self.status().await {
                if wanted(&status) {
                    return status;
                }
                last = Some(status);
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            let late = Instant::now() > deadline;
            assert!(
                !late && ended.is_none(),
                "in vain until {what}; ended: {ended:?}; last: {last:#?}\n{}",
                self.tail()
            );
            sleep(POLL).await;
        }
    }

    /// Waits until everything that was accepted is delivered.
    pub async fn until_delivered(&mut self, within: Duration) -> Status {
        let delivered = |lane: &Lane| lane.delivered == lane.accepted;
        let wanted = |status: &Status| status.lanes.iter().all(delivered);
        self.until_within(within, "everything is delivered", wanted).await
    }

    /// Runs a command of the binary with this gateway's configuration.
    pub async fn command(&self, words: &str) -> Output {
        let mut command = tokio::process::Command::new(binary());
        command.args(words.split_whitespace()).arg("--config").arg(self.file("spillway.toml"));
        command.env_remove("RUST_LOG").stdin(Stdio::null()).kill_on_drop(true);
        tokio::time::timeout(PATIENCE, command.output()).await.expect(words).unwrap()
    }

    /// Standard output of a command that has to succeed.
    pub async fn said(&self, words: &str) -> String {
        let output = self.command(words).await;
        assert_eq!(output.status.code(), Some(0), "{words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// `spillway reload --json` with these further words, and how it ended.
    pub async fn reload(&self, words: &str) -> (i32, serde_json::Value) {
        let output = self.command(&format!("reload --json {words}")).await;
        let said = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code().unwrap_or_else(|| panic!("{output:?}")), said)
    }

    /// The end of the log, for a failure's message.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LOG_LINES)..];
        format!("the agent's log ends:\n{}", shown.join("\n"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}

/// A lane of a status.
pub fn lane<'a>(status: &'a Status, name: &str) -> &'a Lane {
    status.lanes.iter().find(|lane| lane.name == name).unwrap_or_else(|| panic!("no lane {name}"))
}

/// The sum that has to be `accepted`.
pub fn accounted(lane: &Lane) -> u64 {
    lane.delivered + lane.waiting + lane.dead + lane.expired + lane.dropped + lane.damaged
}

/// The wall clock, ms since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}
