//! Values of the command line, with units.

use std::time::Duration;

use crate::config;

const LINGER_MAX: Duration = Duration::from_secs(60);

/// `0.5`, `0.5/s`, `30/min`, `1800/h`, `10/d`, per second.
pub(super) fn rate_per_s(text: &str) -> Result<f64, String> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let seconds = match unit.trim() {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        other => return Err(format!("is per {other:?}, not per s, min, h or d")),
    };
    match number.trim().replace('_', "").parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number / seconds),
        _ => Err("is not a rate above 0 such as 0.5, 30/min or 10/d".to_owned()),
    }
}

/// A duration that is not nothing.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match config::duration(text)? {
        Duration::ZERO => Err("is no time at all".to_owned()),
        duration => Ok(duration),
    }
}

/// As long as the configuration takes it.
pub(super) fn linger(text: &str) -> Result<Duration, String> {
    match config::duration(text)? {
        linger if linger > LINGER_MAX => Err("is longer than a minute".to_owned()),
        linger => Ok(linger),
    }
}

/// A size from 1 B to the largest record, 4 MiB.
pub(super) fn record_bytes(text: &str) -> Result<u64, String> {
    match config::size_bytes(text)? {
        bytes @ 1..=4_194_304 => Ok(bytes),
        _ => Err("is not a record's size, 1 B to 4 MiB".to_owned()),
    }
}

/// `5%`, as a part of 1.
pub(super) fn part(text: &str) -> Result<f64, String> {
    let digits = text.trim().strip_suffix('%').ok_or("has no % sign")?;
    match digits.trim().parse::<f64>() {
        Ok(percent @ 0.0..=100.0) => Ok(percent / 100.0),
        _ => Err("is not a percentage from 0% to 100%".to_owned()),
    }
}

/// A multiple of at least 1.
pub(super) fn times(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(times @ 1.0..=10_000.0) => Ok(times),
        _ => Err("is not a number from 1 to 10000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units_of_time() {
        let rates = ["0.5", "30/min", "1800/h", "43200/d", "0.5/s"].map(rate_per_s);
        assert!(rates.iter().all(|rate| *rate == Ok(0.5)), "{rates:?}");
        assert!(rate_per_s("1/week").unwrap_err().contains("not per s, min, h or d"));
        for bad in ["0", "-1", "many", "inf", ""] {
            assert!(rate_per_s(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(part("5%"), Ok(0.05));
        assert!(part("5").is_err() && part("101%").is_err());
        assert!(times("0.5").is_err() && duration("0s").is_err());
        assert!(record_bytes("0 B").is_err() && record_bytes("5 MiB").is_err());
    }
}
