//! The broker cannot be reached for the whole run: records are taken in all the same, memory stays
//! bounded, `status` says why nothing leaves and since when, and nothing is lost by a stop.

use std::time::Duration;

use spillway_protocol::local::client::{Client, Options};
use spillway_protocol::local::status::LinkState;
use spillway_protocol::record::Draft;
use spillway_tests::gateway::{Gateway, accounted, now_ms};
use spillway_tests::{full, port};
use tokio::task::JoinSet;

/// `limits.memory` is 32 MiB, its default: half of it bounds what clients make the agent hold, a
/// quarter its segments. The rest is the program itself, of which a debug build has 22 MiB
/// resident when it is idle. What is handed over has 60 MiB: kept in memory, it would be found out.
const RESIDENT_MAX_KB: u64 = 80 * 1024;
const GRACE: Duration = Duration::from_secs(40);

fn settings(port: u16) -> String {
    format!(
        "[upstream]\nendpoint = \"http://127.0.0.1:{port}\"\ninstance_id = \"MQ_INST_1\"\n\
         access_key_id = \"id\"\naccess_key_secret = \"secret\"\n\
         [drain]\nreconnect_spread = \"0s\"\n\
         [[lane]]\nname = \"main\"\ntopic = \"t\"\ndefault = true\n\
         [[lane]]\nname = \"keyed\"\ntopic = \"k\"\norder = \"key\"\n"
    )
}

/// Sends records until `count` are stored, half of them to each lane.
async fn fill(gateway: &Gateway, count: usize) {
    let client = Client::connect_with(gateway.socket(), Options::default()).await.unwrap();
    let mut answers = JoinSet::new();
    for nth in 0..count {
        let (lane, order_key) = match nth % 2 {
            0 => ("main", None),
            _ => ("keyed", Some(format!("bed-{}", nth % 50))),
        };
        // Every thousandth is large.
        let size = if nth % 1000 == 7 { 1 << 20 } else { 256 };
        let draft = Draft { order_key, body: vec![b'x'; size].into(), ..Draft::default() };
        answers.spawn(client.submit(draft, Some(lane)).await.unwrap());
        while let Some(answer) = answers.try_join_next() {
            answer.unwrap().unwrap();
        }
    }
    while let Some(answer) = answers.join_next().await {
        answer.unwrap().unwrap();
    }
}

/// The most memory the process ever had resident.
fn resident_max_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_records_are_taken_in_and_wait() {
    let count = if full() { 200_000 } else { 50_000 };
    let started_ms = now_ms();
    let mut gateway = Gateway::new(&settings(port::free()));
    gateway.start_ready().await;
    fill(&gateway, count).await;
    let offline = |link: LinkState| matches!(link, LinkState::Offline | LinkState::Probing);
    let what = "it has noticed that nobody is there";
    let status =
        gateway.until(what, |s| offline(s.link.state) && s.link.reason.contains("refused")).await;
    assert!((started_ms..=now_ms()).contains(&status.link.since), "{:?}", status.link);
    for lane in &status.lanes {
        assert_eq!((lane.waiting, lane.accepted), (count as u64 / 2, count as u64 / 2));
        assert_eq!(lane.accepted, accounted(lane));
        assert!(lane.oldest_age_s.is_some() && lane.live_bytes > 0, "{lane:?}");
    }
    let said = gateway.said("status").await;
    assert!(said.contains("offline for ") && said.contains("refused"), "{said}");
    let resident_kb = resident_max_kb(gateway.pid());
    println!("{count} records; at most {resident_kb} kB resident");
    assert!(resident_kb < RESIDENT_MAX_KB, "{resident_kb} kB");
    gateway.stop(GRACE).await;

    let again = gateway.start_ready().await;
    assert_eq!(again.stream, status.stream);
    for lane in &again.lanes {
        assert_eq!((lane.waiting, lane.accepted), (count as u64 / 2, count as u64 / 2));
    }
    let resident_kb = resident_max_kb(gateway.pid());
    assert!(resident_kb < RESIDENT_MAX_KB, "{resident_kb} kB after the restart");
    gateway.stop(GRACE).await;
}
