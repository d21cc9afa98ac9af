//! The control socket: HTTP with JSON for operators, mode 0600, since it shows other people's
//! records.
//!
//! - [`api`]: the JSON types, shared with the commands
//! - [`reload`]: those of `POST /v1/reload`
//! - [`tail`]: what happens, live
//! - [`serve`]: the server, over a [`Desk`]

pub mod api;
mod desk;
mod door;
pub mod reload;
mod server;
pub mod tail;
pub(crate) mod view;

pub(crate) use view::format;

pub use desk::{Accept, Ask, Desk, Opening, Reload, Reloading};
pub use door::{AdminAt, Door};
pub use server::{serve, serve_one};
pub use tail::{Tailing, Topics};
