//! `[limits]`, and what lanes and dead letters do at their limits.

use super::section::Section;
use super::{Lane, Limits, unit};

const MEMORY_BYTES: u64 = 32 << 20;
/// Two of the largest records, as they come in and as they go out.
const MEMORY_LEAST_BYTES: u64 = 16 << 20;
/// A percentage of a large file system is no more than this.
const PERCENTAGE_MOST_BYTES: u64 = 4 << 30;
/// A lane is kept in files of at least 64 KiB, and gives disk back file by file.
const QUOTA_LEAST_BYTES: u64 = 1 << 20;
/// With less of it nothing but the smallest records would ever fit.
const DISK_LEAST_BYTES: u64 = 1 << 20;

/// A part of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Of its size, but at most 4 GiB.
    Percent(u32),
    /// So many.
    Bytes(u64),
}

impl Share {
    /// `[limits] disk` where nothing is said.
    pub const DISK: Self = Self::Percent(10);
    /// `[limits] keep_free` where nothing is said.
    pub const KEEP_FREE: Self = Self::Percent(15);

    /// Bytes of a file system of this size.
    pub fn of(self, total_bytes: u64) -> u64 {
        match self {
            Self::Percent(percent) => {
                let part = u128::from(total_bytes) * u128::from(percent) / 100;
                u64::try_from(part).unwrap_or(u64::MAX).min(PERCENTAGE_MOST_BYTES)
            }
            Self::Bytes(bytes) => bytes,
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        match text.trim_end().ends_with('%') {
            true => unit::percent(text).map(Self::Percent),
            false => unit::size_bytes(text).map(Self::Bytes),
        }
    }
}

/// What becomes of a new record when there is no room for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It is refused.
    #[default]
    Reject,
    /// The oldest make room for it.
    DropOldest,
}

pub(super) fn limits(section: Section<'_>) -> Limits {
    let memory_bytes = section.with_unit("memory", "\"32 MiB\"", |text| {
        let bytes = unit::size_bytes(text)?;
        if bytes < MEMORY_LEAST_BYTES {
            return Err("is less than the 16 MiB that the largest records need".to_owned());
        }
        Ok(bytes)
    });
    let disk =
        section.with_unit("disk", "\"10%\" or \"2 GiB\"", |text| match Share::parse(text)? {
            Share::Percent(0) => Err("leaves the queue nothing".to_owned()),
            Share::Bytes(..DISK_LEAST_BYTES) => Err("is less than 1 MiB".to_owned()),
            share => Ok(share),
        });
    let keep_free =
        section.with_unit("keep_free", "\"15%\" or \"1 GiB\"", |text| match Share::parse(text)? {
            Share::Percent(100) => Err("leaves the queue nothing".to_owned()),
            share => Ok(share),
        });
    section.finish();
    Limits {
        memory_bytes: memory_bytes.unwrap_or(MEMORY_BYTES),
        disk: disk.unwrap_or(Share::DISK),
        keep_free: keep_free.unwrap_or(Share::KEEP_FREE),
    }
}

/// `quota` of a lane.
pub(super) fn quota(section: &Section<'_>) -> Option<u64> {
    let quota = section.with_unit("quota", "\"256 MiB\", or \"none\"", |text| match text {
        "none" => Ok(None),
        text => match unit::size_bytes(text)? {
            ..QUOTA_LEAST_BYTES => Err("is less than 1 MiB, the least a lane can work with".into()),
            bytes => Ok(Some(bytes)),
        },
    });
    quota.flatten()
}

/// `when_full` of a lane.
pub(super) fn when_full(section: &Section<'_>) -> WhenFull {
    let words = [("reject", WhenFull::Reject), ("drop-oldest", WhenFull::DropOldest)];
    section.choice("when_full", &words).unwrap_or_default()
}

/// Quotas that cannot all be had work, but are smaller than they are written.
pub(super) fn check(root: &Section<'_>, limits: &Limits, lanes: &[Lane]) {
    let Share::Bytes(disk) = limits.disk else { return };
    let quotas = lanes.iter().filter_map(|lane| lane.quota_bytes);
    if quotas.fold(0, u64::saturating_add) > disk {
        let message = "the lanes' quotas together are more than [limits] disk, which is shared out \
                       in their proportion; raise disk or lower the quotas";
        root.warn("lane", message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_percentage_is_at_most_4_gib_and_a_size_is_what_it_says() {
        assert_eq!(Share::DISK.of(10 * GIB), GIB);
        assert_eq!(Share::DISK.of(1000 * GIB), 4 * GIB);
        assert_eq!(Share::Percent(100).of(u64::MAX), 4 * GIB);
        assert_eq!(Share::Bytes(9 * GIB).of(GIB), 9 * GIB);
        assert_eq!(Share::parse("2 GiB"), Ok(Share::Bytes(2 * GIB)));
        assert_eq!(Share::parse(" 7 %"), Ok(Share::Percent(7)));
        assert!(Share::parse("7").is_err() && Share::parse("101%").is_err());
    }
}
