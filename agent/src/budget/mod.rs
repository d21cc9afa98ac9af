//! What the agent's connections cost on a metered link, and the day's bound on it (`[budget]`).
//!
//! All that connections to the far end carry is counted at the bottom
//! ([`Carried`](spillway_protocol::dial::Carried)), with or without a bound. [`Budget`] lays the
//! count upon lanes, each by what its requests were estimated to cost, and the rest upon nobody
//! (`overhead`); it says which lane may send, and when the next [`Day`] begins. [`Stored`] is what
//! outlives a restart. Everything here is pure: readings and times are passed in.
//!
//! A request is granted if its estimate fits in what is left, less the estimates of what is under
//! way and of the connections that this may still open. So a bound is exceeded at most by what
//! these were too low (TCP's repetitions, a long answer), by one pull of the centre's page, and by
//! the records that leave together with the one that was looked at (one bundle or batch). A record
//! that costs more than a lane may use in a whole day leaves while less than half of that is used.

mod day;
mod ledger;
mod stored;

pub use day::Day;
pub use ledger::{Budget, Options, is_first, request_bytes};
pub use stored::{DamagedBudget, Stored, StoredLane};
