//! Spillway: a store-and-forward agent. (The crate doc becomes the life of one record.)

pub mod allocator;
pub mod app;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod drain;
pub mod entropy;
pub mod host;
pub mod intake;
pub mod link;
pub mod logs;
pub mod queue;
pub mod upstream;
