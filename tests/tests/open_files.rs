//! Few open files: a flood of connections takes none of those that the queue needs. What an app hands over on a
//! connection that it has is stored all the while, segments are closed and begun, and once the flood is over everybody
//! is served again.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use spillway_protocol::local::client::Client;
use spillway_protocol::local::status::Status;
use spillway_protocol::record::Draft;
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, lane};
use spillway_tests::room::settings;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Bytes of a record; a segment has at least a MiB.
const BODY_BYTES: usize = 100_000;

/// As many as can connect; the backlog takes some that are never accepted.
async fn flood(gateway: &Gateway) -> Vec<UnixStream> {
    let mut streams = Vec::new();
    for path in [gateway.socket(), gateway.file("control.sock")] {
        for _ in 0..200 {
            let connected = timeout(Duration::from_millis(200), UnixStream::connect(&path)).await;
            let Ok(Ok(stream)) = connected else { break };
            streams.push(stream);
        }
    }
    streams
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_takes_nothing_from_the_queue_and_is_got_over() {
    let mut broker = HttpBroker::start().await;
    broker.stop().await;
    let limits = "limits.memory = \"16 MiB\"\n";
    let text = format!("{limits}{}", settings(&broker, "", ""));
    let mut gateway =
        Gateway::new(&text).wrapped(&["sh", "-c", "ulimit -n 110; exec \"$@\"", "sh"]);
    let status = gateway.start_ready().await;
    assert_eq!(status.open_files.max, Some(110));
    let pid = gateway.pid();
    let client = Client::connect(&gateway.socket()).await.unwrap();
    let flood = flood(&gateway).await;
    assert!(flood.len() > 110, "{}", flood.len());
    for number in 0..60 {
        let draft = Draft {
            id: Some(format!("r-{number}")),
            body: vec![b'x'; BODY_BYTES].into(),
            ..Draft::default()
        };
        client.append(draft, Some("bulk")).await.unwrap();
    }
    let told = gateway.log();
    assert_eq!(told.matches("a connection could not be taken").count(), 1, "{told}");
    assert!(!told.contains("Too many open files"), "{told}");
    drop(flood);
    let served = |status: &Status| lane(status, "bulk").waiting == 60;
    let status = gateway.until("all is there", served).await;
    assert!(status.open_files.refused > 0);
    let segments = std::fs::read_dir(gateway.data_dir().join("lanes/bulk")).unwrap();
    let names = segments.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.filter(|name| name.starts_with("seg-")).count() > 3);
    broker.restart().await;
    gateway.until("nothing waits", |status| lane(status, "bulk").waiting == 0).await;
    assert_eq!(gateway.pid(), pid);
}
