//! The agent under a service manager: it says when it is ready and that it turns, and apps wait in
//! the manager's sockets while it is away. Needs root (mounts) and strace.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use spillway_protocol::local::client::Client;
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, PATIENCE, lane};
use spillway_tests::ledger::{Ledger, Sent};
use spillway_tests::manager::Manager;
use spillway_tests::mount::Image;
use spillway_tests::{http, oracle};
use tokio::time::sleep;

const LANE: &str = "[[lane]]\nname = \"main\"\ntopic = \"main\"\n";
const GRACE: Duration = Duration::from_secs(40);
/// Short, so that the tests are; much longer than what a busy machine takes for a round.
const WATCHDOG: Duration = Duration::from_secs(8);
const ALIVE: &str = "WATCHDOG=1";
const READY: &str = "READY=1";
const DISK_BYTES: u64 = 256 << 20;

/// A gateway whose sockets a manager holds.
fn held() -> (Arc<Manager>, Gateway) {
    let gateway = Gateway::new(LANE);
    let (intake, control) = (gateway.socket(), gateway.file("control.sock"));
    let manager = Manager::new().holding("control", &control).holding("intake", &intake);
    let manager = Arc::new(manager);
    let gateway = gateway.managed(&manager);
    (manager, gateway)
}

async fn post(socket: &Path, id: &str) -> http::Answer {
    let body = format!("{{\"id\":\"{id}\",\"body\":\"36.6\"}}");
    http::post(socket, "/v1/records", "application/json", body.as_bytes()).await.unwrap()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain until {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn signal(gateway: &Gateway, name: &str) {
    let kill = Command::new("kill").args([name, &gateway.pid().to_string()]).status();
    assert!(kill.unwrap().success());
}

#[tokio::test]
async fn ready_is_said_when_records_are_taken_in_and_stopping_at_the_end() {
    let manager = Arc::new(Manager::new());
    let mut gateway = Gateway::new(LANE).managed(&manager);
    gateway.start();
    manager.hears(READY, 1).await;
    assert_eq!(post(&gateway.socket(), "a-1").await.status, 201);
    let status = "STATUS=records are taken in; 1 wait; link unconfigured";
    until("the status is told", || manager.heard().iter().any(|line| line.starts_with(status)))
        .await;
    // Nobody asked for it.
    assert!(!manager.heard().iter().any(|line| line == ALIVE));
    manager.forget();
    gateway.stop(GRACE).await;
    assert_eq!(manager.heard()[0], "STOPPING=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_said_when_it_begins_and_when_it_is_done() {
    let manager = Arc::new(Manager::new());
    let mut gateway = Gateway::new(LANE).managed(&manager);
    gateway.start_ready().await;
    manager.hears(READY, 1).await;
    let pid = gateway.status().await.unwrap().pid;
    let kill = std::process::Command::new("kill").args(["-HUP", &pid.to_string()]).status();
    assert!(kill.unwrap().success());
    manager.hears(READY, 2).await;
    let heard = manager.heard();
    let at = |line: &str| heard.iter().rposition(|heard| heard.starts_with(line)).unwrap();
    let begun = at("RELOADING=1");
    assert!(begun < at("MONOTONIC_USEC=") && begun < at(READY), "{heard:#?}");
}

#[tokio::test]
async fn an_agent_that_cannot_start_does_not_say_that_it_is_ready() {
    let (manager, mut gateway) = held();
    gateway.configure("[[lane]]\nname = \"main\"\n");
    gateway.start();
    assert_eq!(gateway.ended(GRACE).await.code(), Some(78), "{}", gateway.tail());
    assert!(!manager.heard().iter().any(|line| line == READY), "{:?}", manager.heard());
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_that_connect_while_the_agent_is_away_are_answered_once_it_is_back() {
    let (manager, mut gateway) = held();
    let (intake, control) = (gateway.socket(), gateway.file("control.sock"));
    let inode = |path: &Path| std::fs::symlink_metadata(path).unwrap().ino();
    let inodes = [inode(&intake), inode(&control)];
    // The first ones are there before the agent has ever run.
    for life in 0..3 {
        manager.forget();
        let apps: Vec<_> = (0..20)
            .map(|app| {
                let socket = intake.clone();
                tokio::spawn(async move { post(&socket, &format!("r-{life}-{app}")).await })
            })
            .collect();
        sleep(Duration::from_millis(200)).await;
        assert!(apps.iter().all(|app| !app.is_finished()), "somebody was answered");
        gateway.start();
        manager.hears(READY, 1).await;
        for app in apps {
            assert_eq!(app.await.unwrap().status, 201);
        }
        gateway.said("dead list").await;
        match life {
            0 => gateway.stop(GRACE).await,
            _ => gateway.kill(),
        }
        assert_eq!([inode(&intake), inode(&control)], inodes, "a socket is not the one it was");
    }
    gateway.start();
    manager.hears(READY, 4 - 3).await;
    let status = gateway.ready().await;
    assert_eq!((lane(&status, "main").accepted, lane(&status, "main").waiting), (60, 60));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_over_restarts_under_load() {
    let (broker, ledger) = (HttpBroker::start().await, Ledger::default());
    let (_manager, mut gateway) = held();
    gateway.configure(&format!(
        "{}[drain]\nadaptive = false\nreconnect_spread = \"0s\"\n{LANE}",
        broker.upstream()
    ));
    gateway.start_ready().await;
    // From here on it connects again by itself, and repeats what was not answered.
    let client = Client::connect(gateway.socket()).await.unwrap();
    let noted = ledger.clone();
    let app = tokio::spawn(async move {
        for draft in drafts("r", 0..1000) {
            let id = draft.id.clone().unwrap();
            noted.send(&id, Sent::new("main", draft.body.clone()));
            let receipt = client.append(draft, Some("main")).await.unwrap();
            noted.acknowledge(&id, receipt.seq);
        }
    });
    for life in 0..4 {
        let accepted = 100 + life * 150;
        gateway.until("some are in", |status| lane(status, "main").accepted > accepted).await;
        match life % 2 {
            0 => gateway.kill(),
            _ => gateway.stop(GRACE).await,
        }
        gateway.start();
    }
    app.await.unwrap();
    let status = gateway.until_delivered(PATIENCE).await;
    assert_eq!(lane(&status, "main").accepted, 1000);
    let arrived = broker.arrivals(&["main"]);
    oracle::assert_none("losses", &oracle::losses(&ledger.snapshot(), &arrived));
}

#[tokio::test]
async fn a_frozen_agent_feeds_no_watchdog() {
    let manager = Arc::new(Manager::new().watching(WATCHDOG));
    let mut gateway = Gateway::new(LANE).managed(&manager);
    gateway.start();
    // More than one look, idle as it is.
    manager.hears(ALIVE, 3).await;
    signal(&gateway, "-STOP");
    let stat = format!("/proc/{}/stat", gateway.pid());
    until("it is frozen", || std::fs::read_to_string(&stat).unwrap().contains(") T ")).await;
    manager.forget();
    sleep(WATCHDOG).await;
    assert_eq!(manager.heard(), [""; 0]);
    signal(&gateway, "-CONT");
    manager.hears(ALIVE, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_stores_and_does_not_turn_has_the_agent_killed() {
    let manager = Arc::new(Manager::new().watching(WATCHDOG));
    let mut gateway = Gateway::new(LANE).managed(&manager);
    gateway.start();
    manager.hears(READY, 1).await;
    hand_over(&gateway.socket(), &Ledger::default(), "main", drafts("r", 0..3)).await;
    // Its syncs do not begin any more; it does not sleep for the disk meanwhile.
    let mut strace = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync,sync_file_range"])
        .args(["-e", "inject=fsync,fdatasync,sync_file_range:delay_enter=600000000"])
        .args(["-p", &gateway.pid().to_string()])
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", gateway.pid());
    until("it is traced", || {
        let status = std::fs::read_to_string(&status).unwrap();
        !status.lines().any(|line| line.trim_end() == "TracerPid:\t0")
    })
    .await;
    let socket = gateway.socket();
    let client = Client::connect(socket).await.unwrap();
    let late = tokio::spawn(async move { client.append(drafts("r", 3..4).remove(0), None).await });
    until("the watchdog is not fed", || gateway.log().contains("a part does not turn")).await;
    assert!(gateway.tail().contains("storing main") || gateway.tail().contains("saving the state"));
    manager.forget();
    sleep(WATCHDOG / 2).await;
    assert!(!manager.heard().iter().any(|line| line == ALIVE), "{}", gateway.tail());
    // As the manager does then.
    strace.kill().unwrap();
    strace.wait().unwrap();
    gateway.kill();
    gateway.start();
    // Its bytes may have been written already: then it is known.
    late.await.unwrap().unwrap();
    let status = gateway.until("all is there", |s| lane(s, "main").accepted == 4).await;
    assert_eq!(lane(&status, "main").waiting, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_is_no_reason_to_be_killed() {
    let manager = Arc::new(Manager::new().watching(WATCHDOG));
    let mut gateway = Gateway::new(LANE).managed(&manager);
    let image = Image::ext4(DISK_BYTES);
    let mount = image.mount(&gateway.data_dir());
    gateway.start();
    manager.hears(READY, 1).await;
    let frozen = mount.freeze();
    let socket = gateway.socket();
    let client = Client::connect(&socket).await.unwrap();
    let late = tokio::spawn(async move { client.append(drafts("r", 0..1).remove(0), None).await });
    let hangs = "the disk does not answer";
    until("it is noticed", || gateway.log().contains(hangs)).await;
    manager.forget();
    manager.hears(ALIVE, 20).await;
    assert!(!gateway.log().contains("a part does not turn"), "{}", gateway.tail());
    drop(frozen);
    late.await.unwrap().unwrap();
    until("it turns again", || gateway.log().contains("all parts turn again")).await;
    gateway.stop(GRACE).await;
}

/// A container, as far as mounts go: a mount namespace of its own in which the gateway's folder and
/// its intake socket alone are mounted.
struct Container(Child);

impl Container {
    fn of(gateway: &Gateway) -> Self {
        let [folder, file] = [gateway.file("inside"), gateway.file("inside.sock")];
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&file, "").unwrap();
        let mount =
            "mount --bind \"$1\" \"$2\" && mount --bind \"$3\" \"$4\" && echo there; read end";
        let mut child = Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-c", mount, "sh"])
            .args([gateway.file(""), folder, gateway.socket(), file])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        Self(child)
    }

    /// Whether an app in there reaches the agent by this path.
    fn reaches(&self, path: &Path) -> bool {
        let mut curl = Command::new("nsenter");
        curl.args(["-m", "-t", &self.0.id().to_string(), "curl", "-sf", "--unix-socket"]);
        curl.arg(path)
            .args(["-o", "/dev/null", "http://agent/v1/status"])
            .status()
            .unwrap()
            .success()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Whether a mounted folder and a mounted socket reach the agent before and after a restart.
async fn reached_over_a_restart(gateway: &mut Gateway) -> [[bool; 2]; 2] {
    let status = gateway.start_ready().await;
    let container = Container::of(gateway);
    let paths = [gateway.file("inside/spillway.sock"), gateway.file("inside.sock")];
    let before = paths.each_ref().map(|path| container.reaches(path));
    gateway.stop(GRACE).await;
    assert_ne!(gateway.start_ready().await.pid, status.pid);
    [before, paths.each_ref().map(|path| container.reaches(path))]
}

#[tokio::test]
async fn a_container_with_the_folder_mounted_reaches_the_agent_after_a_restart() {
    let mut gateway = Gateway::new(LANE);
    // The agent binds a new socket at each start: a mount of it alone is of the old one.
    assert_eq!(reached_over_a_restart(&mut gateway).await, [[true, true], [true, false]]);
}

#[tokio::test]
async fn a_container_with_the_managers_socket_mounted_does_too() {
    let (_manager, mut gateway) = held();
    assert_eq!(reached_over_a_restart(&mut gateway).await, [[true; 2]; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_comes_as_a_credential() {
    let broker = HttpBroker::start().await;
    let upstream = broker.upstream();
    let (before, after) = upstream.split_once("access_key_secret = \"").unwrap();
    let (secret, after) = after.split_once('"').unwrap();
    let manager = Arc::new(Manager::new().credential("upstream", &format!("{secret}\n")));
    let mut gateway = Gateway::new(&format!(
        "{before}access_key_secret = {{ credential = \"upstream\" }}{after}\
         [drain]\nreconnect_spread = \"0s\"\n{LANE}"
    ))
    .managed(&manager);
    gateway.start_ready().await;
    hand_over(&gateway.socket(), &Ledger::default(), "main", drafts("r", 0..3)).await;
    gateway.until_delivered(PATIENCE).await;
    assert!(!gateway.log().contains(secret));
}
