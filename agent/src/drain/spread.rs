//! First sends of a fleet that comes back together, spread over a window without any talk: each
//! gateway has its own slot, the same every time, drawn from its id.

use std::time::Duration;

use sha2::{Digest, Sha256};

/// The window where none is configured.
const AUTO: Duration = Duration::from_secs(30);

/// How long this gateway waits within the window; `None` is the default window.
pub fn slot(gateway: &str, window: Option<Duration>) -> Duration {
    window.unwrap_or(AUTO).mul_f64(fraction(gateway))
}

/// A stable place in [0, 1).
fn fraction(gateway: &str) -> f64 {
    let digest = Sha256::digest(gateway.as_bytes());
    let high = digest.iter().take(4).fold(0_u32, |n, byte| n << 8 | u32::from(*byte));
    f64::from(high) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_keeps_its_slot() {
        assert_eq!(slot("gw-0042", None), slot("gw-0042", None));
        assert_ne!(slot("gw-0042", None), slot("gw-0043", None));
        assert_eq!(slot("gw-0042", Some(Duration::ZERO)), Duration::ZERO);
    }

    #[test]
    fn a_fleet_fills_the_window_evenly() {
        let window = Duration::from_secs(10);
        let mut tenths = [0; 10];
        for n in 0..10_000 {
            let slot = slot(&format!("gw-{n:04}"), Some(window));
            assert!(slot < window);
            tenths[usize::try_from(slot.as_secs()).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|n| (900..1100).contains(n)), "{tenths:?}");
    }
}
