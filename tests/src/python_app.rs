//! `examples/python-client/sample.py` as an app: it stores each line as a record and prints its
//! number. It goes on through whatever becomes of the agent.

use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/python-client/sample.py");

/// See the module. It is killed when this is dropped.
#[derive(Debug)]
pub struct PythonApp {
    child: Child,
    stored: BufReader<ChildStdout>,
}

impl PythonApp {
    /// Starts it, through another program, such as one that enters a namespace, if one is named.
    ///
    /// # Panics
    /// If there is no python3.
    pub fn start(wrapper: &[&str], socket: &Path) -> Self {
        let words = [wrapper, &["python3", SAMPLE]].concat();
        let mut python = Command::new(words[0]);
        python.args(&words[1..]).arg(socket).arg("main");
        let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stored = BufReader::new(child.stdout.take().unwrap());
        Self { child, stored }
    }

    /// Takes readings, and does not wait.
    ///
    /// # Panics
    /// If the app has ended.
    pub fn take(&mut self, numbers: Range<u64>) {
        let lines: String = numbers.map(|n| format!("bed-{} {n}\n", n % 5)).collect();
        self.child.stdin.as_mut().unwrap().write_all(lines.as_bytes()).unwrap();
    }

    /// Waits until the agent has acknowledged the next `count` of them.
    ///
    /// # Panics
    /// If the app ends before.
    pub fn stored(&mut self, count: u64) {
        for _ in 0..count {
            let mut line = String::new();
            assert!(self.stored.read_line(&mut line).unwrap() > 0, "the app ended");
        }
    }

    /// Takes readings and returns when the agent has acknowledged them all.
    ///
    /// # Panics
    /// If the app ends before.
    pub fn measure(&mut self, numbers: Range<u64>) {
        let count = numbers.end - numbers.start;
        self.take(numbers);
        self.stored(count);
    }

    /// Has no more to store.
    ///
    /// # Panics
    /// If it does not end well.
    pub fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for PythonApp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
