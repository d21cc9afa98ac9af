//! The write-ahead queue: what [`Queue::submit`] has answered is on disk until it is settled.

mod api;
mod chain;
mod pack;
mod ranges;
mod store;

pub use api::{
    Accounts, AppendError, DeadFilter, DeadLetter, Entry, LaneFigures, LaneOptions, Lease,
    OpenError, Options, Ordering, Place, Queue, Receipt, Recovery, SettleError, Ticket,
};
