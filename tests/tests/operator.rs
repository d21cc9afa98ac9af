//! An operator's commands against a real queue behind its control socket: the real binary asks, the
//! real server answers.

use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::Value;
use spillway::clock::SystemClock;
use spillway::control::{self, Accept, Desk};
use spillway::intake::socket::{self, SocketFile};
use spillway::queue::{LaneOptions, Options, Ordering, Queue};
use spillway_protocol::local::{Code, Refusal};
use spillway_protocol::record::{Draft, LaneName, RecordId};
use spillway_tests::gateway::binary;
use tempfile::TempDir;

fn lane(name: &str) -> LaneName {
    LaneName::parse(name).unwrap()
}

/// A queue with two lanes, served on a control socket.
struct Agent {
    folder: TempDir,
    queue: Queue,
    held: Arc<AtomicBool>,
    _socket: SocketFile,
}

impl Agent {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            data_dir: folder.path().join("data"),
            gateway: "gw".into(),
            host: "host".into(),
            lanes: ["critical", "bulk"]
                .map(|name| LaneOptions { name: lane(name), ordering: Ordering::None, ttl: None })
                .into(),
            segment_bytes: 4 << 20,
            limits: Default::default(),
            dead_keep_bytes: 64 << 20,
            waiting_bytes_max: 64 << 20,
            tell: false,
            keep: None,
            packing: Default::default(),
            seed: 1,
        };
        let (queue, _) = Queue::open(options, Arc::new(SystemClock)).unwrap();
        let held = Arc::new(AtomicBool::new(true));
        let accepted = held.clone();
        let accept: Accept =
            Arc::new(move |lane| lane.as_str() == "critical" && accepted.swap(false, SeqCst));
        let path = folder.path().join("control.sock");
        let (listener, socket) = socket::bind(&path, 0o600).await.unwrap();
        let nobody = |_: &_| Err(Refusal::new(Code::NotFound, "no agent"));
        let desk = Desk::new(queue.clone(), accept, Arc::new(nobody));
        tokio::spawn(control::serve(listener, Default::default(), desk, std::future::pending()));
        Self { folder, queue, held, _socket: socket }
    }

    async fn store(&self, name: &str, id: &str, body: &'static [u8]) {
        let draft = Draft {
            id: Some(id.into()),
            key: Some("patient-7".into()),
            body: body.into(),
            ..Draft::default()
        };
        let record = draft.parse(|| RecordId::parse("unused").unwrap()).unwrap();
        self.queue.submit(&lane(name), record).await.unwrap();
    }

    /// Sends the oldest waiting records of `critical` to the dead letters.
    fn kill(&self, count: usize, code: &str) {
        for lease in self.queue.lease(&lane("critical"), count, usize::MAX) {
            lease.dead_letter(code, "refused for a test").unwrap();
        }
    }

    async fn spillway(&self, args: &str) -> Output {
        let mut command = tokio::process::Command::new(binary());
        command.args(args.split_whitespace());
        command.arg("--control").arg(self.folder.path().join("control.sock"));
        command.output().await.unwrap()
    }

    /// Standard output of a command that did what it was asked for.
    async fn said(&self, args: &str) -> String {
        let output = self.spillway(args).await;
        assert_eq!(output.status.code(), Some(0), "{args}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    async fn json(&self, args: &str) -> Value {
        serde_json::from_str(&self.said(&format!("{args} --json")).await).unwrap()
    }

    fn accounts(&self) -> (u64, u64, u64) {
        let accounts = self.queue.figures(&lane("critical")).unwrap().accounts;
        (accounts.waiting, accounts.dead, accounts.dropped)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_listed_and_peeked_into_without_contents() {
    let agent = Agent::start().await;
    for i in 0..12 {
        agent.store("critical", &format!("r-{i}"), b"private words").await;
    }
    agent.store("bulk", "b-1", &[0, 255]).await;

    let lanes = agent.json("queue list").await;
    assert_eq!(lanes["lanes"][0]["name"], "critical");
    assert_eq!(
        (&lanes["lanes"][0]["waiting"], &lanes["lanes"][1]["waiting"]),
        (&12.into(), &1.into())
    );
    assert!(agent.said("queue list").await.starts_with("LANE "));

    let all = agent.json("queue peek --lane critical --limit 5").await;
    let records = all["records"].as_array().unwrap();
    let ids: Vec<&str> = records.iter().map(|record| record["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["r-0", "r-1", "r-2", "r-3", "r-4"]);
    let next = records[4]["position"].as_u64().unwrap() + 1;
    let rest = agent.json(&format!("queue peek --lane critical --from {next} --limit 100")).await;
    assert_eq!(rest["records"].as_array().unwrap().len(), 7);

    for shown in [agent.said("queue peek").await, all.to_string()] {
        assert!(!shown.contains("private") && !shown.contains("patient"), "{shown}");
    }
    let shown = agent.said("queue peek --body").await;
    assert!(shown.contains("    body: private words\n"), "{shown}");
    assert!(shown.contains("    key: patient-7\n") && shown.contains("    body (base64): AP8=\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_shown_replayed_and_purged() {
    let agent = Agent::start().await;
    for i in 0..5 {
        agent.store("critical", &format!("r-{i}"), b"private words").await;
    }
    agent.kill(3, "MalformedXML");
    agent.kill(2, "MessagePropertyConflict");
    assert_eq!(agent.accounts(), (0, 5, 0));

    let letters = agent.json("dead list --reason MalformedXML").await;
    assert_eq!(letters["letters"].as_array().unwrap().len(), 3);
    assert_eq!(letters["letters"][0]["id"], "r-0");
    assert!(!agent.said("dead list").await.contains("private"));
    assert!(agent.said("dead list --limit 2").await.ends_with("there are more; see --limit\n"));

    let number = letters["letters"][0]["number"].as_u64().unwrap();
    let shown = agent.said(&format!("dead show {number} --body")).await;
    assert!(
        shown.contains("code      MalformedXML\n") && shown.contains("    body: private words\n")
    );
    let missing = agent.spillway("dead show 999").await;
    assert_eq!(missing.status.code(), Some(65));

    let dry = agent.said("dead replay --reason MalformedXML --limit 2 --dry-run").await;
    assert_eq!(dry, "would replay: 2 dead letters\n");
    assert_eq!(agent.accounts(), (0, 5, 0));
    let done = agent.json("dead replay --reason MalformedXML --limit 2").await;
    assert_eq!(done["count"], 2);
    assert_eq!(agent.accounts(), (2, 3, 0));

    let refused = agent.spillway("dead purge").await;
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(agent.accounts(), (2, 3, 0));
    assert_eq!(agent.said("dead purge --since 1h --limit 1").await, "purge: 1 dead letter\n");
    assert_eq!(agent.said("dead purge --all").await, "purge: 2 dead letters\n");
    assert_eq!(agent.accounts(), (2, 0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_broken_off_says_how_far_it_came_and_why() {
    let agent = Agent::start().await;
    agent.store("critical", "r-0", b"x").await;
    agent.kill(1, "MalformedXML");
    agent.queue.close();
    let texts = |output: Output| {
        assert_eq!(output.status.code(), Some(75), "{output:?}");
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let why = "then it was broken off: the agent is stopping; the others are where they were\n";
    let [said, told] = texts(agent.spillway("dead replay").await);
    assert_eq!((said.as_str(), told.as_str()), ("replay: 0 dead letters\n", why));
    let [said, told] = texts(agent.spillway("dead replay --json").await);
    let done: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&done["count"], &done["broken_off"]), (&0.into(), &"the agent is stopping".into()));
    assert_eq!(told, why);
    assert_eq!(agent.accounts(), (0, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_exported_and_their_contents_only_if_asked_for() {
    let agent = Agent::start().await;
    for i in 0..7 {
        agent.store("critical", &format!("r-{i}"), b"private words").await;
    }
    agent.kill(6, "MalformedXML");
    let seen = agent.said("dead export").await;
    let first: Value = serde_json::from_str(seen.lines().next().unwrap()).unwrap();
    assert_eq!((&first["id"], &first["code"]), (&"r-0".into(), &"MalformedXML".into()));
    assert_eq!(seen.lines().count(), 6);
    assert!(!seen.contains("private") && !seen.contains("patient"), "{seen}");
    let whole = agent.said("dead export --body --limit 5").await;
    assert_eq!(whole.lines().count(), 5);
    let first: Value = serde_json::from_str(whole.lines().next().unwrap()).unwrap();
    let line = serde_json::json!({
        "lane": "critical", "id": "r-0", "key": "patient-7", "order_key": null,
        "properties": {}, "body": "private words"
    });
    assert_eq!(first, line);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_is_not_purged() {
    let agent = Agent::start().await;
    for i in 0..5 {
        agent.store("critical", &format!("r-{i}"), b"private words").await;
    }
    let leased = agent.queue.lease(&lane("critical"), 2, usize::MAX);
    assert_eq!(
        agent.said("queue purge --lane critical --all --dry-run").await,
        "would purge: 3 waiting records of lane critical\n"
    );
    assert_eq!(agent.json("queue purge --lane critical --all").await["count"], 3);
    leased.into_iter().for_each(spillway::queue::Lease::ack);
    assert_eq!(agent.accounts(), (0, 0, 3));
    let told = agent.queue.untold();
    let told: Vec<_> = told.iter().map(|range| (range.fate, range.from, range.to)).collect();
    assert_eq!(told, [(spillway::queue::Fate::Purged, 3, 5)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_lane_is_accepted_once_and_an_unknown_one_lists_the_known() {
    let agent = Agent::start().await;
    assert!(agent.said("dead accept critical").await.starts_with("lane critical goes on"));
    assert!(!agent.held.load(SeqCst));
    assert!(agent.said("dead accept critical").await.contains("is not held"));
    for args in ["dead accept ward", "queue peek --lane ward", "dead list --lane ward"] {
        let output = agent.spillway(args).await;
        assert_eq!(output.status.code(), Some(65), "{args}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            said, "unknown_lane: lane \"ward\" is no lane here; there are: critical, bulk\n",
            "{args}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_agent_it_is_69_with_a_remedy() {
    let agent = Agent::start().await;
    let control = agent.folder.path().join("control.sock");
    std::fs::remove_file(&control).unwrap();
    let output = agent.spillway("queue list").await;
    assert_eq!(output.status.code(), Some(69));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.ends_with("; start the agent, or name its socket with --control PATH\n"),
        "{said}"
    );
}
