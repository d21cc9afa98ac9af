//! Numbers in words, the same wherever a plan is shown.

/// `1,234,567`; small numbers with a digit behind the point.
pub fn grouped(value: f64) -> String {
    if value > 0.0 && value < 10.0 && value.fract() > 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value <= -0.5 { format!("-{text}") } else { text }
}

/// `3h 20m`, `40s`: the two largest units.
pub fn span(seconds: f64) -> String {
    let s = seconds.round() as u64;
    let parts = [(s / 86_400, "d"), (s / 3600 % 24, "h"), (s / 60 % 60, "m"), (s % 60, "s")];
    let first = parts.iter().position(|(n, _)| *n > 0).unwrap_or(3);
    let shown = parts.iter().skip(first).take(2).filter(|(n, _)| *n > 0);
    let text: Vec<String> = shown.map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0".to_owned() } else { text.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_spans_are_short() {
        let shown = [0.0, 2.5, 999.0, 1_000.0, 1_234_567.4].map(grouped);
        assert_eq!(shown, ["0", "2.5", "999", "1,000", "1,234,567"]);
        assert_eq!([0.2, 59.6, 5400.0, 90_000.0].map(span), ["0", "1m", "1h 30m", "1d 1h"]);
    }
}
