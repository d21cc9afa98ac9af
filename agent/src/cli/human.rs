//! Numbers and tables for people.

use std::time::{Duration, UNIX_EPOCH};

/// `3d 4h`, `2h 5m`, `40s`: the two largest units.
pub(super) fn duration(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let first = parts.iter().position(|(n, _)| *n > 0).unwrap_or(3);
    let shown = parts.iter().skip(first).take(2).filter(|(n, _)| *n > 0);
    let text: Vec<String> = shown.map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text.join(" ") }
}

/// `512 B`, `1.5 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "KiB", "MiB", "GiB"].iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while value >= 1024.0 {
        let Some(next) = units.next() else { break };
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// `2026-05-01T12:00:00Z`.
pub(super) fn time(ms: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_secs(ms / 1000);
    humantime::format_rfc3339_seconds(at).to_string()
}

/// Text of another process on one line, without what a terminal would obey.
pub(super) fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A column's heading and side.
#[derive(Debug, Clone, Copy)]
pub(super) enum Column {
    Left(&'static str),
    Right(&'static str),
}

impl Column {
    fn heading(self) -> &'static str {
        match self {
            Self::Left(heading) | Self::Right(heading) => heading,
        }
    }
}

/// Headings and rows, each column as wide as its widest cell.
pub(super) fn table(columns: &[Column], rows: &[Vec<String>]) -> String {
    let width = |i: usize, column: &Column| {
        let cells = rows.iter().filter_map(|row| row.get(i));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(column.heading().len())
    };
    let widths: Vec<usize> = columns.iter().enumerate().map(|(i, c)| width(i, c)).collect();
    let line = |cells: Vec<&str>| {
        let padded =
            cells.iter().zip(columns).zip(&widths).map(|((cell, column), width)| match column {
                Column::Left(_) => format!("{cell:<width$}"),
                Column::Right(_) => format!("{cell:>width$}"),
            });
        let text = padded.collect::<Vec<_>>().join("  ");
        format!("{}\n", text.trim_end())
    };
    let headings = line(columns.iter().map(|column| column.heading()).collect());
    let lines = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(headings).chain(lines).collect()
}

/// `7`, or `7-20`.
pub(super) fn span((from, to): (u64, u64)) -> String {
    if from == to { from.to_string() } else { format!("{from}-{to}") }
}

/// Several, or `-` where there is none.
pub(super) fn spans(all: &[(u64, u64)]) -> String {
    let all: Vec<String> = all.iter().copied().map(span).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (s, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (7_500, "2h 5m"), (90_000, "1d 1h")] {
            assert_eq!(duration(s), text);
        }
        assert_eq!((bytes(512), bytes(1536)), ("512 B".into(), "1.5 KiB".into()));
        assert_eq!(bytes(5 << 40), "5120.0 GiB");
        assert_eq!(time(1_700_000_000_999), "2023-11-14T22:13:20Z");
    }

    #[test]
    fn columns_line_up() {
        let columns = [Column::Left("LANE"), Column::Right("N")];
        let rows = [vec!["critical".to_owned(), "1".to_owned()], vec!["a".into(), "20".into()]];
        assert_eq!(table(&columns, &rows), "LANE       N\ncritical   1\na         20\n");
    }

    #[test]
    fn nothing_printed_moves_the_cursor() {
        assert_eq!(line("a\u{1b}[2Jb\nc"), "a [2Jb c");
    }
}
