//! Free ports below the range that the kernel hands out to outgoing connections: one that is
//! listened on again after a while must not have been taken meanwhile, nor connect to itself.
//!
//! Test programs run side by side, and a port is found free some time before a server listens on
//! it: each is noted in a file whose lock this process keeps until its end.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 28_000;
const COUNT: u16 = 4_000;

static TRIED: AtomicU16 = AtomicU16::new(0);
static NOTED: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port on 127.0.0.1 that nobody listens on.
pub fn free() -> u16 {
    let process = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap();
    loop {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + process.wrapping_mul(17).wrapping_add(tried) % COUNT;
        if reserve(port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Notes that `port` is this process's; false if it is another's.
pub(crate) fn reserve(port: u16) -> bool {
    let file = File::create(folder().join(port.to_string())).unwrap();
    let own = file.try_lock().is_ok();
    if own {
        NOTED.lock().unwrap().push(file);
    }
    own
}

/// Users do not share files.
fn folder() -> PathBuf {
    let user = std::fs::metadata("/proc/self").unwrap().uid();
    let folder = std::env::temp_dir().join(format!("spillway-test-ports-{user}"));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
