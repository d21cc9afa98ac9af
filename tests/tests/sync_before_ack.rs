//! What the kernel sees of the agent: no acknowledgement is written to a client before the bytes of
//! its record were written to a segment's database and an fdatasync or fsync of that very file has
//! ended since; and nothing ever lies in sled's `blobs/`, which sled does not sync.

use std::path::Path;
use std::time::Duration;

use spillway_protocol::local::client::{Client, Options};
use spillway_protocol::record::Draft;
use spillway_tests::gateway::Gateway;
use spillway_tests::http;
use spillway_tests::trace::{self, body, id};

const SETTINGS: &str = "[[lane]]\nname = \"main\"\ntopic = \"t\"\n";
const LARGE: [usize; 4] = [100_000, 500_000, 1 << 20, 4_000_000];

/// The records' sizes, in the order of their numbers, and the agent's socket.
struct Sender {
    sizes: Vec<usize>,
    socket: std::path::PathBuf,
}

impl Sender {
    /// Numbers of new records of these sizes.
    fn records(&mut self, sizes: impl IntoIterator<Item = usize>) -> std::ops::Range<usize> {
        let first = self.sizes.len();
        self.sizes.extend(sizes);
        first..self.sizes.len()
    }

    async fn json_one_by_one(&mut self, sizes: impl IntoIterator<Item = usize>) {
        for nth in self.records(sizes) {
            let json = self.json(nth);
            let answer =
                http::post(&self.socket, "/v1/records", "application/json", json.as_bytes());
            assert_eq!(answer.await.unwrap().status, 201);
        }
    }

    async fn lines(&mut self, sizes: impl IntoIterator<Item = usize>) {
        let lines: Vec<_> = self.records(sizes).map(|nth| self.json(nth)).collect();
        let body = lines.join("\n");
        let answer =
            http::post(&self.socket, "/v1/records", "application/x-ndjson", body.as_bytes());
        let answer = answer.await.unwrap();
        assert_eq!(answer.lines().len(), lines.len());
        assert!(answer.lines().iter().all(|line| line.contains("\"seq\"")), "{answer:?}");
    }

    fn json(&self, nth: usize) -> String {
        serde_json::json!({"id": id(nth), "body": body(nth, self.sizes[nth])}).to_string()
    }

    async fn frames(&mut self, window: u32, sizes: impl IntoIterator<Item = usize>) {
        let options = Options { window, ..Options::default() };
        let client = Client::connect_with(&self.socket, options).await.unwrap();
        let mut answers = Vec::new();
        for nth in self.records(sizes) {
            let body = body(nth, self.sizes[nth]).into();
            let draft = Draft { id: Some(id(nth)), body, ..Draft::default() };
            answers.push(client.submit(draft, None).await.unwrap());
        }
        for answer in answers {
            assert!(!answer.await.unwrap().duplicate);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledgement_leaves_before_its_record_is_synced() {
    let mut gateway = Gateway::new(SETTINGS);
    let file = gateway.file("trace");
    let strace = ["strace", "-f", "-y", "--seccomp-bpf", "-s", "1000000", "-e", trace::CALLS, "-o"];
    gateway = gateway.wrapped(&[&strace[..], &[file.to_str().unwrap(), "--"]].concat());
    let status = gateway.start_ready().await;
    let mut sender = Sender { sizes: vec![], socket: gateway.socket() };
    sender.json_one_by_one([20; 20]).await;
    sender.json_one_by_one(LARGE).await;
    sender.lines([200; 100]).await;
    sender.lines(LARGE).await;
    sender.frames(1, [20; 20]).await;
    sender.frames(64, [300; 500]).await;
    sender.frames(4, LARGE).await;
    gateway.terminate(status.pid);
    assert!(gateway.ended(Duration::from_secs(30)).await.success());
    check(&std::fs::read(file).unwrap(), &sender.sizes);
    assert_eq!(in_blobs(&gateway.data_dir()), 0);
}

fn check(trace: &[u8], sizes: &[usize]) {
    let findings = trace::judge(&String::from_utf8_lossy(trace), sizes);
    assert!(findings.faults.is_empty(), "{:#?}", findings.faults);
    let unseen: Vec<_> = (0..sizes.len()).filter(|n| !findings.acknowledged.contains(n)).collect();
    assert!(unseen.is_empty(), "the trace does not show the answers to {unseen:?}");
    let (records, syncs) = (sizes.len(), findings.syncs);
    println!("{records} acknowledgements, each after its sync; {syncs} syncs of databases");
}

/// Files in folders named `blobs`, and whether there are such folders at all.
fn in_blobs(data_dir: &Path) -> usize {
    let (mut folders, mut found, mut blobs) = (vec![data_dir.to_owned()], 0, 0);
    while let Some(folder) = folders.pop() {
        let within = folder.ends_with("blobs");
        blobs += usize::from(within);
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if within {
                found += 1;
            }
        }
    }
    assert!(blobs > 0, "there are no folders blobs/: sled's layout is another than was thought");
    found
}
