//! What `central-consumer --metrics` counts as missing: not what a fleet has on its way, nor what was on its
//! way when links broke, but what gateways go on without. The alert follows it.

use std::path::Path;

use spillway_protocol::message::Message;
use spillway_tests::broker::HttpBroker;
use spillway_tests::centre::{Consumer, environment, patient, publish_many, with};
use spillway_tests::mariadb::MariaDb;
use spillway_tests::port;
use spillway_tests::prometheus::Prometheus;

const TOPIC: &str = "ward";
const FLEET: usize = 20;
/// Of the fleet, those that are silent once they have begun.
const SILENT: usize = 5;

/// Number `seq` of a gateway.
fn of(gateway: usize, seq: u64) -> Message {
    let id = format!("gw-{gateway}");
    let message = patient(&id, seq);
    let topic = patient(TOPIC, seq).topic;
    Message { topic, ..with(message, "sw_gw", &id) }
}

/// The higher of each gateway's next two numbers comes first, so that the lower is on its way.
async fn go_on(broker: &HttpBroker, gateways: std::ops::Range<usize>, lower: u64) {
    for seq in [lower + 1, lower] {
        let messages: Vec<Message> = gateways.clone().map(|gateway| of(gateway, seq)).collect();
        publish_many(broker, &messages).await;
    }
}

/// The state of the alert.
async fn alert(prometheus: &Prometheus) -> String {
    let rules = prometheus.rules().await;
    let rule = rules.iter().find(|rule| rule["name"] == "SpillwayRecordsMissing").unwrap();
    rule["state"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_in_flight_misses_nothing_and_a_loss_is_missing() {
    let (broker, database, centre) = (HttpBroker::start().await, MariaDb::start(), port::free());
    let environment = environment(broker.environment(), &database, TOPIC, "GID_a");
    let words = format!("--metrics {centre} --metrics-every 1s --missing-after 8s");
    let consumer = Consumer::start(&environment, &words.split(' ').collect::<Vec<_>>());
    let rules =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/prometheus/spillway.rules.yml");
    let prometheus = Prometheus::scraping(&[centre], &rules);

    // All have their first number on its way when the links of some break; then one of the others
    // loses its third.
    let second: Vec<Message> = (0..FLEET).map(|gateway| of(gateway, 2)).collect();
    publish_many(&broker, &second).await;
    prometheus.until(&format!("spillway_centre_young_records == {FLEET}")).await;
    let first: Vec<Message> = (SILENT..FLEET).map(|gateway| of(gateway, 1)).collect();
    publish_many(&broker, &first).await;
    go_on(&broker, SILENT + 1..FLEET, 3).await;
    publish_many(&broker, &[of(SILENT, 4)]).await;
    assert_eq!(alert(&prometheus).await, "inactive");

    let missing = "spillway_centre_missing_records";
    let mut lower = 5;
    while prometheus.query(&format!("{missing} > 0")).await.unwrap().is_empty() {
        go_on(&broker, SILENT..FLEET, lower).await;
        lower += 2;
    }
    prometheus.until(&format!("{missing} == 1")).await;
    prometheus.until("spillway_centre_gateways_with_missing == 1").await;
    prometheus.until(&format!("spillway_centre_young_records == {SILENT}")).await;
    prometheus.until("ALERTS{alertname=\"SpillwayRecordsMissing\",alertstate=\"pending\"}").await;
    let most = format!("max_over_time({missing}[1h]) == 1");
    assert_eq!(prometheus.query(&most).await.unwrap().len(), 1, "something else was missing");

    // It comes after all, and so does what the silent ones had on its way.
    publish_many(&broker, &[of(SILENT, 3)]).await;
    let first: Vec<Message> = (0..SILENT).map(|gateway| of(gateway, 1)).collect();
    publish_many(&broker, &first).await;
    prometheus.until("spillway_centre_gap_records == 0").await;
    prometheus.until(&format!("{missing} == 0")).await;
    consumer.stop().await;
}
