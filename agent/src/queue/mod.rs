//! The write-ahead queue: what [`Queue::submit`] has answered is on disk until it is settled.

mod api;

pub use api::{
    Accounts, AppendError, DeadFilter, DeadLetter, Entry, LaneFigures, LaneOptions, Lease,
    OpenError, Options, Ordering, Place, Queue, Receipt, Recovery, SettleError, Ticket,
};
