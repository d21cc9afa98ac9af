//! drain
mod breaker;
mod meter;
mod pacer;
mod plan;
mod ramp;
mod spread;
