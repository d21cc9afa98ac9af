//! What is missing for a record, in words: which limit, the figures, and the setting to change.

use std::fmt;

use super::gate::SEGMENT_INODES;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::queue) enum Short {
    /// The lane's files have what they may.
    Lane {
        used_bytes: u64,
        cap_bytes: u64,
        want_bytes: u64,
        /// By its quota, or by its share of the disk.
        quota: bool,
    },
    /// The file system's space is left to others.
    Bytes { free_bytes: u64, keep_bytes: u64, missing_bytes: u64 },
    /// Its inodes are.
    Inodes { free_inodes: u64, keep_inodes: u64, missing_inodes: u64 },
}

impl Short {
    /// Nothing that could leave the lane would make room for it.
    pub(super) fn never_fits(&self) -> bool {
        matches!(self, Self::Lane { cap_bytes, want_bytes, .. } if want_bytes > cap_bytes)
    }

    /// All lanes are short of it.
    pub(super) fn is_of_disk(&self) -> bool {
        matches!(self, Self::Bytes { .. } | Self::Inodes { .. })
    }

    /// For the lane of this name.
    pub(in crate::queue) fn of<'a>(self, lane: &'a impl fmt::Display) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| self.say(lane, f))
    }

    fn say(&self, lane: &dyn fmt::Display, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Lane { used_bytes, cap_bytes, want_bytes, quota } => {
                let (cap, remedy) = match quota {
                    true => ("its quota", "raise its quota in [[lane]]"),
                    false => (
                        "its share of [limits] disk",
                        "raise disk in [limits], or give the lane a quota",
                    ),
                };
                let cap_bytes = Bytes(cap_bytes);
                match self.never_fits() {
                    true => write!(
                        f,
                        "this takes {} and lane {lane} may have {cap_bytes}, {cap}",
                        Bytes(want_bytes)
                    )?,
                    false => write!(
                        f,
                        "lane {lane} is full: its files have {} of {cap_bytes}, {cap}; what waits in it is still sent",
                        Bytes(used_bytes)
                    )?,
                }
                write!(f, " ({remedy})")
            }
            Self::Bytes { free_bytes, keep_bytes: 0, .. } => write!(
                f,
                "the file system is full: {} are free; what waits in lane {lane} is still sent (free \
                 space there)",
                Bytes(free_bytes)
            ),
            Self::Bytes { free_bytes, keep_bytes, .. } => write!(
                f,
                "the file system is nearly full: {} are free, and {} are left to others by \
                 [limits] keep_free; what waits in lane {lane} is still sent (free space there, or \
                 lower keep_free)",
                Bytes(free_bytes),
                Bytes(keep_bytes)
            ),
            Self::Inodes { free_inodes, keep_inodes, .. } => write!(
                f,
                "the file system has nearly no room for more files: {free_inodes} inodes are free, \
                 {keep_inodes} are left to others by [limits] keep_free, and the queue needs \
                 {SEGMENT_INODES} to go on; what waits in lane {lane} is still sent (remove files \
                 there, or lower keep_free)"
            ),
        }
    }
}

/// Bytes as people read them.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|(unit, _)| self.0 >= *unit) {
            Some((unit, name)) => {
                let tenths = u128::from(self.0) * 10 / u128::from(unit);
                write!(f, "{}.{} {name}", tenths / 10, tenths % 10)
            }
            None => write!(f, "{} B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_which_limit_the_figures_and_what_to_change() {
        let of = |short: Short| short.of(&"bulk").to_string();
        let lane = |want_bytes, quota| {
            let (used_bytes, cap_bytes) = (1_900_000, 2 << 20);
            of(Short::Lane { used_bytes, cap_bytes, want_bytes, quota })
        };
        assert_eq!(
            lane(500_000, true),
            "lane bulk is full: its files have 1.8 MiB of 2.0 MiB, its quota; what waits in it is \
             still sent (raise its quota in [[lane]])"
        );
        assert!(lane(500_000, false).ends_with(
            "2.0 MiB, its share of [limits] disk; what waits in it is still sent (raise disk in \
             [limits], or give the lane a quota)"
        ));
        assert!(lane(3 << 20, true).starts_with("this takes 3.0 MiB and lane bulk may have 2.0"));
        let (free_bytes, keep_bytes) = (3 << 30, 4 << 30);
        assert_eq!(
            of(Short::Bytes { free_bytes, keep_bytes, missing_bytes: 1 }),
            "the file system is nearly full: 3.0 GiB are free, and 4.0 GiB are left to others by \
             [limits] keep_free; what waits in lane bulk is still sent (free space there, or lower \
             keep_free)"
        );
        let inodes = Short::Inodes { free_inodes: 12, keep_inodes: 30, missing_inodes: 1 };
        assert!(of(inodes).contains("12 inodes are free, 30 are left to others"));
    }
}
