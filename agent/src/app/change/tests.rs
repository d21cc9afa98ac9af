//! A change that panics ends the agent, so that it is started again: nobody is left without an answer.

mod unwritten;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use spillway_protocol::record::LaneName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::app::{Agent, Choice};
use crate::clock::{SystemClock, WallClock};
use crate::config::Surroundings;
use crate::service::Handed;

/// Where blocking work is done.
const BLOCKING: &str = "blocking";

/// A clock that panics where blocking work asks it, once that is wanted.
#[derive(Default)]
struct Clock(AtomicBool);

impl WallClock for Clock {
    fn now_ms(&self) -> u64 {
        let blocking = std::thread::current().name() == Some(BLOCKING);
        assert!(!blocking || !self.0.load(SeqCst), "the clock was asked");
        SystemClock.now_ms()
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().thread_name(BLOCKING).build().unwrap()
}

/// With these lanes, each with a topic of its name.
fn configure(folder: &Path, lanes: &[&str]) {
    let (data, socket) = (folder.join("data"), folder.join("socket"));
    let lane = |name: &&str| {
        format!("[[lane]]\nname = {name:?}\ntopic = {name:?}\ndefault = {}\n", *name == "main")
    };
    let lanes: String = lanes.iter().map(lane).collect();
    let text = format!(
        "gateway.id = \"gw\"\ngateway.data_dir = {data:?}\nlisten.socket = {socket:?}\n{lanes}"
    );
    std::fs::write(folder.join("spillway.toml"), text).unwrap();
}

async fn start(folder: &Path, clock: Arc<dyn WallClock>) -> Agent {
    let file = folder.join("spillway.toml");
    let choice = Choice::make(&file, true, &Surroundings::of_process(), clock.as_ref()).unwrap();
    Box::pin(Agent::start(choice, clock, Handed::default())).await.unwrap()
}

/// The status line of the answer; empty where there was none.
async fn post(folder: &Path, id: &str) -> String {
    let mut stream = UnixStream::connect(folder.join("socket")).await.unwrap();
    let body = format!("{{\"id\": {id:?}, \"body\": \"x\"}}");
    let request = format!(
        "POST /v1/records HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // Cut off it has none.
    let _ = stream.read_to_string(&mut answer).await;
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_change_that_panics_ends_the_agent_and_a_start_goes_on_with_what_was_stored() {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), &["main"]);
    let clock = Arc::new(Clock::default());
    let first = runtime();
    first.block_on(async {
        let agent = start(folder.path(), clock.clone()).await;
        assert!(post(folder.path(), "before").await.contains("201"));
        configure(folder.path(), &["main", "new"]);
        clock.0.store(true, SeqCst);
        agent.reload().await;
        let late = post(folder.path(), "late");
        tokio::pin!(late);
        // What the process waits for to end, while what comes is not answered.
        let ended = async {
            tokio::select! {
                biased;
                answer = &mut late => panic!("answered: {answer}"),
                () = agent.failed() => {}
            }
        };
        timeout(Duration::from_secs(60), ended).await.expect("the agent goes on without a queue");
    });
    clock.0.store(false, SeqCst);
    drop(first);
    runtime().block_on(async {
        let agent = start(folder.path(), clock.clone()).await;
        let waiting = || {
            let lane = LaneName::parse("main").unwrap();
            agent.lower.queue.accounts(&lane).unwrap().waiting
        };
        assert_eq!(waiting(), 1, "what was never answered is not there");
        assert!(post(folder.path(), "late").await.contains("201"));
        assert_eq!(waiting(), 2);
        let status = agent.status();
        assert_eq!((status.lanes.len(), &*status.configuration.state), (2, "in force"));
        agent.stop().await;
    });
}
