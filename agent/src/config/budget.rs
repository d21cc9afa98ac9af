//! `[budget]`: bytes on the wire in a day.

use super::lane::required;
use super::section::Section;
use super::{Budget, Lane, unit};

const EXAMPLE: &str = "\"20 MiB\"";
const RESERVE_PERCENT: u32 = 25;
/// Some connections with TLS and a handful of records.
const LEAST_BYTES: u64 = 64 << 10;

pub(super) fn read(section: Section<'_>, lanes: &[Lane]) -> Option<Budget> {
    if section.node("bytes_per_day").is_none() {
        required(&section, "bytes_per_day", EXAMPLE, |_| Ok(()));
    }
    let bytes_per_day =
        section.with_unit("bytes_per_day", EXAMPLE, |text| match unit::size_bytes(text)? {
            ..LEAST_BYTES => Err("is less than the 64 KiB that a few connections cost".to_owned()),
            bytes => Ok(bytes),
        });
    let reserve = section.with_unit("reserve", "\"25%\"", |text| match unit::percent(text)? {
        100.. => Err("leaves nothing to the other lanes".to_owned()),
        percent => Ok(percent),
    });
    let first = lanes.first().map(|lane| lane.priority);
    if reserve.is_some() && lanes.iter().all(|lane| Some(lane.priority) == first) {
        section.warn("reserve", "is for nobody: all lanes have the same priority");
    }
    section.finish();
    Some(Budget {
        bytes_per_day: bytes_per_day?,
        reserve_percent: reserve.unwrap_or(RESERVE_PERCENT),
    })
}
