//! Everything of Spillway that crosses a process boundary.
//!
//! The core of this crate touches no socket, disk, clock or source of randomness: it turns bytes
//! into proven values and back.
//!
//! - [`record`]: what an app hands over, parsed once and valid for ever
//! - [`message`]: what the agent makes of a record for RocketMQ (the `sw_*` properties)
//! - [`bundle`]: several records in one message
//! - [`report`], [`tombstone`], [`presence`]: the agent's own records: how it is, what will never
//!   arrive, whether it is connected
//! - [`control`]: what the centre asks of a gateway, signed (feature `control`), and the answer
//! - [`local`]: the agent's Unix socket, JSON and binary frames, and its client (feature `client`)
//! - [`rocketmq`]: RocketMQ's wires: the MQ HTTP API and gRPC (feature `grpc`)
//! - `dial`: addresses, TLS and connections (feature `dial`)
//! - `consumer`: the far side: messages received over either transport (feature `consumer`)
//! - [`codec`]: the one place that knows bincode

pub mod bundle;
pub mod codec;
#[cfg(feature = "consumer")]
pub mod consumer;
pub mod control;
#[cfg(feature = "dial")]
pub mod dial;
#[doc(hidden)]
pub mod fuzzing;
pub mod local;
pub mod message;
pub mod presence;
pub mod record;
pub mod report;
pub mod rocketmq;
pub mod tombstone;
