//! Times as databases write them: UTC, without an offset.

use mysql_async::Value;

/// A number below this counts seconds, one above milliseconds.
const MS_FROM: i64 = 100_000_000_000;

/// RFC 3339 text (a space instead of the T, and no offset, are fine), or a number since 1970.
/// Nothing stays nothing; `None` if it is no time.
pub(super) fn value(value: Value) -> Option<Value> {
    match value {
        Value::NULL => Some(Value::NULL),
        Value::Int(number) => of_number(number),
        Value::UInt(number) => of_number(i64::try_from(number).ok()?),
        Value::Double(number) if number.is_finite() && number.abs() < 9e15 => {
            // Seconds with a fraction.
            let ms = if number.abs() < MS_FROM as f64 { number * 1000.0 } else { number };
            of_ms(ms.round() as i64)
        }
        Value::Bytes(text) => of_text(std::str::from_utf8(&text).ok()?),
        _ => None,
    }
}

fn of_number(number: i64) -> Option<Value> {
    of_ms(if number.abs() < MS_FROM { number.checked_mul(1000)? } else { number })
}

fn of_ms(ms: i64) -> Option<Value> {
    of_micros(ms.checked_mul(1000)?)
}

fn of_micros(micros: i64) -> Option<Value> {
    let (second, micro) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (year, month, day) = civil(second.div_euclid(86_400));
    let second = second.rem_euclid(86_400);
    let year = u16::try_from(year).ok().filter(|year| (1..=9999).contains(year))?;
    let part = |number: i64| u8::try_from(number).ok();
    Some(Value::Date(
        year,
        part(month)?,
        part(day)?,
        part(second / 3600)?,
        part(second / 60 % 60)?,
        part(second % 60)?,
        u32::try_from(micro).ok()?,
    ))
}

fn of_text(text: &str) -> Option<Value> {
    let text = text.trim();
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = numbers(date, '-')?;
    // The offset begins at the end of the clock's digits.
    let end = time.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.');
    let (clock, offset) = time.split_at(end.unwrap_or(time.len()));
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let [hour, minute, second] = numbers(clock, ':').or_else(|| {
        let [hour, minute] = numbers(clock, ':')?;
        Some([hour, minute, 0])
    })?;
    let real = (1..=12).contains(&month)
        && civil(days(year, month, day)) == (year, month, day)
        && hour < 24
        && minute < 60
        && second < 60;
    let micro: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    real.then_some(())?;
    of_micros((seconds - offset_s(offset)?) * 1_000_000 + micro)
}

fn offset_s(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first() {
        None | Some(b'Z' | b'z') if text.len() <= 1 => return Some(0),
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return None,
    };
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    let [hour, minute] = [digits.get(..2)?, digits.get(2..4)?].map(|part| part.parse::<i64>());
    (digits.len() == 4).then_some(sign * (hour.ok()? * 3600 + minute.ok()? * 60))
}

fn numbers<const N: usize>(text: &str, between: char) -> Option<[i64; N]> {
    let digits = |part: &str| {
        let fits = (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| part.parse().ok()).flatten()
    };
    let numbers: Option<Vec<i64>> = text.split(between).map(digits).collect();
    numbers?.try_into().ok()
}

/// Days since 1970 of a date of the Gregorian calendar. Years begin in March here, so that the day
/// that may be missing is a year's last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (month * 153 + 2) / 5
        + day
        - 1
        - 719_468
}

/// The date of a day since 1970.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, date)
}

/// A day since 1970 as `2026-11-21`.
pub(crate) fn date(day: u64) -> String {
    let (year, month, day) = civil(i64::try_from(day).unwrap_or(0));
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(time: &str) -> Option<String> {
        let Value::Date(y, mo, d, h, mi, s, us) = value(time.into())? else { return None };
        Some(format!("{y:04}-{mo:02}-{d:02} {h:02}:{mi:02}:{s:02}.{us:06}"))
    }

    #[test]
    fn times_become_utc() {
        for (given, utc) in [
            ("2026-11-21T13:00:00Z", "2026-11-21 13:00:00.000000"),
            ("2026-11-21T13:00:00.25+08:00", "2026-11-21 05:00:00.250000"),
            ("2024-02-29 23:30-0100", "2024-03-01 00:30:00.000000"),
            ("1969-12-31T23:59:59", "1969-12-31 23:59:59.000000"),
        ] {
            assert_eq!(text(given).as_deref(), Some(utc), "{given}");
        }
        let number = |value: Value| super::value(value).unwrap();
        let date = Value::Date(2023, 11, 14, 22, 13, 20, 123_000);
        assert_eq!(number(Value::Int(1_700_000_000_123)), date);
        assert_eq!(number(Value::Double(1_700_000_000.123)), date);
        assert_eq!(number(Value::Int(0)), Value::Date(1970, 1, 1, 0, 0, 0, 0));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for given in [
            "",
            "soon",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01",
            "2026-01-01T25:00:00Z",
            "2026-01-01T00:00:00+8",
            "2026-01-01T00:00:00 Z",
        ] {
            assert_eq!(text(given), None, "{given}");
        }
        assert_eq!(value(Value::Int(i64::MAX)), None);
    }
}
