//! A captive portal in RocketMQ's place: it takes every connection and answers everything with its
//! page. That is a broken link, however few records wait, and none of them is to blame.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use spillway_protocol::local::status::LinkState;
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::Gateway;
use spillway_tests::ledger::Ledger;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

/// What a portal speaks.
#[derive(Clone, Copy, PartialEq)]
enum Speaks {
    Http1,
    Http2,
}

/// Answers everything with `status` and a page.
async fn portal(speaks: Speaks, status: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = service_fn(move |_: Request<Incoming>| async move {
                let page = Response::builder().status(status).header("content-type", "text/html");
                page.body(Full::new(Bytes::from("<html>Please sign in</html>")))
            });
            let stream = TokioIo::new(stream);
            if speaks == Speaks::Http1 {
                tokio::spawn(http1::Builder::new().serve_connection(stream, answer));
            } else {
                let http2 = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(http2.serve_connection(stream, answer));
            }
        }
    });
    port
}

/// Behind `upstream`, the link is down for as long as one looks.
async fn behind(upstream: String, count: u64) {
    let mut gateway = Gateway::new(&format!(
        "{upstream}[drain]\nreconnect_spread = \"0s\"\n[backoff]\ninitial = \"200ms\"\nmax = \"1s\"\n\
         [[lane]]\nname = \"a\"\ntopic = \"a\"\n"
    ));
    gateway.start_ready().await;
    let ledger = Ledger::default();
    hand_over(&gateway.socket(), &ledger, "a", drafts("r", 0..count)).await;
    let down = gateway.until("offline", |status| status.link.state == LinkState::Offline).await;
    let (began, end) = (down.link.since, Instant::now() + Duration::from_secs(15));
    while Instant::now() < end {
        let status = gateway.status().await.unwrap();
        let state = status.link.state;
        assert!(matches!(state, LinkState::Offline | LinkState::Probing), "{:?}", status.link);
        assert!(status.link.reason.contains("captive portal"), "{:?}", status.link);
        // Told in whole milliseconds of a clock that is read anew.
        assert!(status.link.since.abs_diff(began) < 1_000, "{:?} since {began}", status.link);
        let lane = &status.lanes[0];
        assert!(lane.hold.is_none() && lane.dead == 0 && lane.waiting == count, "{lane:?}");
        sleep(Duration::from_millis(20)).await;
    }
    let why = gateway.said("why a").await;
    assert!(!why.contains("breaks the connection"), "{why}");
    assert_ne!(gateway.command("status --check").await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_is_a_broken_link_over_http() {
    let upstream = |port| HttpBroker::upstream_by(&format!("http://127.0.0.1:{port}"));
    let [found, created] = [portal(Speaks::Http1, 200).await, portal(Speaks::Http1, 201).await];
    tokio::join!(
        behind(upstream(found), 1),
        behind(upstream(found), 3),
        behind(upstream(found), 30),
        behind(upstream(created), 2),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_is_a_broken_link_over_grpc() {
    let upstream =
        |port| format!("[upstream]\ntransport = \"grpc\"\nendpoint = \"127.0.0.1:{port}\"\n");
    let page = portal(Speaks::Http2, 200).await;
    tokio::join!(behind(upstream(page), 1), behind(upstream(page), 3));
}
