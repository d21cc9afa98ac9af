use bytes::BytesMut;
use spillway_protocol::local::client::{AppendError as ClientError, Client, ConnectError};
use spillway_protocol::local::frame::{self, Append, Hello, HelloReply, ToAgent, ToClient};
use spillway_protocol::local::{Code, Request};
use spillway_protocol::record::Draft;

use super::*;

pub(super) fn draft(id: Option<&str>, body: &str) -> Draft {
    Draft { id: id.map(str::to_owned), body: body.to_owned().into(), ..Draft::default() }
}

/// A connection that speaks frames by hand.
pub(super) struct Raw {
    pub(super) stream: UnixStream,
    inbox: BytesMut,
}

impl Raw {
    pub(super) async fn hello(rig: &Rig, min: u8, max: u8) -> (Self, HelloReply) {
        let mut raw = Self::silent(rig).await;
        raw.stream.write_all(&Self::greeting(min, max)).await.unwrap();
        let reply = raw.welcomed().await;
        (raw, reply)
    }

    /// One that has not said anything yet.
    pub(super) async fn silent(rig: &Rig) -> Self {
        Self { stream: rig.connect().await, inbox: BytesMut::new() }
    }

    /// What a client says first.
    pub(super) fn greeting(min: u8, max: u8) -> Vec<u8> {
        let mut out = frame::PREAMBLE.to_vec();
        let client = "raw".to_owned();
        frame::put(frame::HELLO_FORMAT, &Hello { min, max, client }, &mut out).unwrap();
        out
    }

    pub(super) async fn welcomed(&mut self) -> HelloReply {
        let content = self.next().await.unwrap();
        frame::read(frame::HELLO_FORMAT, &content).unwrap()
    }

    pub(super) async fn welcome(rig: &Rig) -> Self {
        Self::hello(rig, frame::VERSION, frame::VERSION).await.0
    }

    async fn next(&mut self) -> Option<bytes::Bytes> {
        loop {
            if let Some(content) = frame::take(&mut self.inbox).unwrap() {
                return Some(content);
            }
            if self.stream.read_buf(&mut self.inbox).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    pub(super) async fn hear(&mut self) -> Option<ToClient> {
        let content = self.next().await?;
        Some(frame::read(frame::VERSION, &content).unwrap())
    }
}

pub(super) fn append(correlation: u64, body: &str) -> Vec<u8> {
    let request = Request { draft: draft(None, body), ..Request::default() };
    let message = ToAgent::Append(Append::new(correlation, request));
    let mut out = Vec::new();
    frame::put(frame::VERSION, &message, &mut out).unwrap();
    out
}

fn code(heard: Option<ToClient>) -> Option<Code> {
    match heard? {
        ToClient::Bye(refusal) => Some(refusal.code),
        ToClient::Answer { result, .. } => result.err().map(|refusal| refusal.code),
    }
}

#[tokio::test]
async fn the_client_stores_repeats_and_is_refused() {
    let rig = Rig::plain().await;
    let client = Client::connect(&rig.path).await.unwrap();
    let receipt = client.append(draft(Some("a"), "x"), Some("keyed")).await.unwrap();
    assert_eq!((receipt.lane.as_str(), receipt.seq, receipt.stream.0), ("keyed", 1, 0xab));
    let repeat = client.append(draft(Some("a"), "x"), None).await.unwrap();
    assert!(repeat.duplicate);
    for (draft, lane, code, field) in [
        (draft(Some("a"), "y"), None, Code::IdReused, "id"),
        (draft(None, ""), None, Code::BadRecord, "body"),
        (draft(None, "x"), Some("nope"), Code::UnknownLane, "lane"),
    ] {
        let Err(ClientError::Refused(refusal)) = client.append(draft, lane).await else {
            panic!("{code} expected");
        };
        assert_eq!((refusal.code, refusal.field.as_deref()), (code, Some(field)));
    }
}

#[tokio::test]
async fn many_records_are_pipelined_and_kept_in_order() {
    let rig = Rig::plain().await;
    let client = Client::connect(&rig.path).await.unwrap();
    let mut pending = Vec::new();
    let (count, window) = (1_000, 200);
    for i in 0..count {
        pending.push(client.submit(draft(None, &i.to_string()), None).await.unwrap());
        if pending.len() == window {
            for (n, answer) in pending.drain(..).enumerate() {
                assert_eq!(answer.await.unwrap().seq, (i + 2 - window + n) as u64);
            }
        }
    }
    let bodies = rig.fake.bodies();
    assert!((0..count).all(|i| bodies[i] == i.to_string()));
    drop(client);
    rig.settle(0).await;
}

#[tokio::test]
async fn three_records_with_one_key_and_three_ids_are_three() {
    let rig = Rig::plain().await;
    let client = Client::connect(&rig.path).await.unwrap();
    for id in ["a", "b", "c"] {
        let keyed = Draft { key: Some("k".into()), ..draft(Some(id), "x") };
        assert!(!client.append(keyed, None).await.unwrap().duplicate);
        let json = format!("{{\"body\":\"x\",\"key\":\"k\",\"id\":\"json-{id}\"}}");
        assert_eq!(rig.post(JSON, json.as_bytes()).await.status, 201);
    }
    assert_eq!(rig.fake.bodies().len(), 6);
}

#[tokio::test]
async fn no_common_version_is_said_and_the_connection_closed() {
    let rig = Rig::plain().await;
    let (mut raw, reply) = Raw::hello(&rig, 9, 12).await;
    let HelloReply::Refused(refusal) = reply else {
        panic!("{reply:?}");
    };
    assert_eq!(refusal.code, Code::IncompatibleVersion);
    assert_eq!(raw.hear().await, None);
}

#[tokio::test]
async fn a_frame_of_four_gibibytes_is_refused_and_what_came_before_it_answered() {
    let rig = Rig::plain().await;
    let mut raw = Raw::welcome(&rig).await;
    let mut out = append(7, "x");
    out.extend([0xff; 8]);
    raw.stream.write_all(&out).await.unwrap();
    assert!(matches!(raw.hear().await, Some(ToClient::Answer { correlation: 7, result: Ok(_) })));
    assert_eq!(code(raw.hear().await), Some(Code::TooLarge));
    assert_eq!(raw.hear().await, None);
}

#[tokio::test]
async fn a_damaged_frame_is_said_and_the_connection_closed() {
    let rig = Rig::plain().await;
    for bytes in [&[0, 0, 0, 2, 1, 9][..], &[0, 0, 0, 1, 77], &[0, 0, 0, 0]] {
        let mut raw = Raw::welcome(&rig).await;
        raw.stream.write_all(bytes).await.unwrap();
        assert_eq!(code(raw.hear().await), Some(Code::Malformed));
        assert_eq!(raw.hear().await, None);
    }
}

#[tokio::test]
async fn a_half_closed_client_is_still_answered() {
    let rig = Rig::plain().await;
    let mut raw = Raw::welcome(&rig).await;
    rig.fake.set_disk(false);
    raw.stream.write_all(&append(1, "x")).await.unwrap();
    raw.stream.shutdown().await.unwrap();
    rig.fake.set_disk(true);
    assert!(matches!(raw.hear().await, Some(ToClient::Answer { correlation: 1, result: Ok(_) })));
    assert_eq!(raw.hear().await, None);
}

#[tokio::test]
async fn a_frame_without_memory_is_refused_alone_and_the_next_one_stored() {
    let rig = Rig::new(ruled(Rules { memory_bytes: 256 * 1024, ..Rules::default() })).await;
    let mut raw = Raw::welcome(&rig).await;
    let mut out = append(1, &"x".repeat(1 << 20));
    out.extend(append(2, "y"));
    raw.stream.write_all(&out).await.unwrap();
    assert_eq!(code(raw.hear().await), Some(Code::Overloaded));
    assert!(matches!(raw.hear().await, Some(ToClient::Answer { correlation: 2, result: Ok(_) })));
    assert_eq!(rig.fake.bodies(), ["y"]);
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_slowed_and_then_closed() {
    let rig =
        Rig::new(Options { stall_max: Duration::from_millis(200), ..Options::default() }).await;
    let mut raw = Raw::welcome(&rig).await;
    let piece = append(1, "x").repeat(1_000);
    let endless = async { while raw.stream.write_all(&piece).await.is_ok() {} };
    let closed = tokio::time::timeout(Duration::from_secs(20), endless).await;
    assert!(closed.is_ok());
    rig.settle(0).await;
    // What fits into the buffers between the two, and no more.
    assert!(rig.fake.bodies().len() < 50_000, "{}", rig.fake.bodies().len());
}

/// Says hello and then a frame, byte by byte, until the agent says goodbye; when that was.
async fn drip(rig: &Rig, frame: &[u8]) -> (Option<Code>, Duration) {
    let mut raw = Raw::welcome(rig).await;
    // Who rests may do so for as long as he likes.
    tokio::time::sleep(Duration::from_secs(1000)).await;
    let from = tokio::time::Instant::now();
    let (mut reader, mut writer) = raw.stream.split();
    let dripping = async {
        for byte in frame {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if writer.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        read = reader.read_buf(&mut raw.inbox) => assert!(read.unwrap() > 0),
        () = dripping => {}
    }
    (code(raw.hear().await), from.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_comes_byte_by_byte_has_as_long_as_a_body() {
    let (pause_max, body_max) = (Duration::from_secs(5), Duration::from_secs(60));
    let rig = Rig::new(Options { pause_max, body_max, ..Options::default() }).await;
    let (code, after) = drip(&rig, &append(1, &"x".repeat(200))).await;
    assert_eq!(code, Some(Code::Timeout));
    // From the first byte on, each of which came within the pause.
    assert!((60..70).contains(&after.as_secs()), "{after:?}");
    assert!(rig.fake.bodies().is_empty());
}

#[tokio::test(start_paused = true)]
async fn each_frame_has_its_own_time() {
    let (pause_max, body_max) = (Duration::from_secs(5), Duration::from_secs(100));
    let rig = Rig::new(Options { pause_max, body_max, ..Options::default() }).await;
    let mut raw = Raw::welcome(&rig).await;
    let frame = append(1, &"x".repeat(20));
    assert!(frame.len() < 80 && frame.len() * 4 > 100);
    // The first byte of the next comes with the last one of each.
    raw.stream.write_all(&frame[..1]).await.unwrap();
    for _ in 0..4 {
        for byte in &frame[1..frame.len() - 1] {
            tokio::time::sleep(Duration::from_secs(1)).await;
            raw.stream.write_all(&[*byte]).await.unwrap();
        }
        raw.stream.write_all(&[frame[frame.len() - 1], frame[0]]).await.unwrap();
        let answer = raw.hear().await;
        assert!(matches!(answer, Some(ToClient::Answer { result: Ok(_), .. })), "{answer:?}");
    }
}

#[tokio::test]
async fn a_stopping_agent_answers_what_it_has_and_says_goodbye() {
    let rig = Rig::plain().await;
    let mut raw = Raw::welcome(&rig).await;
    rig.fake.set_disk(false);
    raw.stream.write_all(&append(1, "x")).await.unwrap();
    while rig.fake.bodies().is_empty() {
        tokio::task::yield_now().await;
    }
    rig.stop.cancel();
    rig.fake.set_disk(true);
    assert!(matches!(raw.hear().await, Some(ToClient::Answer { correlation: 1, result: Ok(_) })));
    assert_eq!(code(raw.hear().await), Some(Code::Stopping));
    rig.served.await.unwrap();
}

#[tokio::test]
async fn an_agent_without_room_for_connections_tells_the_client() {
    let rig = Rig::new(Options { connections_max: 0, ..Options::default() }).await;
    let error = Client::connect(&rig.path).await.unwrap_err();
    let ConnectError::Refused { refusal, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(refusal.code, Code::Overloaded);
}
