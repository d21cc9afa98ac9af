//! RocketMQ 5's gRPC interface, `apache.rocketmq.v2`: messages and client, signing, status codes.
//!
//! [`v2`] is generated from `proto/rocketmq.proto`. [`request`] makes requests of this crate's own
//! types, [`signing`] the headers that every call carries, [`code`] says what a status means.

pub mod code;
pub mod request;
pub mod signing;

/// Generated messages and client (and, with the feature `grpc-server`, the server's trait).
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::unwrap_used,
    clippy::large_futures,
    clippy::too_many_lines
)]
pub mod v2 {
    tonic::include_proto!("apache.rocketmq.v2");
}
