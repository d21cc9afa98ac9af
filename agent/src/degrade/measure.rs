//! How full the disk is for the queue. Pure.
//!
//! The queue may have a tenth of the file system, at most 4 GiB, and leaves 15 % of it free, at most 4 GiB:
//! the defaults of `[limits]`. Its part is counted in files that hold something that waits; what is
//! kept for a resend has a bound of its own.

use crate::host::Disk;

const SHARE_PERCENT: u64 = 10;
const KEEP_FREE_PERCENT: u64 = 15;
const MOST_BYTES: u64 = 4 << 30;

/// Bytes that the queue may have, of which it has `used`.
pub(super) fn allowed_bytes(used: u64, disk: Disk) -> u64 {
    let part = |percent: u64| (disk.total_bytes / 100 * percent).min(MOST_BYTES);
    let beside = disk.free_bytes.saturating_sub(part(KEEP_FREE_PERCENT));
    part(SHARE_PERCENT).min(used + beside)
}

/// Up to where the segments (first position, the position after the last, bytes; oldest first, the
/// last one open) hold `bytes` of what waits from `oldest` on. The open one stays: dropping it
/// frees nothing.
pub(super) fn cut(segments: &[(u64, u64, u64)], oldest: u64, bytes: u64) -> u64 {
    let closed = segments.split_last().map_or(&[][..], |(_, closed)| closed);
    let (mut freed, mut cut) = (0, oldest);
    for (_, to, size) in closed.iter().filter(|(_, to, _)| *to > oldest) {
        if freed >= bytes {
            break;
        }
        freed += size;
        cut = *to;
    }
    cut
}

/// Bytes of the segments that hold something that waits from `oldest` on.
pub(super) fn used_bytes(segments: &[(u64, u64, u64)], oldest: u64) -> u64 {
    segments.iter().filter(|(_, to, _)| *to > oldest).map(|(_, _, bytes)| bytes).sum()
}

/// Bytes of the others, which are kept for a resend or about to be removed.
pub(super) fn kept_bytes(segments: &[(u64, u64, u64)], oldest: u64) -> u64 {
    segments.iter().filter(|(_, to, _)| *to <= oldest).map(|(_, _, bytes)| bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_small_disk_gives_a_tenth_a_large_one_4_gib_and_a_full_one_nothing_more() {
        let disk = |total_bytes, free_bytes| Disk { total_bytes, free_bytes };
        assert_eq!(allowed_bytes(0, disk(10 * GIB, 8 * GIB)) / (GIB / 100), 100);
        assert_eq!(allowed_bytes(0, disk(1000 * GIB, 800 * GIB)), 4 * GIB);
        assert_eq!(allowed_bytes(7, disk(1000 * GIB, 4 * GIB)), 7);
        assert_eq!(allowed_bytes(7, disk(1000 * GIB, 4 * GIB + 5)), 12);
    }

    #[test]
    fn whole_files_go_as_few_as_are_needed_and_never_the_open_one() {
        let segments = [(1, 10, 5), (10, 20, 100), (20, 30, 100), (30, 40, 100)];
        assert_eq!((used_bytes(&segments, 12), kept_bytes(&segments, 12)), (300, 5));
        assert_eq!(cut(&segments, 12, 0), 12);
        assert_eq!(cut(&segments, 12, 1), 20);
        assert_eq!(cut(&segments, 12, 100), 20);
        assert_eq!(cut(&segments, 12, 101), 30);
        assert_eq!(cut(&segments, 12, 1000), 30);
        assert_eq!(cut(&[], 1, 1000), 1);
    }
}
