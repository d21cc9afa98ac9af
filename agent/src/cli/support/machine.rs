//! What the machine tells of itself.

use std::fs::read_to_string;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::super::human;
use crate::clock::{SystemClock, WallClock};
use crate::host;
use crate::known_time::KnownTime;

/// The unit's name, as packages install it.
const UNIT: &str = "spillway.service";
/// Newest lines of its log.
const JOURNAL_LINES: &str = "2000";

pub(super) fn version() -> String {
    let program = std::env::current_exe().map(|path| path.display().to_string());
    format!(
        "spillway {}\nbuilt for {} {}\nprogram {}\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS,
        program.unwrap_or_else(|error| error.to_string()),
    )
}

/// Limits and memory of the process.
pub(super) fn process(pid: Option<i32>) -> Result<String, String> {
    let pid = pid.ok_or("no agent answers")?;
    let mut text = format!("pid {pid}\n");
    for name in ["comm", "limits", "status", "oom_score_adj", "cgroup"] {
        let path = format!("/proc/{pid}/{name}");
        let found = read_to_string(&path).unwrap_or_else(|error| format!("{error}\n"));
        text.push_str(&format!("\n{path}\n{found}"));
    }
    Ok(text)
}

/// Room, and the mount that the folder lies on.
pub(super) fn disk(folder: &Path) -> Result<String, String> {
    let existing = folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    let existing =
        existing.canonicalize().map_err(|error| format!("{}: {error}", existing.display()))?;
    let room = host::disk(&existing).ok_or("the file system does not tell")?;
    let mounts = read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    let mount = mount(&mounts, &existing).unwrap_or("unknown");
    Ok(format!(
        "{}\n{} of {} bytes free ({} of {})\n{} of {} inodes free\nmount: {mount}\n",
        existing.display(),
        room.free_bytes,
        room.total_bytes,
        human::bytes(room.free_bytes),
        human::bytes(room.total_bytes),
        room.free_inodes,
        room.total_inodes,
    ))
}

/// The line of /proc/self/mountinfo whose mount point leads furthest; of two the later covers.
fn mount<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let point = |line: &str| line.split(' ').nth(4).map(|point| point.replace("\\040", " "));
    let holds = |line: &&str| point(line).is_some_and(|point| path.starts_with(point));
    mounts.lines().filter(holds).max_by_key(|line| point(line).map_or(0, |point| point.len()))
}

pub(super) fn system() -> String {
    let read = |path: &str| {
        let found = read_to_string(path).unwrap_or_else(|error| format!("{error}\n"));
        format!("{path}\n{found}\n")
    };
    let files =
        ["/proc/version", "/etc/os-release", "/proc/uptime", "/proc/loadavg", "/proc/meminfo"];
    files.map(read).concat()
}

/// The wall clock beside the one that nobody can set.
pub(super) async fn clock(data_dir: &Path) -> Result<String, String> {
    let uptime = SystemClock.uptime();
    let newest = KnownTime::load(data_dir).certificates();
    let mut text = format!(
        "wall clock {} ({} ms since 1970), {}\nup for {} ms, started {} by the wall clock now\n{newest:?}\n",
        human::time(SystemClock.now_ms()),
        SystemClock.now_ms(),
        if SystemClock.is_set() { "set" } else { "NOT SET since power-on" },
        uptime.ms,
        human::time(SystemClock.now_ms().saturating_sub(uptime.ms)),
    );
    let asked = said("timedatectl", &["show"]).await;
    text.push_str(&asked.unwrap_or_else(|why| format!("whether it is synchronised: {why}\n")));
    Ok(text)
}

/// State and files of the unit; what a drop-in holds may be secret.
pub(super) async fn unit() -> Result<String, String> {
    let properties = "--property=LoadState,ActiveState,SubState,Result,NRestarts,FragmentPath,\
                      DropInPaths,UnitFileState,ActiveEnterTimestamp,MemoryCurrent,MemoryMax,\
                      LimitNOFILE,WatchdogUSec";
    said("systemctl", &["show", UNIT, properties]).await
}

pub(super) async fn journal() -> Result<String, String> {
    let how = ["--no-pager", "--output=short-iso", "--unit", UNIT, "--lines", JOURNAL_LINES];
    said("journalctl", &how).await
}

/// Standard output of a program that may not be there.
async fn said(program: &str, words: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).kill_on_drop(true).env("LC_ALL", "C");
    let output = command.output().await.map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let why = String::from_utf8_lossy(&output.stderr);
            Err(format!("{program}: {}: {}", output.status, human::line(why.trim())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_that_leads_furthest_is_the_one() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / /var rw,noatime - ext4 /dev/b rw\n\
                      3 1 8:3 / /var/li rw - ext4 /dev/c rw\n4 1 8:4 / /a\\040b ro - ext4 /dev/d ro\n";
        let of =
            |path: &str| mount(mounts, Path::new(path)).and_then(|line| line.split(' ').next());
        assert_eq!(
            [of("/var/lib/x"), of("/home"), of("/a b/c")],
            [Some("2"), Some("1"), Some("4")]
        );
    }
}
