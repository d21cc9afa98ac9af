//! A server of a test's own: a process that does not outlive whoever started it.

use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A machine that is busy with builds is slow.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Runs the server until a signal's name comes on standard input, or its end: the latter is what is
/// left of a test process that was killed. The first argument is the name that the server sees.
const WATCH: &str = r#"name=$1; shift
(exec -a "$name" "$@") </dev/null & pid=$!
read -r signal || signal=KILL
kill -"$signal" "$pid" 2>/dev/null
wait "$pid""#;

/// A running server.
#[derive(Debug)]
pub(crate) struct Server(Child);

impl Server {
    /// Starts `program` under the name `name`, and returns when it listens on `port` of 127.0.0.1.
    /// Its output goes to `NAME.log` in `dir`.
    pub(crate) fn start(
        dir: &Path,
        name: &str,
        program: &str,
        arguments: &[String],
        port: u16,
    ) -> Self {
        let path = dir.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(&path).unwrap();
        let child = Command::new("bash")
            .args(["-c", WATCH, "watch", name, program])
            .args(arguments)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            // A Ctrl-C in the terminal is for the test, which ends its servers.
            .process_group(0)
            .spawn();
        let server = Self(child.expect("bash has to be installed"));
        await_port(port, &path);
        server
    }

    /// Sends a signal (`KILL`, `TERM`) and waits for the end.
    pub(crate) fn end(mut self, signal: &str) {
        if let Some(stdin) = self.0.stdin.as_mut() {
            let _ = writeln!(stdin, "{signal}");
        }
        let _ = self.0.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn await_port(port: u16, log: &Path) {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if begun.elapsed() > START_DEADLINE {
            let text = std::fs::read_to_string(log);
            panic!("nobody listens on {port}; {}: {text:?}", log.display());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
