//! The agent as its users run it: the binary, a configuration file, a socket.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use spillway_protocol::local::status::Status;

use crate::figure::Turn;
use crate::process::Usage;
use crate::{Error, folder, http};

/// What the log says once records are taken in.
const READY: &str = "ready: records are taken in";
/// Longest wait for all to be delivered.
const DRAINED_MAX: Duration = Duration::from_secs(300);
/// Between two looks at the accounts.
const LOOK: Duration = Duration::from_millis(20);
/// The upper bounds of `[drain]`, out of the way.
const UNBOUNDED: &str = "[drain]\nadaptive = false\nrecords_per_second = 1000000\n\
                         bytes_per_second = \"1 GiB\"\nreconnect_spread = \"0s\"\n\
                         [backoff]\ninitial = \"100ms\"\nmax = \"100ms\"\n";

/// Of a lane that is to drain as fast as it can.
const BUNDLES: &str = "bundle = { records = 512, bytes = \"128 KiB\", compress = \"none\" }\n";

/// How an agent is configured.
#[derive(Debug, Clone)]
pub struct Setup {
    folder: PathBuf,
    lanes: usize,
    upstream: Option<String>,
    /// Topic and more settings of the first lane.
    lane: Option<(String, String)>,
    /// More settings of every lane.
    lanes_settings: &'static str,
    id: String,
    /// `[drain]` and `[backoff]`.
    drain: &'static str,
    sections: String,
}

impl Setup {
    /// Everything in `folder`; `lanes` lanes, the first being the default; no `[upstream]`.
    pub fn new(folder: &Path, lanes: usize) -> Self {
        Self {
            folder: folder.to_owned(),
            lanes,
            upstream: None,
            lane: None,
            lanes_settings: "",
            id: "gw-bench".to_owned(),
            drain: UNBOUNDED,
            sections: String::new(),
        }
    }

    /// With another topic and more settings for the first lane.
    pub fn with_lane(mut self, topic: &str, settings: &str) -> Self {
        self.lane = Some((topic.to_owned(), settings.to_owned()));
        self
    }

    /// With lanes that drain as fast as they can: many records in a message.
    pub fn bundling(self) -> Self {
        Self { lanes_settings: BUNDLES, ..self }
    }

    /// With an id of its own, and the pace that every agent has by default.
    pub fn one_of_a_fleet(self, id: &str) -> Self {
        Self { id: id.to_owned(), drain: "", ..self }
    }

    /// Its queue's folder.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// With more sections.
    pub fn with_sections(mut self, sections: &str) -> Self {
        self.sections = sections.to_owned();
        self
    }

    /// The same without an `[upstream]`.
    pub fn offline(&self) -> Self {
        Self { upstream: None, ..self.clone() }
    }

    /// With an `[upstream]` of these lines, and nothing that holds the drain back.
    pub fn with_upstream(mut self, lines: &str) -> Self {
        self.upstream = Some(lines.to_owned());
        self
    }

    /// The intake socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("s")
    }

    fn text(&self) -> String {
        let quoted = |path: PathBuf| Value::from(path.display().to_string()).to_string();
        let mut text = format!(
            "[gateway]\nid = \"{}\"\ndata_dir = {}\n[listen]\nsocket = {}\n",
            self.id,
            quoted(self.data_dir()),
            quoted(self.socket()),
        );
        for lane in 0..self.lanes {
            let name = format!("lane-{lane}");
            let own = self.lane.as_ref().filter(|_| lane == 0);
            let topic = own.map_or(format!("bench-{lane}"), |(topic, _)| topic.clone());
            text += &format!("[[lane]]\nname = \"{name}\"\ntopic = \"{topic}\"\n");
            text += own.map_or("", |(_, settings)| settings);
            text += "\n";
            text += self.lanes_settings;
            text += if lane == 0 { "default = true\n" } else { "" };
        }
        text += &self.sections;
        if let Some(upstream) = &self.upstream {
            text += &format!("[upstream]\n{upstream}\n{}", self.drain);
        }
        text
    }

    /// Starts the agent; returns when it takes records in.
    ///
    /// # Errors
    /// If it ends before, with its last words.
    pub fn start(&self) -> Result<Agent, Error> {
        std::fs::create_dir_all(&self.folder)?;
        let config = self.folder.join("c.toml");
        std::fs::write(&config, self.text())?;
        let begun = Instant::now();
        let mut child = Command::new(folder::binary()?)
            .args(["--log", "human", "run", "--config"])
            .arg(config)
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = BufReader::new(child.stderr.take().ok_or("no log")?);
        let heard = await_ready(&mut log);
        let agent = Agent { child, socket: self.socket(), started_in: begun.elapsed() };
        heard?;
        // A full pipe would stop the agent.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(agent)
    }
}

fn await_ready(log: &mut BufReader<ChildStderr>) -> Result<(), Error> {
    let mut words = String::new();
    loop {
        let from = words.len();
        if log.read_line(&mut words)? == 0 {
            return Err(format!("the agent did not start: {words}").into());
        }
        if words[from..].contains(READY) {
            return Ok(());
        }
    }
}

/// A running agent; killed when dropped.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    socket: PathBuf,
    started_in: Duration,
}

impl Agent {
    /// The intake socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// From the start of the process until it took records in.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// Its state.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn status(&self) -> Result<Status, Error> {
        let text = http::Connection::open(&self.socket).await?.get("/v1/status").await?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Watches it deliver what waits: from the first look that saw `warm_up` delivered (with 0, the
    /// last that saw nothing) to the first that saw everything delivered.
    ///
    /// # Errors
    /// If it does not come to an end.
    pub async fn watch_drain(&self, warm_up: u64) -> Result<Turn, Error> {
        let begun = Instant::now();
        let mut from = (begun, Usage::of(self.pid())?, 0);
        loop {
            let at = (Instant::now(), Usage::of(self.pid())?);
            let status = self.status().await?;
            let lane = status.lanes.first().ok_or("no lane")?;
            if lane.waiting == 0 {
                let records = lane.delivered - from.2;
                return Ok(Turn::of(records, (at.0 - from.0).as_secs_f64(), from.1, at.1));
            }
            if lane.delivered == 0 || from.2 < warm_up {
                from = (at.0, at.1, lane.delivered);
            }
            if begun.elapsed() > DRAINED_MAX {
                let (link, error) = (&status.link, &lane.last_error);
                return Err(format!("not drained: {link:?}, {error:?}").into());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends it as systemd does, and waits.
    ///
    /// # Errors
    /// If it did not end well.
    pub fn stop(mut self) -> Result<(), Error> {
        let sent = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        let ended = self.child.wait()?;
        match sent.success() && ended.success() {
            true => Ok(()),
            false => Err(format!("the agent ended with {ended}").into()),
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to kill and nobody to wait for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
