//! What the centre has of each gateway, stream and lane, and what it misses: tables in MySQL or
//! MariaDB, shared by whoever consumes, audits, and asks gateways to send again.
//!
//! - [`settings`]: where the database is, from the environment
//! - [`database`]: the pool; its sessions are strict, so that nothing is cut to fit
//! - [`schema`]: the tables
//! - [`fault`]: whether a failed statement is the record's fault, the database's, or nobody's
//! - [`lanes`]: the number that stands for gateway, stream and lane
//! - [`seen`]: ranges of `sw_seq` that arrived, written in the transaction of the data
//! - [`compaction`]: keeps these few
//! - [`explained`]: what gateways told: tombstones and reports
//! - [`ranges`], [`audit`]: pure: what is missing, by day
//! - [`clones`]: pure: whether two machines share a gateway's id
//! - [`ledger`]: reads what an audit needs
//!
//! Numbers of one gateway, stream and lane begin at 1 and have no gaps, so a missing number is a
//! missing record.

pub mod audit;
pub mod clones;
pub mod compaction;
pub mod database;
pub mod explained;
pub mod fault;
pub mod lanes;
pub mod ledger;
pub mod ranges;
pub mod schema;
pub mod seen;
pub mod settings;

pub use self::audit::{Audit, Gap};
pub use self::clones::Cloned;
pub use self::database::{Database, Tries};
pub use self::fault::Fault;
pub use self::lanes::{Lanes, Place};
pub use self::seen::{Sighting, Sightings};
pub use self::settings::Settings;
