//! A gateway's own user under RocketMQ 5.5.0's ACL 2.0: it may publish where it is allowed to, what
//! is not allowed holds nothing else, and a user that is disabled loses nothing.

use std::time::Duration;

use spillway_protocol::local::status::Status;
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::gateway::{Gateway, lane};
use spillway_tests::ledger::Ledger;
use spillway_tests::rocketmq::{Options, RocketMq};
use tokio::task::block_in_place;

/// A probe comes every minute.
const ROUND: Duration = Duration::from_secs(180);

fn settings(port: u16) -> String {
    format!(
        "[upstream]\ntransport = \"grpc\"\nendpoint = \"127.0.0.1:{port}\"\n\
         access_key_id = \"gw-test\"\naccess_key_secret = \"gateways-secret\"\n\
         [drain]\nadaptive = false\nbytes_per_second = \"1 GiB\"\nreconnect_spread = \"0s\"\n\
         [backoff]\ninitial = \"100ms\"\nmax = \"1s\"\n\
         [[lane]]\nname = \"open\"\ntopic = \"open\"\ndefault = true\n\
         [[lane]]\nname = \"shut\"\ntopic = \"shut\"\n"
    )
}

fn start() -> RocketMq {
    let access_key = Some(("admin".to_owned(), "admins-secret".to_owned()));
    let mut mq = RocketMq::start(Options { access_key, rules: true, ..Options::default() });
    for topic in ["open", "shut"] {
        mq.create_topic(topic, "NORMAL");
    }
    mq.create_user("gw-test", "gateways-secret");
    mq.allow_publishing("gw-test", "open");
    mq
}

async fn send(gateway: &Gateway, lane: &str, numbers: std::ops::Range<u64>) {
    hand_over(&gateway.socket(), &Ledger::default(), lane, drafts(lane, numbers)).await;
}

/// Code of a lane's hold.
fn hold<'a>(status: &'a Status, name: &str) -> Option<&'a str> {
    lane(status, name).hold.as_ref().map(|hold| &*hold.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_topic_holds_itself_alone_and_a_disabled_user_keeps_everything() {
    let mut mq = block_in_place(start);
    let mut gateway = Gateway::new(&settings(mq.grpc_port()));
    gateway.start_ready().await;
    send(&gateway, "shut", 0..20).await;
    let held = |status: &Status| hold(status, "shut") == Some("permission");
    gateway.until("the topic that is not allowed is held", held).await;
    send(&gateway, "open", 0..20).await;
    let passed = |status: &Status| lane(status, "open").delivered == 20;
    let status = gateway.until("the other lane goes on", passed).await;
    assert_eq!((hold(&status, "open"), lane(&status, "shut").delivered), (None, 0));

    block_in_place(|| mq.allow_publishing("gw-test", "shut"));
    gateway.until_delivered(ROUND).await;

    block_in_place(|| mq.permit_user("gw-test", false));
    send(&gateway, "open", 20..40).await;
    let held = |status: &Status| hold(status, "open") == Some("credentials");
    gateway.until("a disabled user holds the link", held).await;
    block_in_place(|| mq.permit_user("gw-test", true));
    let status = gateway.until_delivered(ROUND).await;
    assert_eq!((lane(&status, "open").delivered, lane(&status, "open").dead), (40, 0));
    assert_eq!(block_in_place(|| mq.read_all("shut")).len(), 20);
}
