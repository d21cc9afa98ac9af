//! `spillway support-bundle` of a real agent, running and stopped: what is in it, and that nothing
//! is which is nobody's business.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use spillway::broker::faults::{Kind, Rule};
use spillway_protocol::local::status::LinkState;
use spillway_protocol::record::Draft;
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, binary, lane};
use spillway_tests::ledger::Ledger;
use spillway_tests::port;

/// What may be nowhere, by where it was put.
const SECRETS: [&str; 12] = [
    "mark-of-inline-secret-81",
    "mark-of-file-secret-82",
    "mark-of-env-token-0123456789",
    "mark-of-url-token-84",
    "mark-of-front-secret-85",
    "mark-of-route-value-86",
    "mark-of-body-87",
    "mark-of-key-88",
    "mark-of-order-key-89",
    "mark-of-property-90",
    "mark-of-id-91",
    "mark-of-mistyped-92",
];

fn settings(upstream: &str, file: &Path) -> String {
    let [_, _, _, url, front, route, ..] = SECRETS;
    let (admin, mq, nobody) = (port::free(), port::free(), port::free());
    format!(
        "[listen.admin]\naddress = \"127.0.0.1:{admin}\"\n\
         [listen.mq_http]\naddress = \"127.0.0.1:{mq}\"\n\
         access_keys = [{{ id = \"local\", secret = \"{front}\" }}]\n{upstream}\
         security_token = {{ file = {file:?} }}\n\
         [drain]\nadaptive = false\nreconnect_spread = \"0s\"\n\
         [audit]\nkeep = \"16 MiB\"\n\
         [control]\nurl = \"http://127.0.0.1:{nobody}/{{gateway}}.json?token={url}\"\nplaintext = true\n\
         public_key = \"6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=\"\n\
         [report]\ntopic = \"reports\"\n\
         [[lane]]\nname = \"ward\"\ntopic = \"readings\"\ndefault = true\n\
         [[lane]]\nname = \"held\"\ntopic = \"held\"\n\
         [[route]]\nwhen = {{ place = \"{route}\" }}\nlane = \"held\"\n"
    )
}

fn private(id: &str) -> Draft {
    let [.., body, key, order, property, _, _] = SECRETS;
    Draft {
        id: Some(id.into()),
        key: Some(key.into()),
        order_key: Some(order.into()),
        properties: [("place".to_owned(), property.to_owned())].into(),
        body: body.as_bytes().into(),
        ..Draft::default()
    }
}

/// `spillway support-bundle` in a folder of its own, with the environment that the agent has.
struct Bundle {
    folder: tempfile::TempDir,
    said: String,
    parts: BTreeMap<String, String>,
}

fn bundle(gateway: &Gateway) -> Bundle {
    let folder = tempfile::tempdir().unwrap();
    let output = command(gateway, folder.path(), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let files = names(folder.path());
    let [file] = &files[..] else { panic!("{files:?}") };
    assert!(file.starts_with("spillway-support-gw-test-") && file.ends_with("Z.tar.gz"), "{file}");
    let path = folder.path().join(file);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let unpacked = folder.path().join("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    let tar = Command::new("tar").arg("-xzf").arg(&path).arg("-C").arg(&unpacked).status();
    assert!(tar.unwrap().success());
    let inner = unpacked.join(file.strip_suffix(".tar.gz").unwrap());
    let read = |name: String| {
        let text = std::fs::read_to_string(inner.join(&name)).unwrap();
        (name, text)
    };
    let parts = names(&inner).into_iter().map(read).collect();
    Bundle { folder, said, parts }
}

fn command(gateway: &Gateway, folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("support-bundle").args(words).arg("--config").arg(gateway.file("spillway.toml"));
    command.env("SPILLWAY__LISTEN__ADMIN__TOKEN", SECRETS[2]).env_remove("RUST_LOG");
    command.current_dir(folder);
    command
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// As it is, in hex, and in base64 wherever it may begin there.
fn forms(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let base64 = (0..3).map(|before| {
        let text = STANDARD_NO_PAD.encode([&vec![b' '; before][..], secret.as_bytes()].concat());
        let from = if before == 0 { 0 } else { before + 1 };
        text[from..text.len() - 2].to_owned()
    });
    base64.chain([secret.to_owned(), hex.clone(), hex.to_uppercase()]).collect()
}

#[track_caller]
fn tells_nothing(name: &str, text: &str) {
    for secret in SECRETS {
        for form in forms(secret) {
            assert!(!text.contains(&form), "{name} has {secret} as {form}:\n{text}");
        }
    }
}

impl Bundle {
    #[track_caller]
    fn tells_nothing(&self) {
        tells_nothing("the command", &self.said);
        self.parts.iter().for_each(|(name, text)| tells_nothing(name, text));
    }

    #[track_caller]
    fn has(&self, part: &str, words: &[&str]) {
        let text = self.parts.get(part).unwrap_or_else(|| panic!("no {part}: {}", self.readme()));
        for words in words {
            assert!(text.contains(words), "{words:?} in {part}:\n{text}");
        }
    }

    fn readme(&self) -> &str {
        &self.parts["README.txt"]
    }
}

async fn gateway_with_secrets(broker: &HttpBroker) -> Gateway {
    let mut gateway = Gateway::new("");
    let file = gateway.file("token");
    std::fs::write(&file, SECRETS[1]).unwrap();
    let upstream = broker.upstream().replace("test/secret+", SECRETS[0]);
    gateway.configure(&settings(&upstream, &file));
    gateway = gateway.wrapped(&["env", &format!("SPILLWAY__LISTEN__ADMIN__TOKEN={}", SECRETS[2])]);
    gateway.start_ready().await;
    let hand = async |lane: &str, drafts| {
        hand_over(&gateway.socket(), &Ledger::default(), lane, drafts).await;
    };
    hand("ward", vec![private(SECRETS[10])]).await;
    hand("held", drafts("h", 0..3)).await;
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_running_and_of_a_stopped_agent_and_nothing_private_in_it() {
    // The broker knows another secret: the signature is refused, and the link held.
    let broker = HttpBroker::start().await;
    let mut gateway = gateway_with_secrets(&broker).await;
    gateway.until("the link is held", |s| s.link.state == LinkState::Held).await;

    let running = bundle(&gateway);
    running.tells_nothing();
    running.has("configuration.txt", &[
        "upstream.access_key_secret = (hidden)    # ",
        "spillway.toml:",
        "listen.admin.token = (hidden)    # environment variable SPILLWAY__LISTEN__ADMIN__TOKEN",
        "upstream.security_token = { file = ",
        "/(hidden)\"",
        "lane[ward].topic = \"readings\"",
        "route[0].when.place = (hidden)",
    ]);
    running.has("check.txt", &["valid\n", "stands in the file as it is"]);
    running.has("status.json", &["\"lanes\"", "\"ward\""]);
    running.has("queue.json", &["\"accepted\": 1", "\"accepted\": 3"]);
    running.has("verify.json", &["\"whole\": true", "\"records\": 3"]);
    running.has("metrics.txt", &["# TYPE spillway_"]);
    running.has("process.txt", &["Max open files", "VmRSS"]);
    running.has("data-folder.txt", &[" lanes/ward", "d0", " identity\n"]);
    running.has("disk.txt", &["inodes free", "mount: "]);
    running.has("system.txt", &["Linux version"]);
    running.has("clock.txt", &["wall clock 20", "up for "]);
    running.has("README.txt", &["Support bundle", "status.json        spillway status --json\n"]);
    tells_nothing("the agent's log", &gateway.log());

    gateway.stop(Duration::from_secs(20)).await;
    let stopped = bundle(&gateway);
    stopped.tells_nothing();
    stopped.has("queue.json", &["\"accepted\": 3"]);
    stopped.has("verify.json", &["\"whole\": true"]);
    assert!(!stopped.parts.contains_key("status.json"));
    stopped.has("README.txt", &["status.json        MISSING: ", "no agent answers"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_dead_letters_nothing_private_either() {
    let broker = HttpBroker::start().await;
    broker
        .faults()
        .set_rules([Rule { key_prefix: Some("mark".into()), ..Rule::always(Kind::RefuseRecord) }]);
    let mut gateway = Gateway::new(&format!(
        "{}[drain]\nadaptive = false\nreconnect_spread = \"0s\"\n[[lane]]\nname = \"ward\"\ntopic = \"t\"\n",
        broker.upstream()
    ));
    gateway.start_ready().await;
    let socket = gateway.socket();
    let hand = async |drafts| {
        hand_over(&socket, &Ledger::default(), "ward", drafts).await;
    };
    hand(vec![private(SECRETS[10])]).await;
    hand(drafts("well", 0..60)).await;
    gateway.until("it is refused", |s| lane(s, "ward").last_error.is_some()).await;
    // Once another one that left after its refusal got through, the record itself is to blame.
    hand(drafts("well", 60..61)).await;
    gateway.until("it is dead", |s| lane(s, "ward").dead == 1).await;
    let bundle = bundle(&gateway);
    bundle.tells_nothing();
    bundle.has("verify.json", &["\"letters\": 1"]);
    tells_nothing("the agent's log", &gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_configuration_is_shown_without_what_is_secret_in_it() {
    let gateway = Gateway::new(&format!(
        "[upstream]\nendpoint = \"https://user:{}@mq.example/?sig={}\"\ntransport = \"pigeon\"\n\
         acess_key_secret = \"{}\"\naccess_key_secret = 5\n",
        SECRETS[0], SECRETS[3], SECRETS[11]
    ));
    let bundle = bundle(&gateway);
    bundle.tells_nothing();
    bundle.has("check.txt", &["upstream.acess_key_secret", "upstream.transport"]);
    bundle.has("configuration.txt", &["https://(hidden)@mq.example/(hidden)"]);
    bundle.has("README.txt", &["metrics.txt        MISSING: the configuration is faulty"]);
    assert!(!bundle.parts.contains_key("queue.json"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_over() {
    let gateway = Gateway::new("[[lane]]\nname = \"a\"\ntopic = \"a\"\n");
    let first = bundle(&gateway);
    let there = first.folder.path().join("there");
    std::fs::write(&there, "mine").unwrap();
    let output = command(&gateway, first.folder.path(), &["--output", "there"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("name another with --output"));
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "mine");
}
