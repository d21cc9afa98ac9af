//! What of a lane goes so that it takes up less. Pure.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_files_go_as_few_as_are_needed_and_never_the_open_one() {
        let segments = [(1, 10, 5), (10, 20, 100), (20, 30, 100), (30, 40, 100)];
        assert_eq!(cut(&segments, 12, 0), 12);
        assert_eq!(cut(&segments, 12, 1), 20);
        assert_eq!(cut(&segments, 12, 100), 20);
        assert_eq!(cut(&segments, 12, 101), 30);
        assert_eq!(cut(&segments, 12, 1000), 30);
        assert_eq!(cut(&[], 1, 1000), 1);
    }
}
