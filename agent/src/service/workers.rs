//! Whether the runtime's workers turn: none of them is kept by something that blocks it.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, RuntimeMetrics};

use super::watch::Part;

thread_local! {
    /// This worker's own.
    static RESTS: OnceCell<Rests> = const { OnceCell::new() };
}

/// Moves when a worker goes to rest and when it wakes: odd while it rests. The runtime's own figures
/// do not say: they are noted only when a worker rests again or has worked off many tasks.
type Rests = Arc<AtomicU64>;

/// See the module. Clones are the same; it has to be told of the runtime before there is one.
#[derive(Debug, Clone, Default)]
pub struct Workers(Arc<Mutex<Vec<Rests>>>);

impl Workers {
    /// Has the runtime tell when its workers rest.
    pub fn observe(&self, builder: &mut Builder) {
        let (rest, wake) = (self.clone(), self.clone());
        builder.on_thread_park(move || rest.note());
        builder.on_thread_unpark(move || wake.note());
    }

    fn note(&self) {
        RESTS.with(|rests| rests.get_or_init(|| self.register()).fetch_add(1, Relaxed));
    }

    fn register(&self) -> Rests {
        let own = Rests::default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(own.clone());
        own
    }

    fn rests(&self) -> Vec<u64> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|rests| rests.load(Relaxed)).collect()
    }

    /// Watches the runtime of `handle`.
    pub(super) fn watched(&self, handle: Handle) -> Watched {
        let (rests, noted) = (self.rests(), noted(&handle.metrics()));
        Watched { handle, workers: self.clone(), rests, noted, rounds: 0, beats: Arc::default() }
    }
}

/// A runtime that is looked at over and over.
pub(super) struct Watched {
    handle: Handle,
    workers: Workers,
    /// Of each worker that ever rested, at the last look.
    rests: Vec<u64>,
    /// What each had noted then.
    noted: Vec<(u64, Duration)>,
    /// Looks at which no worker was kept.
    rounds: u64,
    /// Tasks of ours that have run.
    beats: Arc<AtomicU64>,
}

impl Watched {
    /// The runtime as a part that turns if what is given to it is done, and its workers as one
    /// that turns if none of them is kept.
    pub(super) fn look(&mut self) -> [Part; 2] {
        if self.all_turn() {
            self.rounds += 1;
        }
        let rounds = self.beats.load(Relaxed);
        let beats = self.beats.clone();
        self.handle.spawn(async move { beats.fetch_add(1, Relaxed) });
        let part = |name: &str, rounds| Part { name: name.to_owned(), busy: true, rounds };
        [part("the runtime", rounds), part("the runtime's workers", self.rounds)]
    }

    /// Whether each worker rests, has rested since the last look, or was so busy since that it
    /// noted something without a rest. Of those it is only known how many there are.
    fn all_turn(&mut self) -> bool {
        let (rests, noted) = (self.workers.rests(), noted(&self.handle.metrics()));
        let before = self.rests.iter().map(Some).chain(std::iter::repeat(None));
        let compared = || rests.iter().zip(before.clone());
        let rested = compared().filter(|(now, before)| Some(*now) != *before).count();
        let resting = compared().filter(|(now, before)| Some(*now) == *before && *now % 2 == 1);
        let resting = resting.count();
        let moved = noted.iter().zip(&self.noted).filter(|(now, before)| now != before).count();
        let turning = resting + rested.max(moved) >= noted.len();
        (self.rests, self.noted) = (rests, noted);
        turning
    }
}

fn noted(metrics: &RuntimeMetrics) -> Vec<(u64, Duration)> {
    let of = |n| (metrics.worker_park_unpark_count(n), metrics.worker_total_busy_duration(n));
    (0..metrics.num_workers()).map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::thread::sleep;
    use std::time::Instant;

    use tokio::runtime::Runtime;

    use super::*;

    const PAUSE: Duration = Duration::from_millis(20);

    fn runtime(workers: &Workers, threads: usize) -> Runtime {
        let mut builder = Builder::new_multi_thread();
        workers.observe(&mut builder);
        builder.worker_threads(threads).enable_all().build().unwrap()
    }

    /// Rounds of the runtime and of its workers that so many looks see.
    fn rounds(watched: &mut Watched, looks: usize) -> [u64; 2] {
        let before = watched.look();
        for _ in 0..looks {
            sleep(PAUSE);
            watched.look();
        }
        let after = watched.look();
        [0, 1].map(|nth| after[nth].rounds - before[nth].rounds)
    }

    /// A worker is kept until the sender goes.
    fn block(runtime: &Runtime) -> std::sync::mpsc::Sender<()> {
        let (until, blocked): (_, Receiver<()>) = channel();
        let (begun, began) = channel();
        runtime.spawn(async move {
            begun.send(()).unwrap();
            blocked.recv().unwrap_err();
        });
        began.recv().unwrap();
        until
    }

    /// Looks until both parts are seen to turn.
    fn turns_in_the_end(watched: &mut Watched) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while rounds(watched, 3).contains(&0) {
            assert!(Instant::now() < deadline);
        }
    }

    #[test]
    fn an_idle_runtime_and_a_busy_one_turn() {
        let workers = Workers::default();
        let runtime = runtime(&workers, 2);
        let mut watched = workers.watched(runtime.handle().clone());
        turns_in_the_end(&mut watched);
        for _ in 0..4 {
            runtime.spawn(async {
                loop {
                    tokio::task::yield_now().await;
                }
            });
        }
        turns_in_the_end(&mut watched);
        runtime.shutdown_background();
    }

    #[test]
    fn one_worker_that_is_kept_is_seen_while_the_other_goes_on() {
        let workers = Workers::default();
        let runtime = runtime(&workers, 2);
        let until = block(&runtime);
        let mut watched = workers.watched(runtime.handle().clone());
        rounds(&mut watched, 5);
        let [beats, turns] = rounds(&mut watched, 10);
        assert!(beats > 0 && turns < 5, "{beats} {turns}");
        drop(until);
        turns_in_the_end(&mut watched);
    }

    #[test]
    fn a_runtime_whose_workers_are_all_kept_does_nothing_more() {
        let workers = Workers::default();
        let runtime = runtime(&workers, 1);
        let until = block(&runtime);
        let mut watched = workers.watched(runtime.handle().clone());
        assert_eq!(rounds(&mut watched, 10)[0], 0);
        drop(until);
        turns_in_the_end(&mut watched);
    }
}
