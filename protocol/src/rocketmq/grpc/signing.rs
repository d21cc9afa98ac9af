//! Headers of every call, and their signature (`MQv2-HMAC-SHA1`).
//!
//! The signature covers nothing but the date, so whoever reads a call can repeat it: use TLS.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// `x-mq-language`: a name of the interface's language list.
const LANGUAGE: &str = "RUST";
/// `x-mq-protocol`.
const PROTOCOL: &str = "GRPC_V2";

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller<'a> {
    /// The same for all calls of one process; the server keeps its settings under it.
    pub client_id: &'a str,
    /// Instance of a hosted RocketMQ; none on one's own.
    pub namespace: Option<&'a str>,
    /// Access key, where the server asks for one.
    pub key: Option<AccessKey<'a>>,
}

/// An access key. Its `Debug` shows no secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AccessKey<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its secret.
    pub secret: &'a str,
    /// STS token that goes with a temporary key.
    pub security_token: Option<&'a str>,
}

impl std::fmt::Debug for AccessKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish()
    }
}

impl Caller<'_> {
    /// The headers of a call made at `now_ms` (ms since 1970, by the server's clock as far as it
    /// is known).
    pub fn headers(&self, request_id: &str, now_ms: u64) -> Vec<(&'static str, String)> {
        let date = date_time(now_ms);
        let mut headers = vec![
            ("x-mq-client-id", self.client_id.to_owned()),
            ("x-mq-language", LANGUAGE.to_owned()),
            ("x-mq-client-version", env!("CARGO_PKG_VERSION").to_owned()),
            ("x-mq-protocol", PROTOCOL.to_owned()),
            ("x-mq-request-id", request_id.to_owned()),
        ];
        if let Some(namespace) = self.namespace {
            headers.push(("x-mq-namespace", namespace.to_owned()));
        }
        if let Some(key) = &self.key {
            headers.push(("authorization", authorization(key, &date)));
            if let Some(token) = key.security_token {
                headers.push(("x-mq-session-token", token.to_owned()));
            }
        }
        headers.push(("x-mq-date-time", date));
        headers
    }
}

/// The `authorization` header for a call dated `date`.
pub fn authorization(key: &AccessKey<'_>, date: &str) -> String {
    format!(
        "MQv2-HMAC-SHA1 Credential={}, SignedHeaders=x-mq-date-time, Signature={}",
        key.id,
        signature(key.secret, date)
    )
}

/// Hex of HMAC-SHA1 over the date, the one signed value.
pub fn signature(secret: &str, date: &str) -> String {
    // HMAC takes keys of every length; there is no error to have.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(date.as_bytes());
    let digest = mac.finalize().into_bytes();
    digest.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// `yyyyMMddTHHmmssZ` in UTC.
pub fn date_time(now_ms: u64) -> String {
    let seconds = now_ms / 1_000;
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01. Counts in years that
/// begin with March, so that the leap day is a year's last.
fn civil_date(days: u64) -> (u64, u64, u64) {
    /// From 0000-03-01 to 1970-01-01.
    const BEFORE_1970: u64 = 719_468;
    const DAYS_400_YEARS: u64 = 146_097;
    let days = days + BEFORE_1970;
    let day_of_era = days % DAYS_400_YEARS;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12 + 1;
    let year = days / DAYS_400_YEARS * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "sk-Example/Secret+Key";

    fn caller() -> Caller<'static> {
        Caller {
            client_id: "gw-1@1",
            namespace: Some("MQ_INST_1"),
            key: Some(AccessKey { id: "AKIDEXAMPLE", secret: SECRET, security_token: Some("sts") }),
        }
    }

    #[test]
    fn the_signature_is_that_of_the_test_vector() {
        assert_eq!(
            signature(SECRET, "20240307T184958Z"),
            "A92106EECB72184B8536457D9EDF03CE86B824BA"
        );
    }

    #[test]
    fn the_date_is_utc() {
        for (seconds, date) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (951_868_799, "20000229T235959Z"),
            (1_709_837_398, "20240307T184958Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(date_time(seconds * 1_000 + 999), date);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut previous = civil_date(0);
        for days in 1..60_000 {
            let (year, month, day) = civil_date(days);
            let next = match previous {
                (y, 12, 31) => (y + 1, 1, 1),
                (y, m, d) if d == month_length(y, m) => (y, m + 1, 1),
                (y, m, d) => (y, m, d + 1),
            };
            assert_eq!((year, month, day), next);
            previous = next;
        }
    }

    fn month_length(year: u64, month: u64) -> u64 {
        let leap = matches!((year % 4, year % 100, year % 400), (0, 1.., _) | (_, _, 0));
        match month {
            2 => 28 + u64::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    #[test]
    fn a_signed_call_carries_all_headers_and_a_bare_one_no_signature() {
        let headers = caller().headers("r-1", 1_709_837_398_000);
        let value = |name: &str| headers.iter().find(|(n, _)| *n == name).map(|(_, v)| &v[..]);
        assert_eq!(value("x-mq-client-id"), Some("gw-1@1"));
        assert_eq!(value("x-mq-namespace"), Some("MQ_INST_1"));
        assert_eq!(value("x-mq-date-time"), Some("20240307T184958Z"));
        assert_eq!(value("x-mq-session-token"), Some("sts"));
        assert_eq!(
            value("authorization"),
            Some(
                "MQv2-HMAC-SHA1 Credential=AKIDEXAMPLE, SignedHeaders=x-mq-date-time, \
                 Signature=A92106EECB72184B8536457D9EDF03CE86B824BA"
            )
        );
        let bare = Caller { namespace: None, key: None, ..caller() };
        let names: Vec<_> = bare.headers("r-1", 0).into_iter().map(|(n, _)| n).collect();
        assert!(!names.contains(&"authorization") && !names.contains(&"x-mq-namespace"));
    }

    #[test]
    fn no_secret_is_shown() {
        let shown = format!("{:?}", caller());
        assert!(shown.contains("AKIDEXAMPLE") && !shown.contains("Secret"), "{shown}");
    }
}
