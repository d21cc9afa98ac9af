//! A lane that the configuration does not name any more stays as long as something of it is needed: until
//! its tombstones are told, and while what it delivered may be asked for again.

use std::time::Duration;

use spillway_protocol::tombstone::{Reason, Tombstones};
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::arrival::Arrival;
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, PATIENCE, lane};
use spillway_tests::ledger::Ledger;
use tokio::time::{Instant, sleep};

const DRAIN: &str = "[drain]\nadaptive = false\nreconnect_spread = \"0s\"\n\
                     [backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n\
                     [report]\ntopic = \"reports\"\n";
const KEEP: &str = "[[lane]]\nname = \"keep\"\ntopic = \"keep\"\ndefault = true\n";
const OLD: &str = "[[lane]]\nname = \"old\"\ntopic = \"old\"\ntag = \"Was\"\n";

fn audit(keep_for: &str) -> String {
    format!("[audit]\nkeep_for = \"{keep_for}\"\n")
}

/// What came again to the old lane's topic because it was asked for.
fn resent(broker: &HttpBroker) -> Vec<Arrival> {
    let messages = broker.messages("old");
    let again = messages.iter().filter(|stored| stored.property("sw_flags") == Some("resend"));
    again.map(|stored| Arrival::from(&**stored)).collect()
}

/// Numbers of the old lane that the far side was told of.
fn told(broker: &HttpBroker) -> Vec<(u64, u64)> {
    let messages = broker.messages("reports");
    let told = messages.iter().filter(|stored| stored.property("sw_flags") == Some("tombstone"));
    let ranges =
        told.flat_map(|stored| Tombstones::from_json(stored.body.as_bytes()).unwrap().ranges);
    let ours = ranges.filter(|range| (&*range.lane, range.reason) == ("old", Reason::Purged));
    ours.map(|range| (range.from, range.to)).collect()
}

async fn until(gateway: &Gateway, what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "in vain until {what}\n{}", gateway.tail());
        sleep(Duration::from_millis(20)).await;
    }
}

/// Gives up what waits there; what is on its way at that moment comes back.
async fn purge_old(gateway: &Gateway) {
    let deadline = Instant::now() + PATIENCE;
    while lane(&gateway.status().await.unwrap(), "old").waiting > 0 {
        assert!(Instant::now() < deadline, "{}", gateway.tail());
        gateway.said("queue purge --lane old --all").await;
    }
}

/// Two reloads: a lane that is gone is retired by the first, and may be dropped by those behind it.
async fn take(gateway: &Gateway, settings: &str) {
    gateway.configure(settings);
    for _ in 0..2 {
        let (code, said) = gateway.reload("").await;
        assert_eq!((code, &said["faults"]), (0, &serde_json::json!([])), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_is_gone_stays_while_it_has_to_be_told_of_or_may_be_asked_for() {
    let mut broker = HttpBroker::start().await;
    let rest = [&broker.upstream(), DRAIN, KEEP].concat();
    let without = |keep_for| format!("{rest}{}", audit(keep_for));
    let mut gateway = Gateway::new(&format!("{rest}{OLD}{}", audit("7d")));
    gateway.start_ready().await;
    let ledger = Ledger::default();
    hand_over(&gateway.socket(), &ledger, "old", drafts("d", 0..20)).await;
    gateway.until_delivered(PATIENCE).await;
    // What it gives up last, just before it is gone.
    broker.stop().await;
    hand_over(&gateway.socket(), &ledger, "old", drafts("p", 0..5)).await;
    purge_old(&gateway).await;
    take(&gateway, &without("7d")).await;
    for _ in 0..2 {
        let status = gateway.status().await.unwrap();
        let old = lane(&status, "old");
        assert_eq!((old.retired, old.waiting, old.dropped), (true, 0, 5), "{old:?}");
        assert!(gateway.said("status").await.contains("nothing waits there; it goes once"));
        gateway.kill();
        gateway.start_ready().await;
    }
    let said = gateway.said("resend --lane old --from 1 --to 25").await;
    assert!(said.contains("20 will be sent again: 1-20"), "{said}");
    // Nothing of it is kept any more, but copies wait, which leave by its settings.
    take(&gateway, &without("1ms")).await;
    gateway.until("nothing is left of it", |status| status.lanes.len() == 1).await;
    take(&gateway, &without("1ms")).await;
    broker.restart().await;
    until(&gateway, "all came again", || resent(&broker).len() >= 20).await;
    assert!(resent(&broker).iter().all(|again| again.tag.as_deref() == Some("Was")));
    until(&gateway, "it is told", || told(&broker).contains(&(21, 25))).await;
    assert!(broker.messages("keep").is_empty(), "it left as another lane's");
    // Then it is gone for good.
    let deadline = Instant::now() + PATIENCE;
    let resend = || gateway.command("resend --lane old --from 1 --to 25");
    while resend().await.status.code() != Some(65) {
        assert!(Instant::now() < deadline, "it is still there\n{}", gateway.tail());
        take(&gateway, &without("1ms")).await;
    }
}
