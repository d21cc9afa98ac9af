//! A JVM that does not outlive whoever started it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Runs the JVM until a signal's name comes on standard input, or its end: the latter is what
/// is left of a test process that was killed.
const WATCH: &str = r#""$@" </dev/null & pid=$!
read -r signal || signal=KILL
kill -"$signal" "$pid" 2>/dev/null
wait "$pid""#;

/// A JVM under watch.
pub(super) struct Java(Child);

impl Java {
    /// Starts `java` with `arguments`; its output goes to `NAME.log` in `dir`.
    pub(super) fn start(dir: &Path, name: &str, arguments: &[String]) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(dir.join(format!("{name}.log")))
            .unwrap();
        let child = Command::new("sh")
            .args(["-c", WATCH, "watch", "java"])
            .args(common(dir))
            .args(arguments)
            .env("ROCKETMQ_HOME", dir)
            // Some of its files go wherever it was started.
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        Self(child.expect("sh has to be installed"))
    }

    /// Sends a signal and waits for the end.
    pub(super) fn end(mut self, signal: &str) {
        if let Some(stdin) = self.0.stdin.as_mut() {
            let _ = writeln!(stdin, "{signal}");
        }
        let _ = self.0.wait();
    }
}

impl Drop for Java {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Options of every JVM: quick to start, small, and writing nowhere else.
pub(super) fn common(dir: &Path) -> Vec<String> {
    vec![
        "-XX:+UseSerialGC".to_owned(),
        "-XX:TieredStopAtLevel=1".to_owned(),
        format!("-Duser.home={}", dir.display()),
        format!("-Djava.io.tmpdir={}", dir.display()),
        "-cp".to_owned(),
        format!("{}/*", lib().display()),
    ]
}

/// The folder of the jars.
fn lib() -> PathBuf {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/rocketmq/lib");
    assert!(
        lib.is_dir(),
        "{} is missing; run: mvn -q -f tests/rocketmq/pom.xml dependency:copy-dependencies",
        lib.display()
    );
    lib
}
