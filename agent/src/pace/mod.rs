//! The pace: how fast records may leave, decided from the gateway's own records and answers alone.
//!
//! A gateway knows neither how many others there are nor what the broker can take. What it knows
//! is how much it produces itself, and a broker that can run the fleet at all takes that much from
//! everybody. So [`OwnRate`] is the unit, [`Controller`] finds the common multiple of it that the
//! broker takes, [`spread`] keeps first contacts apart, and [`Pacer`] turns it all into the moment
//! at which the next record may leave. Everything here is pure: time and chance are passed in, so
//! the simulator of a fleet runs the same code as the agent.

mod bucket;
mod controller;
mod delay;
mod memory;
mod own_rate;
mod pacer;
mod rejects;
pub mod spread;

pub use controller::{Answer, Controller};
pub use delay::{Delay, Quiet};
pub use memory::{DamagedMemory, Memory};
pub use own_rate::{OwnRate, Standing};
pub use pacer::{Pacer, Urgency, View};
