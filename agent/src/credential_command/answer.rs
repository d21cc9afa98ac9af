//! The program's answer: a JSON object with our names or those of Aliyun's STS. Pure; no message
//! holds what was read.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use super::Brought;
use crate::clock::WallClock;
use crate::config::{Credentials, Secret};

const ID: [&str; 2] = ["access_key_id", "AccessKeyId"];
const SECRET: [&str; 2] = ["access_key_secret", "AccessKeySecret"];
const TOKEN: [&str; 2] = ["security_token", "SecurityToken"];
const EXPIRES: [&str; 2] = ["expires_at", "Expiration"];
/// Of STS' own answers; the names stand in it.
const INSIDE: &str = "Credentials";

/// It is no access key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not JSON, or no object.
    #[error("prints no JSON object; print {{\"access_key_id\": .., \"access_key_secret\": ..}}")]
    NoObject,
    /// A name is missing.
    #[error("prints no {0}, or not as a text")]
    Missing(&'static str),
    /// The time cannot be read.
    #[error("prints an expires_at that is no time such as 2026-03-07T18:49:58Z")]
    Time,
}

pub(super) fn read(text: &[u8], clock: &dyn WallClock) -> Result<Brought, AnswerError> {
    let whole: Value = serde_json::from_slice(text).map_err(|_| AnswerError::NoObject)?;
    let object = whole.get(INSIDE).unwrap_or(&whole);
    if !object.is_object() {
        return Err(AnswerError::NoObject);
    }
    let needed = |names: [&'static str; 2]| {
        let found = named(object, names)?.filter(|text| !text.trim().is_empty());
        found.map(|text| text.trim().to_owned()).ok_or(AnswerError::Missing(names[0]))
    };
    let (id, secret) = (needed(ID)?, Secret::new(needed(SECRET)?));
    let token = named(object, TOKEN)?.filter(|token| !token.trim().is_empty());
    let security_token = token.map(|token| Secret::new(token.trim()));
    let expires_ms = named(object, EXPIRES)?.map(unix_ms).transpose()?;
    let left_ms = expires_ms.filter(|_| clock.is_set());
    let left_ms = left_ms.map(|expires_ms| expires_ms.saturating_sub(clock.now_ms()));
    let credentials = Credentials { id, secret, security_token };
    Ok(Brought { credentials, lasts: left_ms.map(Duration::from_millis) })
}

/// The text under one of the names; null is as good as nothing.
fn named<'a>(object: &'a Value, names: [&'static str; 2]) -> Result<Option<&'a str>, AnswerError> {
    match names.iter().find_map(|name| object.get(name)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(AnswerError::Missing(names[0])),
    }
}

/// A time of RFC 3339 in ms since 1970.
fn unix_ms(text: &str) -> Result<u64, AnswerError> {
    let (utc, ahead_min) = without_offset(text.trim()).ok_or(AnswerError::Time)?;
    let time = humantime::parse_rfc3339(&utc).map_err(|_| AnswerError::Time)?;
    let ms = time.duration_since(UNIX_EPOCH).map_err(|_| AnswerError::Time)?.as_millis();
    let ms = i64::try_from(ms).map_err(|_| AnswerError::Time)? - ahead_min * 60_000;
    Ok(u64::try_from(ms).unwrap_or(0))
}

/// `2026-03-08T02:49:58+08:00` as if it were UTC, and by how many minutes it is ahead of that.
fn without_offset(text: &str) -> Option<(String, i64)> {
    if text.ends_with(['Z', 'z']) {
        return Some((text.to_ascii_uppercase(), 0));
    }
    let at = text.len().checked_sub(6).filter(|at| text.is_char_boundary(*at))?;
    let (time, offset) = text.split_at(at);
    let sign = match offset.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = offset[1..].split_once(':')?;
    let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
    let valid = hours < 24 && minutes < 60;
    valid.then(|| (format!("{time}Z"), sign * (i64::from(hours) * 60 + i64::from(minutes))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-07T18:49:58Z.
    const NOW_MS: u64 = 1_772_909_398_000;

    struct At(u64);

    impl WallClock for At {
        fn now_ms(&self) -> u64 {
            self.0
        }
    }

    fn lasts(time: &str) -> Result<Option<Duration>, AnswerError> {
        let text = format!(
            r#"{{"access_key_id": "id", "access_key_secret": "secret", "expires_at": {time}}}"#
        );
        read(text.as_bytes(), &At(NOW_MS)).map(|brought| brought.lasts)
    }

    #[test]
    fn both_kinds_of_names_are_read_and_the_object_within() {
        let ours = r#"{"access_key_id": " id\n", "access_key_secret": "s", "security_token": "t"}"#;
        let theirs = r#"{"RequestId": "x", "Credentials": {"AccessKeyId": "id",
            "AccessKeySecret": "s", "SecurityToken": "t", "Expiration": "2026-03-07T19:49:58Z"}}"#;
        let [ours, theirs] = [ours, theirs].map(|text| read(text.as_bytes(), &At(NOW_MS)).unwrap());
        assert_eq!(ours.credentials, theirs.credentials);
        assert_eq!(ours.credentials.security_token.as_ref().unwrap().reveal(), "t");
        assert_eq!((ours.lasts, theirs.lasts), (None, Some(Duration::from_secs(3600))));
    }

    #[test]
    fn times_have_offsets_and_one_that_is_over_lasts_no_longer() {
        let s = |s| Ok(Some(Duration::from_secs(s)));
        assert_eq!(lasts("\"2026-03-07T18:50:58Z\""), s(60));
        assert_eq!(lasts("\"2026-03-08T02:50:58+08:00\""), s(60));
        assert_eq!(lasts("\"2026-03-07T14:20:58.000-04:30\""), s(60));
        assert_eq!(lasts("\"2020-03-07T18:50:58Z\""), s(0));
        assert_eq!(lasts("null"), Ok(None));
        for wrong in
            ["\"tomorrow\"", "\"\"", "\"2026-03-07\"", "\"2026-03-07T18:50:58\"", "\"é+08:00\""]
        {
            assert_eq!(lasts(wrong), Err(AnswerError::Time), "{wrong}");
        }
        assert_eq!(lasts("5"), Err(AnswerError::Missing("expires_at")));
    }

    #[test]
    fn while_the_clock_is_not_set_nobody_knows_how_long_it_lasts() {
        let text = br#"{"AccessKeyId": "id", "AccessKeySecret": "s", "Expiration": "2026-03-07T19:49:58Z"}"#;
        assert_eq!(read(text, &At(3_000)).unwrap().lasts, None);
    }

    #[test]
    fn what_is_no_key_is_told_without_its_text() {
        for (text, expected) in [
            ("secret-text", AnswerError::NoObject),
            ("[\"secret-text\"]", AnswerError::NoObject),
            (r#"{"Credentials": "secret-text"}"#, AnswerError::NoObject),
            (r#"{"access_key_id": "i"}"#, AnswerError::Missing("access_key_secret")),
            (
                r#"{"access_key_id": "", "access_key_secret": "s"}"#,
                AnswerError::Missing("access_key_id"),
            ),
            (
                r#"{"access_key_id": 5, "access_key_secret": "s"}"#,
                AnswerError::Missing("access_key_id"),
            ),
        ] {
            let error = read(text.as_bytes(), &At(NOW_MS)).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("secret-text"), "{error}");
        }
    }
}
