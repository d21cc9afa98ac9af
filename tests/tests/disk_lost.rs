//! The disk becomes read-only, or the folder is not the agent's any more: records are refused with the
//! reason, what was acknowledged leaves all the same, and nothing is lost.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::time::Duration;

use spillway_protocol::local::{Code, Refusal};
use spillway_protocol::record::Draft;
use spillway_tests::app::{body, drafts, hand_over, hand_over_until_refused};
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, accounted};
use spillway_tests::ledger::Ledger;
use spillway_tests::mount::Image;
use spillway_tests::{full, oracle};

const PATIENCE: Duration = Duration::from_secs(60);
const BODY_BYTES: usize = 50_000;
/// Of whom `setpriv` makes the agent's process.
const NOBODY: u32 = 65534;

/// A gateway and its broker, which is away.
struct Scene {
    broker: HttpBroker,
    gateway: Gateway,
    ledger: Ledger,
}

impl Scene {
    /// Not started yet; its data folder is there.
    async fn new() -> Self {
        let mut broker = HttpBroker::start().await;
        // With 16 MiB a segment has one.
        let gateway = Gateway::new(&format!(
            "limits.memory = \"16 MiB\"\n{}[drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\n\
             reconnect_spread = \"0s\"\n[backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n\
             [[lane]]\nname = \"main\"\ntopic = \"main\"\nquota = \"32 MiB\"\n",
            broker.upstream()
        ));
        broker.stop().await;
        std::fs::create_dir(gateway.data_dir()).unwrap();
        Self { broker, gateway, ledger: Ledger::default() }
    }

    async fn fill(&self, name: &str) -> Refusal {
        let lane = ("main", name);
        let socket = self.gateway.socket();
        hand_over_until_refused(&socket, &self.ledger, lane, BODY_BYTES).await
    }

    async fn hand_over(&self, name: &str) {
        hand_over(&self.gateway.socket(), &self.ledger, "main", bodies(name, 60)).await;
    }

    /// All that was acknowledged arrives, and the accounts say so.
    async fn deliver(&mut self) {
        self.broker.restart().await;
        let status = self.gateway.until_delivered(PATIENCE).await;
        let lane = &status.lanes[0];
        assert_eq!(lane.accepted, accounted(lane), "{lane:?}");
        assert_eq!((lane.dead, lane.dropped, lane.damaged), (0, 0, 0), "{lane:?}");
        let arrived = self.broker.arrivals(&["main"]);
        let losses = oracle::losses(&self.ledger.snapshot(), &arrived);
        oracle::assert_none("losses", &losses);
        self.broker.stop().await;
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

/// The kernel makes an ext4 read-only when it finds an error in it; only a check and another mount end
/// that.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_becomes_read_only_costs_no_record() {
    if !full() {
        return;
    }
    let mut scene = Scene::new().await;
    let image = Image::ext4(256 << 20);
    let data = scene.gateway.data_dir();
    let mount = image.mount(&data);
    scene.gateway.start_ready().await;
    scene.hand_over("before").await;
    image.fail();
    let refusal = scene.fill("readonly").await;
    assert_eq!(refusal.code, Code::DiskFailed, "{refusal}");
    assert!(refusal.to_string().contains("Read-only file system"), "{refusal}");
    scene.deliver().await;
    scene.gateway.kill();
    mount.end();
    image.check();
    let _mount = image.mount(&data);
    scene.gateway.start_ready().await;
    scene.hand_over("after").await;
    scene.deliver().await;
}

/// The agent's user may no longer enter its own folder.
#[tokio::test(flavor = "multi_thread")]
async fn without_permission_records_are_refused_until_it_is_back() {
    let mut scene = Scene::new().await;
    for path in [scene.gateway.data_dir(), scene.gateway.file(".")] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
    scene.gateway = scene.gateway.wrapped(&["setpriv", &user, &group, "--clear-groups"]);
    scene.gateway.start_ready().await;
    scene.hand_over("before").await;
    let data = scene.gateway.data_dir();
    permit(&data, 0o000);
    let refusal = scene.fill("locked").await;
    assert_eq!(refusal.code, Code::DiskFailed, "{refusal}");
    permit(&data, 0o700);
    scene.hand_over("after").await;
    scene.deliver().await;
}

fn permit(folder: &Path, mode: u32) {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).unwrap();
}
