//! A real RocketMQ: a name server, and a broker with its gRPC proxy in one process.
//!
//! The jars lie in `tests/.cache/rocketmq/lib`, put there by
//! `mvn -q -f tests/rocketmq/pom.xml dependency:copy-dependencies`. All ports are free ones and
//! stay the same when the proxy is started again; all files lie in a folder of its own. What is
//! started ends with the [`RocketMq`], and with the test process however that ends.
//!
//! Calls block the thread. A failure panics and says where the logs are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod desk;
mod files;
mod java;
mod ports;
mod presence;
mod torn;

use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use self::desk::Desk;
use self::java::Java;
use self::ports::Ports;

pub use self::desk::Stored;
pub use self::files::Options;
pub use self::presence::JavaPresence;

/// JVMs start slowly on a machine that is busy with builds.
const START_DEADLINE: Duration = Duration::from_secs(120);

/// A running RocketMQ.
pub struct RocketMq {
    desk: Option<Desk>,
    proxy: Option<Java>,
    /// Where it is a process of its own.
    broker: Option<Java>,
    /// Kept for its end.
    _namesrv: Java,
    ports: Ports,
    options: Options,
    /// How often broker and proxy were killed.
    kills: usize,
    dir: TempDir,
}

impl RocketMq {
    /// Starts name server, broker and proxy, and returns when they serve.
    pub fn start(options: Options) -> Self {
        let dir = folder();
        let ports = Ports::free();
        files::write(dir.path(), &ports, &options);
        let namesrv = Java::start(dir.path(), "namesrv", &files::namesrv(dir.path()));
        await_port(ports.namesrv, "namesrv", dir.path());
        let mut started = Self {
            desk: None,
            proxy: None,
            broker: None,
            _namesrv: namesrv,
            ports,
            options,
            kills: 0,
            dir,
        };
        if started.options.cluster {
            started.start_broker();
        }
        started.start_proxy();
        started
    }

    /// The proxy's gRPC port on 127.0.0.1.
    pub fn grpc_port(&self) -> u16 {
        self.ports.grpc
    }

    /// The name server's port on 127.0.0.1.
    pub fn namesrv_port(&self) -> u16 {
        self.ports.namesrv
    }

    /// A broker in a process of its own, which the proxy needs to start.
    fn start_broker(&mut self) {
        let arguments = files::broker(self.dir.path(), &self.ports);
        self.broker = Some(Java::start(self.dir.path(), "broker", &arguments));
        self.desk().await_broker();
    }

    /// Starts broker and proxy (in a cluster the proxy alone) again, with the same ports and the
    /// same store.
    pub fn start_proxy(&mut self) {
        let arguments = files::proxy(self.dir.path(), &self.ports, &self.options);
        self.proxy = Some(Java::start(self.dir.path(), "proxy", &arguments));
        await_port(self.ports.grpc, "proxy", self.dir.path());
        self.desk().await_broker();
    }

    /// Stops broker and proxy as an operator does; returns when they have ended.
    pub fn stop_proxy(&mut self) {
        if let Some(proxy) = self.proxy.take() {
            proxy.end("TERM");
        }
    }

    /// Kills broker and proxy (SIGKILL).
    pub fn kill_proxy(&mut self) {
        if let Some(proxy) = self.proxy.take() {
            proxy.end("KILL");
            self.kills += 1;
        }
    }

    /// What a kill in the middle of a write does, done to messages that a killed broker had written
    /// whole: of the last ones in its log, the first for the last, the properties lack so many bytes
    /// of their end.
    pub fn tear(&mut self, bytes: &[usize]) {
        let log = self.dir.path().join("store/commitlog").join("0".repeat(20));
        torn::tear(&log, bytes);
        self.kills += bytes.len();
    }

    /// Creates a topic of 8 queues, or changes its type (`NORMAL`, `FIFO`). The broker has to run.
    pub fn create_topic(&mut self, name: &str, message_type: &str) {
        self.desk().obey(&format!("create {name} {message_type}"));
    }

    /// Makes a consumer group that begins at the oldest message of a topic, as an operator does.
    /// In order means that messages of one message group wait for each other.
    pub fn create_group(&mut self, group: &str, topic: &str, ordered: bool) {
        self.desk()
            .obey(&format!("mqadmin updateSubGroup -c DefaultCluster -g {group} -o {ordered}"));
        self.desk().obey(&format!("mqadmin resetOffsetByTime -g {group} -t {topic} -s 0"));
    }

    /// Makes a user who may do nothing yet ([`Options::rules`]).
    pub fn create_user(&mut self, name: &str, secret: &str) {
        self.desk()
            .obey(&format!("mqadmin createUser -c DefaultCluster -u {name} -p {secret} -t Normal"));
    }

    /// Allows a user to publish to a topic.
    pub fn allow_publishing(&mut self, user: &str, topic: &str) {
        self.desk().obey(&format!(
            "mqadmin createAcl -c DefaultCluster -s User:{user} -r Topic:{topic} -a Pub -d Allow"
        ));
    }

    /// Enables or disables a user.
    pub fn permit_user(&mut self, name: &str, enabled: bool) {
        let status = if enabled { "enable" } else { "disable" };
        self.desk().obey(&format!("mqadmin updateUser -c DefaultCluster -u {name} -s {status}"));
    }

    /// Opens or closes a topic for writing.
    pub fn permit_writing(&mut self, topic: &str, writing: bool) {
        let permission = if writing { 6 } else { 4 };
        self.desk().obey(&format!("permit {topic} {permission}"));
    }

    /// Deletes a topic and its messages.
    pub fn delete_topic(&mut self, name: &str) {
        self.desk().obey(&format!("delete {name}"));
    }

    /// All that the broker holds of a topic, each queue by offset, as the classic wire protocol
    /// reads it: doubles included, but not what a kill of the broker has torn (one message each at
    /// most).
    pub fn read_all(&mut self, topic: &str) -> Vec<Stored> {
        let stored = self.desk().read(topic);
        let (torn, whole): (Vec<_>, Vec<_>) = stored.into_iter().partition(torn::is_torn);
        assert!(torn.len() <= self.kills, "{} kills have torn {torn:?}", self.kills);
        whole
    }

    /// Until the broker holds at least `count` messages of a topic.
    pub fn await_messages(&mut self, topic: &str, count: u64) {
        self.desk().obey(&format!("await {topic} {count}"));
    }

    /// Longest time that a message may wait in the running broker's send queue; what waits longer is
    /// refused as "broker busy".
    pub fn let_wait(&mut self, wait_ms: u32) {
        self.desk().obey(&format!(
            "mqadmin updateBrokerConfig -c DefaultCluster -k waitTimeMillsInSendQueue -v {wait_ms}"
        ));
    }

    /// So many threads of the classic Java client send to a topic, each one message after the
    /// other, until [`RocketMq::unload`].
    pub fn load(&mut self, topic: &str, threads: usize) {
        self.desk().obey(&format!("load {topic} {threads}"));
    }

    /// Ends the load; how many of its messages were stored, and how many refused.
    pub fn unload(&mut self) -> (u64, u64) {
        self.desk().unload()
    }

    /// A classic Java consumer of presence events, from the oldest on.
    pub fn java_presence(&self, group: &str, topic: &str) -> JavaPresence {
        JavaPresence::start(self.dir.path(), self.ports.namesrv, group, topic)
    }

    fn desk(&mut self) -> &mut Desk {
        let (dir, ports, options) = (self.dir.path(), &self.ports, &self.options);
        self.desk.get_or_insert_with(|| Desk::open(dir, ports, options))
    }
}

impl Drop for RocketMq {
    /// Keeps the logs of a test that failed until the next run.
    fn drop(&mut self) {
        self.dir.disable_cleanup(std::thread::panicking());
    }
}

/// A new folder, named after this process. Those of processes that are gone are removed: a static
/// in a test is never dropped, and a killed test drops nothing.
fn folder() -> TempDir {
    let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/rocketmq/run");
    std::fs::create_dir_all(&runs).unwrap();
    for entry in std::fs::read_dir(&runs).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    TempDir::with_prefix_in(format!("{}-", std::process::id()), runs).unwrap()
}

fn await_port(port: u16, who: &str, dir: &Path) {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if begun.elapsed() > START_DEADLINE {
            let log = std::fs::read_to_string(dir.join(format!("{who}.log")));
            panic!("{who} does not listen on {port}; {}: {log:?}", dir.display());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
