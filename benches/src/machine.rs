//! The machine that figures were taken on, as far as they depend on it.

use std::fs::read_to_string;
use std::path::Path;
use std::time::SystemTime;

use crate::figure::{number, table};
use crate::process::field;

/// Prints the machine, the disk under `folder`, the date and how busy the machine is.
pub fn describe(folder: &Path) {
    let cpu = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read_to_string("/proc/meminfo").unwrap_or_default();
    let gib = field(&memory, "MemTotal:") as f64 / f64::from(1 << 20);
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let (system, disk) = disk(folder);
    let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let rows = [
        ("processor", format!("{cores} cores, {}", model.unwrap_or("model unknown").trim())),
        ("memory", format!("{} GiB", number(gib, 0))),
        ("kernel", kernel.trim().to_owned()),
        ("file system", system),
        ("disk", disk),
        ("date", date.split('T').next().unwrap_or_default().to_owned()),
        ("load average at the start", load_average()),
    ];
    let rows: Vec<_> = rows.map(|(name, value)| vec![name.to_owned(), value]).into();
    table(&["machine", ""], &rows);
}

/// Processes that wanted a core, over 1, 5 and 15 minutes.
pub fn load_average() -> String {
    let text = read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// File system and device of a folder.
fn disk(folder: &Path) -> (String, String) {
    let mounts = read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    // Fields: 3 device number, 5 mount point, 6 options; behind the dash the type and the device.
    let inside = mounts.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let point = *left.get(4)?;
        folder.starts_with(point).then_some((point.len(), left, right))
    });
    let Some((_, left, right)) = inside.max_by_key(|(length, ..)| *length) else {
        return ("unknown".to_owned(), "unknown".to_owned());
    };
    let kind = right.split(' ').next().unwrap_or("unknown");
    let options = left.get(5).copied().unwrap_or_default();
    let queue = format!("/sys/dev/block/{}/queue", left.get(2).copied().unwrap_or_default());
    let device = right.split(' ').nth(1).and_then(|d| d.strip_prefix("/dev/")).unwrap_or("unknown");
    let cache = read_to_string(format!("{queue}/write_cache")).unwrap_or_default();
    let virtual_disk = if device.starts_with("vd") { "virtio, " } else { "" };
    let disk = format!("{virtual_disk}cache: {}", cache.trim());
    (format!("{kind} ({options})"), disk)
}
