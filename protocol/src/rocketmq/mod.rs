//! RocketMQ's wires.
