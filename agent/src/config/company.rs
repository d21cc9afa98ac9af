//! `bundle` and `batch` of a lane: what leaves together.

use std::time::Duration;

use spillway_protocol::bundle::{BYTES_MAX, Compress, RECORDS_MAX};

use super::section::{Section, count};
use super::{Batch, Bundle, Order, Transport, unit};

/// What a bundle holds where the configuration does not say it: with deflate about 4 KiB, which a
/// bound of 4 KiB before compression would make a quarter of (docs/benchmarks.md).
const RECORDS: usize = 64;
const BYTES: usize = 16 << 10;
const LINGER: Duration = Duration::from_millis(200);
/// A longer wait would look like a lane that is stuck.
const LINGER_MAX: Duration = Duration::from_secs(60);
/// A smaller bound would let hardly two records go together.
const BYTES_LEAST: u64 = 512;

pub(super) fn bundle(lane: &Section<'_>) -> Option<Bundle> {
    let section = lane.section("bundle")?;
    let records = records(&section);
    let bytes = section.with_unit("bytes", "\"16 KiB\"", bytes);
    let linger = section.with_unit("linger", "\"200ms\"", |text| match unit::duration(text)? {
        linger if linger > LINGER_MAX => Err("is longer than a minute".to_owned()),
        linger => Ok(linger),
    });
    let words = [("deflate", Compress::Deflate), ("none", Compress::None)];
    let compress = section.choice("compress", &words);
    section.finish();
    Some(Bundle {
        records: records.unwrap_or(RECORDS),
        bytes: bytes.unwrap_or(BYTES),
        linger: linger.unwrap_or(LINGER),
        compress: compress.unwrap_or(Compress::Deflate),
    })
}

/// A batch, and why there cannot be one in this lane.
pub(super) fn batch(
    lane: &Section<'_>,
    transport: Option<Transport>,
    order: Order,
) -> Option<Batch> {
    let section = lane.section("batch")?;
    let records = records(&section);
    section.finish();
    let broken = "breaks the order: RocketMQ spreads the messages of a batch over all queues";
    let refused = [
        (order != Order::None, broken, "leave it out, or write bundle"),
        (
            transport == Some(Transport::Http),
            "is not known to the MQ HTTP API",
            "leave it out, or write bundle",
        ),
        (lane.node("bundle").is_some(), "stands beside bundle", "leave one of them out"),
    ];
    let refused = refused.into_iter().filter(|(applies, ..)| *applies);
    refused.for_each(|(_, problem, remedy)| lane.fault("batch", problem, remedy));
    Some(Batch { records: records.unwrap_or(RECORDS) })
}

/// What `check` says of a lane that drains more slowly than it need.
pub(super) fn hint(lane: &Section<'_>, order: Order) {
    if order == Order::Lane && lane.node("bundle").is_none() {
        let message = "drains one message a round trip (10 a second over a link of 100 ms), since each waits \
             for the one before it; bundle = {} sends many in one message, for consumers that unpack \
             bundles (docs/message-format.md)";
        lane.warn("order", message);
    }
}

fn records(section: &Section<'_>) -> Option<usize> {
    section.parsed("records", "64", |value| match count(value, 2)? as usize {
        records if records > RECORDS_MAX => Err(format!("is more than {RECORDS_MAX}")),
        records => Ok(records),
    })
}

fn bytes(text: &str) -> Result<usize, String> {
    match unit::size_bytes(text)? {
        bytes if bytes < BYTES_LEAST => Err(format!("is less than {BYTES_LEAST} B")),
        bytes => match usize::try_from(bytes) {
            Ok(bytes) if bytes <= BYTES_MAX => Ok(bytes),
            _ => Err("is more than 1 MiB".to_owned()),
        },
    }
}
