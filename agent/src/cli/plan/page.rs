//! Lines that are not too long.

/// Columns of a line.
const WIDTH: usize = 96;
/// Where values begin.
const INDENT: usize = 24;

/// A name and its value.
pub(super) type Line = (&'static str, String);

/// A title, and values behind their names.
pub(super) fn section(title: &str, lines: &[Line]) -> String {
    let line = |(name, value): &Line| wrap(&format!("{name:<INDENT$}"), INDENT, value);
    format!("{title}\n{}", lines.iter().map(line).collect::<String>())
}

/// `text` behind `first`, further lines indented.
pub(super) fn wrap(first: &str, indent: usize, text: &str) -> String {
    let mut lines = String::new();
    let mut line = first.to_owned();
    let mut is_bare = true;
    for word in text.split(' ') {
        if !is_bare && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines += &format!("{}\n", line.trim_end());
            line = " ".repeat(indent);
            is_bare = true;
        }
        if !is_bare {
            line.push(' ');
        }
        line.push_str(word);
        is_bare = false;
    }
    lines + line.trim_end() + "\n"
}
