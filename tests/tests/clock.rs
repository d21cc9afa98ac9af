//! The real agent whose wall clock says 1970, as on a gateway without a battery: TLS to a server
//! whose certificate is good today, signatures by the server's time, records that say that their
//! time is worth nothing; and the clock set by years, forward and back, while it runs and between
//! two runs: nothing is lost, nothing expires.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use spillway::broker::{Broker, BrokerOptions, Stored};
use spillway::clock;
use spillway::config::Secret;
use spillway_protocol::local::status::{LinkState, Status};
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::arrival::Arrival;
use spillway_tests::broker::{HttpBroker, INSTANCE, KEY, SECRET};
use spillway_tests::faketime::WallClock;
use spillway_tests::gateway::{Gateway, PATIENCE, accounted, now_ms};
use spillway_tests::ledger::Ledger;
use spillway_tests::oracle;
use spillway_tests::tls::TlsFront;
use tokio::time::sleep;

const TOPIC: &str = "t";
const DAY_MS: u64 = 24 * 3600 * 1000;
/// Since power-on.
const UPTIME: Duration = Duration::from_secs(600);
/// How far ahead of this program's build a server's time is.
const AHEAD: Duration = Duration::from_secs(3 * 365 * 24 * 3600);
/// The queue looks at what it keeps every 200 ms.
const TIDIED: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_secs(40);

fn settings(front: &TlsFront) -> String {
    let upstream = HttpBroker::upstream_by(&front.endpoint());
    format!(
        "{upstream}tls = {{ ca = {:?} }}\n[drain]\nadaptive = false\nreconnect_spread = \"0s\"\n\
         [audit]\nkeep = \"10 MiB\"\nkeep_for = \"7d\"\n\
         [backoff]\ninitial = \"100ms\"\nmax = \"1s\"\n[[lane]]\nname = \"main\"\ntopic = \"{TOPIC}\"\n",
        front.authority()
    )
}

/// A gateway with a wall clock of its own, and that clock.
fn gateway(front: &TlsFront) -> (Gateway, WallClock) {
    let gateway = Gateway::new(&settings(front));
    let clock = WallClock::new(gateway.file("wall-clock"));
    let words = clock.wrapper();
    (gateway.wrapped(&words.iter().map(String::as_str).collect::<Vec<_>>()), clock)
}

/// The year that it is.
fn year() -> i32 {
    1970 + i32::try_from(now_ms() / DAY_MS * 10_000 / 3_652_425).unwrap()
}

/// A record's `sw_at`: whether the clock was set, and ms since 1970.
fn accepted(stored: &Stored) -> (bool, u64) {
    let text = stored.property("sw_at").unwrap();
    match text.strip_prefix('~') {
        Some(unset) => (false, unset.parse().unwrap()),
        None => (true, text.parse().unwrap()),
    }
}

struct Scene {
    ledger: Ledger,
    handed: u64,
    broker: HttpBroker,
    gateway: Gateway,
    clock: WallClock,
    /// Of each record in the order of its number, whether the clock was set.
    set: Vec<bool>,
}

impl Scene {
    /// Records that apps hand over while the clock is set, or is not.
    async fn hand(&mut self, set: bool) {
        let numbers = self.handed..self.handed + 30;
        hand_over(&self.gateway.socket(), &self.ledger, "main", drafts("r", numbers)).await;
        self.handed += 30;
        self.set.extend([set; 30]);
    }

    async fn until_delivered(&mut self) -> Status {
        self.gateway.until_delivered(PATIENCE).await
    }

    /// The first record is among those that could be sent again.
    async fn until_kept(&mut self, when: &str) {
        let again = self.gateway.said("resend --lane main --from 1 --to 1").await;
        assert!(again.contains("1 will be sent again"), "{when}: {again}");
        self.until_delivered().await;
    }

    /// What waits was handed over just now, whatever the clock said then.
    async fn assert_young(&mut self) {
        let status = self.gateway.until("the status", |_| true).await;
        let lane = &status.lanes[0];
        assert!(lane.waiting > 0 && lane.oldest_age_s.unwrap() < 3600, "{lane:?}");
    }

    async fn until_down(&mut self) {
        self.gateway.until("the link is down", |status| !status.link.reason.is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_by_years_loses_nothing_and_expires_nothing() {
    let broker = HttpBroker::start().await;
    let front = TlsFront::start(broker.port(), year() - 1..=year() + 1).await;
    let (gateway, clock) = gateway(&front);
    clock.boot(UPTIME);
    let ledger = Ledger::default();
    let mut scene = Scene { ledger, handed: 0, broker, gateway, clock, set: vec![] };

    let status = scene.gateway.start_ready().await;
    assert!(status.link.since < DAY_MS, "its clock is not in 1970: {:?}", status.link);
    scene.hand(false).await;
    let status = scene.until_delivered().await;
    let offset_s = status.clock_offset_s.unwrap();
    let true_s = i64::try_from(now_ms() / 1000 - UPTIME.as_secs()).unwrap();
    assert!((offset_s - true_s).abs() < 60, "{offset_s}, not {true_s}");

    // Set while records wait that were made before.
    scene.broker.kill().await;
    scene.hand(false).await;
    scene.until_down().await;
    scene.clock.set_right();
    scene.assert_young().await;
    scene.hand(true).await;
    scene.broker.restart().await;
    let status = scene.until_delivered().await;
    // Dates have whole seconds, and the first answer that tells may be a late one.
    assert!(status.clock_offset_s.unwrap().abs() <= 5, "{:?}", status.clock_offset_s);
    assert!(status.uptime_s < 3600, "its uptime jumped as well: {} s", status.uptime_s);

    // What was delivered and is kept for the centre, is kept: a clock that is set is no week.
    scene.clock.boot(UPTIME);
    scene.gateway.stop(GRACE).await;
    age_segments(&scene.gateway);
    scene.gateway.start_ready().await;
    scene.until_kept("in 1970").await;
    scene.clock.set_right();
    sleep(TIDIED).await;
    scene.until_kept("today").await;

    // Back to 1970, as if its time server were mad; and set again between two runs.
    scene.clock.boot(UPTIME);
    scene.hand(false).await;
    scene.until_delivered().await;
    scene.broker.kill().await;
    scene.hand(false).await;
    scene.until_down().await;
    scene.gateway.stop(GRACE).await;
    scene.clock.set_right();
    scene.gateway.start_ready().await;
    scene.assert_young().await;
    scene.hand(true).await;
    scene.broker.restart().await;
    let status = scene.until_delivered().await;
    check(&scene, &status);
    scene.gateway.stop(GRACE).await;
}

/// The times of files are the kernel's, which nobody fakes here: a machine in 1970 writes these.
fn age_segments(gateway: &Gateway) {
    let lane = std::fs::read_dir(gateway.data_dir().join("lanes/main")).unwrap().flatten();
    let segments = lane.map(|entry| entry.path().join("db")).filter(|file| file.exists());
    for file in segments {
        let file = std::fs::File::options().append(true).open(file).unwrap();
        file.set_modified(UNIX_EPOCH + UPTIME).unwrap();
    }
}

fn check(scene: &Scene, status: &Status) {
    let lane = &status.lanes[0];
    assert_eq!((lane.accepted, accounted(lane)), (scene.handed, scene.handed));
    assert_eq!((lane.expired, lane.dropped, lane.dead, lane.damaged), (0, 0, 0, 0));
    let arrived = scene.broker.arrivals(&[TOPIC]);
    oracle::assert_none("losses", &oracle::losses(&scene.ledger.snapshot(), &arrived));
    oracle::assert_none("gaps", &oracle::gaps(&arrived));
    for stored in scene.broker.messages(TOPIC) {
        let seq = Arrival::from(&*stored).seq;
        let (set, at_ms) = accepted(&stored);
        assert_eq!(set, scene.set[usize::try_from(seq).unwrap() - 1], "{seq}: {set}, {at_ms}");
        let near = if set { now_ms() } else { 0 };
        assert!(at_ms.abs_diff(near) < DAY_MS, "{seq}: {set}, {at_ms}");
    }
}

/// The world's clock, years after this program was built.
struct Ahead;

impl clock::WallClock for Ahead {
    fn now_ms(&self) -> u64 {
        now_ms() + u64::try_from(AHEAD.as_millis()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_proved_once_lets_a_gateway_through_that_boots_in_1970_years_later() {
    let keys = vec![(KEY.to_owned(), Secret::new(SECRET))];
    let options = BrokerOptions::new(([127, 0, 0, 1], 0).into(), keys);
    let broker = Broker::start(BrokerOptions { clock: Arc::new(Ahead), ..options }).await.unwrap();
    // Not good before this program was built, nor for a while after.
    let front = TlsFront::start(broker.address().port(), year() + 2..=year() + 4).await;
    let ledger = Ledger::default();

    // Nothing but the build's date is known: nobody can tell whether this certificate is good.
    let (mut stranger, clock) = gateway(&front);
    clock.boot(UPTIME);
    stranger.start_ready().await;
    let refused = |status: &Status| status.link.reason.to_lowercase().contains("certificate");
    let status = stranger.until("the certificate is refused", refused).await;
    assert_ne!(status.link.state, LinkState::Online);

    let (mut gateway, clock) = gateway(&front);
    clock.set_ahead(AHEAD);
    gateway.start_ready().await;
    hand_over(&gateway.socket(), &ledger, "main", drafts("r", 0..10)).await;
    gateway.until_delivered(PATIENCE).await;
    gateway.stop(GRACE).await;
    clock.boot(UPTIME);
    let status = gateway.start_ready().await;
    assert!(status.link.since < DAY_MS, "its clock is not in 1970: {:?}", status.link);
    hand_over(&gateway.socket(), &ledger, "main", drafts("r", 10..20)).await;
    gateway.until_delivered(PATIENCE).await;
    let stored = broker.messages(Some(INSTANCE), TOPIC);
    let unset = stored.iter().filter(|stored| !accepted(stored).0).count();
    assert_eq!((stored.len(), unset), (20, 10));
    gateway.stop(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_no_longer_good_is_refused_in_1970_too() {
    let broker = HttpBroker::start().await;
    let front = TlsFront::start(broker.port(), year() - 3..=year() - 2).await;
    let (mut gateway, clock) = gateway(&front);
    clock.boot(UPTIME);
    gateway.start_ready().await;
    let expired = |status: &Status| status.link.reason.to_lowercase().contains("expired");
    gateway.until("the certificate is refused", expired).await;
    assert!(broker.messages(TOPIC).is_empty());
    gateway.stop(GRACE).await;
}
