//! How far the server's clock is ahead of this machine's. Requests are signed with their date and
//! a server refuses dates 15 minutes off, but a gateway without a battery boots in 1970: so the
//! server's own `Date` corrects what is signed.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::UNIX_EPOCH;

/// Offsets below this are noise of a header with whole seconds and of the way it took.
const NOISE_MS: i64 = 2_000;
/// No server has answered yet.
const UNKNOWN: i64 = i64::MIN;

/// The offset as last seen, shared by all requests of one upstream.
#[derive(Debug)]
pub struct Skew {
    offset_ms: AtomicI64,
}

impl Default for Skew {
    fn default() -> Self {
        Self { offset_ms: AtomicI64::new(UNKNOWN) }
    }
}

impl Skew {
    /// Takes in a server's `Date`. Only for answers that are known to be the server's: a captive
    /// portal has a clock too.
    pub fn observe(&self, local_ms: u64, server_ms: u64) {
        let next = next_offset_ms(self.offset_ms(), local_ms, server_ms);
        self.offset_ms.store(next, Ordering::Relaxed);
    }

    /// The time by the server's clock, ms since 1970; this machine's until a server answered.
    pub fn server_ms(&self, local_ms: u64) -> u64 {
        local_ms.saturating_add_signed(self.offset_ms().unwrap_or(0))
    }

    /// Seconds by which the server is ahead, once known.
    pub fn offset_s(&self) -> Option<i64> {
        self.offset_ms().map(|ms| ms / 1_000)
    }

    fn offset_ms(&self) -> Option<i64> {
        let ms = self.offset_ms.load(Ordering::Relaxed);
        (ms != UNKNOWN).then_some(ms)
    }
}

/// An HTTP date in ms since 1970.
pub fn http_date_ms(text: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(text).ok()?;
    u64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

/// The latest answer counts, but a change within the noise changes nothing.
fn next_offset_ms(known_ms: Option<i64>, local_ms: u64, server_ms: u64) -> i64 {
    // `Date` has whole seconds: on average it is half a second old.
    let seen = signed(server_ms) + 500 - signed(local_ms);
    let known = known_ms.unwrap_or(0);
    if (seen - known).abs() < NOISE_MS { known } else { seen }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_767_225_600_000;

    #[test]
    fn nothing_is_known_until_a_server_answered() {
        let skew = Skew::default();
        assert_eq!((skew.offset_s(), skew.server_ms(NOW_MS)), (None, NOW_MS));
        skew.observe(NOW_MS, NOW_MS);
        assert_eq!((skew.offset_s(), skew.server_ms(NOW_MS)), (Some(0), NOW_MS));
    }

    #[test]
    fn a_gateway_that_booted_in_1970_signs_with_the_servers_time() {
        let skew = Skew::default();
        skew.observe(60_000, NOW_MS);
        assert_eq!(skew.server_ms(61_000), NOW_MS + 1_500);
        assert_eq!(skew.offset_s(), Some(1_767_225_540));
    }

    #[test]
    fn dates_are_read_in_milliseconds() {
        assert_eq!(http_date_ms("Thu, 07 Mar 2024 18:49:58 GMT"), Some(1_709_837_398_000));
        assert_eq!(http_date_ms("yesterday"), None);
    }

    #[test]
    fn noise_changes_nothing_and_the_latest_answer_counts() {
        let skew = Skew::default();
        skew.observe(NOW_MS, NOW_MS + 600_000);
        let steady = skew.server_ms(NOW_MS);
        skew.observe(NOW_MS + 1_900, NOW_MS + 600_000);
        assert_eq!(skew.server_ms(NOW_MS), steady);
        skew.observe(NOW_MS, NOW_MS - 5_000);
        assert_eq!(skew.offset_s(), Some(-4));
        skew.observe(NOW_MS, NOW_MS);
        assert!(skew.server_ms(NOW_MS) - NOW_MS < 1_000);
    }
}
