//! What an operator can save of a queue: of a running agent and of a stopped one, from a disk that
//! cannot be written, and of a damaged segment.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use spillway_protocol::record::Draft;
use spillway_tests::app::hand_over;
use spillway_tests::arrival::Arrival;
use spillway_tests::broker::HttpBroker;
use spillway_tests::corruption::made::files;
use spillway_tests::corruption::packs;
use spillway_tests::gateway::{Gateway, accounted, binary};
use spillway_tests::ledger::Ledger;

const LANES: &str = "[[lane]]\nname = \"main\"\ntopic = \"t\"\ndefault = true\n\
                     [[lane]]\nname = \"keyed\"\ntopic = \"k\"\norder = \"key\"\n";
/// Several segments' worth.
const RECORDS: u64 = 150;
const BODY_BYTES: usize = 40_000;

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn draft(id: &str, body: &[u8]) -> Draft {
    Draft { id: Some(id.to_owned()), body: body.to_vec().into(), ..Draft::default() }
}

/// Records with everything that a record can have.
fn various() -> Vec<Draft> {
    let order_key = Some("bed 1".to_owned());
    let properties = [("unit".to_owned(), "C".to_owned())].into();
    vec![
        draft("text", "with \"quotes\", \n and 🩺".as_bytes()),
        Draft { key: Some("patient-7".to_owned()), ..draft("binary", &[0, 159, 255]) },
        Draft { order_key, properties, ..draft("all", b"x") },
        Draft { topic: Some("other".to_owned()), tag: Some("g".to_owned()), ..draft("own", b"y") },
    ]
}

async fn filled(settings: &str) -> Gateway {
    let mut gateway = Gateway::new(settings);
    gateway.start_ready().await;
    for lane in ["main", "keyed"] {
        let mut drafts = various();
        for draft in &mut drafts {
            draft.id = draft.id.take().map(|id| format!("{lane}-{id}"));
        }
        hand_over(&gateway.socket(), &Ledger::default(), lane, drafts).await;
        let file = gateway.file("record");
        fs::write(&file, "the agent gives it its id").unwrap();
        gateway.said(&format!("send --lane {lane} {}", file.display())).await;
    }
    gateway
}

async fn large(gateway: &Gateway) {
    let drafts = (0..RECORDS).map(|nth| {
        let body: Vec<u8> = (0..BODY_BYTES as u64).map(|at| (at * (nth + 7) / 3) as u8).collect();
        draft(&format!("large-{nth}"), &body)
    });
    hand_over(&gateway.socket(), &Ledger::default(), "main", drafts.collect()).await;
}

/// The ids of exported lines.
fn ids(export: &str) -> BTreeSet<String> {
    let id = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned()
    };
    export.lines().map(id).collect()
}

/// The folders of a lane's segments, oldest first.
fn segments(gateway: &Gateway, lane: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(gateway.data_dir().join("lanes").join(lane))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("seg-"))
        .collect();
    found.sort();
    found
}

/// How many ranges were told to be purged, but for those in the first so many messages.
fn purged(broker: &HttpBroker, but_for: usize) -> usize {
    let told = broker.arrivals(&["reports"]).split_off(but_for);
    let ranges =
        |arrival: &Arrival| String::from_utf8_lossy(&arrival.body).matches("\"purged\"").count();
    told.iter().map(ranges).sum()
}

/// Flips a bit of a file.
fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Where in a segment's file the payload of its first pack begins.
fn first_payload(db: &Path) -> usize {
    let magic = b"\xF1SPW\r\n\x1A\x01";
    fs::read(db).unwrap().windows(magic.len()).position(|bytes| bytes == magic).unwrap() + 56
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_the_same_records_in_another_agent_running_or_stopped() {
    let mut gateway = filled(LANES).await;
    let export = gateway.said("queue export --body").await;
    assert_eq!(export.lines().count(), 2 * (various().len() + 1));
    assert_eq!(
        gateway.said("queue export --body --lane main --from 2 --limit 3").await.lines().count(),
        3
    );
    let seen = gateway.said("queue export").await;
    assert!(seen.contains("\"main-binary\""), "{seen}");
    for private in ["patient-7", "quotes", "bed 1", "unit"] {
        assert!(export.contains(private) && !seen.contains(private), "{private}: {seen}");
    }
    // An export that is cut short does not look whole.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(binary());
    command.args(["queue", "export", "--config"]).arg(gateway.file("spillway.toml")).stdout(full);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert!(stderr(&output).contains("the export is not whole"), "{output:?}");
    gateway.kill();
    let stopped = gateway.command("queue export --body").await;
    assert_eq!((stopped.status.code(), stdout(&stopped)), (Some(0), export.clone()), "{stopped:?}");
    assert!(stderr(&stopped).contains("no agent is running"), "{stopped:?}");
    assert!(stderr(&stopped).ends_with("10 records exported\n"), "{stopped:?}");

    let mut other = Gateway::new(LANES);
    other.start_ready().await;
    let file = other.file("export.ndjson");
    fs::write(&file, &export).unwrap();
    let sent = other.said(&format!("send --records {}", file.display())).await;
    assert_eq!(sent, "10 stored, 0 refused\n");
    assert_eq!(other.said("queue export --body").await, export);
    let again = other.said(&format!("send --records {}", file.display())).await;
    assert_eq!(again, "10 stored (10 of them already before), 0 refused\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_is_read_and_stays_as_it_was() {
    let mut gateway = filled(LANES).await;
    large(&gateway).await;
    let running = gateway.said("queue export --body").await;
    gateway.kill();
    let data = gateway.data_dir();
    let before: Vec<_> = files(&data).into_iter().map(|f| (fs::read(&f).unwrap(), f)).collect();
    let mount = format!(
        "mount --bind {data:?} {data:?} && mount -o remount,bind,ro {data:?} && exec \"$@\""
    );
    let config = gateway.file("spillway.toml");
    let read_only = |words: &str| {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &mount, "sh"]).arg(binary()).args(words.split(' '));
        command.arg("--config").arg(&config).output().unwrap()
    };
    let written = read_only("queue purge --lane main --all");
    assert_ne!(written.status.code(), Some(0), "the mount is writable: {written:?}");
    for (words, said) in [
        ("queue list", "main"),
        ("queue peek --body", "patient-7"),
        ("queue verify", "main"),
        ("dead list", "no dead letters"),
        ("dead export", ""),
    ] {
        let output = read_only(words);
        assert_eq!(output.status.code(), Some(0), "{words}: {output:?}");
        assert!(stdout(&output).contains(said), "{words}: {output:?}");
    }
    assert_eq!(stdout(&read_only("queue export --body")), running);
    let after: Vec<_> = files(&data).into_iter().map(|f| (fs::read(&f).unwrap(), f)).collect();
    assert!(before == after, "something was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_damaged_segment_all_but_the_damaged_is_saved() {
    let broker = HttpBroker::start().await;
    let mut gateway = filled(LANES).await;
    large(&gateway).await;
    let whole = gateway.said("queue export --body").await;
    assert!(gateway.said("queue verify").await.contains("quarantine: 0 segments"));
    gateway.kill();
    let damaged = segments(&gateway, "main").swap_remove(0);
    let db = damaged.join("db");
    flip(&db, first_payload(&db) + 10);
    flip(&gateway.data_dir().join("lanes/keyed/state-0"), 20);

    let verified = gateway.command("queue verify --json").await;
    assert_eq!(verified.status.code(), Some(1), "{verified:?}");
    let found: Value = serde_json::from_str(&stdout(&verified)).unwrap();
    let lost = found["lanes"][0]["lost"].as_array().unwrap();
    assert!(!lost.is_empty() && found["whole"] == false, "{found}");
    assert_eq!(found["lanes"][1]["lost"].as_array().unwrap().len(), 0, "{found}");
    assert_eq!(found["damaged_files"], serde_json::json!(["keyed: state-0"]));
    let lost: u64 =
        lost.iter().map(|span| span[1].as_u64().unwrap() - span[0].as_u64().unwrap() + 1).sum();

    let export = gateway.command("queue export --body").await;
    assert_eq!(export.status.code(), Some(1), "{export:?}");
    assert!(stderr(&export).contains("cannot be read, and are not in it: lane main, "));
    let saved = stdout(&export);
    assert_eq!(ids(&whole).len() as u64, ids(&saved).len() as u64 + lost);
    assert!(saved.lines().all(|line| whole.lines().any(|known| known == line)));

    // The agent delivers the rest, and puts the segment aside.
    gateway.configure(&format!(
        "{}[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\nreconnect_spread = \"0s\"\n{LANES}",
        broker.upstream()
    ));
    gateway.start_ready().await;
    let aside = |status: &spillway_protocol::local::status::Status| {
        status.quarantine.segments == 1 && status.lanes.iter().all(|lane| lane.waiting == 0)
    };
    let status = gateway.until("the segment is put aside", aside).await;
    assert!(status.quarantine.bytes > 0);
    assert_eq!(
        (status.lanes[0].damaged, accounted(&status.lanes[0])),
        (lost, status.lanes[0].accepted)
    );
    gateway.stop(Duration::from_secs(20)).await;
    let entries: Vec<_> = fs::read_dir(gateway.data_dir().join("quarantine")).unwrap().collect();
    let folder = entries[0].as_ref().unwrap().path();
    let words = |what: &str| format!("queue {what} --segment {}", folder.display());
    let of_segment = gateway.said(&words("export --body")).await;
    assert!(of_segment.lines().all(|line| whole.lines().any(|known| known == line)));
    let name = folder.file_name().unwrap().to_str().unwrap().strip_prefix("main-").unwrap();
    let chain = gateway.file("chain");
    fs::create_dir(&chain).unwrap();
    fs::rename(&folder, chain.join(name)).unwrap();
    assert_eq!(of_segment.lines().count(), packs::whole(&chain).len());
    let wrong = gateway.command("queue verify --segment /tmp").await;
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    assert!(stderr(&wrong).contains("is no segment; name a folder"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_in_which_nothing_is_whole_is_named_and_put_aside_by_the_next_start() {
    let mut gateway = filled(LANES).await;
    gateway.kill();
    let name = "seg-0000000000000006-0000000000000001";
    let folder = gateway.data_dir().join("lanes/main").join(name);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("db"), [0x55; 100_000]).unwrap();
    let verified = gateway.command("queue verify").await;
    assert_eq!(verified.status.code(), Some(1), "{verified:?}");
    assert!(stdout(&verified).contains(&format!("damaged file: main: {name}\n")), "{verified:?}");
    assert!(folder.exists());
    let status = gateway.start_ready().await;
    assert_eq!((status.quarantine.segments, status.lanes[0].waiting), (1, 5));
    assert_eq!(gateway.said("queue export").await.lines().count(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_purged_is_given_up_counted_and_told() {
    let broker = HttpBroker::start().await;
    let mut gateway = filled(LANES).await;
    let nothing = gateway.command("queue purge --lane main").await;
    assert_eq!(nothing.status.code(), Some(2), "{nothing:?}");
    let dry = gateway.said("queue purge --lane main 2-3 3 5 --dry-run").await;
    assert_eq!(dry, "would purge: 3 waiting records of lane main\n");
    assert_eq!(gateway.status().await.unwrap().lanes[0].waiting, 5);
    let done = gateway.said("queue purge --lane main 2-3 3 5").await;
    assert_eq!(done, "purge: 3 waiting records of lane main\n");
    let again = gateway.said("queue purge --lane main 2-3 900").await;
    assert_eq!(again, "purge: 0 waiting records of lane main\n");
    let left = gateway.said("queue export").await;
    assert!(left.contains("main-text") && left.contains("main-own"), "{left}");
    assert!(!left.contains("main-binary") && !left.contains("main-all"), "{left}");
    gateway.kill();
    let stopped = gateway.said("queue purge --lane keyed --all").await;
    assert_eq!(stopped, "purge: 5 waiting records of lane keyed\n");
    gateway.configure(&format!(
        "{}[report]\ntopic = \"reports\"\nevery = \"1s\"\n[drain]\nreconnect_spread = \"0s\"\n{LANES}",
        broker.upstream()
    ));
    gateway.start_ready().await;
    let told = |_: &_| purged(&broker, 0) >= 3;
    let status = gateway.until("three ranges are told as purged", told).await;
    for (lane, dropped) in status.lanes.iter().zip([3, 5]) {
        assert_eq!((lane.dropped, accounted(lane)), (dropped, 5), "{lane:?}");
    }
    // What was told is not told again.
    gateway.stop(Duration::from_secs(20)).await;
    let before = broker.messages("reports").len();
    gateway.start_ready().await;
    let reported = |_: &_| broker.messages("reports").len() > before + 1;
    gateway.until("reports come", reported).await;
    assert_eq!(purged(&broker, before), 0, "purged ranges are told again");
}
