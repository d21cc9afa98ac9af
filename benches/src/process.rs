//! What the kernel says of a process.

use std::fs::read_to_string;

use crate::Error;

/// Memory and processor time of a process at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Resident memory, in KiB.
    pub resident_kib: u64,
    /// The same, with what several processes share divided among them.
    pub proportional_kib: u64,
    /// Resident memory that is the process's own: no file's, nobody else's.
    pub anonymous_kib: u64,
    /// The most that was ever resident.
    pub peak_kib: u64,
    /// User and system time, in clock ticks.
    pub ticks: u64,
    /// Times that a thread gave up the processor by itself (it woke up as often).
    pub waits: u64,
    /// Bytes that it caused to be written to disk.
    pub written_bytes: u64,
    /// Threads.
    pub threads: u64,
}

/// Clock ticks of a second: the same on every Linux.
pub const TICKS_PER_SECOND: f64 = 100.0;

impl Usage {
    /// Of `pid`.
    ///
    /// # Errors
    /// If it is gone.
    pub fn of(pid: u32) -> Result<Self, Error> {
        let status = read_to_string(format!("/proc/{pid}/status"))?;
        let stat = read_to_string(format!("/proc/{pid}/stat"))?;
        // Behind the name in brackets: state is field 3, utime 14, stime 15.
        let fields: Vec<&str> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let tick = |at: usize| fields.get(at).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        let mut waits = 0;
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            // It may have ended.
            let status = read_to_string(thread.path().join("status")).unwrap_or_default();
            waits += field(&status, "voluntary_ctxt_switches:");
        }
        let memory = read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let io = read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        Ok(Self {
            resident_kib: field(&status, "VmRSS:"),
            proportional_kib: field(&memory, "Pss:"),
            anonymous_kib: field(&memory, "Anonymous:"),
            peak_kib: field(&status, "VmHWM:"),
            ticks: tick(11) + tick(12),
            waits,
            written_bytes: field(&io, "write_bytes:"),
            threads: field(&status, "Threads:"),
        })
    }
}

/// The number behind a name at the beginning of a line.
pub(crate) fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_threads() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.resident_kib > 100 && usage.peak_kib >= usage.resident_kib);
        assert!(usage.threads >= 1);
    }
}
