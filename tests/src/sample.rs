//! Messages as the agent makes and sends them, without an agent.

use spillway::config::{self, Credentials, Endpoint, Transport};
use spillway::upstream::{Outcome, Upstream};
use spillway_protocol::message::{Defaults, Flags, Message, Stamp, StreamId};
use spillway_protocol::record::{Draft, LaneName, RecordId, Tag, Topic};

/// Number `seq` of the lane `ward` of `gw-1`, with the id `TOPIC-SEQ` and the order key of the draft.
pub fn message(topic: &str, seq: u64, draft: Draft) -> Message {
    let id = format!("{topic}-{seq}");
    let order_key = draft.order_key.clone();
    let draft = Draft { id: Some(id.clone()), ..draft };
    let record = draft.parse(|| RecordId::parse(id.as_str()).unwrap()).unwrap();
    let stamp = Stamp {
        gateway: "gw-1".into(),
        lane: LaneName::parse("ward").unwrap(),
        stream: StreamId(7),
        seq,
        accepted_ms: 1_700_000_000_000 + seq,
        clock_set: true,
        flags: Flags::NONE,
    };
    let topic = Topic::parse(topic).unwrap();
    let defaults = Defaults { topic: &topic, tag: None };
    Message::compose(&record, &stamp, &defaults, order_key.as_deref())
}

/// Messages number 1 to `count`, each with its number as body.
pub fn plain(topic: &str, count: u64) -> Vec<Message> {
    (1..=count).map(|seq| message(topic, seq, body(seq))).collect()
}

/// The same, their order keys taking turns.
pub fn keyed(topic: &str, count: u64, keys: u64) -> Vec<Message> {
    let draft = |seq| Draft { order_key: Some(format!("bed-{}", seq % keys)), ..body(seq) };
    (1..=count).map(|seq| message(topic, seq, draft(seq))).collect()
}

/// The same, tagged `a` and `b` by turns.
pub fn tagged(topic: &str, count: u64) -> Vec<Message> {
    let tag = |seq: u64| Tag::parse(if seq.is_multiple_of(2) { "a" } else { "b" }).unwrap();
    let messages = plain(topic, count).into_iter().zip(1..);
    messages.map(|(message, seq)| Message { tag: Some(tag(seq)), ..message }).collect()
}

fn body(seq: u64) -> Draft {
    Draft { body: seq.to_string().into(), ..Draft::default() }
}

/// One plaintext endpoint on this machine.
pub fn upstream(
    transport: Transport,
    port: u16,
    namespace: Option<&str>,
    credentials: Option<Credentials>,
) -> config::Upstream {
    config::Upstream {
        transport,
        endpoints: vec![Endpoint { host: "127.0.0.1".into(), port, tls: false }],
        namespace: namespace.map(str::to_owned),
        access: credentials.map(Into::into).unwrap_or_default(),
        tls: config::Tls::default(),
        proxy: None,
    }
}

/// Sends through the agent's own upstream, one after the other.
pub async fn publish(upstream: &dyn Upstream, messages: &[Message]) {
    for message in messages {
        let outcome = upstream.send(message).await;
        assert!(matches!(outcome, Outcome::Delivered { .. }), "{outcome:?}");
    }
}
