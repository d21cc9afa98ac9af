//! The control socket: HTTP with JSON for operators, mode 0600, since it shows other people's
//! records.
//!
//! - [`api`]: the JSON types, shared with the commands
//! - [`reload`]: those of `POST /v1/reload`
//! - [`serve`]: the server, over a [`Desk`]

pub mod api;
mod desk;
pub mod reload;
mod server;
pub(crate) mod view;

pub(crate) use view::format;

pub use desk::{Accept, Ask, Desk, Reload, Reloading};
pub use server::{serve, serve_one};
