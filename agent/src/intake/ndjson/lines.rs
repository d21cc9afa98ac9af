//! Cuts a stream of bytes into lines, keeping no more of a line than it may have.

use std::mem::take;

use bytes::{Bytes, BytesMut};

/// A line, or what stands in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its end.
    Whole(Bytes),
    /// It was longer than a line may be.
    TooLong,
    /// There was no memory for it.
    NoRoom,
}

/// The line under way.
#[derive(Debug)]
enum Partial {
    Kept(BytesMut),
    TooLong,
    NoRoom,
}

impl Default for Partial {
    fn default() -> Self {
        Self::Kept(BytesMut::new())
    }
}

#[derive(Debug)]
pub(super) struct Lines {
    max_bytes: usize,
    partial: Partial,
    chunk: Bytes,
}

impl Lines {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, partial: Partial::default(), chunk: Bytes::new() }
    }

    /// The next bytes, once [`Self::next`] has no more.
    pub(super) fn push(&mut self, chunk: Bytes) {
        self.chunk = chunk;
    }

    /// The next line that is whole.
    pub(super) fn next(&mut self) -> Option<Line> {
        match self.chunk.iter().position(|&byte| byte == b'\n') {
            Some(at) => {
                let end = self.chunk.split_to(at + 1).slice(..at);
                Some(self.complete(end))
            }
            None => {
                let chunk = take(&mut self.chunk);
                self.keep(&chunk);
                None
            }
        }
    }

    /// The last line, if it came without an end.
    pub(super) fn finish(&mut self) -> Option<Line> {
        match &self.partial {
            Partial::Kept(partial) if partial.is_empty() => None,
            _ => Some(self.complete(Bytes::new())),
        }
    }

    /// Bytes kept of the line under way.
    pub(super) fn kept_bytes(&self) -> usize {
        match &self.partial {
            Partial::Kept(partial) => partial.len(),
            _ => 0,
        }
    }

    /// Gives up the line under way: there is no memory for it.
    pub(super) fn give_up(&mut self) {
        self.partial = Partial::NoRoom;
    }

    fn complete(&mut self, end: Bytes) -> Line {
        if self.kept_bytes() > 0 {
            self.keep(&end);
        }
        match take(&mut self.partial) {
            Partial::TooLong => Line::TooLong,
            Partial::NoRoom => Line::NoRoom,
            Partial::Kept(_) if end.len() > self.max_bytes => Line::TooLong,
            Partial::Kept(partial) if partial.is_empty() => Line::Whole(end),
            Partial::Kept(partial) => Line::Whole(partial.freeze()),
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Partial::Kept(partial) = &mut self.partial {
            if partial.len() + bytes.len() > self.max_bytes {
                self.partial = Partial::TooLong;
            } else {
                partial.extend_from_slice(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(chunks: &[&[u8]], max: usize) -> Vec<Line> {
        let mut lines = Lines::new(max);
        let mut out = Vec::new();
        for chunk in chunks {
            lines.push(Bytes::copy_from_slice(chunk));
            while let Some(line) = lines.next() {
                out.push(line);
            }
        }
        out.extend(lines.finish());
        out
    }

    fn whole(text: &'static str) -> Line {
        Line::Whole(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn lines_are_cut_wherever_the_chunks_end() {
        assert_eq!(
            cut(&[b"a\nb", b"", b"c\n", b"\nd"], 9),
            [whole("a"), whole("bc"), whole(""), whole("d")]
        );
        assert_eq!(cut(&[b""], 9), []);
        assert_eq!(cut(&[b"a\n"], 9), [whole("a")]);
    }

    #[test]
    fn a_line_too_long_is_passed_over_and_the_next_one_comes() {
        assert_eq!(cut(&[b"12345", b"6789", b"0\nab\n"], 4), [Line::TooLong, whole("ab")]);
        assert_eq!(cut(&[b"12345\nab"], 4), [Line::TooLong, whole("ab")]);
        assert_eq!(cut(&[b"12", b"345\n1234"], 4), [Line::TooLong, whole("1234")]);
        assert_eq!(cut(&[b"12345"], 4), [Line::TooLong]);
    }

    #[test]
    fn a_line_given_up_is_passed_over() {
        let mut lines = Lines::new(9);
        lines.push(Bytes::from_static(b"ab"));
        assert_eq!((lines.next(), lines.kept_bytes()), (None, 2));
        lines.give_up();
        lines.push(Bytes::from_static(b"cd\nef\n"));
        assert_eq!(lines.next(), Some(Line::NoRoom));
        assert_eq!(lines.next(), Some(whole("ef")));
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_lines(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..60),
            at in 0usize..60,
        ) {
            let at = at.min(text.len());
            prop_assert_eq!(cut(&[&text[..at], &text[at..]], 7), cut(&[&text], 7));
        }
    }
}
