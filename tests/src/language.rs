//! The clients in other languages below `examples/`, run as their users run them: each one's own
//! tests, and its sample, which stores lines of standard input.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Time for a client's own tests, and for whatever a sample waits for.
const PATIENCE: Duration = Duration::from_secs(180);

/// Which client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// `examples/python-client`
    Python,
    /// `examples/node-client`
    Node,
    /// `examples/java-client`
    Java,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Python, Self::Node, Self::Java];

    /// Its lane, and what its ids begin with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Java => "java",
        }
    }

    /// Makes it ready to run: Java's classes are compiled, without a warning.
    pub async fn built(self) -> Built {
        let built = Built { language: self, classes: tempfile::tempdir().unwrap() };
        if self == Self::Java {
            let mut javac = Command::new("javac");
            javac.args(["-encoding", "UTF-8", "--release", "17", "-Xlint:all", "-Werror", "-d"]);
            javac.arg(built.classes.path()).args(["Sample.java", "ClientTest.java"]);
            let library = std::fs::read_dir(self.folder().join("spillway")).unwrap();
            javac.args(library.map(|file| file.unwrap().path()));
            succeeds(javac.current_dir(self.folder())).await;
        }
        built
    }

    fn folder(self) -> PathBuf {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        examples.join(format!("{}-client", self.name()))
    }
}

/// A client that can be run.
pub struct Built {
    /// Which.
    pub language: Language,
    classes: TempDir,
}

impl Built {
    /// Runs its own tests against an agent that is whole and one that is slow; what they said.
    pub async fn test(&self, agent: &Path, slow: &Path) -> String {
        let mut command = match self.language {
            Language::Python => self.program(&["-m", "unittest", "--verbose"]),
            Language::Node => self.program(&["--test"]),
            Language::Java => self.program(&["ClientTest"]),
        };
        command.env("SPILLWAY_SOCKET", agent).env("SPILLWAY_SLOW_SOCKET", slow);
        succeeds(&mut command).await
    }

    /// Starts its sample: records into `lane`, `batch` in one request.
    pub fn sample(&self, agent: &Path, lane: &str, batch: usize) -> Sample {
        let mut command = match self.language {
            Language::Python => self.program(&["sample.py"]),
            Language::Node => self.program(&["sample.mjs"]),
            Language::Java => self.program(&["Sample"]),
        };
        command.arg(agent).args([lane, &batch.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let readings = writer(child.stdin.take().unwrap());
        let receipts = lines(child.stdout.take().unwrap());
        let waits = lines(child.stderr.take().unwrap());
        Sample { child, readings, receipts, waits }
    }

    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(match self.language {
            Language::Python => "python3",
            Language::Node => "node",
            Language::Java => "java",
        });
        if self.language == Language::Java {
            command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
            command.arg(self.classes.path());
        }
        command.args(arguments).current_dir(self.language.folder());
        command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
        command
    }
}

/// What a program that has to succeed said.
async fn succeeds(command: &mut Command) -> String {
    let ended = timeout(PATIENCE, command.kill_on_drop(true).output()).await;
    let output = ended.expect("it does not end in time").expect("it has to be installed");
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = words(&output.stdout) + &words(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{said}");
    said
}

/// A running sample.
pub struct Sample {
    child: Child,
    readings: mpsc::UnboundedSender<String>,
    /// Its lines so far: number, id and body of what was stored.
    pub receipts: watch::Receiver<Vec<String>>,
    /// What it said of each wait.
    pub waits: watch::Receiver<Vec<String>>,
}

impl Sample {
    /// Hands it readings, which it takes at its own pace.
    pub fn feed(&self, readings: &[String]) {
        let text = readings.iter().map(|reading| format!("{reading}\n")).collect();
        self.readings.send(text).unwrap();
    }

    /// Waits until it has stored so many.
    pub async fn until_stored(&mut self, count: usize) {
        let found = timeout(PATIENCE, self.receipts.wait_for(|lines| lines.len() >= count)).await;
        let waits = self.waits.borrow();
        let stored = matches!(found, Ok(Ok(_)));
        assert!(stored, "{count} are not stored; ended: {}; it said {waits:#?}", found.is_ok());
    }

    /// Waits until what it said of its waits is as wanted.
    pub async fn until_waiting(&mut self, wanted: impl Fn(&[String]) -> bool) {
        let found = timeout(PATIENCE, self.waits.wait_for(|lines| wanted(lines))).await;
        found.expect("it does not wait").expect("it has ended");
    }

    /// Ends its input; it has to end by itself, without a complaint.
    pub async fn finish(self) {
        let Self { mut child, readings, .. } = self;
        drop(readings);
        let status = timeout(PATIENCE, child.wait()).await.expect("it does not end").unwrap();
        assert!(status.success(), "{status}");
    }
}

/// Writes to a pipe, which may be full for long, and closes it in the end.
fn writer(mut pipe: ChildStdin) -> mpsc::UnboundedSender<String> {
    let (give, mut texts) = mpsc::unbounded_channel::<String>();
    tokio::spawn(async move {
        while let Some(text) = texts.recv().await {
            if let Err(error) = pipe.write_all(text.as_bytes()).await {
                return eprintln!("a sample takes no more: {error}");
            }
        }
    });
    give
}

/// Gathers the lines of a pipe.
fn lines(pipe: impl AsyncRead + Send + Unpin + 'static) -> watch::Receiver<Vec<String>> {
    let (tell, said) = watch::channel(Vec::new());
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            tell.send_modify(|said| said.push(line));
        }
    });
    said
}
