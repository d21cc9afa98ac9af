//! The disk is full, out of inodes, read-only, or not the agent's any more, while it runs and when
//! it starts: records are refused with the reason, what was acknowledged leaves all the same, and
//! intake goes on by itself once there is room again.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use spillway_protocol::local::status::Status;
use spillway_protocol::local::{Code, Refusal};
use spillway_protocol::record::Draft;
use spillway_tests::app::{body, drafts, hand_over, hand_over_until_refused};
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, accounted};
use spillway_tests::ledger::Ledger;
use spillway_tests::mount::{Image, Mount};
use spillway_tests::{full, http, oracle};
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(60);
const BODY_BYTES: usize = 50_000;
/// What a full disk is told with: how it is written in the C library.
const FULL: &str = "No space left on device";

/// A gateway whose queue lies on a file system of its own, and its broker, which is away.
struct Scene {
    broker: HttpBroker,
    gateway: Gateway,
    ledger: Ledger,
    /// Goes before the gateway's folder does.
    mount: Mount,
}

impl Scene {
    async fn new(options: &str) -> Self {
        Self::on(|folder| Mount::tmpfs(folder, options), |gateway| gateway).await
    }

    async fn on(
        mount: impl FnOnce(&Path) -> Mount,
        change: impl FnOnce(Gateway) -> Gateway,
    ) -> Self {
        let mut broker = HttpBroker::start().await;
        // With 16 MiB a segment has one.
        let gateway = Gateway::new(&format!(
            "limits.memory = \"16 MiB\"\n{}[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\n\
             reconnect_spread = \"0s\"\n[backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n\
             [[lane]]\nname = \"main\"\ntopic = \"main\"\n",
            broker.upstream()
        ));
        broker.stop().await;
        let mount = mount(&gateway.data_dir());
        let mut gateway = change(gateway);
        gateway.start_ready().await;
        Self { broker, gateway, ledger: Ledger::default(), mount }
    }

    async fn fill(&self, name: &str) -> Refusal {
        let socket = self.gateway.socket();
        let lane = ("main", name);
        hand_over_until_refused(&socket, &self.ledger, lane, BODY_BYTES).await.1
    }

    async fn hand_over(&self, drafts: Vec<Draft>) {
        hand_over(&self.gateway.socket(), &self.ledger, "main", drafts).await;
    }

    /// Records are taken again, by itself.
    async fn until_taken(&self, name: &str) {
        let begun = Instant::now();
        let record = |number: u32| format!("{{\"id\":\"{name}-{number}\",\"body\":\"x\"}}");
        for number in 0.. {
            let body = record(number);
            let socket = self.gateway.socket();
            let answer = http::post(&socket, "/v1/records", "application/json", body.as_bytes());
            if answer.await.unwrap().status == 201 {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "nothing is taken\n{}", self.gateway.tail());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// All that was acknowledged arrives, and the accounts say so.
    async fn deliver(&mut self) {
        self.broker.restart().await;
        let status = self.gateway.until_delivered(PATIENCE).await;
        let lane = &status.lanes[0];
        assert_eq!(lane.accepted, accounted(lane), "{lane:?}");
        assert_eq!((lane.dead, lane.dropped, lane.damaged), (0, 0, 0), "{lane:?}");
        let mut sent = self.ledger.snapshot();
        sent.retain(|_, sent| sent.acknowledged.is_some());
        let mut arrived = self.broker.arrivals(&["main"]);
        arrived.retain(|arrival| sent.contains_key(&arrival.id));
        oracle::assert_none("losses", &oracle::losses(&sent, &arrived));
        self.broker.stop().await;
    }

    async fn until_given_back(&mut self) {
        let given_back = |status: &Status| status.lanes[0].disk_bytes < 2 << 20;
        self.gateway.until_within(PATIENCE, "the disk is given back", given_back).await;
    }
}

fn bodies(name: &str, count: u64) -> Vec<Draft> {
    let mut drafts = drafts(name, 0..count);
    for draft in &mut drafts {
        let id = draft.id.clone().unwrap();
        draft.body = body(&id, BODY_BYTES, false);
    }
    drafts
}

/// Each time it is filled to the last byte and becomes free in another way; each third time the
/// agent is killed while it is full, and starts so.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_filled_and_freed_again_and_again_loses_nothing() {
    let mut scene = Scene::new("size=12m").await;
    let rounds = if full() { 100 } else { 10 };
    for round in 0..rounds {
        let ballast = scene.mount.fill_up(5 << 20);
        let refusal = scene.fill(&format!("fill{round}")).await;
        assert_eq!(refusal.code, Code::DiskFull, "{refusal}");
        assert!(refusal.to_string().contains(FULL), "{refusal}");
        if round % 3 == 2 {
            scene.gateway.kill();
            scene.gateway.start_ready().await;
        }
        if round % 2 == 0 {
            std::fs::remove_file(&ballast).unwrap();
            scene.until_taken(&format!("free{round}")).await;
            scene.hand_over(bodies(&format!("more{round}"), 10)).await;
        }
        scene.deliver().await;
        scene.until_given_back().await;
        scene.until_taken(&format!("drained{round}")).await;
        let _ = std::fs::remove_file(&ballast);
    }
    scene.deliver().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_inodes_records_are_refused_and_leave_all_the_same() {
    let mut scene = Scene::new("size=64m,nr_inodes=300").await;
    scene.hand_over(bodies("before", 30)).await;
    let others = scene.mount.take_inodes(0);
    let refusal = scene.fill("without").await;
    assert_eq!(refusal.code, Code::DiskFull, "{refusal}");
    scene.deliver().await;
    scene.until_given_back().await;
    std::fs::remove_dir_all(others).unwrap();
    scene.until_taken("again").await;
    scene.hand_over(bodies("after", 30)).await;
    scene.deliver().await;
}

/// The kernel makes an ext4 read-only when it finds an error in it; only a check and another mount end
/// that. Needs loop devices.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_becomes_read_only_costs_no_record() {
    if !full() {
        return;
    }
    let image = Image::ext4(64 << 20);
    let mut scene = Scene::on(|folder| image.mount(folder), |gateway| gateway).await;
    scene.hand_over(bodies("before", 60)).await;
    image.fail();
    let refusal = scene.fill("readonly").await;
    assert_eq!(refusal.code, Code::DiskFailed, "{refusal}");
    assert!(refusal.to_string().contains("Read-only file system"), "{refusal}");
    scene.deliver().await;
    scene.gateway.kill();
    let data = scene.gateway.data_dir();
    scene.mount.end();
    image.check();
    scene.mount = image.mount(&data);
    scene.gateway.start_ready().await;
    scene.hand_over(bodies("after", 30)).await;
    scene.deliver().await;
}

/// The agent's user may no longer enter its own folder.
#[tokio::test(flavor = "multi_thread")]
async fn without_permission_records_are_refused_until_it_is_back() {
    let as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let change = |gateway: Gateway| {
        for path in [gateway.data_dir(), gateway.file(".")] {
            std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
        }
        gateway.wrapped(&as_nobody)
    };
    let mut scene = Scene::on(|folder| Mount::tmpfs(folder, "size=64m"), change).await;
    scene.hand_over(bodies("before", 60)).await;
    let data = scene.gateway.data_dir();
    permit(&data, 0o000);
    let refusal = scene.fill("locked").await;
    assert_eq!(refusal.code, Code::DiskFailed, "{refusal}");
    permit(&data, 0o700);
    scene.until_taken("again").await;
    scene.hand_over(bodies("after", 30)).await;
    scene.deliver().await;
}

fn permit(folder: &Path, mode: u32) {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).unwrap();
}
