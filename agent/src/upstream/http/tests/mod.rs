//! The upstream against the embedded broker, against servers that are not RocketMQ, and over TLS.

mod broker;
mod hostile;
mod proxy;
mod tls;

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use spillway_protocol::record::{RecordId, Tag};

use super::*;
use crate::broker::{Broker, BrokerOptions};
use crate::clock::SystemClock;
use crate::config::{Credentials, Secret, Tls, Transport};

const TOPIC: &str = "ward";

/// A clock that a test sets.
struct SetClock(AtomicU64);

impl WallClock for SetClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn settings(port: u16) -> config::Upstream {
    config::Upstream {
        transport: Transport::Http,
        endpoints: vec![Endpoint { host: "127.0.0.1".into(), port, tls: false }],
        namespace: Some("MQ_INST_1".into()),
        access: Credentials { id: "ak".into(), secret: Secret::new("sk"), security_token: None }
            .into(),
        tls: Tls::default(),
        proxy: None,
    }
}

fn upstream(port: u16) -> HttpUpstream {
    HttpUpstream::new(&settings(port), Arc::new(SystemClock)).unwrap()
}

async fn start_broker() -> Broker {
    let keys = vec![("ak".to_owned(), Secret::new("sk"))];
    Broker::start(BrokerOptions::new("127.0.0.1:0".parse().unwrap(), keys)).await.unwrap()
}

fn message(body: impl Into<Bytes>) -> Message {
    Message {
        topic: Topic::parse(TOPIC).unwrap(),
        tag: Some(Tag::parse("SyncEvent").unwrap()),
        id: RecordId::parse("id-1").unwrap(),
        key: "key-1".into(),
        order_key: Some("bed-12".into()),
        properties: vec![("sw_seq".into(), "7".into())],
        body: body.into(),
    }
}

fn is_delivered(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Delivered { .. })
}

#[test]
fn what_is_missing_is_named_by_its_setting() {
    let build = |settings: &config::Upstream| {
        let error = HttpUpstream::new(settings, Arc::new(SystemClock)).err();
        error.map(|error| error.to_string()).unwrap_or_default()
    };
    let mut settings = settings(80);
    settings.access = config::AccessKeys::default();
    assert!(build(&settings).contains("upstream.access_key_id"));
    settings.endpoints.clear();
    assert!(build(&settings).contains("upstream.endpoint"));
}
