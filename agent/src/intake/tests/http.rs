use std::process::Stdio;

use spillway_protocol::record::{BODY_MAX, BODY_MAX_BASE64};

use super::*;
use crate::queue::AppendError;

#[tokio::test]
async fn a_new_record_is_201_and_a_repeat_200_with_the_first_ones_number() {
    let rig = Rig::plain().await;
    let body = br#"{"body":"x","id":"r-1","key":"k"}"#;
    let first = rig.post(JSON, body).await;
    assert_eq!(first.status, 201);
    let expected = r#"{"id":"r-1","key":"k","lane":"main","seq":1,"level":"disk"}"#;
    assert_eq!(first.body.trim_end(), expected);
    let repeat = rig.post("application/json; charset=utf-8", body).await;
    assert_eq!(repeat.status, 200);
    assert_eq!(repeat.json()["duplicate"], true);
    assert_eq!(repeat.json()["seq"], 1);
    assert_eq!(repeat.json()["state"], "delivered");
    let keyed = rig.post(JSON, br#"{"body":"x","id":"r-1","key":"another"}"#).await.json();
    assert_eq!((&keyed["duplicate"], &keyed["key"]), (&true.into(), &first.json()["key"]));
    let other = rig.post(JSON, br#"{"body":"y","id":"r-1"}"#).await;
    assert_eq!(other.refusal(), refusal(422, "id_reused", Some("id")));
    assert_eq!(rig.fake.bodies(), ["x"]);
}

#[tokio::test]
async fn an_id_is_drawn_where_none_is_given_and_is_the_key() {
    let rig = Rig::plain().await;
    let reply = rig.post(JSON, br#"{"body":"x","lane":"keyed"}"#).await.json();
    let id = reply["id"].as_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 7);
    assert_eq!((&reply["key"], reply["lane"].as_str()), (&reply["id"], Some("keyed")));
}

#[tokio::test]
async fn a_wrong_record_is_400_and_names_its_field() {
    let rig = Rig::plain().await;
    for (body, code, field) in [
        (&b"{"[..], "malformed", None),
        (b"[]", "malformed", None),
        (br#"{"body":""}"#, "bad_record", Some("body")),
        (br#"{"body":7}"#, "bad_record", Some("body")),
        (br#"{"body_base64":"%"}"#, "bad_record", Some("body_base64")),
        (br#"{"body":"x","id":"a b"}"#, "bad_record", Some("id")),
        (br#"{"body":"x","colour":1}"#, "bad_record", Some("colour")),
        (br#"{"body":"x","properties":{"sw_id":"x"}}"#, "bad_record", Some("properties.sw_id")),
        (br#"{"body":"x","lane":"nope"}"#, "unknown_lane", Some("lane")),
        (br#"{"body":"x","lane":"No Lane"}"#, "unknown_lane", Some("lane")),
    ] {
        let reply = rig.post(JSON, body).await;
        assert_eq!(reply.refusal(), refusal(400, code, field));
        if code == "unknown_lane" {
            let message = reply.json()["error"]["message"].to_string();
            assert!(message.contains("main, keyed, laned"), "{message}");
        }
    }
    assert!(rig.fake.bodies().is_empty());
    rig.settle(0).await;
}

#[tokio::test]
async fn an_octet_stream_takes_its_fields_from_headers() {
    let rig = Rig::plain().await;
    let headers = "spillway-id: b-1\r\nspillway-tag: T\r\nspillway-property-unit: C\r\n\
                   spillway-order-key: o 1\r\ntraceparent: 00-a-b-01\r\n";
    let reply = rig.ask(&post(PLAIN, b"\0\x01\xff", headers)).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let record = rig.fake.records().remove(0);
    assert_eq!((&record.body[..], record.id.as_str()), (&b"\0\x01\xff"[..], "b-1"));
    assert_eq!(record.properties.get("unit"), Some("C"));
    assert_eq!(record.properties.get("traceparent"), Some("00-a-b-01"));
    let stray = rig.ask(&post(JSON, br#"{"body":"x"}"#, "spillway-lane: keyed\r\n")).await;
    assert_eq!(stray.refusal(), refusal(400, "bad_record", Some("spillway-lane")));
}

#[tokio::test]
async fn the_largest_body_passes_and_a_larger_one_is_413() {
    let rig = Rig::plain().await;
    let mut body = vec![b'x'; BODY_MAX];
    assert_eq!(rig.post(PLAIN, &body).await.status, 201);
    body.push(b'x');
    let too_large = refusal(413, "too_large", Some("body"));
    assert_eq!(rig.post(PLAIN, &body).await.refusal(), too_large);
    let json = format!("{{\"body\":\"{}\"}}", String::from_utf8(body).unwrap());
    assert_eq!(rig.post(JSON, json.as_bytes()).await.refusal(), too_large);
    let plain = format!("{{\"body\":\"{}\"}}", "x".repeat(7 << 20));
    assert_eq!(rig.post(JSON, plain.as_bytes()).await.refusal(), too_large);
    rig.settle(0).await;
}

/// Half of what `[limits] memory` is by default: what requests have of it.
const DEFAULT_SHARE: usize = 16 << 20;

/// The record of this text with `escaped` for each of its characters.
fn escaped_record(escaped: &str, count: usize) -> String {
    format!("{{\"body\":\"{}\"}}", escaped.repeat(count))
}

#[tokio::test]
async fn the_body_is_what_is_bounded_not_its_escapes() {
    let rig = Rig::new(ruled(Rules { memory_bytes: DEFAULT_SHARE, ..Rules::default() })).await;
    for (escaped, character) in [(r"\u597d", "好"), (r#"\""#, "\""), ("é", "é")] {
        let count = BODY_MAX / character.len();
        let reply = rig.post(JSON, escaped_record(escaped, count).as_bytes()).await;
        assert_eq!(reply.status, 201, "{escaped} {}", reply.body);
        let too_long = escaped_record(escaped, count + 1);
        let reply = rig.post(JSON, too_long.as_bytes()).await;
        assert_eq!(reply.refusal(), refusal(413, "too_large", Some("body")), "{escaped}");
    }
    assert_eq!(rig.fake.bodies()[1], "\"".repeat(BODY_MAX));
    rig.settle(0).await;
}

#[tokio::test]
async fn a_request_that_memory_is_too_small_for_is_told_the_other_way() {
    let rig = Rig::new(ruled(Rules { memory_bytes: DEFAULT_SHARE, ..Rules::default() })).await;
    let worst = escaped_record(r"\u001b", BODY_MAX);
    let reply = rig.post(JSON, worst.as_bytes()).await;
    assert_eq!(reply.refusal(), refusal(413, "too_large", None));
    let how = "send the record as application/octet-stream";
    assert!(reply.body.contains("the request has more than") && reply.body.contains(how));
    let large =
        Rig::new(ruled(Rules { memory_bytes: 2 * DEFAULT_SHARE, ..Rules::default() })).await;
    assert_eq!(large.post(JSON, worst.as_bytes()).await.status, 201);
}

#[tokio::test]
async fn what_is_compressed_is_refused_by_that_name_and_not_stored() {
    let rig = Rig::plain().await;
    for kind in [JSON, LINES, PLAIN] {
        let reply = rig.ask(&post(kind, b"{\"body\":\"x\"}", "content-encoding: gzip\r\n")).await;
        let named = refusal(415, "unsupported_media_type", Some("content-encoding"));
        assert_eq!(reply.refusal(), named, "{kind}");
    }
    assert!(rig.fake.bodies().is_empty());
    let plain = rig.ask(&post(PLAIN, b"x", "content-encoding: identity\r\n")).await;
    assert_eq!(plain.status, 201);
}

#[tokio::test]
async fn over_the_http_api_long_topics_and_large_binary_bodies_are_refused() {
    let rig = Rig::new(ruled(Rules { http_limits: true, ..Rules::default() })).await;
    let topic = format!("spillway-topic: {}\r\n", "t".repeat(65));
    let reply = rig.ask(&post(PLAIN, b"x", &topic)).await;
    assert_eq!(reply.refusal(), refusal(400, "bad_record", Some("topic")));
    let reply = rig.post(PLAIN, &vec![0; BODY_MAX_BASE64 + 1]).await;
    assert_eq!(reply.refusal(), refusal(413, "too_large", Some("body")));
    assert_eq!(rig.post(PLAIN, &vec![0; BODY_MAX_BASE64]).await.status, 201);
    assert_eq!(rig.post(PLAIN, &vec![b'x'; BODY_MAX]).await.status, 201);
}

#[tokio::test]
async fn the_queues_refusals_have_their_status_and_say_when_to_come_back() {
    let rig = Rig::plain().await;
    for (error, status, code) in [
        (AppendError::Full("full".into()), 507, "disk_full"),
        (AppendError::TooLarge("it takes more".into()), 413, "too_large"),
        (AppendError::Disk("io".into()), 503, "disk_failed"),
        (AppendError::Stopping, 503, "stopping"),
    ] {
        *rig.fake.failing.lock().unwrap() = Some(error);
        let reply = rig.post(JSON, br#"{"body":"x"}"#).await;
        assert_eq!(reply.refusal(), refusal(status, code, None));
        assert_eq!(reply.head.contains("retry-after: "), status != 413, "{}", reply.head);
    }
}

#[tokio::test]
async fn a_disk_that_stalls_is_503() {
    let rig =
        Rig::new(Options { commit_max: Duration::from_millis(50), ..Options::default() }).await;
    rig.fake.set_disk(false);
    let reply = rig.post(JSON, br#"{"body":"x"}"#).await;
    assert_eq!(reply.refusal(), refusal(503, "disk_failed", None));
}

#[tokio::test]
async fn other_types_paths_and_methods_have_typed_errors() {
    let rig = Rig::plain().await;
    let form = rig.post("application/x-www-form-urlencoded", b"{}").await;
    assert_eq!(form.refusal(), refusal(415, "unsupported_media_type", Some("content-type")));
    assert_eq!(rig.get("/v2").await.refusal(), refusal(404, "not_found", None));
    for path in ["/v1/records", "/v1/status", "/v1/records/a"] {
        let request = format!("DELETE {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        let reply = rig.ask(request.as_bytes()).await;
        assert_eq!(reply.refusal(), refusal(405, "method_not_allowed", None));
        assert!(reply.head.contains("allow: get"), "{}", reply.head);
    }
}

#[tokio::test]
async fn records_are_found_by_id_and_by_number() {
    let rig = Rig::plain().await;
    rig.post(JSON, br#"{"body":"x","id":"a/1"}"#).await;
    let found = rig.get("/v1/records/a%2F1").await;
    let expected = r#"{"state":"waiting","lane":"main","stream":"000000ab","seq":1}"#;
    assert_eq!((found.status, found.body.trim_end()), (200, expected));
    assert_eq!(rig.get("/v1/records/b").await.json()["state"], "unknown");
    assert_eq!(rig.get("/v1/records/a%20b").await.refusal().2.as_deref(), Some("id"));
    for (query, state) in [
        ("lane=main&stream=000000ab&seq=1", "delivered"),
        ("lane=main&seq=1", "delivered"),
        ("lane=main&stream=000000ac&seq=1", "unknown"),
    ] {
        let reply = rig.get(&format!("/v1/records?{query}")).await;
        assert_eq!(reply.json()["state"], state, "{query}");
    }
    for (query, field) in [
        ("", "lane"),
        ("lane=nope&seq=1", "lane"),
        ("lane=main", "seq"),
        ("lane=main&seq=x", "seq"),
        ("lane=main&seq=1&stream=xyz", "stream"),
        ("lane=main&seq=1&page=2", "page"),
    ] {
        let reply = rig.get(&format!("/v1/records?{query}")).await;
        assert_eq!((reply.status, reply.refusal().2.as_deref()), (400, Some(field)));
    }
}

#[tokio::test]
async fn the_status_is_the_agents() {
    let rig = Rig::plain().await;
    let reply = rig.get("/v1/status").await;
    assert_eq!((reply.status, reply.json()["gateway"].as_str()), (200, Some("gw-test")));
    assert_eq!(reply.json()["link"]["state"], "offline");
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_turn() {
    let rig = Rig::plain().await;
    let mut stream = rig.connect().await;
    let mut requests = Vec::new();
    for body in ["a", "b", "c"] {
        requests.extend(post(JSON, format!("{{\"body\":\"{body}\"}}").as_bytes(), ""));
    }
    stream.write_all(&requests).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    assert_eq!(all.matches("HTTP/1.1 201").count(), 3);
    assert_eq!(rig.fake.bodies(), ["a", "b", "c"]);
}

#[tokio::test]
async fn stopping_finishes_what_is_under_way_and_refuses_the_rest() {
    let rig = Rig::plain().await;
    rig.fake.set_disk(false);
    let mut under_way = rig.connect().await;
    under_way.write_all(&post(JSON, br#"{"body":"x"}"#, "")).await.unwrap();
    let mut late = rig.connect().await;
    late.write_all(b"POST /v1/records HTTP/1.1\r\n").await.unwrap();
    while rig.fake.bodies().is_empty() {
        tokio::task::yield_now().await;
    }
    rig.stop.cancel();
    tokio::task::yield_now().await;
    rig.fake.set_disk(true);
    assert_eq!(Reply::read(&mut under_way).await.status, 201);
    drop(late);
    rig.served.await.unwrap();
    assert!(UnixStream::connect(&rig.path).await.is_err());
    assert_eq!(rig.intake.budget().used_bytes(), 0);
}

#[tokio::test]
async fn curl_stores_small_and_large_records() {
    let rig = Rig::plain().await;
    let large = rig.path.with_file_name("large");
    // Above a mebibyte curl asks first: Expect: 100-continue.
    std::fs::write(&large, vec![b'x'; 3 << 20]).unwrap();
    let data = format!("@{}", large.display());
    for (kind, data) in [(JSON, "{\"body\":\"hello\"}"), (PLAIN, &data)] {
        let mut curl = tokio::process::Command::new("curl");
        curl.args(["-sS", "--max-time", "20", "-w", "\n%{http_code}", "--unix-socket"])
            .arg(&rig.path)
            .args(["-H", &format!("content-type: {kind}"), "--data-binary", data])
            .args(["-H", "Expect: 100-continue", "http://spillway/v1/records"])
            .stdout(Stdio::piped());
        let output = curl.spawn().expect("curl").wait_with_output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.ends_with("\n201"), "{text}");
    }
    assert_eq!(rig.fake.records()[1].body.len(), 3 << 20);
}

#[tokio::test]
async fn the_largest_body_fits_as_base64_with_the_default_memory() {
    // Half of `[limits] memory`, as the agent gives it to the intake.
    let options = ruled(Rules { memory_bytes: 16 * 1024 * 1024, ..Rules::default() });
    let rig = Rig::new(options).await;
    // "////" is three bytes of 0xFF.
    let body = "/".repeat(4 * 1024 * 1024 / 3 * 4);
    let json = format!(r#"{{"body_base64": "{body}"}}"#);
    let reply = rig.post(JSON, json.as_bytes()).await;
    assert_eq!(reply.status, 201, "{:?}", reply.body.get(..200));
}
