//! A classic Java consumer of presence events (`tests/rocketmq/Presence.java`).

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::java;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rocketmq/Presence.java");

/// See the module. It ends when this is dropped. Calls block the thread.
pub struct JavaPresence {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl JavaPresence {
    pub(super) fn start(dir: &Path, namesrv: u16, group: &str, topic: &str) -> Self {
        let mut child = Command::new("java")
            .args(java::common(dir))
            .args([SOURCE, &format!("127.0.0.1:{namesrv}"), group, topic])
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(dir.join("presence.log")).unwrap())
            .spawn()
            .expect("java has to be installed");
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut started = Self { child, questions, answers };
        assert_eq!(started.line(), "done", "see {}", dir.join("presence.log").display());
        started
    }

    /// How many different messages it has seen, and who is online by them.
    pub fn online(&mut self) -> (usize, Vec<String>) {
        writeln!(self.questions.as_mut().unwrap(), "online").unwrap();
        let answer = self.line();
        let mut words = answer.split(' ');
        (words.next().unwrap().parse().unwrap(), words.map(str::to_owned).collect())
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for JavaPresence {
    fn drop(&mut self) {
        drop(self.questions.take());
        let _ = self.child.wait();
    }
}
