//! Power cuts on the real store. A program drives the real queue while `tests/recorder` notes what it
//! does to its files; from the notes come the states that a power cut could have left at any moment, and
//! the queue is opened on each of them.
//!
//! - `log`: what the recorder noted; `disk`: what of it is durable; `states`: what a cut could leave
//! - `work`, `marks`: what the program does, and what its app was told meanwhile
//! - `ledger`: what has to be found, and what was; `verdict`: opening the queue on a state
//! - `agent`: the whole agent recorded, with its apps and its broker beside it; `saves`: which of what
//!   it said to be delivered is durable
//! - `trial`: a recording and the moments at which it is cut; `cut`: one state, tried

pub mod agent;
pub mod cut;
pub mod disk;
pub mod ledger;
pub mod log;
pub mod marks;
mod saves;
pub mod states;
pub mod trial;
pub mod verdict;
pub mod work;

#[cfg(test)]
mod tests;
