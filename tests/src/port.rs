//! Free ports below the range that the kernel hands out to outgoing connections: one that is
//! listened on again after a while must not have been taken meanwhile, nor connect to itself.
//!
//! Test programs run side by side, and a port is found free some time before a server listens on
//! it: each is noted in a file whose lock this process keeps until its end.
//!
//! Whether it is free is asked by connecting, never by listening: a child that another thread has
//! just forked holds a copy of the listening socket until it has become its program, and the
//! server that listens next meets it.

use std::fs::File;
use std::net::TcpStream;
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
        if reserve(port) && !is_taken(port) {
            return port;
        }
    }
}

/// Somebody listens on it.
pub(crate) fn is_taken(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::Command;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    /// Each child inherits what is open at its fork, until it has become its program.
    #[test]
    fn a_free_port_can_be_listened_on_while_others_fork() {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    Command::new("true").status().unwrap();
                }
            });
            let listened = (0..300).all(|_| TcpListener::bind(("127.0.0.1", free())).is_ok());
            done.store(true, Ordering::Relaxed);
            assert!(listened);
        });
    }
}
