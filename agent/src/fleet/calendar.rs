//! Events in the order of their time: a ring of buckets of a millisecond for the near future, a
//! heap for what lies beyond.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Microseconds of a bucket.
const TICK_US: u64 = 1000;
/// Buckets of the ring: a minute.
const RING: usize = 1 << 16;

/// Something happens at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event<T> {
    pub(super) at_us: u64,
    pub(super) what: T,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Calendar<T> {
    tick: u64,
    ring: Vec<Vec<Event<T>>>,
    far: BinaryHeap<Reverse<Far>>,
    /// What the heap's entries stand for; freed places are used again.
    parked: Vec<Event<T>>,
    free: Vec<u32>,
    /// Far events so far: of the same time, the earlier one comes first.
    count: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Far {
    at_us: u64,
    count: u64,
    place: u32,
}

impl<T: Copy> Calendar<T> {
    pub(super) fn new() -> Self {
        Self {
            tick: 0,
            ring: (0..RING).map(|_| Vec::new()).collect(),
            far: BinaryHeap::new(),
            parked: Vec::new(),
            free: Vec::new(),
            count: 0,
        }
    }

    /// What is past already happens as soon as possible.
    pub(super) fn push(&mut self, at_us: u64, what: T) {
        let event = Event { at_us, what };
        let tick = (at_us / TICK_US).max(self.tick);
        if tick < self.tick + RING as u64 {
            self.ring[tick as usize % RING].push(event);
            return;
        }
        let place = match self.free.pop() {
            Some(place) => {
                self.parked[place as usize] = event;
                place
            }
            None => {
                self.parked.push(event);
                (self.parked.len() - 1) as u32
            }
        };
        self.count += 1;
        self.far.push(Reverse(Far { at_us, count: self.count, place }));
    }

    /// Moves the events of the present millisecond into `out`, in order; none if there are no
    /// more. What they push into it is got by the next call.
    pub(super) fn take(&mut self, out: &mut Vec<Event<T>>) {
        out.clear();
        std::mem::swap(&mut self.ring[self.tick as usize % RING], out);
        out.sort_by_key(|event| event.at_us);
    }

    /// On to the next millisecond. Returns its beginning.
    pub(super) fn advance(&mut self) -> u64 {
        self.tick += 1;
        let reach = self.tick + RING as u64;
        while self.far.peek().is_some_and(|Reverse(far)| far.at_us / TICK_US < reach) {
            let Some(Reverse(far)) = self.far.pop() else {
                break;
            };
            self.free.push(far.place);
            let event = self.parked[far.place as usize];
            self.ring[(event.at_us / TICK_US) as usize % RING].push(event);
        }
        self.tick * TICK_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_and_far_come_in_order_and_none_is_lost() {
        let mut calendar = Calendar::new();
        let times: Vec<u64> = (0..5000_u64).map(|n| n * 7_919_777 % 200_000_000).collect();
        times.iter().for_each(|at| calendar.push(*at, *at));
        let (mut seen, mut out) = (Vec::new(), Vec::new());
        while seen.len() < times.len() {
            calendar.take(&mut out);
            for event in &out {
                assert_eq!(event.at_us, event.what);
                seen.push(event.at_us);
            }
            calendar.advance();
        }
        let mut sorted = times;
        sorted.sort_unstable();
        assert_eq!(seen, sorted);
    }
}
