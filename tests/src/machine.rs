//! A machine on which the package was installed while it ran: a [`Booted`] Debian.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::booted::Booted;
use crate::debian::{Debian, SOCKET, package};

/// The agent's unit.
pub const SERVICE: &str = "spillway.service";

/// See the module.
#[derive(Debug)]
pub struct Machine {
    /// What runs.
    pub booted: Booted,
    made: TempDir,
    // It goes last.
    debian: Debian,
}

impl Machine {
    /// Boots one and installs the binary under test. `wrapper` enters a network.
    ///
    /// # Panics
    /// If that fails, as everything here does.
    pub async fn start(wrapper: &[&str]) -> Self {
        let (debian, made) = (Debian::new(), tempfile::tempdir().unwrap());
        let booted = Booted::boot(&debian, wrapper).await;
        let machine = Self { booted, made, debian };
        machine.install("0.1.0~1");
        machine
    }

    /// Shuts down and boots again, without a network.
    pub async fn boots_again(self) -> Self {
        let Self { booted, made, debian } = self;
        booted.shut_down().await;
        Self { booted: Booted::boot(&debian, &[]).await, made, debian }
    }

    /// Installs the binary under test as this version.
    pub fn install(&self, version: &str) {
        let package = package(version, self.made.path());
        std::fs::copy(package, self.booted.path("/root/spillway.deb")).unwrap();
        self.booted.said(&["dpkg", "-i", "/root/spillway.deb"]);
    }

    /// Where apps of this machine hand records over.
    pub fn socket(&self) -> PathBuf {
        self.booted.path(SOCKET)
    }

    /// Where a container that is started now has `/run/spillway`, as it is seen from outside.
    pub fn mounted_elsewhere(&self) -> PathBuf {
        let keep = "mount --bind /run/spillway /srv; read -r pid _ </proc/self/stat; echo $pid; \
                    exec sleep infinity";
        let unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", keep];
        let mut keeper = self.booted.command(&unshare).stdout(Stdio::piped()).spawn().unwrap();
        let mut pid = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        // It ends with the machine.
        drop(std::thread::spawn(move || keeper.wait()));
        self.booted.path(&format!("/proc/{}/root/srv", pid.trim()))
    }

    /// Adds to a unit, as `systemctl edit` does.
    pub fn edit(&self, unit: &str, text: &str) {
        self.booted.write(&format!("/etc/systemd/system/{unit}.d/override.conf"), text);
        self.booted.said(&["systemctl", "daemon-reload"]);
    }

    /// The agent's state.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.booted.said(&["spillway", "status", "--json"])).unwrap()
    }

    /// How many records the first lane has accepted.
    pub fn accepted(&self) -> u64 {
        self.status()["lanes"][0]["accepted"].as_u64().unwrap()
    }

    /// Hands one record over.
    pub fn send(&self) {
        self.booted.said(&["sh", "-c", "echo 36.6 | spillway send -"]);
    }

    /// A property of the agent's unit.
    pub fn property(&self, name: &str) -> String {
        self.booted.property(SERVICE, name)
    }

    /// Waits until a property of the agent's unit is as wanted.
    pub async fn until(&self, name: &str, wanted: impl Fn(&str) -> bool) -> String {
        let words = ["systemctl", "show", "--value", "-p", name, SERVICE];
        self.booted.until(&words, |said| wanted(said.trim())).await.trim().to_owned()
    }

    /// Waits until the agent runs.
    pub async fn until_active(&self) {
        self.until("ActiveState", |state| state == "active").await;
    }

    /// What the folder of the sockets and the intake's socket are known by.
    pub fn inodes(&self) -> [u64; 2] {
        ["/run/spillway", SOCKET]
            .map(|path| std::fs::symlink_metadata(self.booted.path(path)).unwrap().ino())
    }

    /// A record that is handed over by TCP on loopback, on its way.
    pub fn curl(&self, token: &str) -> Child {
        let header = format!("authorization: Bearer {token}");
        let words = ["curl", "-sS", "--fail", "--max-time", "60", "-H", &header, "-d", "36.6"];
        let kind = "content-type: application/octet-stream";
        let url = ["-H", kind, "http://127.0.0.1:9466/v1/records"];
        let mut curl = self.booted.in_its_network(&[&words[..], &url].concat());
        curl.stdout(Stdio::null()).spawn().unwrap()
    }
}
