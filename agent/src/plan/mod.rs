//! What a fleet needs: from gateways, rates, an outage and a broker's capacity to the peak at its
//! return, the time until all is drained, bytes, requests, what the far side reads in time, and
//! settings that fit. Pure: the simulation it rests on is [`crate::fleet`]'s, and the caller runs it.
//!
//! [`Question`] is what is asked; [`Scale`] says how much of it is simulated; [`Answer::new`] makes
//! the figures of the whole fleet out of what the simulation says. [`plot`] draws the offered load.

mod answer;
pub mod figure;
mod fluid;
pub mod plot;
mod question;
mod scale;
mod settings;
mod warning;
mod way;
mod wire;

pub use answer::Answer;
pub use question::{Company, PlanError, Question};
pub use scale::Scale;
pub use way::{Run, Way};
pub use wire::Content;

#[cfg(test)]
mod tests;
