//! First sends of a fleet that comes back together, spread over a window without any talk: each
//! gateway has its own place in it, the same every time, drawn from its id.

use std::time::Duration;

use sha2::{Digest, Sha256};

/// A gateway takes a window in which it would make about this many records by itself: then all
/// first contacts together cost the broker a fixed part of the fleet's live load, however many
/// gateways there are. (A TLS connect costs about five records: a sixth.)
const RECORDS: f64 = 30.0;
/// Bound of the waits between probes, in windows of first contact.
const PROBES: f64 = 1.25;
/// Bounds of the window, in seconds.
const BOUNDS_S: (f64, f64) = (10.0, 900.0);

/// The window of a gateway that makes `own_per_s` records a second, unless one is `configured`.
pub fn window(configured: Option<Duration>, own_per_s: f64) -> Duration {
    let own = || Duration::from_secs_f64((RECORDS / own_per_s).clamp(BOUNDS_S.0, BOUNDS_S.1));
    configured.unwrap_or_else(own)
}

/// Waits between the probes of a gateway that makes `own_per_s` records a second are within this: so the
/// probes of a fleet, too, cost the broker a fixed part of its live load.
pub fn probe_window(own_per_s: f64) -> Duration {
    window(None, own_per_s).mul_f64(PROBES)
}

/// How long a gateway waits whose place in the window is `place`.
pub fn slot(place: f64, window: Duration) -> Duration {
    window.mul_f64(place)
}

/// A gateway's stable place, in [0, 1).
pub fn place(gateway: &str) -> f64 {
    let digest = Sha256::digest(gateway.as_bytes());
    let high = digest.iter().take(4).fold(0_u32, |n, byte| n << 8 | u32::from(*byte));
    f64::from(high) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_gateway_keeps_its_slot() {
        assert_eq!(slot(place("gw-0042"), MINUTE), slot(place("gw-0042"), MINUTE));
        assert_ne!(slot(place("gw-0042"), MINUTE), slot(place("gw-0043"), MINUTE));
        assert_eq!(slot(place("gw-0042"), Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn the_window_follows_the_own_rate_within_bounds_unless_it_is_configured() {
        let seconds = [1.0, 0.2, 20.0, 0.000_1].map(|rate| window(None, rate).as_secs());
        assert_eq!(seconds, [30, 150, 10, 900]);
        assert_eq!(window(Some(MINUTE), 1.0), MINUTE);
    }

    #[test]
    fn a_fleet_fills_the_window_evenly() {
        let window = Duration::from_secs(10);
        let mut tenths = [0; 10];
        for n in 0..10_000 {
            let slot = slot(place(&format!("gw-{n:04}")), window);
            assert!(slot < window);
            tenths[usize::try_from(slot.as_secs()).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|n| (900..1100).contains(n)), "{tenths:?}");
    }
}
