//! Old firmware on a new folder, and new firmware on an old one: a folder of level 1 stays
//! readable for agents of level 1 until it is committed, and what a newer agent wrote is left
//! alone, beside which records go on being taken in.

use std::collections::BTreeMap;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use spillway::clock::SystemClock;
use spillway::queue::inspect::Inspection;
use spillway::queue::{
    Accounts, DeadFilter, Fate, Feature, GivenUp, Keep, Lease, Level, Options, Queue, Takeover,
};
use spillway_protocol::local::status::Status;
use spillway_protocol::message::Flags;
use spillway_protocol::record::{Draft, RecordId};
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, accounted, lane as lane_of};
use spillway_tests::golden::{self, draft, lane};
use spillway_tests::{frozen, http};

const PATIENCE: Duration = Duration::from_secs(120);
const LANES: &str = "[[lane]]\nname = \"critical\"\ntopic = \"c\"\ndefault = true\n\
     [[lane]]\nname = \"bulk\"\ntopic = \"b\"\norder = \"key\"\n[audit]\n";
const QUICK: &str = "[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\n\
     reconnect_spread = \"0s\"\n[backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n";

fn options(folder: &Path) -> Options {
    Options {
        data_dir: folder.to_owned(),
        gateway: "gw-golden".into(),
        host: golden::HOST.into(),
        lanes: golden::lanes(),
        segment_bytes: 24 << 10,
        limits: Default::default(),
        dead_keep_bytes: 64 << 20,
        waiting_bytes_max: 64 << 20,
        tell: true,
        keep: Some(Keep { bytes: 64 << 20, time_ms: u64::MAX }),
        packing: Default::default(),
        seed: 7,
    }
}

fn open(folder: &Path) -> Queue {
    Queue::open(options(folder), Arc::new(SystemClock)).unwrap().0
}

fn store(queue: &Queue, name: &str, draft: Draft) -> bool {
    let record = draft.parse(|| RecordId::parse("unused").unwrap()).unwrap();
    queue.submit(&lane(name), record).wait().unwrap().duplicate
}

fn accounts(queue: &Queue, name: &str) -> Accounts {
    let accounts = queue.accounts(&lane(name)).unwrap();
    assert!(accounts.balanced(), "{name}: {accounts:?}");
    accounts
}

/// Until nothing waits; the golden folder's dead letter stays.
async fn all_sent(gateway: &mut Gateway) -> Status {
    let sent = |status: &Status| status.lanes.iter().all(|lane| lane.waiting == 0);
    gateway.until_within(PATIENCE, "all is sent", sent).await
}

async fn take_in(gateway: &Gateway, kind: &str, body: &str, status: u16) {
    let socket = gateway.socket();
    let answer = http::post(&socket, "/v1/records", kind, body.as_bytes()).await.unwrap();
    assert_eq!(answer.status, status, "{answer:?}");
}

/// All files below `folder`, but for the lock and what lies beside.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if name == "lock" || name.starts_with("beside-") {
            continue;
        }
        match entry.path().is_dir() {
            true => found.extend(files(&entry.path())),
            false => drop(found.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
    found
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// The identity as an agent of another level would write it.
fn set_level(folder: &Path, level: u32) {
    edit(&folder.join("identity"), |bytes| {
        let mut value: Value = serde_json::from_slice(bytes).unwrap();
        let (stream, host) = (value["stream"].as_str().unwrap(), value["host"].as_str().unwrap());
        let sum = crc32fast::hash(format!("{level} {stream} {host}").as_bytes());
        (value["format"], value["sum"]) = (level.into(), sum.into());
        *bytes = value.to_string().into_bytes();
    });
}

/// A state whose version is 99 in both slots, each proven by its checksum.
fn newer_state(folder: &Path) {
    for slot in ["lanes/bulk/state-0", "lanes/bulk/state-1"] {
        edit(&folder.join(slot), |bytes| {
            let length = u32::from_le_bytes(bytes[16..20].try_into().unwrap()) as usize;
            bytes[24] = 99;
            let sum = crc32fast::hash(&[&bytes[8..20], &bytes[24..24 + length]].concat());
            bytes[20..24].copy_from_slice(&sum.to_le_bytes());
        });
    }
}

fn newer_slot(folder: &Path) {
    edit(&folder.join("dead/state-1"), |bytes| {
        bytes[7] = 99;
        let length = u32::from_le_bytes(bytes[16..20].try_into().unwrap()) as usize;
        let sum = crc32fast::hash(&[&bytes[..20], &bytes[24..24 + length]].concat());
        bytes[20..24].copy_from_slice(&sum.to_le_bytes());
    });
}

fn newest(folder: &Path, prefix: &str) -> PathBuf {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(prefix);
    names.filter(of).max().unwrap()
}

/// Every pack of a segment as version 99.
fn newer_packs(segment: &Path) {
    edit(&segment.join("db"), |bytes| {
        let magic = b"\xF1SPW\r\n\x1A\x01";
        let places: Vec<usize> =
            (0..bytes.len()).filter(|at| bytes[*at..].starts_with(magic)).collect();
        let (mut out, mut copied) = (Vec::new(), 0);
        for at in places {
            let length = u32::from_le_bytes(bytes[at + 36..at + 40].try_into().unwrap()) as usize;
            let (header, payload) = (&bytes[at..at + 52], &bytes[at + 56..at + 56 + length]);
            let mut pack = [header, &[0; 12], payload].concat();
            pack[8] = 99;
            let sum = crc32fast::hash(&[&pack[..60], &pack[64..]].concat());
            pack[60..64].copy_from_slice(&sum.to_le_bytes());
            out.extend([&bytes[copied..at], &pack].concat());
            copied = at + 56 + length;
        }
        out.extend(&bytes[copied..]);
        *bytes = out;
    });
}

fn newer_table(folder: &Path) {
    edit(&newest(&folder.join("lanes/critical"), "ids-"), |bytes| {
        bytes[7] = 99;
        let sum = crc32fast::hash(&[&bytes[..8], &bytes[12..]].concat());
        bytes[8..12].copy_from_slice(&sum.to_le_bytes());
    });
}

#[test]
fn a_folder_of_level_1_is_read_whole_and_what_is_written_there_its_agents_can_read() {
    let folder = tempfile::tempdir().unwrap();
    golden::level_1(folder.path());
    let before = frozen::read(folder.path());
    let queue = open(folder.path());
    assert_eq!(queue.level(), Level::One);
    assert!(!queue.level().allows(Feature::Encryption));
    for (name, waiting) in golden::waiting() {
        let found = queue.peek(&lane(name), 0, 1000);
        let numbers: Vec<u64> = found.iter().map(|entry| entry.stamp.seq).collect();
        assert_eq!(numbers, waiting.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), "{name}");
        for (entry, (_, n)) in found.iter().zip(&waiting) {
            let origin = if name == "_resend" { "critical" } else { name };
            let draft = draft(origin, *n);
            assert_eq!(entry.stamp.lane, lane(origin));
            let resent = if name == "_resend" { Flags::RESEND } else { entry.stamp.flags };
            assert_eq!(entry.stamp.flags, resent);
            assert_eq!(entry.record.body, draft.body, "{name} {n}");
            let id = draft.id.unwrap_or_else(|| format!("b-{n}"));
            assert_eq!(entry.record.id.as_str(), id);
            let key = entry.record.order_key.as_ref().map(|key| key.as_str().to_owned());
            assert_eq!(key, draft.order_key);
        }
    }
    let of = |accepted, delivered, waiting, dead, dropped| Accounts {
        accepted,
        delivered,
        waiting,
        dead,
        dropped,
        ..Accounts::default()
    };
    assert_eq!(accounts(&queue, "critical"), of(60, 12, 47, 1, 0));
    assert_eq!(accounts(&queue, "bulk"), of(30, 3, 25, 0, 2));
    let letters = queue.dead_list(&DeadFilter::default());
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].stamp.seq, letters[0].code.as_str()), (13, "MalformedXML"));
    assert!(store(&queue, "critical", draft("critical", 20)), "its id is known");

    // A life at level 1.
    for n in 100..160 {
        store(&queue, "critical", draft("critical", n));
    }
    queue.lease(&lane("critical"), 30, usize::MAX).into_iter().for_each(Lease::ack);
    for lease in queue.lease(&lane("critical"), 2, usize::MAX) {
        lease.dead_letter("c", "r").unwrap();
    }
    queue.purge(&lane("bulk"), &[(20, 25)], false).unwrap();
    let resent = queue.resend(&lane("_resend"), &lane("critical"), queue.stream(), 15, 17);
    assert_eq!(resent.unwrap().sent, [(15, 17)]);
    queue.close();
    drop(queue);
    let after = frozen::read(folder.path());
    assert_eq!(after["critical"], before["critical"] + 60);
    assert_eq!(after["dead"], before["dead"] + 2);
    assert_eq!(open(folder.path()).level(), Level::One);
}

#[test]
fn newer_packs_further_back_wait_for_their_agent_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    golden::level_1(folder.path());
    // The first segment ends with number 20, and the last one is read at the start.
    let lane_folder = fs::read_dir(folder.path().join("lanes/critical")).unwrap();
    let mut segments: Vec<PathBuf> = lane_folder.map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.is_dir());
    segments.sort();
    let db = segments[1].join("db");
    let whole = fs::read(&db).unwrap();
    newer_packs(&segments[1]);
    let newer = fs::read(&db).unwrap();
    let queue = open(folder.path());
    assert_eq!(queue.standing().newer, None, "the start does not read so far");
    let leased = |name: &str| {
        let leases = queue.lease(&lane(name), 1000, usize::MAX);
        let count = leases.len();
        leases.into_iter().for_each(Lease::ack);
        count
    };
    assert_eq!((leased("critical"), leased("critical"), leased("bulk")), (6, 0, 3));
    assert_eq!(queue.standing().newer.unwrap().version, 99);
    store(&queue, "critical", draft("critical", 100));
    let critical = accounts(&queue, "critical");
    assert_eq!((critical.waiting, critical.damaged), (47 - 6 + 1, 0));
    queue.close();
    drop(queue);
    assert_eq!(fs::read(&db).unwrap(), newer);
    fs::write(&db, whole).unwrap();
    let queue = open(folder.path());
    assert_eq!(queue.lease(&lane("critical"), 1000, usize::MAX).len(), 47 - 6 + 1);
}

#[test]
fn a_newer_pack_among_older_letters_is_seen_whether_an_agent_runs_or_not() {
    let folder = tempfile::tempdir().unwrap();
    golden::level_1(folder.path());
    for _ in 0..2 {
        let queue = open(folder.path());
        queue.lease(&lane("critical"), 1, usize::MAX).remove(0).dead_letter("c", "r").unwrap();
        queue.close();
    }
    let mut segments: Vec<PathBuf> = fs::read_dir(folder.path().join("dead"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    segments.sort();
    newer_packs(&segments[segments.len() - 2]);
    let before = files(folder.path());
    let looked = Inspection::open(&options(folder.path()), Arc::new(SystemClock)).unwrap();
    let standing = looked.standing().unwrap();
    assert_eq!((standing.aside, standing.newer.as_ref().unwrap().version), (true, 99));
    assert_eq!(files(folder.path()), before);
    drop(looked);
    let queue = open(folder.path());
    assert_eq!(queue.standing().newer.unwrap().version, 99);
    drop(queue);
    let looked = Inspection::open(&options(folder.path()), Arc::new(SystemClock)).unwrap();
    assert!(looked.standing().unwrap().aside);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_folder_is_worked_at_its_level_until_it_is_committed_by_a_running_agent() {
    let broker = HttpBroker::start().await;
    let presence = "[presence]\ntopic = \"p\"\nclient_group = \"GID_g\"\n";
    let settings = format!("{}{QUICK}{LANES}{presence}", broker.upstream());
    let mut gateway = Gateway::new(&settings);
    golden::level_1(&gateway.data_dir());
    let status = gateway.start_ready().await;
    assert_eq!((status.format.level, status.format.newest), (1, 2));
    take_in(&gateway, "application/octet-stream", "new", 201).await;
    let status = all_sent(&mut gateway).await;
    let critical = lane_of(&status, "critical");
    assert_eq!((critical.accepted, accounted(critical), critical.dead), (61, 61, 1));
    // Killed, so that its session and all else stays open.
    gateway.kill();
    frozen::read_killed(&gateway.data_dir());

    gateway.start_ready().await;
    let shown: Value = serde_json::from_str(&gateway.said("upgrade --json").await).unwrap();
    assert_eq!((&shown["level"], &shown["newest"]), (&1.into(), &2.into()));
    assert_eq!(shown["obstacle"], Value::Null);
    assert!(gateway.said("upgrade").await.contains("nothing is in the way"));
    assert!(
        gateway.said("upgrade --commit").await.contains("committed: the data folder is at level 2")
    );
    assert!(gateway.said("upgrade --commit").await.starts_with("the data folder is at level 2"));
    let identity = fs::read_to_string(gateway.data_dir().join("identity")).unwrap();
    assert!(identity.contains("\"format\":2"), "{identity}");
    let data = gateway.data_dir();
    assert!(catch_unwind(|| frozen::read(&data)).is_err(), "agents of level 1 refuse it");
    gateway.stop(PATIENCE).await;
    let status = gateway.start_ready().await;
    assert_eq!(status.format.level, 2);
    assert_eq!(accounted(lane_of(&status, "critical")), 61);
    assert!(gateway.said("upgrade").await.ends_with("there is nothing to commit\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_agents_folder_is_shown_and_committed_and_a_fresh_one_begins_at_the_newest() {
    let mut gateway = Gateway::new(LANES);
    let none = gateway.command("upgrade").await;
    assert_eq!(none.status.code(), Some(69), "there is no folder: {none:?}");
    golden::level_1(&gateway.data_dir());
    let before = files(&gateway.data_dir());
    let shown: Value = serde_json::from_str(&gateway.said("upgrade --json").await).unwrap();
    assert_eq!(shown["level"], 1);
    assert!(gateway.said("check").await.contains("(level 1, newest 2)"));
    assert_eq!(files(&gateway.data_dir()), before, "looking writes nothing");
    let done: Value = serde_json::from_str(&gateway.said("upgrade --commit --json").await).unwrap();
    assert_eq!((&done["level"], &done["was"]), (&2.into(), &1.into()));
    let status = gateway.start_ready().await;
    assert_eq!((status.format.level, lane_of(&status, "critical").waiting), (2, 47));

    let mut fresh = Gateway::new(LANES);
    let status = fresh.start_ready().await;
    assert_eq!((status.format.level, &status.format.newer), (2, &None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_agent_wrote_stays_as_it_is_and_records_are_taken_in_beside_it() {
    type Newer = (&'static str, fn(&Path));
    let kinds: [Newer; 6] = [
        ("identity", |folder| set_level(folder, 99)),
        ("state", newer_state),
        ("state-1", newer_slot),
        ("seg-", |folder| newer_packs(&newest(&folder.join("lanes/critical"), "seg-"))),
        ("seg-", |folder| newer_packs(&newest(&folder.join("dead"), "seg-"))),
        ("ids-", newer_table),
    ];
    for (file, make_newer) in kinds {
        let mut gateway = Gateway::new(LANES);
        let data = gateway.data_dir();
        golden::level_1(&data);
        make_newer(&data);
        let before = files(&data);
        let verify = gateway.command("queue verify").await;
        let said = String::from_utf8(verify.stdout).unwrap();
        assert_eq!(verify.status.code(), Some(1), "{file}: {said}");
        assert!(said.contains("newer format: ") && !said.contains("damaged file"), "{said}");

        let status = gateway.start_ready().await;
        let newer = status.format.newer.clone().unwrap();
        assert!(newer.version == 99 && newer.file.contains(file), "{newer:?}");
        assert_eq!(status.format.folder, Some(data.join("beside-2").display().to_string()));
        for n in 0..3 {
            take_in(&gateway, "application/octet-stream", &n.to_string(), 201).await;
        }
        for words in ["status", "check"] {
            assert!(gateway.said(words).await.contains("ALARM"), "{file}: {words}");
        }
        let doctor = gateway.command("check --connect").await;
        let said = String::from_utf8(doctor.stdout).unwrap();
        assert!(said.contains("BAD   format: "), "{said}");
        let check = gateway.command("status --check").await;
        assert_eq!(check.status.code(), Some(2), "{file}");
        let refused = gateway.command("upgrade --commit").await;
        assert_eq!(refused.status.code(), Some(65), "{refused:?}");
        assert!(gateway.said("upgrade").await.contains("in the way: "));
        assert_eq!(gateway.command("queue verify").await.status.code(), Some(1));
        gateway.stop(PATIENCE).await;
        // Again: what was stored beside is still there.
        let status = gateway.start_ready().await;
        assert_eq!(lane_of(&status, "critical").waiting, 3, "{file}");
        gateway.stop(PATIENCE).await;
        assert_eq!(files(&data), before, "{file}");
        assert!(gateway.log().contains("a newer agent wrote the data folder"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_of_a_newer_agent_stay_and_the_queue_goes_on_in_its_place() {
    let mut gateway = Gateway::new(&format!("{QUICK}{LANES}"));
    let data = gateway.data_dir();
    golden::level_1(&data);
    let line = "{\"format\":9,\"of\":\"later\"}";
    let budget = format!("{line}\n{:08x}\n", crc32fast::hash(line.as_bytes()));
    let mut pace = b"SWPC\x09\0\0\0and more".to_vec();
    pace.extend(crc32fast::hash(&pace).to_le_bytes());
    for (name, bytes) in
        [("budget", budget.as_bytes()), ("pace", &pace), ("clock", line.as_bytes())]
    {
        fs::write(data.join(name), bytes).unwrap();
    }
    let small = || ["budget", "pace", "clock"].map(|name| fs::read(data.join(name)).unwrap());
    let before = small();
    let status = gateway.start_ready().await;
    assert_eq!((&status.format.newer, lane_of(&status, "critical").waiting), (&None, 47));
    gateway.stop(PATIENCE).await;
    assert_eq!(small(), before);
    assert!(data.join("budget.beside").exists());
    let told = gateway.log().lines().filter(|line| line.contains("is a newer agent's")).count();
    assert!(told >= 3, "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn once_the_folder_can_be_read_again_what_was_stored_beside_it_is_sent() {
    let broker = HttpBroker::start().await;
    let mut gateway = Gateway::new(LANES);
    let data = gateway.data_dir();
    golden::level_1(&data);
    set_level(&data, 99);
    gateway.start_ready().await;
    let lines: String = (0..600)
        .map(|n| {
            let (lane, key) = if n % 2 == 0 { ("critical", "null") } else { ("bulk", "\"k-1\"") };
            format!("{{\"lane\":\"{lane}\",\"order_key\":{key},\"body\":\"beside {n}\"}}\n")
        })
        .collect();
    take_in(&gateway, "application/x-ndjson", &lines, 200).await;
    gateway.stop(PATIENCE).await;

    // The newer agent is back.
    set_level(&data, 2);
    gateway.configure(&format!("{}{QUICK}{LANES}", broker.upstream()));
    gateway.start_ready().await;
    let status = gateway
        .until_within(PATIENCE, "all is taken over", |status| status.format.beside.is_empty());
    assert_eq!(status.await.format.newer, None);
    let status = all_sent(&mut gateway).await;
    for (name, accepted) in [("critical", 60 + 300), ("bulk", 30 + 300)] {
        let lane = lane_of(&status, name);
        assert_eq!(
            (lane.accepted, accounted(lane), lane.damaged),
            (accepted, accepted, 0),
            "{name}"
        );
    }
    let entries = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.contains("beside")), "{names:?}");
    let bodies = |topic: &str| -> Vec<String> {
        let arrivals = broker.arrivals(&[topic]);
        let texts = arrivals.iter().map(|a| String::from_utf8_lossy(&a.body).into_owned());
        texts.filter(|text| text.starts_with("beside ")).collect()
    };
    let expected = |odd| (0..600).filter(move |n| n % 2 == odd).map(|n| format!("beside {n}"));
    assert_eq!(bodies("b"), expected(1).collect::<Vec<_>>(), "in their order");
    let mut unordered = bodies("c");
    unordered.sort();
    let mut all: Vec<String> = expected(0).collect();
    all.sort();
    assert_eq!(unordered, all);
}

#[test]
fn dead_letters_untold_numbers_and_ids_come_over_too_also_after_a_try_that_was_cut_short() {
    let folder = tempfile::tempdir().unwrap();
    golden::level_1(folder.path());
    set_level(folder.path(), 99);
    let beside = open(folder.path());
    let stream = beside.stream();
    assert_eq!((beside.level(), accounts(&beside, "critical")), (Level::Two, Accounts::default()));
    for n in 200..800 {
        store(&beside, "critical", draft("critical", n));
    }
    // Known to the folder that cannot be read: with the same body, and with another one.
    store(&beside, "critical", draft("critical", 30));
    store(&beside, "critical", Draft { body: "another".into(), ..draft("critical", 31) });
    store(&beside, "critical", draft("critical", 900));
    for n in 1..=9 {
        store(&beside, "bulk", draft("bulk", n));
    }
    for lease in beside.lease(&lane("critical"), 2, usize::MAX) {
        lease.dead_letter("c", "r").unwrap();
    }
    beside.purge(&lane("bulk"), &[(2, 4)], false).unwrap();
    beside.close();
    drop(beside);

    set_level(folder.path(), 1);
    let queue = open(folder.path());
    assert_eq!(Takeover::open_all(&queue, &options(folder.path())).len(), 0, "level 1 is too low");
    assert_eq!(queue.standing().beside, [folder.path().join("beside-2")]);
    queue.commit_level().unwrap();
    let take = |batches: usize| {
        let mut opened = Takeover::open_all(&queue, &options(folder.path()));
        let takeover = opened.remove(0).1.unwrap();
        let left = std::cell::Cell::new(batches);
        let go_on = || left.replace(left.get().saturating_sub(1)) > 0;
        takeover.lanes(|_| true, &go_on).and_then(|()| takeover.finish())
    };
    assert!(take(2).is_err());
    assert!(folder.path().join("beside-2").exists());
    take(usize::MAX).unwrap();
    assert!(!folder.path().join("beside-2").exists());

    let critical = accounts(&queue, "critical");
    // 599 that waited and the one whose id has another body here; the known one is here once.
    assert_eq!((critical.waiting, critical.dead), (47 + 599 + 1, 1 + 2));
    let waiting = queue.peek(&lane("critical"), 0, usize::MAX);
    let last: Vec<_> = waiting.iter().rev().take(2).map(|entry| entry.record.clone()).collect();
    assert_eq!((&last[1].body[..], last[0].id.as_str()), (&b"another"[..], "c-900"));
    assert_eq!(accounts(&queue, "bulk").waiting, 25 + 7);
    let letters = queue.dead_list(&DeadFilter::default());
    let numbers: Vec<_> = letters.iter().map(|l| (l.stamp.stream, l.stamp.seq)).collect();
    assert_eq!(numbers[1..], [(stream, 1), (stream, 2)]);
    let told: Vec<GivenUp> =
        queue.untold().into_iter().filter(|range| range.stream == stream).collect();
    let ranges: Vec<_> = told.iter().map(|r| (r.lane.to_string(), r.fate, r.from, r.to)).collect();
    let expected = |lane: &str, fate, from, to| (lane.to_owned(), fate, from, to);
    assert!(ranges.contains(&expected("critical", Fate::Dead, 1, 2)), "{ranges:?}");
    assert!(ranges.contains(&expected("critical", Fate::Replayed, 3, 603)), "{ranges:?}");
    assert!(ranges.contains(&expected("bulk", Fate::Purged, 2, 3)), "{ranges:?}");
    queue.told(&told);
    queue.close();
    drop(queue);
    let queue = open(folder.path());
    assert!(queue.untold().iter().all(|range| range.stream != stream));
    assert_eq!(accounts(&queue, "critical"), critical);
    let third = letters[1].number;
    let one = DeadFilter { number: Some(third), ..DeadFilter::default() };
    assert_eq!(queue.dead_replay(&one, || false).unwrap().count, 1);
    assert_eq!((accounts(&queue, "critical").dead, accounts(&queue, "critical").waiting), (2, 648));
}
