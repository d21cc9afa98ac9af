//! Servers that are not RocketMQ, or that break off.

use std::sync::atomic::AtomicUsize;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::upstream::Verdict;

/// A server that gives every request on a connection of its own the same raw answer, then closes;
/// with no answer it never says anything. Counts the connections.
async fn serve(answer: Option<String>) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    tokio::spawn({
        let count = Arc::clone(&count);
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(say(stream, answer.clone()));
            }
        }
    });
    (port, count)
}

async fn say(mut stream: TcpStream, answer: Option<String>) {
    match answer {
        Some(answer) => {
            read_request(&mut stream).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        None => std::future::pending().await,
    }
}

/// Reads head and body, so that closing afterwards is no reset. A probe sends none.
async fn read_request(stream: &mut TcpStream) {
    let mut request = Vec::new();
    let whole = |text: &str| text.contains("</Message>") || text.contains("</ReceiptHandles>");
    while !whole(&String::from_utf8_lossy(&request)) {
        if stream.read_buf(&mut request).await.unwrap() == 0 {
            return;
        }
    }
}

fn http(head: &str, body: &str) -> Option<String> {
    let length = body.len();
    Some(format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"))
}

/// What one send puts on the wire, in bytes.
async fn sent_bytes(message: &Message) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = upstream(listener.local_addr().unwrap().port());
    let receive = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"</Message>") {
            assert!(stream.read_buf(&mut request).await.unwrap() > 0);
        }
        request.len()
    };
    tokio::join!(upstream.send(message), receive).1
}

#[tokio::test]
async fn the_estimate_of_bytes_is_near_what_is_sent() {
    let bodies = [b"x".to_vec(), b"plain text ".repeat(500), b"<a>&\r".repeat(900), vec![0; 5_000]];
    for body in bodies {
        let message = message(body);
        let estimate = upstream(1).wire_bytes(&message);
        let sent = sent_bytes(&message).await;
        assert!(estimate.abs_diff(sent) < 200 + sent / 8, "estimated {estimate}, sent {sent}");
    }
}

async fn outcome(answer: Option<String>) -> Outcome {
    let (port, _) = serve(answer).await;
    upstream(port).send(&message("x")).await
}

#[tokio::test]
async fn a_captive_portal_is_a_broken_link_and_its_clock_is_not_taken() {
    let page = "<html><body>Please sign in</body></html>";
    let date = "date: Thu, 07 Mar 2024 18:49:58 GMT";
    for head in [
        format!("200 OK\r\ncontent-type: text/html\r\n{date}"),
        format!("302 Found\r\nlocation: http://portal.example/login\r\n{date}"),
        format!("403 Forbidden\r\ncontent-type: text/html\r\n{date}"),
        format!("201 Created\r\ncontent-type: text/html\r\n{date}"),
        "511 Network Authentication Required".to_owned(),
    ] {
        let (port, count) = serve(http(&head, page)).await;
        let upstream = upstream(port);
        let outcome = upstream.send(&message("x")).await;
        match &outcome {
            Outcome::Stranger { reason, passed_on: false } => {
                assert!(reason.contains("portal"), "{reason}");
            }
            other => panic!("{head}: {other:?}"),
        }
        assert_eq!(upstream.clock_offset_s(), None);
        assert_eq!(count.load(Ordering::Relaxed), 1, "no redirect is followed, nothing repeated");
    }
}

#[tokio::test]
async fn what_breaks_off_after_the_request_may_be_stored() {
    let garbage = Some("SSH-2.0-OpenSSH_9.6\r\n".to_owned());
    let nothing = Some(String::new());
    let half = Some("HTTP/1.1 201 Created\r\ncontent-length: 500\r\n\r\n<Message>".to_owned());
    for answer in [garbage, nothing, half] {
        let outcome = outcome(answer.clone()).await;
        assert!(matches!(outcome, Outcome::Unknown { link: true, .. }), "{answer:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_runs_into_the_deadline() {
    let (port, count) = serve(None).await;
    let upstream = impatient(&settings(port));
    let outcome = upstream.send(&message("x")).await;
    assert!(matches!(outcome, Outcome::Unknown { link: true, .. }), "{outcome:?}");
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_large_body_on_a_slow_link_is_given_its_time() {
    let (port, count) = serve(None).await;
    let upstream = impatient(&settings(port));
    let (large, small) = (message("x".repeat(300 * 1024)), message("x"));
    let sends = async { tokio::join!(biased; upstream.send(&large), upstream.send(&small)) };
    let wait = async {
        while count.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        // Both have left as far as they can, so time jumps to the deadlines.
        tokio::time::pause();
    };
    let start = tokio::time::Instant::now();
    let ((large, small), ()) = tokio::join!(sends, wait);
    let waited = start.elapsed().as_secs();
    for outcome in [large, small] {
        let Outcome::Unknown { link: true, reason } = outcome else { panic!("{outcome:?}") };
        assert!(reason.contains(" 37 s"), "{reason}");
    }
    assert!((37..60).contains(&waited), "{waited}");
}

#[tokio::test]
async fn a_handshake_that_never_ends_stored_nothing() {
    let (port, _) = serve(None).await;
    let authority = super::tls::Authority::new();
    let mut settings = settings(port);
    settings.endpoints[0].tls = true;
    settings.tls.ca = Some(authority.ca());
    let outcome = impatient(&settings).send(&message("x")).await;
    assert!(matches!(outcome, Outcome::LinkDown { .. }), "{outcome:?}");
}

/// Gives up a connection after 100 ms, a request after 300.
fn impatient(settings: &config::Upstream) -> HttpUpstream {
    let (connect, request) = (Duration::from_millis(100), Duration::from_millis(300));
    let deadlines = Deadlines { connect, request };
    let time = CertificateTime::default();
    HttpUpstream::with_deadlines(
        settings,
        Arc::new(SystemClock),
        time,
        deadlines,
        Carried::default(),
    )
    .unwrap()
}

#[tokio::test]
async fn a_refused_connection_stored_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let upstream = upstream(port);
    match upstream.send(&message("x")).await {
        Outcome::LinkDown { reason } => assert!(reason.contains("refused"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(upstream.probe().await.unwrap_err().contains("refused"));
}

#[tokio::test]
async fn a_date_refused_again_and_again_is_tried_twice_then_told() {
    let error = "<Error><Code>TimeExpired</Code><Message>too far</Message></Error>";
    let head = "408 Timeout\r\nx-mq-request-id: 1\r\ndate: Thu, 07 Mar 2024 18:49:58 GMT";
    let (port, count) = serve(http(head, error)).await;
    let upstream = upstream(port);
    match upstream.send(&message("x")).await {
        Outcome::Misconfigured { scope: Scope::Link, code: "clock", reason } => {
            assert!(reason.contains("TimeExpired"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let page = "x".repeat(4 * 1024 * 1024);
    match outcome(http("200 OK\r\ncontent-type: text/plain", &page)).await {
        Outcome::Stranger { reason, .. } => assert!(reason.len() < 1_000),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_gateways_plea_for_patience_is_a_throttle() {
    let head = "503 Service Unavailable\r\nretry-after: 7";
    match outcome(http(head, "<html>busy</html>")).await {
        Outcome::Throttled { after, .. } => assert_eq!(after, Some(Duration::from_secs(7))),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_key_that_may_only_publish_looks_right_to_the_doctor() {
    let denied = "<Error><Code>AccessDenied</Code><Message>not yours</Message></Error>";
    let bare = "";
    for (body, expected) in [(denied, Verdict::Good), (bare, Verdict::Note)] {
        let (port, _) = serve(http("403 Forbidden\r\nx-mq-request-id: 1", body)).await;
        let findings = upstream(port).inspect(&Topic::parse(TOPIC).unwrap(), false).await;
        let of = |subject: &str| findings.iter().find(|f| f.subject == subject).unwrap();
        assert_eq!(of("signature").verdict, expected, "{findings:?}");
        let topic = of("topic ward");
        assert_eq!(topic.verdict, Verdict::Note);
        assert!(topic.detail.contains("may publish"), "{}", topic.detail);
    }
}
