//! Every command, as a user meets it: its help, what it says when something is wrong and by which
//! exit code, what it prints of an agent that runs and of one that is stopped. Compared with
//! tests/golden/commands; SPILLWAY_BLESS=1 writes these anew.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use spillway::broker::faults::{Kind as Fault, Plan, Rule};
use spillway_protocol::local::status::Status;
use spillway_tests::broker::{HttpBroker, SECRET};
use spillway_tests::gateway::{Gateway, PATIENCE, binary, lane};
use spillway_tests::transcript::{Kind, Transcripts};

/// The smallest call of each command that does something. A new command has to be given one.
const CALLS: [(&str, &str); 26] = [
    ("demo", ""),
    ("run", ""),
    ("check", ""),
    ("send", "FILES/body"),
    ("status", ""),
    ("top", ""),
    ("tail", ""),
    ("why", ""),
    ("admin url", ""),
    ("queue list", ""),
    ("queue peek", ""),
    ("queue verify", ""),
    ("queue export", ""),
    ("queue purge", "--lane readings --all --dry-run"),
    ("dead list", ""),
    ("dead show", "1"),
    ("dead replay", "--dry-run"),
    ("dead purge", "--all --dry-run"),
    ("dead accept", "readings"),
    ("dead export", ""),
    ("resend", "--lane readings --from 1 --to 1"),
    ("upgrade", ""),
    ("reload", ""),
    ("support-bundle", "--output FILES/bundle.tar.gz"),
    ("plan", "--gateways 20 --outage 5m --rate=30/min"),
    ("broker", "--listen 127.0.0.1:1 --access-key dev --access-secret dev"),
];
/// Those that go on until they are told to stop, or tell a long story.
const LASTING: [&str; 5] = ["demo", "run", "top", "tail", "broker"];
/// Those that need no agent.
const ALONE: [&str; 3] = ["run", "check", "plan"];

const LANES: &str = "[audit]\n[drain]\nadaptive = false\nreconnect_spread = \"0s\"\n\
    [[lane]]\nname = \"readings\"\ntopic = \"ward-readings\"\ndefault = true\n\
    [[lane]]\nname = \"alarms\"\ntopic = \"ward-alarms\"\norder = \"key\"\n\
    [[lane]]\nname = \"pictures\"\ntopic = \"ward-pictures\"\nquota = \"1 MiB\"\n\
    [[lane]]\nname = \"notes\"\ntopic = \"ward-notes\"\n";
/// While the broker is there, and while it is not: then nothing may change between two commands.
const EAGER: &str = "[backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n";
const SLOW: &str = "[backoff]\ninitial = \"30d\"\nmax = \"30d\"\n";

/// What is done while the agent runs and its link is down, in this order.
const RUNNING: [&str; 55] = [
    "status",
    "status --json",
    "status --check",
    "status --check --json",
    "admin url",
    "tail --lane nowhere",
    "reload",
    "reload --json",
    "reload --keep",
    "reload --confirm 0s",
    "why",
    "why readings",
    "why reading-2",
    "why reading-2 --json",
    "why --key bed-7",
    "why nobody-knows",
    "queue list",
    "queue list --json",
    "queue peek",
    "queue peek --lane readings --json",
    "queue peek --lane alarms --body",
    "queue peek --lane alarms --body --json",
    "queue peek --lane nowhere",
    "queue verify",
    "queue verify --json",
    "queue export --lane alarms",
    "queue export --lane alarms --body",
    "queue purge --lane readings 2 --dry-run",
    "queue purge --lane readings 2 --json",
    "queue purge --lane readings 2",
    "queue purge --lane readings",
    "queue purge --lane readings nine",
    "dead list",
    "dead list --json",
    "dead list --reason nothing-like-it",
    "dead list --lane nowhere",
    "dead show 1",
    "dead show 1 --body",
    "dead show 1 --json",
    "dead show 99",
    "dead export --body",
    "dead replay --dry-run",
    "dead replay --reason malformedxml --dry-run",
    "dead replay --since yesterday",
    "dead replay 1 --json",
    "dead purge",
    "dead purge --all",
    "dead accept readings",
    "dead accept readings --json",
    "dead accept nowhere",
    "resend --lane readings --from 1 --to 9",
    "resend --lane readings --from 1 --to 1 --json",
    "resend --lane readings --from 3 --to 1",
    "upgrade",
    "upgrade --json",
];

/// What can be handed over, and what not: refused for good (65), for now (75), wrong (2).
const SENT: [&str; 14] = [
    "send FILES/body --id reading-9",
    "send FILES/body --id reading-9",
    "send FILES/body --id reading-10 --json",
    "send FILES/other --id reading-9",
    "send FILES/body --id reading,9 --lane nowhere",
    "send FILES/body --id reading:9",
    "send FILES/body --property unit",
    "send FILES/nothing",
    "send --lines FILES/lines --lane notes",
    "send --lines FILES/lines --lane nowhere",
    "send --records FILES/records",
    "send --lines --id one FILES/lines",
    "send FILES/picture --lane pictures --id picture-1",
    "send FILES/picture --lane pictures --id picture-2",
];

/// What is looked at of an agent that is stopped.
const STOPPED: [&str; 10] = [
    "status",
    "status --check",
    "send FILES/body",
    "why readings",
    "queue list",
    "queue peek --lane alarms --json",
    "queue verify",
    "dead list --json",
    "resend --lane readings --from 1 --to 1",
    "check",
];

/// One world for all of it: a broker, a gateway, and files to hand over.
struct World {
    broker: HttpBroker,
    gateway: Gateway,
    transcripts: Transcripts,
}

impl World {
    async fn new() -> Self {
        let broker = HttpBroker::start().await;
        let gateway = Gateway::new(&format!("{}{EAGER}{LANES}", broker.upstream()));
        let files = [
            ("body", "36.6".to_owned()),
            ("other", "another body".to_owned()),
            ("lines", "one\n\ntwo\n".to_owned()),
            ("records", "{\"body\": \"r\", \"id\": \"record-1\"}\n{\"body\"\n".to_owned()),
            ("picture", "x".repeat(600_000)),
            (
                "bad.toml",
                "[listen]\nsocket = \"/run/no-such/spillway.sock\"\n[gatewy]\nid = \"g\"\n"
                    .to_owned(),
            ),
            ("torn.toml", "[gateway\n".to_owned()),
            ("deaf.toml", "[listen]\nsocket = 5\n".to_owned()),
        ];
        for (name, text) in files {
            std::fs::write(gateway.file(name), text).unwrap();
        }
        let folder = gateway.file("").display().to_string().trim_end_matches('/').to_owned();
        let names = vec![
            (folder, "/gateway".to_owned()),
            (format!("127.0.0.1:{}", broker.port()), "127.0.0.1:PORT".to_owned()),
            (env!("CARGO_PKG_VERSION").to_owned(), "VERSION".to_owned()),
        ];
        Self { broker, gateway, transcripts: Transcripts::new(names) }
    }

    /// Runs a command of this gateway and writes it down.
    fn step(&mut self, command: &str, words: &str, kind: Kind) {
        let config = self.gateway.file("spillway.toml").display().to_string();
        let output = run(&self.words(&format!("{words} --config {config}")), false);
        self.transcripts.step(command, &words.replace("FILES", "/gateway"), &output, kind);
    }

    fn words(&self, words: &str) -> Vec<String> {
        let folder = self.gateway.file("").display().to_string();
        let words = words.replace("FILES/", &folder);
        words.split_whitespace().map(str::to_owned).collect()
    }

    /// The same for each of a list, in the transcript of its command.
    fn steps(&mut self, title: &str, list: &[&str], commands: &[String]) {
        let mut begun = Vec::new();
        for words in list {
            let command = command_of(words, commands);
            if !begun.contains(&command) {
                self.transcripts.heading(&command, title);
                begun.push(command.clone());
            }
            self.step(&command, words, Kind::Live);
        }
    }
}

/// The command that words begin with.
fn command_of(words: &str, commands: &[String]) -> String {
    let known = commands
        .iter()
        .filter(|command| words == command.as_str() || words.starts_with(&format!("{command} ")));
    known.max_by_key(|command| command.len()).cloned().unwrap()
}

/// Runs the binary, under the name that users know, as somebody else where asked for.
fn run(words: &[String], as_nobody: bool) -> Output {
    let binary = File::open(binary()).unwrap();
    // Another user may not reach the folder it lies in.
    let mut command = Command::new(format!("/proc/self/fd/{}", binary.as_raw_fd()));
    command.arg0("spillway").args(words).stdin(Stdio::null()).current_dir("/");
    command.env_clear().env("PATH", "/usr/bin:/bin").env("TZ", "UTC");
    if as_nobody {
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    let printed =
        String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned();
    assert!(!printed.contains(SECRET), "{words:?} prints the upstream's secret");
    output
}

fn split(words: &str) -> Vec<String> {
    words.split_whitespace().map(str::to_owned).collect()
}

/// Below `command`, as its help lists them; `help` itself left out.
fn listed(command: &str) -> Vec<String> {
    let output = run(&split(&format!("{command} --help")), false);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
        // A name stands two columns in; what its help goes on with stands further.
        let line = line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?;
        line.split_whitespace().next()
    });
    let full = |name: &str| format!("{command} {name}").trim().to_owned();
    names.filter(|name| *name != "help").map(full).collect()
}

/// All commands and the groups they are in, from the binary's own help.
fn all_commands() -> Vec<String> {
    let mut found = vec![String::new()];
    let mut next = 0;
    while next < found.len() {
        found.extend(listed(&found[next].clone()));
        next += 1;
    }
    found
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_says_what_it_said() {
    let commands = all_commands();
    let calls = BTreeMap::from(CALLS);
    let groups: Vec<&String> =
        commands.iter().filter(|command| !listed(command).is_empty()).collect();
    let leaves: Vec<&String> =
        commands.iter().filter(|command| !groups.contains(command)).collect();
    let uncalled: Vec<_> =
        leaves.iter().filter(|leaf| !calls.contains_key(leaf.as_str())).collect();
    assert!(uncalled.is_empty(), "say in CALLS how these are called: {uncalled:?}");

    let mut world = World::new().await;
    for command in &commands {
        for words in ["--help", "--nonsense"] {
            let words = format!("{command} {words}").trim().to_owned();
            world.transcripts.step(command, &words, &run(&split(&words), false), Kind::Fixed);
        }
    }
    without_agent(&mut world, &leaves, &calls);
    before_the_link_goes(&mut world).await;
    world.steps("Handing over", &SENT, &commands);
    world.steps("An agent that runs", &RUNNING, &commands);
    running_beside(&mut world);
    if is_root() {
        as_another_user(&mut world, &leaves, &calls);
    }
    world.gateway.stop(PATIENCE).await;
    world.steps("An agent that is stopped", &STOPPED, &commands);
    if is_root() {
        stopped_for_another_user(&mut world);
    }

    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/commands");
    let without: &[&str] = if is_root() { &[] } else { &["As another user"] };
    world.transcripts.compare(&golden, without);
}

/// No configuration, a faulty one, one that is torn, and nobody who answers.
fn without_agent(world: &mut World, leaves: &[&String], calls: &BTreeMap<&str, &str>) {
    for leaf in leaves {
        let words = format!("{leaf} {}", calls[leaf.as_str()]);
        let help = run(&split(&format!("{leaf} --help")), false);
        let configured = String::from_utf8_lossy(&help.stdout).contains("--config <FILE>");
        // What support gets says what is wrong: it is no error there.
        if !configured || leaf.as_str() == "support-bundle" {
            continue;
        }
        world.transcripts.heading(leaf, "Without an agent");
        let lasts = LASTING.contains(&leaf.as_str());
        let alone = ALONE.contains(&leaf.as_str());
        for file in ["none.toml", "bad.toml", "torn.toml", "spillway.toml"] {
            if file == "spillway.toml" && (lasts || alone) {
                continue;
            }
            let words = format!("{words} --config FILES/{file}");
            let output = run(&world.words(&words), false);
            assert_ne!(output.status.code(), Some(0), "{words}");
            world.transcripts.step(leaf, &words.replace("FILES", "/gateway"), &output, Kind::Fixed);
        }
    }
}

/// Two records delivered, one dead letter; then the link is down and three wait.
async fn before_the_link_goes(world: &mut World) {
    let rule = Rule { key_prefix: Some("bad".into()), ..Rule::always(Fault::RefuseRecord) };
    world.broker.faults().set(Plan { rules: vec![rule], ..Plan::default() });
    world.gateway.start_ready().await;
    send(world, "readings", "reading-1", "bed-7");
    send(world, "notes", "note-1", "bad");
    let refused = |status: &Status| lane(status, "notes").last_error.is_some();
    world.gateway.until("it is refused", refused).await;
    // Once another one that left after its refusal got through, the record itself is to blame.
    send(world, "notes", "note-2", "bed-7");
    let done = |status: &Status| status.lanes.iter().all(|lane| lane.waiting == 0);
    world.gateway.until("nothing waits", done).await;
    world.broker.stop().await;
    world.gateway.stop(PATIENCE).await;
    world.gateway.configure(&format!("{}{SLOW}{LANES}", world.broker.upstream()));
    world.gateway.start_ready().await;
    for (lane, id) in [("readings", "reading-2"), ("readings", "reading-3"), ("alarms", "alarm-1")]
    {
        send(world, lane, id, "bed-7");
    }
    let offline = |status: &Status| {
        lane(status, "readings").waiting == 2 && format!("{:?}", status.link.state) == "Offline"
    };
    world.gateway.until("the link is down", offline).await;
}

fn send(world: &World, lane: &str, id: &str, key: &str) {
    let config = world.gateway.file("spillway.toml").display().to_string();
    let words = format!(
        "send FILES/body --lane {lane} --id {id} --key {key} --order-key bed-7 --config {config}"
    );
    let output = run(&world.words(&words), false);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// Beside an agent that runs: what needs none, and a second agent.
fn running_beside(world: &mut World) {
    let port = world.broker.port();
    let steps = [
        ("check", "check".to_owned()),
        ("check", "check --json".to_owned()),
        ("check", "check --json --config FILES/bad.toml".to_owned()),
        ("check", "check --connect".to_owned()),
        ("check", "check --connect --json".to_owned()),
        ("run", "run --log-level error".to_owned()),
        ("reload", "reload --config FILES/deaf.toml".to_owned()),
        ("top", "top".to_owned()),
        ("plan", format!("{} {}", "plan", BTreeMap::from(CALLS)["plan"])),
        ("plan", format!("{} {} --json", "plan", BTreeMap::from(CALLS)["plan"])),
        ("plan", "plan --gateways 0".to_owned()),
        ("plan", "plan --capacity 1".to_owned()),
        ("broker", "broker --listen 0.0.0.0:8088 --access-key dev --access-secret dev".to_owned()),
        ("broker", "broker --listen 127.0.0.1:8088 --access-key dev".to_owned()),
        (
            "broker",
            "broker --listen 127.0.0.1:8088 --access-key dev --access-secret-file FILES/none"
                .to_owned(),
        ),
        (
            "broker",
            format!(
                "broker --listen 127.0.0.1:{port} --access-key dev --access-secret dev --faults nonsense"
            ),
        ),
        (
            "broker",
            format!("broker --listen 127.0.0.1:{port} --access-key dev --access-secret dev"),
        ),
    ];
    let config = world.gateway.file("spillway.toml").display().to_string();
    for (command, words) in steps {
        let takes = !["plan", "broker"].contains(&command) && !words.contains("--config");
        let more = if takes { format!(" --config {config}") } else { String::new() };
        // The broker's port is free while it is away.
        let _taken = (command == "broker").then(|| TcpListener::bind(("127.0.0.1", port)).unwrap());
        let output = run(&world.words(&format!("{words}{more}")), false);
        world.transcripts.step(command, &words.replace("FILES", "/gateway"), &output, Kind::Live);
    }
}

/// A user who may read the configuration, and not the data folder.
fn stopped_for_another_user(world: &mut World) {
    std::fs::set_permissions(world.gateway.file(""), Permissions::from_mode(0o755)).unwrap();
    let config = world.gateway.file("spillway.toml").display().to_string();
    for words in ["queue list", "queue purge --lane readings --all"] {
        let command = words.split(" --").next().unwrap();
        let output = run(&world.words(&format!("{words} --config {config}")), true);
        assert_eq!(output.status.code(), Some(77), "{words}: {output:?}");
        world.transcripts.heading(command, "As another user");
        world.transcripts.step(command, words, &output, Kind::Live);
    }
}

/// A user who may read the configuration, and reach neither socket nor queue.
fn as_another_user(world: &mut World, leaves: &[&String], calls: &BTreeMap<&str, &str>) {
    let open = |mode| {
        std::fs::set_permissions(world.gateway.file(""), Permissions::from_mode(mode)).unwrap()
    };
    open(0o755);
    let config = world.gateway.file("spillway.toml").display().to_string();
    let found: Vec<_> = leaves
        .iter()
        .filter(|leaf| !["demo", "top", "broker", "plan", "check"].contains(&leaf.as_str()))
        .map(|leaf| {
            let words = format!("{leaf} {}", calls[leaf.as_str()]);
            (
                leaf.to_string(),
                words.clone(),
                run(&world.words(&format!("{words} --config {config}")), true),
            )
        })
        .collect();
    open(0o700);
    let unread = ["status", "queue list", "check", "run"].map(|words| {
        let output = run(&world.words(&format!("{words} --config {config}")), true);
        (words.to_owned(), format!("{words} --config FILES/spillway.toml"), output)
    });
    for (leaf, words, output) in found.into_iter().chain(unread) {
        assert_eq!(output.status.code(), Some(77), "{words}: {output:?}");
        world.transcripts.heading(&leaf, "As another user");
        world.transcripts.step(&leaf, &words.replace("FILES", "/gateway"), &output, Kind::Live);
    }
}
