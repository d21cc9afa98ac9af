//! The numbers that records carry: within a stream from 1 without gaps, while positions go on
//! through all streams of a lane.

use spillway_protocol::message::StreamId;

use super::chain::Newest;

/// Streams that are remembered: a new one comes only when the host under the data changes, or when
/// nobody knows how far the one before went.
const STREAMS_MAX: usize = 64;

/// Streams of a lane, oldest first, each with what to take off a position for its number in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Numbering(Vec<Newest>);

impl Numbering {
    /// From what the saved state and the newest segment know; new records belong to `now`, which
    /// begins at `end` if it is not the newest already.
    pub(super) fn recover<'a>(
        saved: impl Iterator<Item = &'a (u32, u64)>,
        found: Option<Newest>,
        now: StreamId,
        end: u64,
    ) -> Self {
        let known = saved.map(|&(stream, base)| Newest { stream: StreamId(stream), base });
        let mut streams: Vec<Newest> = known.collect();
        streams.extend(found.filter(|found| !streams.contains(found)));
        if streams.last().is_none_or(|last| last.stream != now) {
            streams.push(Newest { stream: now, base: end - 1 });
        }
        let forget = streams.len().saturating_sub(STREAMS_MAX);
        streams.drain(..forget);
        Self(streams)
    }

    /// As the state keeps it.
    pub(super) fn saved(&self) -> Vec<(u32, u64)> {
        self.0.iter().map(|s| (s.stream.0, s.base)).collect()
    }

    /// Stream and base of new records.
    pub(super) fn newest(&self) -> Newest {
        self.at(u64::MAX)
    }

    /// The stream that `position` belongs to.
    fn at(&self, position: u64) -> Newest {
        let found = self.0.iter().rev().find(|s| s.base < position);
        found.or(self.0.first()).copied().unwrap_or(Newest { stream: StreamId(0), base: 0 })
    }

    /// Stream of a position, and its number in it.
    pub(super) fn number(&self, position: u64) -> (StreamId, u64) {
        let at = self.at(position);
        (at.stream, position.saturating_sub(at.base))
    }

    /// What to take off `position` for its number, and where the next stream begins.
    pub(super) fn stretch(&self, position: u64) -> (u64, u64) {
        let next = self.0.iter().map(|s| s.base + 1).find(|first| *first > position);
        (self.at(position).base, next.unwrap_or(u64::MAX))
    }

    /// `from..to` as numbers: each stream with its part.
    pub(super) fn spans(&self, from: u64, to: u64) -> Vec<(StreamId, u64, u64)> {
        let mut spans = Vec::new();
        let mut start = from;
        while start < to {
            let at = self.at(start);
            let next = self.0.iter().map(|s| s.base + 1).find(|first| *first > start);
            let end = next.map_or(to, |next| next.min(to));
            spans.push((at.stream, start.saturating_sub(at.base), end.saturating_sub(at.base)));
            start = end;
        }
        spans
    }

    /// The newest number of each stream, of a lane whose next position is `end`.
    pub(super) fn newest_numbers(&self, end: u64) -> Vec<(StreamId, u64)> {
        let ends = self.0.iter().skip(1).map(|next| next.base).chain([end - 1]);
        let number = |(s, last): (&Newest, u64)| (s.stream, last.saturating_sub(s.base));
        self.0.iter().zip(ends).map(number).collect()
    }

    /// The position of a number, if the stream is known and had it, or may yet have it.
    pub(super) fn position(&self, stream: StreamId, seq: u64) -> Option<u64> {
        let at = self.0.iter().find(|s| s.stream == stream)?;
        let position = at.base.checked_add(seq).filter(|p| *p > at.base)?;
        (self.at(position).stream == stream).then_some(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: StreamId = StreamId(1);
    const B: StreamId = StreamId(2);

    #[test]
    fn numbers_begin_anew_with_each_stream_and_lead_back_to_positions() {
        let numbering = Numbering::recover([(1, 0)].iter(), None, B, 6);
        assert_eq!(numbering.saved(), [(1, 0), (2, 5)]);
        for (position, number) in [(1, (A, 1)), (5, (A, 5)), (6, (B, 1)), (9, (B, 4))] {
            assert_eq!(numbering.number(position), number);
            assert_eq!(numbering.position(number.0, number.1), Some(position));
        }
        assert_eq!(numbering.spans(4, 8), [(A, 4, 6), (B, 1, 3)]);
        assert_eq!(numbering.spans(7, 8), [(B, 2, 3)]);
        assert_eq!(numbering.newest_numbers(9), [(A, 5), (B, 3)]);
        assert_eq!(numbering.newest_numbers(6), [(A, 5), (B, 0)]);
        assert_eq!(numbering.position(A, 6), None, "that position is the next stream's");
        assert_eq!(numbering.position(A, 0), None);
        assert_eq!(numbering.position(StreamId(9), 1), None);
    }

    #[test]
    fn a_stream_that_goes_on_keeps_its_base_also_when_only_the_segment_knows_it() {
        let found = Some(Newest { stream: A, base: 3 });
        for saved in [&[][..], &[(1, 3)]] {
            assert_eq!(Numbering::recover(saved.iter(), found, A, 90).newest().base, 3);
        }
    }
}
