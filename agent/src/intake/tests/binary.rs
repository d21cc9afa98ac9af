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
        let mut stream = rig.connect().await;
        let mut out = frame::PREAMBLE.to_vec();
        let client = "raw".to_owned();
        frame::put(frame::HELLO_FORMAT, &Hello { min, max, client }, &mut out).unwrap();
        stream.write_all(&out).await.unwrap();
        let mut raw = Self { stream, inbox: BytesMut::new() };
        let content = raw.next().await.unwrap();
        let reply = frame::read(frame::HELLO_FORMAT, &content).unwrap();
        (raw, reply)
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
