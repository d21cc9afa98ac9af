//! SIGKILLs of the agent, and what they make it send again.
//!
//! **The bound.** The agent notes what was delivered every 200 ms. What a kill makes it send again
//! is what was delivered since the last note, and what was in flight.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::arrival::Arrival;
use crate::gateway::{Gateway, now_ms};
use crate::oracle::{self, Repeat};

/// Most requests that the agent has in flight.
pub const IN_FLIGHT_MAX: usize = 160;
/// A note is 200 ms old at most, and takes a sync. No figure (3 s were once not enough on a machine
/// that ran out of memory meanwhile): an agent that lives longer and notes nothing is found out.
const NOTED_WITHIN_MS: u64 = 8000;
/// What was in flight may reach the broker after the kill.
const ARRIVES_WITHIN_MS: u64 = 5000;
/// Clocks of files tick every 4 ms.
const TICK_MS: u64 = 10;

/// One kill.
#[derive(Debug)]
pub struct Kill {
    at_ms: u64,
    /// Until when deliveries had been noted, by lane.
    noted_ms: BTreeMap<String, u64>,
}

impl Kill {
    /// Kills the agent.
    pub fn of(gateway: &mut Gateway, lanes: &[&str]) -> Self {
        gateway.kill();
        let folder = gateway.data_dir().join("lanes");
        let noted = |lane: &&str| ((*lane).to_owned(), noted_ms(&folder.join(lane)));
        Self { at_ms: now_ms(), noted_ms: lanes.iter().map(noted).collect() }
    }

    /// Whether it came between the two arrivals, or while the first one was under way; and not so
    /// long after it that the delivery must have been noted: then an answer was lost before.
    fn explains(&self, (first, again): &Repeat<'_>) -> bool {
        let unnoted = self.at_ms <= first.at_ms + NOTED_WITHIN_MS;
        let under_way = first.at_ms <= self.at_ms + ARRIVES_WITHIN_MS;
        unnoted && under_way && self.at_ms <= again.at_ms + TICK_MS
    }
}

/// When the lane's state was written last; 0 if it never was.
fn noted_ms(lane: &Path) -> u64 {
    let written = |slot: &str| {
        let modified = lane.join(slot).metadata().ok()?.modified().unwrap();
        u64::try_from(modified.duration_since(UNIX_EPOCH).unwrap().as_millis()).ok()
    };
    ["state-0", "state-1"].into_iter().filter_map(written).max().unwrap_or(0)
}

/// What arrived more than once.
#[derive(Debug, Default)]
pub struct Repeats<'a> {
    /// How many arrivals there were.
    pub arrivals: usize,
    /// How many of them were repeats that a kill explains.
    pub by_kills: usize,
    /// Repeats that no kill explains.
    pub unexplained: Vec<Repeat<'a>>,
    /// How long before its kill the oldest of them was delivered.
    pub oldest_ms: u64,
    /// Most that one kill had sent again although delivered before the last note.
    pub noted_most: usize,
}

impl std::fmt::Display for Repeats<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} arrivals, {} repeats by kills, {} others; the oldest was delivered {} ms before \
             its kill, at most {} of one kill before the last note",
            self.arrivals,
            self.by_kills,
            self.unexplained.len(),
            self.oldest_ms,
            self.noted_most
        )
    }
}

/// Tells what kills made come again, and asserts the bound of the module.
#[track_caller]
pub fn explain<'a>(arrived: &'a [Arrival], kills: &[Kill]) -> Repeats<'a> {
    let mut repeats = Repeats { arrivals: arrived.len(), ..Repeats::default() };
    let mut noted = vec![0; kills.len()];
    for repeat in oracle::repeats(arrived) {
        let first = repeat.0;
        // The first one after the delivery; else the last one before it.
        let after = |kill: &&Kill| kill.at_ms >= first.at_ms;
        let mut possible = kills.iter().filter(|kill| kill.explains(&repeat));
        let Some(kill) = possible.clone().find(after).or_else(|| possible.next_back()) else {
            repeats.unexplained.push(repeat);
            continue;
        };
        let age_ms = kill.at_ms.saturating_sub(first.at_ms);
        repeats.by_kills += 1;
        repeats.oldest_ms = repeats.oldest_ms.max(age_ms);
        if first.at_ms + TICK_MS < kill.noted_ms[&first.lane] {
            let nth = kills.iter().position(|other| std::ptr::eq(other, kill)).unwrap();
            noted[nth] += 1;
        }
    }
    repeats.noted_most = noted.into_iter().max().unwrap_or(0);
    let most = repeats.noted_most;
    assert!(most <= IN_FLIGHT_MAX, "{most} were sent again though noted as delivered");
    repeats
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_MS: u64 = 100_000;

    fn arrival(nth: usize, at_ms: u64) -> Arrival {
        Arrival {
            id: format!("r-{nth}"),
            key: String::new(),
            tag: None,
            order_key: None,
            lane: "main".to_owned(),
            stream: String::new(),
            seq: nth as u64,
            body: "x".into(),
            place: (0, at_ms),
            at_ms,
        }
    }

    /// `count` records delivered so long before the kill, and again after it.
    fn twice(count: usize, before_ms: u64) -> Vec<Arrival> {
        let times = [AT_MS - before_ms, AT_MS + 500];
        (0..count).flat_map(|nth| times.map(|at_ms| arrival(nth, at_ms))).collect()
    }

    fn kill() -> [Kill; 1] {
        [Kill { at_ms: AT_MS, noted_ms: [("main".to_owned(), AT_MS - 100)].into() }]
    }

    #[test]
    fn what_was_delivered_since_the_last_note_may_come_again() {
        let arrived = twice(1000, 50);
        let repeats = explain(&arrived, &kill());
        assert_eq!((repeats.by_kills, repeats.noted_most, repeats.oldest_ms), (1000, 0, 50));
        assert!(repeats.unexplained.is_empty());
        assert_eq!(explain(&arrived, &[]).unexplained.len(), 1000);
    }

    #[test]
    fn so_may_what_was_in_flight_at_the_kill_and_reached_the_broker_after_it() {
        let arrived = [arrival(1, AT_MS + 40), arrival(1, AT_MS + 700)];
        assert_eq!(explain(&arrived, &kill()).by_kills, 1);
    }

    #[test]
    #[should_panic(expected = "though noted as delivered")]
    fn more_than_fits_in_flight_must_not_come_again_once_it_was_noted() {
        explain(&twice(IN_FLIGHT_MAX + 1, 500), &kill());
    }

    #[test]
    fn a_kill_does_not_explain_what_should_have_been_noted_long_before() {
        assert_eq!(explain(&twice(1, NOTED_WITHIN_MS + 1), &kill()).unexplained.len(), 1);
    }
}
