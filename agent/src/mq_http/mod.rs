//! The server side of the MQ HTTP API, as far as the embedded broker and the intake's front have
//! it in common: who may pass, how requests are read, how answers look.

mod answers;
mod gate;
mod query;
mod refusal;

pub(crate) use answers::Answers;
pub(crate) use gate::{Dates, check, check_digest};
pub(crate) use query::{named, only, resource, text};
pub(crate) use refusal::Refusal;

/// Largest request that is read, in bytes: the largest body with every character escaped fivefold.
pub(crate) const REQUEST_MAX: usize = 24 * 1024 * 1024;
