//! What system tests share: real servers, started and stopped as each test needs them.

pub mod rocketmq;
