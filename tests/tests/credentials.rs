//! Access keys that overlap, end and are replaced under load, over HTTP and gRPC: nothing is lost, and
//! nothing is held while one of them is good. Where none is, everything waits with the reason,
//! and goes on by itself once a file is put right.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;
use spillway_protocol::local::status::{LinkState, Status};
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::{HttpBroker, INSTANCE, KEY, SECRET};
use spillway_tests::gateway::{Gateway, PATIENCE, lane};
use spillway_tests::ledger::Ledger;
use spillway_tests::oracle;
use spillway_tests::rocketmq::{Options, RocketMq};
use tokio::sync::watch;
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::sleep;

/// A held link is asked every minute, and one and a half at most.
const ROUND: Duration = Duration::from_secs(150);
/// What a token of the tests' STS lasts, in seconds.
const TOKEN_LASTS_S: u64 = 8;

const REST: &str = "[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\nreconnect_spread = \"0s\"\n\
     [backoff]\ninitial = \"100ms\"\nmax = \"1s\"\n[[lane]]\nname = \"main\"\ntopic = \"main\"\n";

/// Hands records over until it is told to stop.
struct Load {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Load {
    fn start(gateway: &Gateway, ledger: &Ledger) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (socket, ledger) = (gateway.socket(), ledger.clone());
        let task = tokio::spawn(async move {
            for nth in (0..).step_by(20) {
                if *stopped.borrow() {
                    return;
                }
                hand_over(&socket, &ledger, "main", drafts("r", nth..nth + 20)).await;
                sleep(Duration::from_millis(20)).await;
            }
        });
        Self { stop, task }
    }

    async fn end(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}

/// A broker, and a gateway whose keys stand in files of its own folder.
struct Case {
    broker: HttpBroker,
    gateway: Gateway,
    ledger: Ledger,
}

impl Case {
    /// `keys` are lines of `[upstream]`; in them `FOLDER` is the gateway's.
    async fn new(keys: &str, files: &[(&str, &str)]) -> Self {
        let broker = HttpBroker::start().await;
        let gateway = Gateway::new("");
        let case = Self { broker, gateway, ledger: Ledger::default() };
        files.iter().for_each(|(name, text)| case.write(name, text));
        let folder = case.gateway.file("").display().to_string();
        let keys =
            keys.replace("FOLDER/", &folder).replace("PORT", &case.broker.port().to_string());
        case.gateway.configure(&format!(
            "[upstream]\nendpoint = \"{}\"\ninstance_id = \"{INSTANCE}\"\n{keys}{REST}",
            case.broker.endpoint()
        ));
        case
    }

    /// Two keys, whose ids and secrets are read from files.
    async fn of_two(first: (&str, &str), second: (&str, &str)) -> Self {
        let key = |n| {
            format!(
                "{{ access_key_id = {{ file = \"FOLDER/id{n}\" }}, \
                 access_key_secret = {{ file = \"FOLDER/secret{n}\" }} }}"
            )
        };
        let keys = format!("credentials = [{}, {}]\n", key(1), key(2));
        let files =
            [("id1", first.0), ("secret1", first.1), ("id2", second.0), ("secret2", second.1)];
        Self::new(&keys, &files).await
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.gateway.file(name), text).unwrap();
        fs::set_permissions(self.gateway.file(name), fs::Permissions::from_mode(0o700)).unwrap();
    }

    async fn hand_over(&self, name: &str, count: u64) {
        hand_over(&self.gateway.socket(), &self.ledger, "main", drafts(name, 0..count)).await;
    }

    async fn until(&mut self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        self.gateway.until_within(ROUND, what, wanted).await
    }

    /// Until so many more are delivered than now.
    async fn until_more(&mut self, more: u64) {
        let delivered = |status: &Status| lane(status, "main").delivered;
        let before = delivered(&self.gateway.status().await.unwrap());
        self.until("more is delivered", |status| delivered(status) >= before + more).await;
    }

    /// Everything arrived once, nothing was given up, and the link was never held.
    async fn check_unheld(&mut self) {
        let status = self.gateway.until_delivered(ROUND).await;
        assert_eq!(lane(&status, "main").dead, 0);
        let arrived = self.broker.arrivals(&["main"]);
        oracle::assert_none("losses", &oracle::losses(&self.ledger.snapshot(), &arrived));
        assert_eq!(oracle::repeats(&arrived).len(), 0);
        assert!(!self.gateway.log().contains("held"), "{}", self.gateway.tail());
    }

    /// No secret stands in the log, a status or a metric.
    async fn assert_hidden(&self, secrets: &[&str]) {
        let said = [self.gateway.said("status").await, self.gateway.said("status --json").await];
        for secret in secrets {
            let shown = said.iter().any(|text| text.contains(secret));
            assert!(!shown && !self.gateway.log().contains(secret), "{secret}");
        }
    }
}

fn in_use(status: &Status) -> (Option<u32>, Vec<u32>) {
    let keys = status.access_keys.clone().unwrap();
    (keys.in_use, keys.refused)
}

fn is_held(status: &Status) -> bool {
    status.link.state == LinkState::Held
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_takes_the_others_place_under_load_and_nothing_is_held() {
    let mut case = Case::of_two((KEY, SECRET), ("next-key", "next-secret")).await;
    case.gateway.start_ready().await;
    let load = Load::start(&case.gateway, &case.ledger);
    case.until_more(100).await;
    assert_eq!(in_use(&case.gateway.status().await.unwrap()), (Some(1), vec![]));
    case.broker.keys().grant("next-key", "next-secret");
    case.until_more(100).await;
    case.broker.keys().revoke(KEY);
    case.until_more(100).await;
    let status = case.gateway.status().await.unwrap();
    assert_eq!(in_use(&status), (Some(2), vec![1]));
    // The next rotation: a third key is written where the first one was, then the second one goes.
    case.broker.keys().grant("third-key", "third-secret");
    case.write("secret1", "third-secret\n");
    case.write("id1", "third-key\n");
    case.until("it is read", |status| in_use(status) == (Some(2), vec![])).await;
    case.broker.keys().revoke("next-key");
    case.until_more(100).await;
    assert_eq!(in_use(&case.gateway.status().await.unwrap()), (Some(1), vec![2]));
    load.end().await;
    case.check_unheld().await;
    case.assert_hidden(&[SECRET, "next-secret", "third-secret"]).await;
    let said = case.gateway.said("status").await;
    assert!(said.contains("1 of 2 in use; refused: 2"), "{said}");
    let why = case.gateway.said("why").await;
    assert!(why.contains("with access key 1 of 2"), "{why}");
    let warned = case.gateway.command("status --check").await;
    assert_eq!(warned.status.code(), Some(1), "{warned:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_another_one_is_read_from_its_file_before_anything_is_held() {
    let keys = "access_key_id = \"test-key\"\n\
                access_key_secret = { file = \"FOLDER/secret\" }\n";
    let mut case = Case::new(keys, &[("secret", SECRET)]).await;
    case.gateway.start_ready().await;
    let load = Load::start(&case.gateway, &case.ledger);
    for secret in ["second-secret", "third-secret", "fourth-secret"] {
        case.until_more(100).await;
        case.write("secret", secret);
        case.broker.keys().grant(KEY, secret);
    }
    case.until_more(100).await;
    load.end().await;
    case.check_unheld().await;
    case.assert_hidden(&[SECRET, "second-secret", "third-secret", "fourth-secret"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_leads_elsewhere_and_was_not_taken_brings_no_key() {
    let keys = "access_key_id = \"test-key\"\n\
                access_key_secret = { file = \"FOLDER/secret\" }\n";
    let mut case = Case::new(keys, &[("secret", SECRET)]).await;
    case.gateway.start_ready().await;
    case.hand_over("before", 50).await;
    case.gateway.until_delivered(ROUND).await;
    case.gateway.configure(&format!(
        "[upstream]\nendpoint = \"http://127.0.0.1:1\"\naccess_key_id = \"elsewhere\"\n\
         access_key_secret = \"its-secret\"\n{REST}"
    ));
    case.write("secret", "second-secret");
    case.broker.keys().grant(KEY, "second-secret");
    case.hand_over("after", 50).await;
    case.check_unheld().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_are_refused_it_is_held_with_their_ids_until_a_file_is_put_right() {
    let mut case = Case::of_two(("no-key", "wrong-1"), (KEY, "wrong-2")).await;
    let both = case.gateway.command("check --connect").await;
    let text = String::from_utf8(both.stdout).unwrap();
    assert!(text.contains("BAD   access key 1 (no-key): 403 InvalidAccessKeyId"), "{text}");
    assert!(text.contains("BAD   access key 2 (test-key): 403 SignatureDoesNotMatch"), "{text}");
    assert_eq!(both.status.code(), Some(69));

    case.gateway.start_ready().await;
    case.hand_over("r", 200).await;
    let status = case.until("it is held", is_held).await;
    let reason = &status.link.reason;
    for part in ["all 2 access keys", "1 (no-key): 403", "2 (test-key): 403", "InvalidAccessKeyId"]
    {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!(in_use(&status), (None, vec![1, 2]));
    let main = lane(&status, "main");
    assert_eq!((main.waiting, main.dead, main.delivered), (200, 0, 0));
    let why = case.gateway.said("why").await;
    assert!(why.contains("no-key") && why.contains("test-key"), "{why}");
    case.assert_hidden(&["wrong-1", "wrong-2"]).await;

    case.write("secret2", SECRET);
    let status = case.gateway.until_delivered(ROUND).await;
    assert_eq!((lane(&status, "main").dead, in_use(&status).0), (0, Some(2)));
    let arrived = case.broker.arrivals(&["main"]);
    oracle::assert_none("losses", &oracle::losses(&case.ledger.snapshot(), &arrived));
    assert_eq!(oracle::repeats(&arrived).len(), 0);
    let one = case.gateway.said("check --connect").await;
    assert!(one.contains("note  access key 1 (no-key): refused: 403"), "{one}");
    assert!(one.contains("ok    access key 2 (test-key): accepted"), "{one}");
    assert!(one.contains("ok    signature: accepted"), "{one}");
}

/// A program that has the broker take a new key of STS, for a few seconds, and prints it.
fn sts() -> String {
    format!(
        "#!/bin/sh\nset -e\ncd \"$1\"\n\
         test ! -e broken || {{ echo \"denied for plainlowercasesecret\" >&2; exit 3; }}\n\
         n=$(cat runs 2>/dev/null || echo 0)\n\
         n=$((n + 1))\necho $n >runs.new\nmv runs.new runs\necho \"key number $n with sts-secret-$n\" >&2\n\
         curl -sf -o /dev/null -d \"{{\\\"grant\\\": [{{\\\"id\\\": \\\"sts-$n\\\", \
         \\\"secret\\\": \\\"sts-secret-$n\\\", \
         \\\"token\\\": [\\\"sts-token-$n\\\", {TOKEN_LASTS_S}]}}]}}\" http://127.0.0.1:$2/_keys\n\
         echo \"{{\\\"AccessKeyId\\\": \\\"sts-$n\\\", \\\"AccessKeySecret\\\": \\\"sts-secret-$n\\\", \
         \\\"SecurityToken\\\": \\\"sts-token-$n\\\", \
         \\\"Expiration\\\": \\\"$(date -u -d '+{TOKEN_LASTS_S} seconds' +%Y-%m-%dT%H:%M:%SZ)\\\"}}\"\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_end_are_renewed_by_a_command_and_its_failure_holds_until_it_is_over() {
    let command = "credential_command = [\"FOLDER/sts\", \"FOLDER/\", \"PORT\"]\n";
    let mut case = Case::new(command, &[("sts", &sts())]).await;
    let asked = case.gateway.said("check --connect").await;
    assert!(asked.contains("ok    signature: accepted"), "{asked}");
    case.gateway.start_ready().await;
    let load = Load::start(&case.gateway, &case.ledger);
    let runs = |case: &Case| -> u64 {
        fs::read_to_string(case.gateway.file("runs")).unwrap().trim().parse().unwrap()
    };
    let begun = runs(&case);
    while runs(&case) < begun + 4 {
        case.until_more(50).await;
    }
    let status = case.gateway.status().await.unwrap();
    let keys = status.access_keys.clone().unwrap();
    assert_eq!((keys.in_use, keys.of, keys.fault), (Some(1), 1, None));
    assert!(keys.expires_in_s.unwrap() <= TOKEN_LASTS_S, "{:?}", keys.expires_in_s);
    load.end().await;
    case.check_unheld().await;
    let log = case.gateway.log();
    assert!(!log.contains("key number"), "{log}");

    // No new key comes, and the last one ends.
    case.write("broken", "");
    let failed = |status: &Status| status.access_keys.as_ref().unwrap().fault.is_some();
    let status = case.until("the failure is told", failed).await;
    assert!(!is_held(&status), "{status:?}");
    sleep(Duration::from_secs(TOKEN_LASTS_S)).await;
    case.hand_over("late", 50).await;
    let status = case.until("it is held", is_held).await;
    let reason = &status.link.reason;
    assert!(reason.contains("InvalidSecurityToken") && reason.contains("failed"), "{reason}");
    let log = case.gateway.log();
    assert!(log.contains("said on standard error") && log.contains("bytes=32"), "{log}");
    assert_eq!((lane(&status, "main").waiting, lane(&status, "main").dead), (50, 0));
    fs::remove_file(case.gateway.file("broken")).unwrap();
    case.gateway.until_delivered(ROUND).await;
    let arrived = case.broker.arrivals(&["main"]);
    oracle::assert_none("losses", &oracle::losses(&case.ledger.snapshot(), &arrived));
    case.assert_hidden(&["sts-secret-", "sts-token-", "plainlowercasesecret"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_taken_in_while_a_command_hangs_and_it_is_killed_in_the_end() {
    let script = "#!/bin/sh\necho $$ >\"$1/pid\"\nsleep 1000\n";
    let command = "credential_command = [\"FOLDER/sts\", \"FOLDER/\"]\n";
    let mut case = Case::new(command, &[("sts", script)]).await;
    case.gateway.start_ready().await;
    case.hand_over("r", 100).await;
    let status = case.until("it is held", is_held).await;
    assert!(status.link.reason.contains("has not ended within 30 s"), "{status:?}");
    assert_eq!(lane(&status, "main").waiting, 100);
    assert!(case.gateway.log().contains("link held: credentials: credential_command"));
    case.gateway.stop(PATIENCE).await;
    let json: Value = serde_json::to_value(&status).unwrap();
    assert_eq!(json["access_keys"]["in_use"], Value::Null);
}

fn rocketmq() -> RocketMq {
    let access_key = Some(("admin".to_owned(), "admins-secret".to_owned()));
    let mut mq = RocketMq::start(Options { access_key, rules: true, ..Options::default() });
    mq.create_topic("main", "NORMAL");
    for user in ["gw-a", "gw-b"] {
        mq.create_user(user, &format!("secret-of-{user}"));
        mq.allow_publishing(user, "main");
    }
    mq
}

#[tokio::test(flavor = "multi_thread")]
async fn over_grpc_the_next_user_is_taken_when_one_is_disabled() {
    let mut mq = block_in_place(rocketmq);
    let key = |user: &str| {
        format!("{{ access_key_id = \"{user}\", access_key_secret = \"secret-of-{user}\" }}")
    };
    let mut gateway = Gateway::new(&format!(
        "[upstream]\ntransport = \"grpc\"\nendpoint = \"127.0.0.1:{}\"\ncredentials = [{}, {}]\n{REST}",
        mq.grpc_port(),
        key("gw-a"),
        key("gw-b"),
    ));
    gateway.start_ready().await;
    let ledger = Ledger::default();
    let load = Load::start(&gateway, &ledger);
    let delivered = |least: u64| move |status: &Status| lane(status, "main").delivered >= least;
    gateway.until_within(ROUND, "it flows", delivered(200)).await;
    block_in_place(|| mq.permit_user("gw-a", false));
    let other = |status: &Status| in_use(status) == (Some(2), vec![1]);
    let status = gateway.until_within(ROUND, "the other one is in use", other).await;
    let now = lane(&status, "main").delivered;
    gateway.until_within(ROUND, "it goes on", delivered(now + 200)).await;
    load.end().await;
    let status = gateway.until_delivered(ROUND).await;
    assert_eq!(lane(&status, "main").dead, 0);
    assert!(!gateway.log().contains("held"), "{}", gateway.tail());
    let checked = gateway.said("check --connect").await;
    assert!(checked.contains("note  access key 1 (gw-a): refused"), "{checked}");
    assert!(checked.contains("ok    access key 2 (gw-b): accepted"), "{checked}");

    // Neither is left; then the first one is allowed again.
    block_in_place(|| mq.permit_user("gw-b", false));
    hand_over(&gateway.socket(), &ledger, "main", drafts("late", 0..50)).await;
    let status = gateway.until_within(ROUND, "it is held", is_held).await;
    let reason = &status.link.reason;
    assert!(reason.contains("1 (gw-a): ") && reason.contains("2 (gw-b): "), "{reason}");
    block_in_place(|| mq.permit_user("gw-a", true));
    let status = gateway.until_delivered(ROUND).await;
    assert_eq!(in_use(&status).0, Some(1));
    let stored = block_in_place(|| mq.read_all("main"));
    assert_eq!(stored.len() as u64, lane(&status, "main").delivered);
}
