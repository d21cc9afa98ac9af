//! Threads of this process that sleep in the kernel where no signal reaches them, SIGKILL neither:
//! they wait for a disk.

use std::collections::BTreeSet;
use std::fs;

/// Their ids, as the kernel has them now; none where it does not tell.
pub(super) fn threads() -> BTreeSet<u32> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return BTreeSet::new() };
    let sleeping = tasks.flatten().filter(|task| {
        let stat = fs::read_to_string(task.path().join("stat"));
        stat.is_ok_and(|stat| state(&stat) == Some('D'))
    });
    sleeping.filter_map(|task| task.file_name().to_str()?.parse().ok()).collect()
}

/// The state in a thread's `stat`: it comes after the name, which may hold anything.
fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_stands_behind_the_name() {
        assert_eq!(state("7 (commit) D 1 7"), Some('D'));
        assert_eq!(state("7 (a) D (b) S 1 7"), Some('S'));
        assert_eq!(state("7"), None);
    }

    #[test]
    fn who_asks_is_not_asleep() {
        let own = rustix::thread::gettid().as_raw_nonzero().get();
        assert!(!threads().contains(&u32::try_from(own).unwrap()));
        let stat = fs::read_to_string(format!("/proc/self/task/{own}/stat")).unwrap();
        assert_eq!(state(&stat), Some('R'));
    }
}
