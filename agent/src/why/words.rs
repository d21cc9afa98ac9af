//! Numbers and sentences for people.

/// `3 d 4 h`, `2 h 5 min`, `40 s`: the two largest units.
pub(super) fn time(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let first = parts.iter().position(|(n, _)| *n > 0).unwrap_or(3);
    let shown = parts.iter().enumerate().skip(first).take(2);
    let shown = shown.filter(|(i, (n, _))| *n > 0 || *i == first);
    let text: Vec<String> = shown.map(|(_, (n, unit))| format!("{n} {unit}")).collect();
    text.join(" ")
}

/// `in 12 s`, or `at once`.
pub(super) fn within(seconds: Option<u64>) -> String {
    seconds.filter(|s| *s > 0).map_or_else(|| "at once".to_owned(), |s| format!("in {}", time(s)))
}

/// `1 record`, `12 records`.
pub(super) fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// `20 MiB`, `1.5 KiB`.
pub(super) fn bytes(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = units.into_iter().find(|(_, size)| bytes >= *size);
    let Some((unit, size)) = unit else { return format!("{bytes} B") };
    let value = format!("{:.1}", bytes as f64 / size as f64);
    format!("{} {unit}", value.trim_end_matches(".0"))
}

/// `0.5`, `35`.
pub(super) fn rate(per_s: f64) -> String {
    if per_s < 10.0 { format!("{per_s:.1}") } else { format!("{per_s:.0}") }
}

/// Words of others, without the dots at their end and what a terminal would obey.
pub(super) fn quoted(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim_end_matches(['.', ' ', '!']).to_owned()
}

/// A broker's code and words, the code once.
pub(super) fn refusal(code: &str, reason: &str) -> String {
    match reason {
        "" => quoted(code),
        reason if reason.contains(code) => quoted(reason),
        reason => quoted(&format!("{code}: {reason}")),
    }
}

/// A clause as a sentence: its first letter and its end.
pub(super) fn sentence(clause: &str) -> String {
    let mut letters = clause.chars();
    let first = letters.next().map(|first| first.to_uppercase().collect::<String>());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (90, "1 min 30 s"),
            (7_500, "2 h 5 min"),
            (90_000, "1 d 1 h"),
            (86_460, "1 d"),
        ] {
            assert_eq!(time(seconds), text);
        }
        assert_eq!((within(Some(3)), within(Some(0))), ("in 3 s".into(), "at once".into()));
        assert_eq!(
            (bytes(20 << 20), bytes(1536), bytes(9)),
            ("20 MiB".into(), "1.5 KiB".into(), "9 B".into())
        );
        assert_eq!((rate(0.52), rate(34.6)), ("0.5".into(), "35".into()));
        assert_eq!(
            (count(1, "record"), count(2, "record")),
            ("1 record".into(), "2 records".into())
        );
    }

    #[test]
    fn words_of_others_cannot_break_a_sentence() {
        assert_eq!(sentence(&quoted("no\u{1b}[2J such\ntopic. ")), "No [2J such topic.");
        assert_eq!(refusal("Bad", "400 Bad: no."), "400 Bad: no");
        assert_eq!(refusal("40001", "no."), "40001: no");
        assert_eq!(refusal("40001", ""), "40001");
    }
}
