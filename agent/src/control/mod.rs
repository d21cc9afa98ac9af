//! The control socket: HTTP with JSON for operators, mode 0600, since it shows other people's
//! records.
//!
//! - [`api`]: the JSON types, shared with the commands
//! - [`tail`]: what happens, live
//! - [`serve`]: the server, over a [`Desk`]

pub mod api;
mod desk;
mod door;
mod server;
pub mod tail;
pub(crate) mod view;

pub(crate) use view::format;

pub use desk::{Accept, Ask, Desk};
pub use door::{AdminAt, Door};
pub use server::{serve, serve_one};
pub use tail::Tailing;
