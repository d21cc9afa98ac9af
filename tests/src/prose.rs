//! Pages of docs/ that a test runs: their blocks, and what they say would be printed.

use std::path::Path;

/// A page of docs/.
pub fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks of a text: what they are said to be, and what stands in them.
pub fn blocks(text: &str) -> Vec<(&str, &str)> {
    let fenced = text.split("```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').unwrap()).collect()
}

/// Whether `found` is what the page says, where `…` may be anything.
pub fn matches(said: &str, found: &str) -> bool {
    let mut rest = found;
    for (n, piece) in said.split('…').enumerate() {
        match rest.find(piece) {
            Some(at) if at == 0 || n > 0 => rest = &rest[at + piece.len()..],
            _ => return false,
        }
    }
    rest.is_empty() || said.ends_with('…')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_answer_is_noticed() {
        assert!(matches("a…c\n", "abbc\n") && matches("a…", "abc") && matches("abc", "abc"));
        assert!(!matches("a…c\n", "abbd\n") && !matches("abc", "abcd") && !matches("b…", "abc"));
    }

    #[test]
    fn a_block_has_its_kind() {
        assert_eq!(
            blocks("x\n```sh\na\n```\ny\n```text\nb\n```\n"),
            [("sh", "a\n"), ("text", "b\n")]
        );
    }
}
