//! The agent's Unix socket: HTTP/1.1 with JSON (the stable contract) and binary frames.

pub mod status;
