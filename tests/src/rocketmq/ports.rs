//! Free ports, below the range that the kernel hands out to outgoing connections: they have to
//! be free again when the proxy is started a second time.

use std::sync::atomic::{AtomicU16, Ordering};

use crate::port;

const FIRST: u16 = 18_000;
const COUNT: u16 = 10_000;

static TRIED: AtomicU16 = AtomicU16::new(0);

/// The ports of one RocketMQ.
pub(super) struct Ports {
    pub(super) namesrv: u16,
    /// The broker's; two below it is its "fast" port.
    pub(super) broker: u16,
    pub(super) ha: u16,
    pub(super) grpc: u16,
    pub(super) remoting: u16,
}

impl Ports {
    /// Six that nobody listens on.
    pub(super) fn free() -> Self {
        loop {
            let first = FIRST + candidate();
            if port::reserve(first) && !(first..first + 8).any(port::is_taken) {
                return Self {
                    namesrv: first,
                    broker: first + 4,
                    ha: first + 5,
                    grpc: first + 6,
                    remoting: first + 7,
                };
            }
        }
    }
}

/// Different for processes and within one.
fn candidate() -> u16 {
    let process = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or(0);
    let tried = TRIED.fetch_add(8, Ordering::Relaxed);
    process.wrapping_mul(64).wrapping_add(tried) % COUNT
}
