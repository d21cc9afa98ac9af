//! RocketMQ's wires.
//!
//! - [`http`]: the MQ HTTP API of ApsaraMQ for RocketMQ 4.x, client and server side
//! - [`grpc`] (feature `grpc`): what the agent needs of apache.rocketmq.v2

#[cfg(feature = "grpc")]
pub mod grpc;
pub mod http;
