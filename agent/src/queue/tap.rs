//! Who watches what becomes of a lane's records, live. Nobody waits for a watcher: while there is
//! none, an event costs the look at one number; one that is slow loses events and is told how many.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::entry::Letter;
use super::head::End;

/// Events that are kept for a watcher of a lane until it takes them.
pub(super) const KEPT: usize = 8192;

/// How records stopped waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    /// RocketMQ acknowledged it.
    Delivered,
    /// To the local dead letters.
    Dead,
    /// Given up because of its age.
    Expired,
    /// Given up at a limit, or purged.
    Dropped,
    /// Lost to a damaged file.
    Damaged,
}

/// What became of the records at the positions `from..to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parting {
    /// First position.
    pub from: u64,
    /// Position after the last one.
    pub to: u64,
    /// How.
    pub left: Left,
    /// Of a thinned stretch only the numbers that are multiples of this are still there.
    pub except_every: Option<u32>,
    /// The broker's code and words for a dead letter.
    pub reason: Option<(String, String)>,
    /// When, ms since 1970.
    pub at_ms: u64,
}

/// Records that a watcher was not shown, by how they left.
pub type Missed = Vec<(Left, u64)>;

/// A lane's watchers.
#[derive(Default)]
pub(super) struct Tap {
    watched: AtomicUsize,
    rings: Mutex<Vec<Arc<Ring>>>,
}

/// What one watcher has not taken yet.
#[derive(Default)]
pub(super) struct Ring(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    partings: VecDeque<Parting>,
    missed: Missed,
}

impl Tap {
    /// Whether anybody watches.
    pub(super) fn is_watched(&self) -> bool {
        self.watched.load(Relaxed) > 0
    }

    /// What happens from now on is put into the ring, until [`Tap::close`].
    pub(super) fn open(&self) -> Arc<Ring> {
        let ring = Arc::new(Ring::default());
        self.rings().push(ring.clone());
        self.watched.fetch_add(1, Relaxed);
        ring
    }

    /// The ring's watcher has gone.
    pub(super) fn close(&self, ring: &Arc<Ring>) {
        self.rings().retain(|other| !Arc::ptr_eq(other, ring));
        self.watched.fetch_sub(1, Relaxed);
    }

    /// The records at `from..to` ended so; of a dead letter [`Tap::buried`] tells more.
    pub(super) fn tell(&self, (from, to): (u64, u64), end: End, at_ms: impl FnOnce() -> u64) {
        let (left, except_every) = match end {
            End::Delivered => (Left::Delivered, None),
            End::Expired => (Left::Expired, None),
            End::Dropped | End::Purged => (Left::Dropped, None),
            End::Thinned(every) => (Left::Dropped, Some(every)),
            End::Damaged => (Left::Damaged, None),
            End::Dead => return,
        };
        if self.is_watched() {
            let (reason, at_ms) = (None, at_ms());
            self.put(&Parting { from, to, left, except_every, reason, at_ms });
        }
    }

    /// A record became a dead letter.
    pub(super) fn buried(&self, letter: &Letter) {
        if self.is_watched() {
            let (from, to) = (letter.position, letter.position + 1);
            let reason = Some((letter.code.clone(), letter.reason.clone()));
            let (left, at_ms) = (Left::Dead, letter.died_ms);
            self.put(&Parting { from, to, left, except_every: None, reason, at_ms });
        }
    }

    fn put(&self, parting: &Parting) {
        self.rings().iter().for_each(|ring| ring.put(parting.clone()));
    }

    fn rings(&self) -> MutexGuard<'_, Vec<Arc<Ring>>> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn put(&self, parting: Parting) {
        let mut kept = self.lock();
        if kept.partings.len() < KEPT {
            return kept.partings.push_back(parting);
        }
        let records = parting.records();
        match kept.missed.iter_mut().find(|(left, _)| *left == parting.left) {
            Some((_, count)) => *count += records,
            None => kept.missed.push((parting.left, records)),
        }
    }

    /// All that is there, oldest first, and what there was no room for since the last time.
    pub(super) fn take(&self) -> (VecDeque<Parting>, Missed) {
        let mut kept = self.lock();
        (std::mem::take(&mut kept.partings), std::mem::take(&mut kept.missed))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parting {
    /// How many records it is about.
    pub fn records(&self) -> u64 {
        let all = self.to.saturating_sub(self.from);
        // Nearly: where the stretch begins among the multiples is not known here.
        self.except_every.map_or(all, |every| all - all / u64::from(every.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(tap: &Tap, position: u64) {
        tap.tell((position, position + 1), End::Delivered, || 7);
    }

    #[test]
    fn without_a_watcher_nobody_even_asks_for_the_time() {
        let tap = Tap::default();
        tap.tell((1, 2), End::Delivered, || panic!("nobody watches"));
        let ring = tap.open();
        delivered(&tap, 2);
        tap.close(&ring);
        tap.tell((3, 4), End::Delivered, || panic!("nobody watches any more"));
        let (partings, missed) = ring.take();
        assert_eq!(partings.iter().map(|p| (p.from, p.to)).collect::<Vec<_>>(), [(2, 3)]);
        assert_eq!(missed, []);
    }

    #[test]
    fn a_slow_watcher_is_told_how_many_of_each_it_missed() {
        let tap = Tap::default();
        let (slow, quick) = (tap.open(), tap.open());
        for position in 0..KEPT as u64 {
            delivered(&tap, position);
        }
        assert_eq!(quick.take().0.len(), KEPT);
        delivered(&tap, 10_000);
        tap.tell((10_001, 10_101), End::Purged, || 7);
        delivered(&tap, 10_101);
        assert_eq!(quick.take().0.len(), 3);
        let (partings, missed) = slow.take();
        assert_eq!(partings.len(), KEPT);
        assert_eq!(missed, [(Left::Delivered, 2), (Left::Dropped, 100)]);
        assert_eq!(slow.take(), (VecDeque::new(), Vec::new()));
    }

    #[test]
    fn of_a_thinned_stretch_only_what_goes_is_counted() {
        let tap = Tap::default();
        let ring = tap.open();
        tap.tell((1, 101), End::Thinned(10), || 7);
        let (partings, _) = ring.take();
        assert_eq!((partings[0].records(), partings[0].left), (90, Left::Dropped));
    }
}
