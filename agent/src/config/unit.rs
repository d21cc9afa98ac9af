//! Durations, sizes and percentages as people write them. A number without its unit is refused:
//! `5` may be seconds to one reader and milliseconds to another.

use std::time::Duration;

/// Units of a duration, in milliseconds. A month has no fixed length, so there is none.
const DURATION_UNITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("sec", 1_000),
    ("m", 60_000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 7 * 86_400_000),
];

/// What is longer was mistyped, and no clock could count it.
const DURATION_MAX_MS: u64 = 36_500 * 86_400_000;

/// Units of a size, in bytes.
const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// `"250ms"`, `"5s"`, `"30d"`, `"1h 30m"`. The error is what is wrong.
pub fn duration(text: &str) -> Result<Duration, String> {
    let ms = sum(text, DURATION_UNITS, "ms, s, m, h, d or w")?;
    match ms {
        0..=DURATION_MAX_MS => Ok(Duration::from_millis(ms)),
        _ => Err("is too long: at most 36500d, a hundred years".to_owned()),
    }
}

/// `"512 B"`, `"64 MiB"`, `"1 GB"`. The error is what is wrong.
pub fn size_bytes(text: &str) -> Result<u64, String> {
    sum(text, SIZE_UNITS, "B, KiB, MiB or GiB")
}

/// `"5%"`, 0 to 100. The error is what is wrong.
pub(super) fn percent(text: &str) -> Result<u32, String> {
    let digits = text.trim().strip_suffix('%').ok_or("has no % sign")?;
    match digits.trim_end().parse() {
        Ok(percent @ 0..=100) => Ok(percent),
        _ => Err("is not a whole percentage from 0% to 100%".to_owned()),
    }
}

fn sum(text: &str, units: &[(&str, u64)], expected: &str) -> Result<u64, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("is empty".to_owned());
    }
    let mut total = 0u64;
    while !rest.is_empty() {
        let (part, tail) = part(rest, units, expected)?;
        total = total.checked_add(part).ok_or("is too large")?;
        rest = tail;
    }
    Ok(total)
}

/// The first number with its unit, and what follows.
fn part<'t>(
    text: &'t str,
    units: &[(&str, u64)],
    expected: &str,
) -> Result<(u64, &'t str), String> {
    let (digits, rest) = split(text, |c| c.is_ascii_digit());
    let rest = rest.trim_start();
    let (unit, behind) = split(rest, char::is_alphabetic);
    let Ok(number) = digits.parse::<u64>() else {
        return Err("is not a whole number with its unit".to_owned());
    };
    if rest.starts_with(['.', ',']) {
        return Err("is not a whole number: write 90m for 1.5h, 1536 MiB for 1.5 GiB".to_owned());
    }
    if unit.is_empty() {
        return Err(format!("has no unit ({expected})"));
    }
    let known = units.iter().find(|(name, _)| *name == unit);
    let (_, factor) = known.ok_or_else(|| format!("has the unit {unit:?}, not {expected}"))?;
    let value = number.checked_mul(*factor).ok_or("is too large")?;
    Ok((value, behind.trim_start()))
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, ms) in [
            ("250ms", 250),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1h 30m", 5_400_000),
            (" 30 d ", 30 * 86_400_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in
            [("512 B", 512), ("64 MiB", 64 << 20), ("2KB", 2_000), ("1 GiB", 1 << 30)]
        {
            assert_eq!(size_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_has_no_unit_or_a_wrong_one_is_refused_in_words() {
        assert_eq!(duration("5").unwrap_err(), "has no unit (ms, s, m, h, d or w)");
        assert_eq!(duration("5 MiB").unwrap_err(), "has the unit \"MiB\", not ms, s, m, h, d or w");
        assert_eq!(duration("5M").unwrap_err(), "has the unit \"M\", not ms, s, m, h, d or w");
        assert_eq!(duration("soon").unwrap_err(), "is not a whole number with its unit");
        let whole = "is not a whole number: write 90m for 1.5h, 1536 MiB for 1.5 GiB";
        assert_eq!(duration("1.5h").unwrap_err(), whole);
        assert_eq!(size_bytes("1.5 GiB").unwrap_err(), whole);
        assert_eq!(duration("1h 30.5m").unwrap_err(), whole);
        let long = "is too long: at most 36500d, a hundred years";
        assert_eq!(duration("36501d").unwrap_err(), long);
        assert_eq!(duration("99999999999d").unwrap_err(), long);
        assert!(duration("36500d").is_ok());
        assert_eq!(duration("").unwrap_err(), "is empty");
        assert_eq!(size_bytes("64M").unwrap_err(), "has the unit \"M\", not B, KiB, MiB or GiB");
        assert_eq!(size_bytes("99999999999 GiB").unwrap_err(), "is too large");
        assert_eq!(percent("5").unwrap_err(), "has no % sign");
        assert!(percent("101%").is_err() && percent("-1%").is_err());
        assert_eq!(percent("5%"), Ok(5));
    }
}
