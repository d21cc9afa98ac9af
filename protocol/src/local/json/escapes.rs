//! How long the texts of a JSON are once their escapes are undone, before anything is made of them.

/// At most so many bytes are left of `json` when each escape is replaced by what it says.
pub fn unescaped_bytes(json: &[u8]) -> usize {
    let (mut saved, mut at) = (0, 0);
    while let Some(found) = json[at..].iter().position(|&byte| byte == b'\\') {
        let (length, means) = escape(&json[at + found..]);
        saved += length - means;
        at = (at + found + length).min(json.len());
    }
    json.len() - saved
}

/// How long the escape at the beginning of `text` is, and what it says at most.
fn escape(text: &[u8]) -> (usize, usize) {
    match text.get(1..6) {
        Some([b'u', b'0', b'0', b'0'..=b'7', _]) => (6, 1),
        Some([b'u', b'0', b'0'..=b'7', ..]) => (6, 2),
        Some([b'u', ..]) => (6, 3),
        _ if text.len() < 2 => (1, 1),
        _ => (2, 1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(json: &str) -> usize {
        unescaped_bytes(json.as_bytes())
    }

    #[test]
    fn an_escape_counts_as_what_it_says() {
        assert_eq!(of(r#""\u0041\u00e9\u597d\n\"\\x""#), 2 + 1 + 2 + 3 + 3 + 1);
        assert_eq!((of(r"\\u0041"), of(r"\"), of(r"\u00"), of("")), (6, 1, 3, 0));
    }

    fn escaped(text: &str) -> String {
        let units = text.encode_utf16();
        let json: String = units.map(|unit| format!("\\u{unit:04x}")).collect();
        format!("\"{json}\"")
    }

    proptest! {
        #[test]
        fn no_text_turns_out_longer(text in ".{0,40}") {
            for json in [escaped(&text), serde_json::to_string(&text).unwrap()] {
                prop_assert_eq!(&serde_json::from_str::<String>(&json).unwrap(), &text);
                prop_assert!(of(&json) >= text.len() + 2);
                // Of what lies beyond 16 bits each half counts as a whole.
                prop_assert!(of(&json) <= text.len() * 3 / 2 + 2);
            }
        }

        #[test]
        fn anything_can_be_measured(json in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(unescaped_bytes(&json) <= json.len());
        }
    }
}
