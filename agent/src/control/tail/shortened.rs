//! How much of a record a line shows: what a watcher holds in memory does not grow with bodies.

use spillway_protocol::record::Record;

/// Most bytes of a body that a line shows. In the longest case, text of which each byte needs six
/// in JSON, the line is below [`super::watch`]'s bound for a look.
const SHOWN_MAX: usize = 64 << 10;

/// The record with the beginning of its body, and how many bytes of it that are, where its body is
/// longer. Text ends between two characters, so that it stays text.
pub(super) fn shortened(record: Record) -> (Record, Option<u64>) {
    if record.body.len() <= SHOWN_MAX {
        return (record, None);
    }
    let end = match std::str::from_utf8(&record.body) {
        Ok(text) => text.floor_char_boundary(SHOWN_MAX),
        Err(_) => SHOWN_MAX,
    };
    (Record { body: record.body.slice(..end), ..record }, Some(end as u64))
}

#[cfg(test)]
mod tests {
    use spillway_protocol::record::Draft;

    use super::*;

    fn of(body: Vec<u8>) -> (Record, Option<u64>) {
        let draft = Draft { id: Some("r-1".into()), body: body.into(), ..Draft::default() };
        shortened(draft.parse(|| unreachable!("it has an id")).unwrap())
    }

    #[test]
    fn what_is_short_is_shown_whole_and_of_what_is_long_the_beginning() {
        let (whole, cut) = of(vec![b'a'; SHOWN_MAX]);
        assert_eq!((whole.body.len(), cut), (SHOWN_MAX, None));
        let (begun, cut) = of(vec![b'a'; SHOWN_MAX + 1]);
        assert_eq!((begun.body.len(), cut), (SHOWN_MAX, Some(SHOWN_MAX as u64)));
        let (begun, cut) = of(vec![0xff; 4 << 20]);
        assert_eq!((begun.body.len(), cut), (SHOWN_MAX, Some(SHOWN_MAX as u64)));
    }

    #[test]
    fn text_is_not_cut_within_a_character() {
        let text = format!("a{}", "€".repeat(SHOWN_MAX));
        let (begun, cut) = of(text.into_bytes());
        let begun = std::str::from_utf8(&begun.body).unwrap();
        assert!(begun.ends_with('€') && begun.len() > SHOWN_MAX - 3);
        assert_eq!(cut, Some(begun.len() as u64));
    }
}
