//! Free ports below the range that the kernel hands out to outgoing connections: one that is
//! listened on again after a while must not have been taken meanwhile, nor connect to itself.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 28_000;
const COUNT: u16 = 4_000;

static TRIED: AtomicU16 = AtomicU16::new(0);

/// A port on 127.0.0.1 that nobody listens on.
pub fn free() -> u16 {
    let process = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap();
    loop {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + process.wrapping_mul(17).wrapping_add(tried) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
