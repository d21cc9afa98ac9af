//! What `packaging/prometheus` holds: rules that Prometheus takes and that fire when they should, a
//! board whose every query a real Prometheus answers from a real agent, and a runbook for each alert.

use std::collections::BTreeSet;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use serde_json::Value;
use spillway_tests::admin::Admin;
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::HttpBroker;
use spillway_tests::centre::{Consumer, environment, patient, publish_many};
use spillway_tests::gateway::{Gateway, PATIENCE};
use spillway_tests::ledger::Ledger;
use spillway_tests::mariadb::MariaDb;
use spillway_tests::prometheus::{Prometheus, promtool};
use spillway_tests::{http, port};
use tokio::net::TcpStream;

const RULES: &str = "spillway.rules.yml";
const BOARD: &str = "gateways.grafana.json";
const BOTH_ENDS: &str = "both-ends.grafana.json";
/// Families that are absent where nothing is wrong, nothing counts down and no budget is set.
const MAY_BE_ABSENT: [&str; 5] = [
    "spillway_lane_hold_info",
    "spillway_first_send_seconds",
    "spillway_drained_seconds",
    "spillway_budget_limit_bytes",
    "spillway_clock_offset_seconds",
];

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/prometheus")
}

fn read(path: &str) -> String {
    read_to_string(packaging().join(path)).unwrap()
}

#[test]
fn each_alert_fires_when_it_should_and_not_otherwise() {
    let output = promtool(&packaging(), &["test", "rules", "spillway.test.yml"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let tested = read("spillway.test.yml");
    for alert in after(&read(RULES), "alert: ") {
        assert!(tested.contains(&format!("alertname: {alert}\n        exp_alerts:")), "{alert}");
    }
}

#[test]
fn each_alert_has_a_runbook() {
    let runbooks = read("../../docs/runbooks.md");
    let headings: BTreeSet<String> = after(&runbooks, "## ")
        .into_iter()
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();
    let rules = read(RULES);
    let named = after(&rules, "runbook: ");
    assert_eq!(named.len(), after(&rules, "alert: ").len());
    for runbook in named {
        assert!(headings.contains(&runbook), "{runbook} is not in {headings:?}");
    }
    for alert in after(&rules, "alert: ") {
        assert!(runbooks.contains(&format!("`{alert}`")), "{alert} is in no runbook");
    }
}

#[test]
fn rules_and_board_name_only_families_that_exist() {
    let told = families(&read("../../docs/metrics.md"));
    for file in [RULES, BOARD, BOTH_ENDS] {
        let unknown: Vec<_> = families(&read(file)).difference(&told).cloned().collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

#[tokio::test]
async fn a_real_prometheus_answers_every_query_from_a_real_agent() {
    let mut broker = HttpBroker::start().await;
    let admin = Admin::new();
    let settings = format!(
        "{}{}[[lane]]\nname = \"ward\"\ntopic = \"ward\"\n",
        admin.settings(),
        broker.upstream()
    );
    let mut gateway = Gateway::new(&settings);
    gateway.start_ready().await;
    hand_over(&gateway.socket(), &Ledger::default(), "ward", drafts("a", 0..5)).await;
    gateway.until_delivered(PATIENCE).await;
    broker.stop().await;
    hand_over(&gateway.socket(), &Ledger::default(), "ward", drafts("b", 0..5)).await;

    let prometheus = Prometheus::start(admin.port(), &packaging().join(RULES));
    prometheus.until("count_over_time(spillway_records_waiting{lane=\"ward\"}[1m]) > 2").await;
    for query in queries(&serde_json::from_str(&read(BOARD)).unwrap(), 20) {
        let series =
            prometheus.query(&query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
        let absent = MAY_BE_ABSENT.iter().any(|family| query.contains(family));
        assert!(absent || !series.is_empty(), "{query} finds nothing");
    }
    let rules = prometheus.rules().await;
    assert_eq!(rules.len(), after(&read(RULES), "alert: ").len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        let quiet = ["SpillwayOffline", "SpillwayLaneHeld", "SpillwayRecordsDamaged"];
        assert!(
            rule["state"] == "inactive" || !quiet.contains(&rule["name"].as_str().unwrap()),
            "{rule}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_answers_every_query_from_both_ends() {
    let broker = HttpBroker::start().await;
    let database = MariaDb::start();
    let (admin, centre) = (Admin::new(), port::free());
    let settings = format!(
        "{}{}[[lane]]\nname = \"ward\"\ntopic = \"others\"\n",
        admin.settings(),
        broker.upstream()
    );
    let mut gateway = Gateway::new(&settings);
    gateway.start_ready().await;
    let own = environment(broker.environment(), &database, "ward", "GID_a");
    let words = format!("--metrics {centre} --metrics-every 1s");
    let consumer = Consumer::start(&own, &words.split(' ').collect::<Vec<_>>());
    // Numbers 1 to 3 of a gateway of which 2 is missing, one of them twice.
    let patient = |seq| patient("ward", seq);
    publish_many(&broker, &[patient(1), patient(3), patient(3)]).await;
    hand_over(&gateway.socket(), &Ledger::default(), "ward", drafts("a", 0..5)).await;

    let prometheus = Prometheus::scraping(&[admin.port(), centre], &packaging().join(RULES));
    for (query, value) in [
        ("spillway_centre_records_total{topic=\"ward\",result=\"written\"}", "2"),
        ("spillway_centre_records_total{topic=\"ward\",result=\"duplicate\"}", "1"),
        ("spillway_centre_gap_records", "1"),
        ("spillway_centre_gateways_with_gaps", "1"),
        ("spillway_centre_gateways_silent", "0"),
        ("spillway_centre_away{what=\"database\"}", "0"),
    ] {
        prometheus.until(&format!("{query} == {value}")).await;
    }
    prometheus.until("count_over_time(spillway_centre_gaps[1m]) > 2").await;
    for query in queries(&serde_json::from_str(&read(BOTH_ENDS)).unwrap(), 20) {
        let series =
            prometheus.query(&query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
        assert!(!series.is_empty(), "{query} finds nothing");
    }
    // What was missing comes: the gap closes.
    publish_many(&broker, &[patient(2)]).await;
    prometheus.until("spillway_centre_gap_records_closed_total == 1").await;
    prometheus.until("spillway_centre_gap_records == 0").await;
    // Nothing that a fleet has many of is a label.
    let page = scrape(centre).await;
    assert!(!page.contains("gw-") && !page.contains("gateway="), "{page}");
    consumer.stop().await;
}

async fn scrape(port: u16) -> String {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answer = http::exchange_on(stream, request).await.unwrap();
    assert_eq!(answer.status, 200);
    String::from_utf8(answer.body.to_vec()).unwrap()
}

/// The board's queries as Grafana asks them when all gateways and lanes are chosen.
fn queries(board: &Value, least: usize) -> Vec<String> {
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let queries: Vec<_> = targets
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .map(|query| query.replace("$gateway", ".*").replace("$lane", ".*"))
        .map(|query| query.replace("$centre", ".*"))
        .collect();
    assert!(queries.len() > least, "{queries:?}");
    queries
}

/// What stands behind `before`, to the end of its word or line.
fn after(text: &str, before: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.split_once(before));
    let ends = |rest: &str| rest.trim_end_matches([' ', '}']).to_owned();
    lines
        .filter(|(ahead, _)| ahead.trim_matches([' ', '-']).is_empty())
        .map(|(_, rest)| ends(rest))
        .collect()
}

fn families(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = text.split(|c| !word(c)).filter(|word| word.starts_with("spillway_"));
    words.filter(|word| *word != "spillway_token").map(str::to_owned).collect()
}
