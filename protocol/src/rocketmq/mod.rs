//! RocketMQ's wires.
//!
//! - [`http`]: the MQ HTTP API of ApsaraMQ for RocketMQ 4.x, client and server side

pub mod http;

#[cfg(feature = "grpc")]
pub mod grpc;
