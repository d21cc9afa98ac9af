//! The control socket: HTTP with JSON for operators, mode 0600, since it shows other people's
//! records.
//!
//! - [`api`]: the JSON types, shared with the commands
//! - [`bind`]: the socket file
//! - [`serve`]: the server, over a [`Desk`]

pub mod api;
mod desk;
mod server;
mod socket;

pub use desk::{Accept, Desk};
pub use server::serve;
pub use socket::{BindError, bind};
