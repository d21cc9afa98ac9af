//! drain
mod meter;
mod pacer;
mod ramp;
mod spread;
