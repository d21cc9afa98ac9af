//! The link to RocketMQ as a pure machine: outcomes and time go in, permission to send comes out.
//!
//! ```text
//! Offline ──attempt──▶ Probing ──answer──▶ Ramping ──pace reached or nothing left──▶ Online
//!    ▲                    │                   │                                        │
//!    └────── silence ─────┴───────────────────┴──────────── silence ───────────────────┘
//! Held: an operator's mistake stops everything; one record a minute asks whether it is put right
//! Budget: the day's bytes are used up; nothing leaves before the next day
//! ```
//! What the kernel knows of routes only makes it react sooner (`machine::way`).
//! Trouble with the link is nobody's fault: it never costs a record an attempt.

mod backoff;
mod machine;

pub use backoff::Backoff;
pub use machine::{HeldLink, Link, Permit, Start};
