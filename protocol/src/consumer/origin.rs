//! Where a record was accepted, and its number there: the reading side of the `sw_*` properties.

use super::Fault;
use crate::message::StreamId;

/// Where a message comes from. Within one gateway, stream and lane the numbers have no gaps: a
/// missing one is a record that has not arrived (yet).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Gateway id.
    pub gateway: String,
    /// Lane; the agent's own records have `_agent`.
    pub lane: String,
    /// Stream.
    pub stream: StreamId,
    /// Number, from 1.
    pub seq: u64,
    /// When the agent accepted it, ms since 1970 by the gateway's clock.
    pub accepted_ms: u64,
    /// Whether that clock had been set.
    pub clock_set: bool,
    /// `sw_flags`, in their order; ones that this build does not know among them.
    pub flags: Vec<String>,
}

impl Origin {
    /// Reads the agent's properties. None at all is no fault: another sender made the message.
    pub(super) fn read<'a>(
        property: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Option<Self>, Fault> {
        const NAMES: [&str; 5] = ["sw_gw", "sw_lane", "sw_st", "sw_seq", "sw_at"];
        if NAMES.iter().all(|name| property(name).is_none()) {
            return Ok(None);
        }
        let text = |name| {
            let value = property(name);
            let filled = value.filter(|text| !text.is_empty()).map(str::to_owned);
            filled.ok_or_else(|| fault(name, value, "it has to name one"))
        };
        let (accepted_ms, clock_set) = parsed("sw_at", &property, AT, accepted)?;
        Ok(Some(Self {
            gateway: text("sw_gw")?,
            lane: text("sw_lane")?,
            stream: parsed("sw_st", &property, "it has to be 8 hex digits", stream)?,
            seq: parsed("sw_seq", &property, "it has to be a number from 1", seq)?,
            accepted_ms,
            clock_set,
            flags: split_flags(property("sw_flags").unwrap_or("")).map(str::to_owned).collect(),
        }))
    }

    /// Whether it has this flag.
    pub fn flag(&self, name: &str) -> bool {
        self.flags.iter().any(|flag| flag == name)
    }
}

const AT: &str = "it has to be ms since 1970, perhaps after a ~";

/// The flags of a `sw_flags`.
pub(super) fn split_flags(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|flag| !flag.is_empty())
}

fn parsed<'a, T>(
    name: &'static str,
    property: &impl Fn(&str) -> Option<&'a str>,
    problem: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, Fault> {
    let value = property(name);
    value.and_then(parse).ok_or_else(|| fault(name, value, problem))
}

fn fault(property: &'static str, value: Option<&str>, problem: &'static str) -> Fault {
    // A stranger's value may be long.
    let value = value.map(|value| value.chars().take(80).collect());
    Fault::Origin { property, value, problem }
}

fn stream(text: &str) -> Option<StreamId> {
    let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.parse().ok().filter(|_| digits)
}

fn seq(text: &str) -> Option<u64> {
    number(text).filter(|seq| *seq > 0)
}

fn accepted(text: &str) -> Option<(u64, bool)> {
    match text.strip_prefix('~') {
        Some(rest) => Some((number(rest)?, false)),
        None => Some((number(text)?, true)),
    }
}

/// Digits only: `parse` alone would take a sign.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changed: &str, value: Option<&'static str>) -> Result<Option<Origin>, Fault> {
        Origin::read(|name| match name {
            name if name == changed => value,
            "sw_gw" => Some("gw-1"),
            "sw_lane" => Some("_agent"),
            "sw_st" => Some("00c0ffee"),
            "sw_seq" => Some("1"),
            "sw_at" => Some("7"),
            _ => None,
        })
    }

    #[test]
    fn a_missing_or_garbled_part_is_named() {
        for (name, values) in [
            ("sw_gw", &[None, Some("")][..]),
            ("sw_lane", &[None, Some("")]),
            ("sw_st", &[None, Some("c0ffee"), Some("00c0ffeg"), Some("+0c0ffee"), Some("")]),
            ("sw_seq", &[None, Some("0"), Some("-1"), Some("+1"), Some("1.0"), Some("1 ")]),
            ("sw_at", &[None, Some("~"), Some("~~1"), Some("+7"), Some("now")]),
        ] {
            for value in values {
                let Err(Fault::Origin { property, .. }) = read(name, *value) else {
                    panic!("{name} {value:?} was taken");
                };
                assert_eq!(property, name);
            }
        }
    }

    #[test]
    fn whole_origins_are_read_with_and_without_flags() {
        let origin = read("sw_flags", None).unwrap().unwrap();
        assert_eq!((origin.lane.as_str(), origin.flags.len()), ("_agent", 0));
        let origin = read("sw_flags", Some("resend,,tombstone")).unwrap().unwrap();
        assert_eq!(origin.flags, ["resend", "tombstone"]);
        let origin = read("sw_seq", Some("18446744073709551615")).unwrap().unwrap();
        assert_eq!(origin.seq, u64::MAX);
    }
}
