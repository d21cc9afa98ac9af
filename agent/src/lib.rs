//! Spillway: a store-and-forward agent for gateways whose link to the cloud comes and goes.
//!
//! # The life of one record, and where to read it
//! 1. An app connects to the Unix socket. [`intake`] tells the dialect, reads a record, counts its
//!    bytes against the memory limit, and has it proven by
//!    [`Draft::parse`](spillway_protocol::record::Draft::parse).
//! 2. [`queue::Queue::submit`] hands it to its lane's thread, which gathers what came since the
//!    last sync, gives numbers, writes, syncs, and only then answers: the app has its receipt.
//! 3. [`drain`] wakes. It knows the [`link`]'s state, what the [`pace`] allows and what is held, and
//!    asks [`queue::Queue::lease`] for a record that may be sent.
//!    [`budget`] says whether today's bytes allow it.
//! 4. The record becomes a [`Message`](spillway_protocol::message::Message) with the agent's own
//!    properties, and [`upstream`] sends it, over HTTP or gRPC.
//! 5. The answer is an [`upstream::Outcome`]. Delivered: the lease is acknowledged and the record
//!    is gone. Otherwise it goes back, or, if it is itself wrong, to the dead letters.
//!
//! Around it: [`app`] wires the parts, [`admin`] shows metrics and health, [`degrade`] lets bulk lanes give way under pressure, [`own`] writes the agent's own records, [`centre`] does what
//! the centre asks, [`config`] proves what they are told, [`control`] shows operators the queue,
//! [`why`] says why something has not left, [`cli`] holds the commands, [`broker`] stands for RocketMQ where there is none, `mq_http` is what
//! it shares with the intake's front for the SDKs of the MQ HTTP API, [`attendance`] is which local
//! clients are connected, [`network`] is told by the kernel of routes that come and go,
//! [`service`] is what a service manager and the agent tell each other, [`plan`] sizes a fleet by simulating it with [`fleet`], [`known_time`] remembers what time it was, [`clock`], [`entropy`], [`host`], [`open_files`] and [`allocator`] are
//! what is asked of the machine.

pub mod admin;
pub mod allocator;
pub mod app;
pub mod attendance;
pub mod broker;
pub mod budget;
pub mod centre;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod credential_command;
pub mod degrade;
pub mod drain;
pub mod entropy;
pub mod fleet;
pub mod host;
pub mod intake;
pub mod known_time;
pub mod link;
pub mod logs;
mod mq_http;
pub mod network;
pub mod open_files;
pub mod own;
pub mod pace;
pub mod plan;
pub mod queue;
pub mod service;
pub mod small_file;
pub mod upstream;
pub mod why;
