//! A [`Debian`] whose own systemd runs as first process, as on a machine: in namespaces of its own
//! for processes, mounts, control groups, names and, unless it is given one, the network. What
//! belongs to the whole machine (`/proc/sys`, devices) it can look at only. Needs root, util-linux
//! and control groups of version 2.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::debian::Debian;
use crate::gateway::PATIENCE;

const POLL: Duration = Duration::from_millis(50);
/// Its group's members see that group as the root; `$1` is the group, the rest a command.
const JOIN: &str = "echo $$ >\"$1/cgroup.procs\"; shift; exec \"$@\"";
/// What is mounted before the first process begins; `$1` is the root. It says its process id as it
/// is seen outside.
const BOOT: &str = r#"read -r pid _ </proc/self/stat
cd "$1"
mount -t proc proc proc
mount --bind proc/sys proc/sys && mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do touch dev/$device; mount --bind /dev/$device dev/$device; done
mkdir dev/shm dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mkdir -p srv/outside
pivot_root . srv/outside
umount -l srv/outside
mount --make-rshared /
echo "$pid"
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd >/dev/null 2>&1"#;

/// See the module. When this is dropped it is off, as if its power had been cut.
#[derive(Debug)]
pub struct Booted {
    unshare: Child,
    pid: String,
    group: PathBuf,
}

impl Booted {
    /// Boots and waits until all that belongs to the start has started. `wrapper` enters a network.
    ///
    /// # Panics
    /// If it does not start, or not well.
    pub async fn boot(debian: &Debian, wrapper: &[&str]) -> Self {
        let root = debian.path("");
        let name = root.parent().and_then(Path::file_name).unwrap().to_str().unwrap();
        let group = groups().join(format!("spillway{name}"));
        std::fs::create_dir(&group).unwrap();
        let network = if wrapper.is_empty() { &["--net"][..] } else { &[] };
        let mut unshare = Command::new("sh");
        unshare.args(["-ec", JOIN, "sh"]).arg(&group).args(wrapper).arg("unshare").args(network);
        unshare.args(["--pid", "--fork", "--kill-child", "--mount", "--propagation", "private"]);
        unshare.args(["--cgroup", "--uts", "--ipc", "sh", "-ec", BOOT, "sh"]).arg(root);
        let mut unshare = unshare.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut pid = String::new();
        BufReader::new(unshare.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        let booted = Self { unshare, pid: pid.trim().to_owned(), group };
        assert!(!booted.pid.is_empty(), "it did not get as far as systemd: see above");
        booted.until(&["systemctl", "is-system-running"], |said| said.trim() == "running").await;
        booted
    }

    /// A file in it, as it is seen from outside while it runs.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.pid))
    }

    /// A command in it, as root.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--all", "--target", &self.pid, "--"]).args(words).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
        command.stdin(Stdio::null());
        command
    }

    /// A command of this machine in its network.
    pub fn in_its_network(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.pid, "--"]).args(words).stdin(Stdio::null());
        command
    }

    /// How a command ended, and all that it said.
    pub fn tried(&self, words: &[&str]) -> (bool, String) {
        let Output { status, stdout, stderr } = self.command(words).output().unwrap();
        (status.success(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }

    /// All that a command says, which has to succeed.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn said(&self, words: &[&str]) -> String {
        let (fine, said) = self.tried(words);
        assert!(fine, "{words:?}: {said}");
        said
    }

    /// A property of a unit, as systemd has it now.
    ///
    /// # Panics
    /// If systemd does not answer.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.said(&["systemctl", "show", "--value", "-p", name, unit]).trim().to_owned()
    }

    /// Writes a file in it.
    ///
    /// # Panics
    /// If that fails.
    pub fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Waits until a command says what is wanted.
    ///
    /// # Panics
    /// If it does not in time.
    pub async fn until(&self, words: &[&str], wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (_, said) = self.tried(words);
            if wanted(&said) {
                return said;
            }
            assert!(Instant::now() < deadline, "in vain until {words:?}; last: {said}");
            sleep(POLL).await;
        }
    }

    /// Has it shut down, as a machine whose button is pressed.
    ///
    /// # Panics
    /// If it does not.
    pub async fn shut_down(mut self) {
        let kill = Command::new("kill").args(["-s", "RTMIN+4", &self.pid]).status();
        assert!(kill.unwrap().success());
        let deadline = Instant::now() + PATIENCE;
        while self.unshare.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it does not shut down");
            sleep(POLL).await;
        }
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (_, said) = self.tried(&["journalctl", "--no-pager", "-n", "60"]);
            eprintln!("its journal ends:\n{said}");
        }
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        // The kernel has killed the others; they are gone a moment later.
        let deadline = Instant::now() + PATIENCE;
        while remove_group(&self.group).is_err() && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
    }
}

/// Where this machine's control groups of version 2 are.
fn groups() -> PathBuf {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let found = fields.find(|fields| fields[2] == "cgroup2");
    PathBuf::from(found.expect("no cgroup2 is mounted: mount -t cgroup2 none /sys/fs/cgroup")[1])
}

/// Removes the group with those in it.
fn remove_group(group: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_group(&entry.path())?;
        }
    }
    std::fs::remove_dir(group)
}
