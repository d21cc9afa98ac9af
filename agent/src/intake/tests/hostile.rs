use std::sync::atomic::Ordering;

use futures::future::join_all;

use super::*;

const RECORD: &[u8] = br#"{"body":"x"}"#;

/// The others are served.
async fn assert_serves(rig: &Rig) {
    assert_eq!(rig.post(JSON, RECORD).await.status, 201);
}

#[tokio::test]
async fn garbage_is_answered_or_closed_and_others_go_on() {
    let rig = Rig::plain().await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"hello\n",
        b"\0not a frame at all",
        b"\0SPW\0\0\0\x02\0\x09",
        b"\0",
        b"GET\0\0\0\0\r\n\r\n",
        b"POST /v1/records HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/records HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST /v1/records HTTP/1.1\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let reply = rig.ask(garbage).await;
        assert!(matches!(reply.status, 0 | 400..=499), "{garbage:?} {reply:?}");
    }
    let reply = rig.ask(b"hello\n").await;
    assert_eq!(reply.refusal(), refusal(400, "malformed", None));
    assert_serves(&rig).await;
    rig.settle(0).await;
}

#[tokio::test]
async fn two_dialects_on_one_connection_end_it_cleanly() {
    let rig = Rig::plain().await;
    let mut http_first = post(JSON, RECORD, "");
    http_first.extend(binary::append(1, "y"));
    assert_eq!(rig.ask(&http_first).await.status, 201);
    let mut raw = binary::Raw::welcome(&rig).await;
    raw.stream.write_all(&post(JSON, RECORD, "")).await.unwrap();
    assert!(raw.hear().await.is_some(), "a goodbye");
    assert_eq!(raw.hear().await, None);
    assert_serves(&rig).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_stores_nothing() {
    let rig = Rig::plain().await;
    for kind in [JSON, PLAIN] {
        let mut request = post(kind, RECORD, "");
        request.truncate(request.len() - 1);
        let mut stream = rig.connect().await;
        stream.write_all(&request).await.unwrap();
        drop(stream);
        let half_closed = rig.ask(&request).await;
        assert!(matches!(half_closed.status, 0 | 400), "{half_closed:?}");
    }
    rig.settle(0).await;
    assert!(rig.fake.bodies().is_empty());
}

#[tokio::test]
async fn chunks_and_content_length_are_the_same_to_the_record() {
    let rig = Rig::plain().await;
    let chunked = "POST /v1/records HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                   transfer-encoding: chunked\r\n\r\n6\r\n{\"body\r\n6\r\n\":\"x\"}\r\n0\r\n\r\n";
    assert_eq!(rig.ask(chunked.as_bytes()).await.status, 201);
    assert_eq!(rig.fake.bodies(), ["x"]);
}

#[tokio::test]
async fn a_body_announced_too_large_is_refused_before_it_is_sent() {
    let rig = Rig::plain().await;
    let mut stream = rig.connect().await;
    let head = format!(
        "POST /v1/records HTTP/1.1\r\nhost: x\r\ncontent-type: {PLAIN}\r\ncontent-length: {}\r\n\r\n",
        5 << 20
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let reply = Reply::read(&mut stream).await;
    assert_eq!(reply.refusal(), refusal(413, "too_large", Some("body")));
    assert_eq!(rig.intake.budget().used_bytes(), super::super::admission::CONNECTION_BYTES);
}

#[tokio::test]
async fn a_client_that_writes_a_refused_body_to_its_end_still_sees_why() {
    let rig = Rig::plain().await;
    let mut stream = rig.connect().await;
    let mut two = post(PLAIN, &vec![b'x'; 5 << 20], "");
    two.extend(post(JSON, RECORD, ""));
    stream.write_all(&two).await.unwrap();
    assert_eq!(Reply::read(&mut stream).await.status, 413);
    assert_eq!(Reply::read(&mut stream).await.status, 201);
}

#[tokio::test]
async fn without_end_and_length_a_body_is_refused_at_its_limit() {
    let rig = Rig::plain().await;
    let mut stream = rig.connect().await;
    let head = format!(
        "POST /v1/records HTTP/1.1\r\nhost: x\r\ncontent-type: {PLAIN}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let sender = tokio::spawn(async move {
        let chunk = [b"10000\r\n".to_vec(), vec![b'x'; 0x10000], b"\r\n".to_vec()].concat();
        while writer.write_all(&chunk).await.is_ok() {}
    });
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("too_large") {
        assert!(reader.read_buf(&mut seen).await.unwrap() > 0);
    }
    assert!(seen.starts_with(b"HTTP/1.1 413"));
    // It is cut off once enough has been read in vain.
    sender.await.unwrap();
}

#[tokio::test]
async fn slow_senders_are_timed_out_and_hold_up_nobody() {
    let rig = Rig::new(Options {
        pause_max: Duration::from_millis(100),
        head_max: Duration::from_millis(300),
        ..Options::default()
    })
    .await;
    let mut in_body = rig.connect().await;
    let request = post(JSON, RECORD, "");
    in_body.write_all(&request[..request.len() - 1]).await.unwrap();
    let mut in_head = rig.connect().await;
    in_head.write_all(&request[..20]).await.unwrap();
    let mut silent = rig.connect().await;
    let mut in_frame = binary::Raw::welcome(&rig).await;
    in_frame.stream.write_all(&binary::append(1, "x")[..5]).await.unwrap();
    assert_serves(&rig).await;
    assert_eq!(Reply::read(&mut in_body).await.refusal(), refusal(408, "timeout", None));
    assert!(matches!(Reply::read(&mut in_head).await.status, 0 | 408));
    assert_eq!(Reply::read(&mut silent).await.status, 0);
    assert!(in_frame.hear().await.is_some(), "a goodbye");
    rig.settle(0).await;
    assert_eq!(rig.fake.bodies().len(), 1);
}

#[tokio::test]
async fn a_thousand_connections_too_many_are_told_or_closed_and_room_comes_back() {
    let rig = Rig::new(Options { connections_max: 16, ..Options::default() }).await;
    let mut kept = Vec::new();
    for _ in 0..8 {
        let mut stream = rig.connect().await;
        stream.write_all(&post(JSON, RECORD, "")).await.unwrap();
        assert_eq!(Reply::read(&mut stream).await.status, 201);
        kept.push(stream);
    }
    for _ in 0..20 {
        let replies = join_all((0..50).map(|_| rig.post(JSON, RECORD))).await;
        assert!(replies.iter().all(|reply| matches!(reply.status, 0 | 503)));
        let told = replies.iter().find(|reply| reply.status == 503).unwrap();
        assert_eq!(told.refusal(), refusal(503, "overloaded", None));
        assert!(told.head.contains("retry-after: "), "{}", told.head);
    }
    assert_eq!(rig.fake.bodies().len(), 8);
    drop(kept);
    rig.settle(0).await;
    assert_serves(&rig).await;
}

#[tokio::test]
async fn bodies_beyond_the_memory_are_503_and_room_comes_back() {
    let rig = Rig::new(ruled(Rules { memory_bytes: 1 << 20, ..Rules::default() })).await;
    let reply = rig.post(PLAIN, &vec![b'x'; 2 << 20]).await;
    assert_eq!(reply.refusal(), refusal(503, "overloaded", None));
    assert!(reply.head.contains("retry-after: "), "{}", reply.head);
    assert_serves(&rig).await;
    rig.settle(0).await;
}

#[tokio::test]
async fn a_session_that_fails_takes_nobody_with_it() {
    let rig = Rig::plain().await;
    rig.fake.panics.store(true, Ordering::Relaxed);
    let mut other = rig.connect().await;
    assert_eq!(rig.post(JSON, br#"{"body":"panic"}"#).await.status, 0);
    let broken = rig.post(LINES, b"{\"body\":\"panic\"}\n").await;
    assert!(!broken.body.contains("seq"), "{broken:?}");
    other.write_all(&post(JSON, RECORD, "")).await.unwrap();
    assert_eq!(Reply::read(&mut other).await.status, 201);
    drop(other);
    rig.settle(0).await;
}
