//! RocketMQ's wires.
//!
//! - [`http`]: the MQ HTTP API of ApsaraMQ for RocketMQ 4.x, client and server side
//! - [`skew`]: how far the server's clock is ahead
//! - [`grpc`] (feature `grpc`): what the agent needs of apache.rocketmq.v2

#[cfg(feature = "grpc")]
pub mod grpc;
pub mod http;
pub mod skew;
