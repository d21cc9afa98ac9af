use super::*;
use crate::queue::AppendError;

/// Code of each answer, or its number.
fn outline(reply: &Reply) -> Vec<String> {
    let one = |line: &serde_json::Value| match line["error"]["code"].as_str() {
        Some(code) => code.to_owned(),
        None => line["seq"].to_string(),
    };
    reply.lines().iter().map(one).collect()
}

async fn lines(rig: &Rig, text: &str) -> Vec<String> {
    let reply = rig.post(LINES, text.as_bytes()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    outline(&reply)
}

#[tokio::test]
async fn every_line_is_answered_in_order_and_a_bad_one_stops_no_other() {
    let rig = Rig::plain().await;
    let text = "{\"body\":\"a\"}\n\n  \r\n{\"body\":\nnonsense\n{\"body\":\"b\",\"id\":\"x\"}\r\n\
                {\"body\":\"b\",\"id\":\"x\"}\n{\"body\":\"c\",\"lane\":\"nope\"}\n{\"body\":\"d\"}";
    let reply = rig.post(LINES, text.as_bytes()).await;
    let expected = ["1", "malformed", "malformed", "2", "2", "unknown_lane", "3"];
    assert_eq!(outline(&reply), expected);
    assert_eq!(reply.lines()[4]["duplicate"], true);
    assert_eq!(reply.lines()[0]["level"], "disk");
    assert_eq!(rig.fake.bodies(), ["a", "b", "d"]);
    rig.settle(0).await;
}

#[tokio::test]
async fn an_empty_request_has_an_empty_answer() {
    let rig = Rig::plain().await;
    assert_eq!(lines(&rig, "").await, [""; 0]);
    assert_eq!(lines(&rig, "\n\n").await, [""; 0]);
}

#[tokio::test]
async fn after_a_refused_line_those_of_its_order_key_are_not_attempted() {
    let rig = Rig::plain().await;
    let text = r#"{"body":"1","order_key":"k"}
        {"body":2,"order_key":"k"}
        {"body":"3","order_key":"k"}
        {"body":"4","order_key":"other"}
        {"body":"5"}
        {"body":"6","order_key":"k","lane":"keyed"}"#;
    let expected = ["1", "bad_record", "not_attempted", "2", "3", "not_attempted"];
    assert_eq!(lines(&rig, text).await, expected);
    assert_eq!(rig.fake.bodies(), ["1", "4", "5"]);
}

#[tokio::test]
async fn the_queues_own_refusal_of_an_id_counts_too() {
    let rig = Rig::plain().await;
    let text = r#"{"body":"1","id":"x"}
        {"body":"2","id":"x","order_key":"k"}
        {"body":"3","order_key":"k"}
        {"body":"4"}"#;
    assert_eq!(lines(&rig, text).await, ["1", "id_reused", "not_attempted", "2"]);
}

#[tokio::test]
async fn a_record_too_large_for_its_lane_is_waited_for_and_holds_up_its_order() {
    let rig = Rig::plain().await;
    rig.fake.largest.store(5000, SeqCst);
    let text = format!(
        r#"{{"body":"{}","order_key":"k"}}
        {{"body":"2","order_key":"k"}}
        {{"body":"3"}}"#,
        "x".repeat(5001)
    );
    assert_eq!(lines(&rig, &text).await, ["too_large", "not_attempted", "1"]);
    assert_eq!(rig.fake.bodies(), ["3"]);
}

#[tokio::test]
async fn a_line_whose_key_is_unknown_holds_up_only_lanes_that_keep_an_order() {
    let rig = Rig::plain().await;
    let text = r#"garbage
        {"body":"1","order_key":"k"}
        {"body":"2","order_key":"k","lane":"keyed"}
        {"body":"3","lane":"laned"}
        {"body":"4"}"#;
    let expected = ["malformed", "1", "not_attempted", "not_attempted", "2"];
    assert_eq!(lines(&rig, text).await, expected);
}

#[tokio::test]
async fn a_failing_disk_refuses_each_line_and_the_rest_of_its_order() {
    let rig = Rig::plain().await;
    *rig.fake.failing.lock().unwrap() = Some(AppendError::Full("full".into()));
    let text = "{\"body\":\"1\",\"lane\":\"laned\"}\n{\"body\":\"2\"}\n";
    assert_eq!(lines(&rig, text).await, ["disk_full", "disk_full"]);
}

#[tokio::test]
async fn a_line_too_long_is_refused_and_the_next_one_stored() {
    let rig = Rig::plain().await;
    let long = format!("{{\"body\":\"{}\"}}\n{{\"body\":\"x\"}}\n", "y".repeat(7 << 20));
    assert_eq!(lines(&rig, &long).await, ["too_large", "1"]);
    rig.settle(0).await;
}

#[tokio::test]
async fn a_client_that_waits_for_each_answer_gets_it_at_once() {
    let rig = Rig::plain().await;
    let mut stream = rig.connect().await;
    let head = "POST /v1/records HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n\
                transfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    for seq in 1..=3 {
        stream.write_all(b"d\r\n{\"body\":\"x\"}\n\r\n").await.unwrap();
        let wanted = format!("\"seq\":{seq},");
        while !String::from_utf8_lossy(&seen).contains(&wanted) {
            assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
        }
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    while !seen.ends_with(b"0\r\n\r\n") {
        assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
    }
}

/// Writes `count` records before it reads a single answer, and returns their outline.
async fn write_all_then_read(rig: &Rig, count: usize) -> Vec<String> {
    let mut stream = rig.connect().await;
    let line = "{\"body\":\"x\"}\n";
    let head = format!(
        "POST /v1/records HTTP/1.1\r\nhost: x\r\ncontent-type: {LINES}\r\ncontent-length: {}\r\n\r\n",
        line.len() * count
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = line.repeat(1000);
    for _ in 0..count / 1000 {
        let written =
            tokio::time::timeout(Duration::from_secs(30), stream.write_all(piece.as_bytes()));
        written.await.expect("the agent reads on").unwrap();
    }
    outline(&Reply::read(&mut stream).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_writes_all_before_it_reads_is_answered_in_full() {
    let rig = Rig::plain().await;
    let answers = write_all_then_read(&rig, 50_000).await;
    assert_eq!(answers.len(), 50_000);
    assert!(answers.iter().enumerate().all(|(i, seq)| *seq == (i + 1).to_string()));
    rig.settle(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_answers_beyond_the_memory_become_overloaded_and_none_is_missing() {
    let rig = Rig::new(ruled(Rules { memory_bytes: 1 << 20, ..Rules::default() })).await;
    let answers = write_all_then_read(&rig, 200_000).await;
    assert_eq!(answers.len(), 200_000);
    let stored = rig.fake.bodies().len();
    assert!((1_000..150_000).contains(&stored), "{stored}");
    // Stored up to a line, refused from there on: the client knows exactly what to send again.
    assert!(answers[..stored].iter().enumerate().all(|(i, seq)| *seq == (i + 1).to_string()));
    assert!(answers[stored..].iter().all(|code| code == "overloaded"));
    rig.settle(0).await;
}

#[tokio::test]
async fn a_request_cut_off_stores_its_whole_lines_only() {
    let rig = Rig::plain().await;
    let mut stream = rig.connect().await;
    let mut request = post(LINES, b"{\"body\":\"a\"}\n{\"body\":\"b\"}", "");
    let length = request.len();
    request.truncate(length - 1);
    stream.write_all(&request).await.unwrap();
    drop(stream);
    while rig.fake.bodies().is_empty() {
        tokio::task::yield_now().await;
    }
    rig.settle(0).await;
    assert_eq!(rig.fake.bodies(), ["a"]);
}

#[tokio::test]
async fn a_slow_disk_slows_the_client_instead_of_refusing_it() {
    let rig = Rig::new(ruled(Rules { memory_bytes: 4 << 20, ..Rules::default() })).await;
    rig.fake.set_disk(false);
    let mut stream = rig.connect().await;
    let line = format!("{{\"body\":\"{}\"}}\n", "x".repeat(100_000));
    let request = post(LINES, line.repeat(100).as_bytes(), "");
    let (mut reader, mut writer) = stream.split();
    let write = async {
        writer.write_all(&request).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let read = async {
        while rig.intake.budget().used_bytes() < 1 << 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        rig.fake.set_disk(true);
        let mut all = String::new();
        reader.read_to_string(&mut all).await.unwrap();
        all
    };
    let ((), all) = tokio::join!(write, read);
    assert_eq!((all.matches("\"seq\"").count(), all.matches("error").count()), (100, 0));
}

#[tokio::test]
async fn a_refusal_is_heeded_while_another_lane_is_slow() {
    let rig = Rig::plain().await;
    rig.post(JSON, br#"{"body":"1","id":"x"}"#).await;
    *rig.fake.stuck.lock().unwrap() =
        Some(crate::intake::fake::lane("laned", crate::queue::Ordering::Lane).name);
    let mut stream = rig.connect().await;
    let text = r#"{"body":"slow","lane":"laned"}
        {"body":"other","id":"x","order_key":"k"}
        {"body":"2","order_key":"k"}
        {"body":"3"}"#;
    stream.write_all(&post(LINES, text.as_bytes(), "")).await.unwrap();
    let stored = async {
        while rig.fake.bodies().len() < 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), stored).await.is_ok());
    assert_eq!(rig.fake.bodies(), ["1", "slow", "3"]);
}
