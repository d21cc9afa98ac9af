//! Readers of foreign bytes, for fuzzing (`fuzz/`): whatever comes, nothing panics, and what was
//! read is read again as the same once it is written.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use bytes::BytesMut;

use crate::bundle;
use crate::local::frame::{self, Hello, HelloReply, ToAgent, ToClient};
use crate::local::json;
use crate::record::RecordId;
use crate::rocketmq::http::fault::ErrorBody;
use crate::rocketmq::http::{ack, consume, properties, publish};

/// Frames of both directions, one after the other.
pub fn frames(bytes: &[u8]) {
    let mut buffer = BytesMut::from(bytes);
    let mut again = Vec::new();
    while let Ok(Some(content)) = frame::take(&mut buffer) {
        if let Ok(message) = frame::read::<ToAgent>(frame::VERSION, &content) {
            frame::put(frame::VERSION, &message, &mut again).unwrap();
            let written = again.split_off(0);
            assert_eq!(frame::read::<ToAgent>(frame::VERSION, &written[4..]).unwrap(), message);
            let ToAgent::Append(append) = message;
            let (correlation, request) = append.into_request();
            assert_eq!(frame::correlation(frame::VERSION, &content), Some(correlation));
            drop(request.draft.parse(|| RecordId::parse("r").unwrap()));
        }
        if let Ok(message) = frame::read::<ToClient>(frame::VERSION, &content) {
            frame::put(frame::VERSION, &message, &mut again).unwrap();
            let written = again.split_off(0);
            assert_eq!(frame::read::<ToClient>(frame::VERSION, &written[4..]).unwrap(), message);
        }
        if let Ok(hello) = frame::read::<Hello>(frame::HELLO_FORMAT, &content) {
            drop(hello.choose());
        }
        drop(frame::read::<HelloReply>(frame::HELLO_FORMAT, &content));
    }
}

/// A record as JSON, and lines of them.
pub fn json(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(request) = json::parse(line)
            && let Ok(record) = request.draft.parse(|| RecordId::parse("r").unwrap())
        {
            assert!(!record.body.is_empty());
        }
    }
}

/// The MQ HTTP API's XML, as clients and as servers read it.
pub fn xml(bytes: &[u8]) {
    let _ = consume::salvage_handles(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(messages) = consume::parse(text) {
        let again = consume::parse(&consume::to_xml(&messages));
        assert_eq!(again.unwrap(), messages);
    }
    if let Ok(handles) = ack::parse_request(text) {
        drop(ack::parse_request(&ack::request_xml(&handles)));
    }
    drop(ack::parse_failures(text));
    drop(publish::Publish::parse(text));
    drop(publish::Published::parse(text));
    drop(ErrorBody::parse(text));
    drop(properties::split(text));
    drop(properties::split_lenient(text));
}

/// A bundle.
pub fn bundle(bytes: &[u8]) {
    if let Ok(parts) = bundle::unpack(bytes) {
        let again = bundle::unpack(&bundle::pack(&parts, bundle::Compress::None));
        assert_eq!(again.unwrap(), parts);
    }
}

/// RocketMQ's answers over gRPC; the one to a message, if it is that.
#[cfg(feature = "grpc")]
pub fn send_answer(bytes: &[u8]) -> Option<crate::rocketmq::grpc::v2::SendMessageResponse> {
    use crate::rocketmq::grpc::v2;
    use prost::Message;

    drop(v2::QueryRouteResponse::decode(bytes));
    drop(v2::TelemetryCommand::decode(bytes));
    drop(v2::ReceiveMessageResponse::decode(bytes));
    v2::SendMessageResponse::decode(bytes).ok()
}
