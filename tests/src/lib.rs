//! What system tests share: the real binary on a gateway of its own, brokers, apps that remember
//! what they were told, and an oracle that compares it with what arrived.
//!
//! Failures panic: a step that fails is a failed test.

pub mod admin;
pub mod app;
pub mod arrival;
pub mod booted;
pub mod broker;
pub mod centre;
pub mod chromium;
pub mod collector;
pub mod connect;
pub mod container;
pub mod corruption;
pub mod debian;
pub mod doorkeeper;
pub mod engine;
pub mod faketime;
pub mod front;
pub mod frozen;
pub mod gate;
pub mod gateway;
pub mod golden;
pub mod http;
pub mod kill;
pub mod language;
pub mod ledger;
pub mod machine;
pub mod manager;
pub mod mariadb;
pub mod mount;
pub mod mutual_tls;
pub mod namespace;
pub mod oracle;
pub mod otlp;
pub mod page;
pub mod port;
pub mod powercut;
pub mod prometheus;
pub mod prose;
pub mod python_app;
pub mod random;
pub mod redis;
pub mod relay;
pub mod resolver;
pub mod rocketmq;
pub mod room;
pub mod sample;
pub mod sdk;
pub mod series;
mod server;
pub mod sieve;
pub mod tls;
pub mod told;
pub mod trace;
pub mod transcript;

/// Whether the long loops are wanted (`tests/run --full`).
pub fn full() -> bool {
    std::env::var_os("SPILLWAY_FULL").is_some()
}
