//! An engine as a process of its own, as the agent is one.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{Error, READY, folder};

/// A running engine; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    socket: PathBuf,
}

impl Process {
    /// Starts the engine of that name with everything in `folder`.
    ///
    /// # Errors
    /// If it does not serve.
    pub fn start(engine: &str, folder: &Path) -> Result<Self, Error> {
        let socket = folder.join("s");
        let mut child = Command::new(folder::beside("engine")?)
            .args(["--engine", engine, "--dir"])
            .arg(folder)
            .arg("--socket")
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let process = Self { child, socket };
        match line.trim() {
            READY => Ok(process),
            _ => Err(format!("the engine {engine} did not start: {line}").into()),
        }
    }

    /// The socket it serves.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to kill and nobody to wait for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
