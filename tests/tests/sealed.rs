//! Records on disk are compressed and sealed: nothing of them can be read there, also after a kill;
//! a new key goes on where the old one ended; without a key nothing is lost, and it is named.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use sha2::{Digest, Sha256};
use spillway::broker::faults::{Kind, Rule};
use spillway_protocol::local::status::Status;
use spillway_protocol::record::Draft;
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::HttpBroker;
use spillway_tests::corruption::made::files;
use spillway_tests::gateway::{Gateway, accounted, lane};
use spillway_tests::ledger::Ledger;
use spillway_tests::oracle;

/// What no file may show; and what one does show without a key.
const HIDDEN: &str = "Ringelnatz";
const SHOWN: &str = "Morgenstern";
const DEAD: u64 = 3;
const LANES: [&str; 2] = ["main", "strict"];

/// A broker that may be away, a gateway, and what was handed over.
struct Case {
    broker: HttpBroker,
    gateway: Gateway,
    ledger: Ledger,
}

impl Case {
    async fn start() -> Self {
        let broker = HttpBroker::start().await;
        let rule = Rule { key_prefix: Some("bad".to_owned()), ..Rule::always(Kind::RefuseRecord) };
        broker.faults().set_rules(&[rule]);
        let gateway = Gateway::new("");
        for (nth, name) in ["first", "second"].into_iter().enumerate() {
            let key = (0..32).map(|at| format!("{:02x}", at * 7 + nth)).collect::<String>();
            fs::write(gateway.file(name), key).unwrap();
        }
        Self { broker, gateway, ledger: Ledger::default() }
    }

    /// Settings of `[gateway]` for the next start.
    fn configure(&self, keys: &str) {
        let lane = |(name, more): (&str, &str)| {
            format!("[[lane]]\nname = \"{name}\"\ntopic = \"{name}\"\n{more}\n")
        };
        let lanes = [
            ("main", "default = true\ncompress = \"lz4\""),
            ("strict", "order = \"lane\"\ncompress = \"lz4\""),
            ("empty", ""),
        ];
        let folder = self.gateway.file("").display().to_string();
        self.gateway.configure(&format!(
            "{}\n{}[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\nreconnect_spread = \"0s\"\n\
             [backoff]\ninitial = \"100ms\"\nmax = \"1s\"\n{}",
            keys.replace("FOLDER/", &folder),
            self.broker.upstream(),
            lanes.map(lane).concat()
        ));
    }

    async fn hand_over(&self, lane: &str, drafts: Vec<Draft>) {
        hand_over(&self.gateway.socket(), &self.ledger, lane, drafts).await;
    }

    async fn until(&mut self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        self.gateway.until_within(Duration::from_secs(150), what, wanted).await
    }

    /// Refused records, which become dead letters once others got through.
    async fn bury(&mut self) {
        self.hand_over("main", hidden("bad", 0..DEAD)).await;
        self.until("they are refused", |s| lane(s, "main").last_error.is_some()).await;
        for nth in 0..50 {
            self.hand_over("main", hidden("more", nth..nth + 1)).await;
        }
        let settled = |s: &Status| (lane(s, "main").dead, lane(s, "main").waiting) == (DEAD, 0);
        self.until("the refused are dead", settled).await;
    }

    fn see_nothing(&self) {
        let mut sent = self.ledger.snapshot();
        // What was handed over without a key.
        sent.retain(|id, _| !id.starts_with("empty") && !id.starts_with("clear"));
        let digests: Vec<Vec<u8>> = (sent.iter())
            .flat_map(|(id, sent)| [Sha256::digest(id), Sha256::digest(&sent.body)])
            .map(|digest| digest[..8].to_vec())
            .collect();
        for file in files(&self.gateway.data_dir()) {
            let bytes = fs::read(&file).unwrap();
            assert!(!holds(&bytes, HIDDEN.as_bytes()), "{}", file.display());
            let name = file.file_name().unwrap().to_str().unwrap();
            let table = name.starts_with("ids-");
            let known = |digest: &Vec<u8>| bytes.windows(8).any(|part| part == digest);
            assert!(!table || !digests.iter().any(known), "{}", file.display());
        }
    }
}

/// Records that nobody may read.
fn hidden(name: &str, numbers: std::ops::Range<u64>) -> Vec<Draft> {
    let mut drafts = drafts(name, numbers);
    for draft in &mut drafts {
        let id = draft.id.clone().unwrap();
        draft.body = format!("{{\"patient\":\"{HIDDEN}\",\"record\":\"{id}\"}}").repeat(3).into();
        draft.properties = [("name".to_owned(), HIDDEN.to_owned())].into();
        draft.order_key = Some(HIDDEN.to_owned());
    }
    drafts
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn any_holds(data: &Path, part: &str) -> bool {
    files(data).iter().any(|file| holds(&fs::read(file).unwrap(), part.as_bytes()))
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_without_the_key_and_nothing_is_lost_without_it() {
    let mut case = Case::start().await;
    case.configure("gateway.encryption_key = { file = \"FOLDER/first\" }");
    let said = case.gateway.said("check").await;
    let key = said.split("sealed with the key ").nth(1).expect(&said)[..8].to_owned();
    case.gateway.start_ready().await;
    case.bury().await;
    case.broker.stop().await;
    case.hand_over("main", hidden("main", 0..300)).await;
    let large = Draft { body: HIDDEN.repeat(30_000).into(), ..hidden("large", 0..1).remove(0) };
    let noisy: Vec<u8> = (0..200_000u64)
        .map(|at| (at.wrapping_mul(at).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8)
        .collect();
    let noisy = Draft { body: noisy.into(), ..hidden("noisy", 0..1).remove(0) };
    case.hand_over("main", vec![large, noisy]).await;
    case.hand_over("strict", hidden("strict", 0..200)).await;
    case.see_nothing();
    let export = case.gateway.said("queue export --body").await;
    assert_eq!(
        (export.lines().count(), export.matches("\"name\":\"Ringelnatz\"").count()),
        (502, 502)
    );
    case.gateway.said("queue verify").await;
    case.gateway.kill();
    case.see_nothing();
    assert_eq!(case.gateway.said("queue export --body").await, export);
    let letters = case.gateway.said("dead export --body").await;
    assert_eq!((letters.lines().count() as u64, letters.contains(HIDDEN)), (DEAD, true));

    // Killed and started again, it goes on; then the key is gone.
    case.gateway.start_ready().await;
    case.hand_over("main", hidden("again", 0..20)).await;
    case.gateway.stop(Duration::from_secs(20)).await;
    case.see_nothing();
    case.configure("");
    case.broker.restart().await;
    without_the_key(&mut case, &key).await;

    // Another key, and the first to read what it has sealed.
    case.configure(
        "gateway.encryption_key = { file = \"FOLDER/second\" }\n\
         gateway.former_keys = [{ file = \"FOLDER/first\" }]",
    );
    case.gateway.start_ready().await;
    case.hand_over("main", hidden("later", 0..30)).await;
    let done = |s: &Status| LANES.iter().all(|name| lane(s, name).waiting == 0);
    let status = case.until("everything has left", done).await;
    for lane in &status.lanes {
        assert_eq!(
            (lane.damaged, lane.dropped, accounted(lane)),
            (0, 0, lane.accepted),
            "{lane:?}"
        );
    }
    let letters = case.gateway.said("dead export --body").await;
    assert_eq!((letters.lines().count() as u64, letters.contains(HIDDEN)), (DEAD, true));
    let mut sent = case.ledger.snapshot();
    sent.retain(|id, _| !id.starts_with("bad"));
    let arrived = case.broker.arrivals(&["main", "strict", "empty"]);
    oracle::assert_none("losses", &oracle::losses(&sent, &arrived));
    let strict: Vec<u64> = case.broker.arrivals(&["strict"]).iter().map(|a| a.seq).collect();
    assert_eq!(strict, (1..=200).collect::<Vec<_>>());
    case.gateway.stop(Duration::from_secs(20)).await;
    case.see_nothing();
    assert_eq!(status.quarantine.segments, 0);
}

/// The agent runs, keeps what it cannot read, says so, and works otherwise.
async fn without_the_key(case: &mut Case, key: &str) {
    case.gateway.start_ready().await;
    let named = |s: &Status| {
        let waits = |name: &&str| {
            let error = lane(s, name).last_error.clone().unwrap_or_default();
            error.contains(&format!("records wait for the key {key}"))
        };
        LANES.iter().all(waits)
    };
    case.until("the key is named", named).await;
    let clear = Draft { body: SHOWN.into(), ..drafts("clear", 0..1).remove(0) };
    case.hand_over("main", vec![clear]).await;
    case.hand_over("empty", drafts("empty", 0..10)).await;
    let status = case.until("the other lane", |s| lane(s, "empty").delivered == 10).await;
    let [main, strict] = LANES.map(|name| lane(&status, name));
    assert_eq!((main.waiting, main.dead, main.damaged), (323, DEAD, 0), "{main:?}");
    assert_eq!((strict.waiting, strict.damaged), (200, 0), "{strict:?}");
    assert_eq!(status.quarantine.segments, 0);
    assert!(any_holds(&case.gateway.data_dir(), SHOWN), "a plain record would be seen");
    let why = case.gateway.said("why strict").await;
    assert!(why.contains(&format!("sealed with the key {key}")) && why.contains("former_keys"));
    for running in [true, false] {
        if !running {
            case.gateway.stop(Duration::from_secs(20)).await;
        }
        let verified = case.gateway.said("queue verify").await;
        // Settled ones too, which their segment still holds.
        for (place, count) in [("lane main", 375), ("lane strict", 200), ("dead letters", DEAD)] {
            let line = format!("{place}: {count} more are whole and sealed with the key {key}");
            assert!(verified.contains(&line), "{verified}");
        }
        let export = case.gateway.command("queue export --body").await;
        let said = text(&export);
        assert_eq!(export.status.code(), Some(1), "{said}");
        assert!(said.contains(SHOWN) && !said.contains(HIDDEN), "{said}");
        assert!(said.contains(&format!("(key {key}); ")), "{said}");
    }
    assert!(case.gateway.log().contains(&format!("key={key}")), "{}", case.gateway.tail());
}
