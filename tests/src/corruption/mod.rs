//! Damaged data folders: one that the real queue made, with something in every file, of which one file
//! is damaged, and what has to come out of it all the same.
//!
//! - [`made`]: the folder and what was put into it
//! - [`harm`]: the damage
//! - [`packs`]: which records are still whole, by a reader of segments that is not the queue's own
//! - [`verdict`]: the queue on the damaged folder, held against both

pub mod harm;
pub mod made;
pub mod packs;
pub mod verdict;

/// Lanes of the folder.
pub const LANES: [&str; 2] = ["plain", "keyed"];
