//! `/healthz` of an agent whose thread that saves the state hangs, while all else goes on.

use std::process::{Child, Command};
use std::time::Duration;

use spillway_tests::admin::Admin;
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, PATIENCE};
use spillway_tests::ledger::Ledger;
use tokio::time::{Instant, sleep};

/// A step may take a minute.
const TOO_LONG: Duration = Duration::from_secs(150);

/// No sync of this process begins any more, until this is dropped.
struct Hanging(Child);

impl Hanging {
    async fn begin(pid: u32) -> Self {
        let strace = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"])
            .args(["-e", "inject=fsync,fdatasync:delay_enter=600000000"])
            .args(["-p", &pid.to_string()])
            .spawn()
            .unwrap();
        let hanging = Self(strace);
        let begun = Instant::now();
        let is_traced = || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            !status.lines().any(|line| line.trim_end() == "TracerPid:\t0")
        };
        while !is_traced() {
            assert!(begun.elapsed() < PATIENCE, "it is not traced");
            sleep(Duration::from_millis(20)).await;
        }
        hanging
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        drop(self.0.kill().and_then(|()| self.0.wait()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_hangs_is_told_and_one_that_waits_is_not() {
    let (mut broker, admin) = (HttpBroker::start().await, Admin::new());
    let lanes = "[[lane]]\nname = \"main\"\ntopic = \"main\"\n";
    let quick =
        "[drain]\nreconnect_spread = \"0s\"\n[backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n";
    let mut gateway =
        Gateway::new(&format!("{}{}{quick}{lanes}", admin.settings(), broker.upstream()));
    gateway.start_ready().await;
    broker.stop().await;
    hand_over(&gateway.socket(), &Ledger::default(), "main", drafts("r", 0..5)).await;
    let answer = admin.get("/healthz").await.unwrap();
    assert_eq!(answer.status, 200);
    // The records leave; that they have cannot be noted.
    let hanging = Hanging::begin(gateway.pid()).await;
    broker.restart().await;
    gateway.until_delivered(PATIENCE).await;
    let begun = Instant::now();
    let told = loop {
        let answer = admin.get("/healthz").await.unwrap();
        if answer.status == 503 {
            break String::from_utf8(answer.body).unwrap();
        }
        assert!(begun.elapsed() < TOO_LONG, "it is healthy");
        sleep(Duration::from_millis(500)).await;
    };
    assert!(told.starts_with("the queue's state has not been saved for "), "{told}");
    drop(hanging);
    gateway.kill();
    gateway.start_ready().await;
    assert_eq!(admin.get("/healthz").await.unwrap().status, 200);
}
