//! What the kernel says of this machine's network: which way leads to the far end, and when that
//! changes. A cable is so noticed at once instead of by deadlines.
//!
//! [`watch`](watch()) listens on a netlink socket; after each burst of events it asks the kernel for
//! the routes to the far end's addresses (`way`) and tells what is different. What does not
//! concern that way (a container that comes or goes) is told to nobody. It only ever makes the
//! agent react sooner: all that is found by attempts and deadlines is found without it too.

mod event;
mod message;
mod socket;
mod watcher;
mod way;

pub use event::Event;
pub use watcher::watch;
