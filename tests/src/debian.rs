//! A Debian of a test's own, in which packages are installed: a folder that debootstrap made
//! (tests/run does it once), with what the test changes laid over it. Needs root. No systemd runs in it
//! unless it is booted ([`crate::booted`]).

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use spillway_protocol::local::status::Status;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::gateway::{PATIENCE, binary};
use crate::http;

/// Where the package puts the configuration.
pub const CONFIG: &str = "/etc/spillway/spillway.toml";
/// Where its agent takes records in.
pub const SOCKET: &str = "/run/spillway/spillway.sock";

/// See the module. It goes when this is dropped.
#[derive(Debug)]
pub struct Debian(TempDir);

/// The release: `SPILLWAY_DEBIAN`, else this machine's own.
fn release() -> String {
    std::env::var("SPILLWAY_DEBIAN").unwrap_or_else(|_| {
        let text = std::fs::read_to_string("/etc/os-release").unwrap();
        let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        name.expect("this machine is no Debian; set SPILLWAY_DEBIAN").to_owned()
    })
}

impl Debian {
    /// A fresh one.
    ///
    /// # Panics
    /// If it is not there, or this process may not mount.
    pub fn new() -> Self {
        let below = concat!(env!("CARGO_MANIFEST_DIR"), "/.cache/debian");
        let below = Path::new(below).join(release());
        assert!(below.join("usr/bin/dpkg").exists(), "{below:?} is missing: tests/run makes it");
        let own = Self(tempfile::tempdir().unwrap());
        let folder = |name: &str| {
            let path = own.0.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path.display().to_string()
        };
        let (upper, work, root) = (folder("upper"), folder("work"), folder("root"));
        let layers = format!("lowerdir={},upperdir={upper},workdir={work}", below.display());
        must(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &layers, &root]));
        must(Command::new("mount").args([
            "-t",
            "proc",
            "proc",
            &own.path("proc").display().to_string(),
        ]));
        own
    }

    /// A file in it, as seen from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join("root").join(inside.trim_start_matches('/'))
    }

    /// A command in it, as root.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("chroot");
        command.arg(self.path("")).args(words).env_clear().current_dir("/");
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
        command
    }

    /// All that a command says, which has to succeed.
    ///
    /// # Panics
    /// If it fails.
    pub fn said(&self, words: &[&str]) -> String {
        let Output { stdout, stderr, .. } = must(&mut self.command(words));
        String::from_utf8([stdout, stderr].concat()).unwrap()
    }

    /// Standard output of a command as root that is run through another one, such as one that
    /// enters a network; it has to succeed.
    ///
    /// # Panics
    /// If it fails.
    pub fn answered(&self, wrapper: &[&str], words: &[&str]) -> String {
        String::from_utf8(must(&mut self.through(wrapper, &[], words)).stdout).unwrap()
    }

    fn through(&self, wrapper: &[&str], options: &[&str], words: &[&str]) -> Command {
        let mut all = wrapper.to_vec();
        all.push("chroot");
        let mut command = Command::new(all[0]);
        command.args(&all[1..]).args(options).arg(self.path("")).args(words).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
        command
    }

    /// Installs or upgrades a package.
    ///
    /// # Panics
    /// If that fails.
    pub fn install(&self, package: &Path) -> String {
        std::fs::copy(package, self.path("/tmp/package.deb")).unwrap();
        self.said(&["dpkg", "-i", "/tmp/package.deb"])
    }
}

impl Default for Debian {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        for mounted in ["proc", ""] {
            let _ = Command::new("umount").arg("-l").arg(self.path(mounted)).status();
        }
    }
}

/// The installed agent, running as its unit starts it. It is killed when this is dropped.
#[derive(Debug)]
pub struct Agent(Child);

impl Agent {
    /// Starts it, through another program, such as one that enters a network, if one is named, and
    /// waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    pub async fn start(debian: &Debian, wrapper: &[&str]) -> (Self, Status) {
        let words = ["/usr/bin/spillway", "run", "--config", CONFIG];
        let mut command = debian.through(wrapper, &["--userspec=spillway:spillway"], &words);
        let mut agent = Self(command.stdin(Stdio::null()).spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(answer) = http::get(&debian.path(SOCKET), "/v1/status").await {
                return (agent, serde_json::from_slice(&answer.body).unwrap());
            }
            assert!(agent.0.try_wait().unwrap().is_none() && Instant::now() < deadline);
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGTERM; it has to end well.
    ///
    /// # Panics
    /// If it does not.
    pub fn stop(mut self) {
        let kill = Command::new("kill").arg(self.0.id().to_string()).status();
        assert!(kill.unwrap().success() && self.0.wait().unwrap().success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The package of the binary under test, with this version.
///
/// # Panics
/// If it cannot be made.
pub fn package(version: &str, to: &Path) -> PathBuf {
    let stripped = to.join("spillway");
    must(Command::new("strip").arg("-o").arg(&stripped).arg(binary()));
    let build = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/deb/build");
    let mut build = Command::new(build);
    build.args(["amd64", "--fast", "--version", version, "--to"]).arg(to);
    let said = must(build.arg("--binary").arg(stripped)).stdout;
    PathBuf::from(String::from_utf8(said).unwrap().trim())
}

#[track_caller]
fn must(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let also = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command:?} needs root, and all of tests/run: {also}{said}");
    output
}
