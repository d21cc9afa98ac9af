//! The W3C trace context that an app gave with a record.

/// Name of the property that carries it.
pub(super) const TRACEPARENT: &str = "traceparent";

/// A valid `traceparent`: which trace a record belongs to, and which span of the app made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// Version of the header's format; what later ones add is not read.
    pub version: u8,
    /// The trace's id.
    pub trace_id: [u8; 16],
    /// The id of the app's span.
    pub parent_id: [u8; 8],
    /// Flags as they came.
    pub flags: u8,
}

impl TraceContext {
    /// Reads a `traceparent`; none if it is not valid by the W3C's rules, and then it counts for
    /// nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, '-');
        let mut part = || parts.next();
        let [version] = bytes(part()?)?;
        let (trace_id, parent_id, [flags]) = (bytes(part()?)?, bytes(part()?)?, bytes(part()?)?);
        let ends_well = version > 0 || part().is_none();
        let valid = version != 0xff && trace_id != [0; 16] && parent_id != [0; 8] && ends_well;
        valid.then_some(Self { version, trace_id, parent_id, flags })
    }

    /// Whether whoever began the trace records it. If not, nobody after it should.
    pub fn sampled(&self) -> bool {
        self.flags & 1 == 1
    }
}

/// Exactly so many bytes in lowercase hex.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits: &[u8] = text.as_bytes();
    let lower = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 2 * N || !digits.iter().all(lower) {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDS: &str = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

    #[test]
    fn version_ids_and_flags_are_read() {
        let context = TraceContext::parse(&format!("00-{IDS}-01")).unwrap();
        assert_eq!((context.version, context.flags, context.sampled()), (0, 1, true));
        assert_eq!(context.trace_id[..3], [0x4b, 0xf9, 0x2f]);
        assert_eq!(context.parent_id, [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        assert!(!TraceContext::parse(&format!("00-{IDS}-02")).unwrap().sampled());
        // A later version may add something, after a dash.
        let later = TraceContext::parse(&format!("cc-{IDS}-01-what-comes")).unwrap();
        assert_eq!((later.version, later.trace_id), (0xcc, context.trace_id));
    }

    #[test]
    fn what_is_not_valid_counts_for_nothing() {
        for wrong in [
            String::new(),
            format!("ff-{IDS}-01"),
            format!("00-{IDS}-01-more"),
            format!("00-{IDS}-01-"),
            format!("00-{IDS}-1"),
            format!("00-{IDS}"),
            format!("cc-{IDS}-01x"),
            format!("00-{IDS}-01").to_uppercase(),
            format!(" 00-{IDS}-01"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01".to_owned(),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01".to_owned(),
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01".to_owned(),
            "00-4bf92f3577b34da6a3ce929d0e0e47é-00f067aa0ba902b7-01".to_owned(),
        ] {
            assert_eq!(TraceContext::parse(&wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}", like in "[0-9a-g-]{50,60}") {
            TraceContext::parse(&text);
            TraceContext::parse(&like);
        }
    }
}
