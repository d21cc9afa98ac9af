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

/// The page's blocks of commands, each with what it says they print.
pub fn steps(page: &str) -> Vec<(&str, Option<&str>)> {
    let blocks = blocks(page);
    let said =
        |n: usize| blocks.get(n + 1).filter(|(kind, _)| *kind == "text").map(|(_, said)| *said);
    let shell = blocks.iter().enumerate().filter(|(_, (kind, _))| *kind == "sh");
    shell.map(|(n, (_, commands))| (*commands, said(n))).collect()
}

/// Whether all lines that the page says were printed, in this order; others may stand between.
pub fn lines_match(said: &str, found: &str) -> bool {
    let mut found = found.lines();
    said.lines().all(|said| found.by_ref().any(|found| matches(said, found)))
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
    fn what_the_page_says_has_to_be_printed() {
        assert!(lines_match("a\nc…\n", "a\nb\ncd\n"));
        assert!(!lines_match("c\na\n", "a\nb\nc\n") && !lines_match("a\n", "ab\n"));
    }

    #[test]
    fn a_block_has_its_kind() {
        assert_eq!(
            blocks("x\n```sh\na\n```\ny\n```text\nb\n```\n"),
            [("sh", "a\n"), ("text", "b\n")]
        );
    }
}
