use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use proptest::prelude::*;

use super::course::PUT_RIGHT_MS;
use super::*;
use crate::clock::{Uptime, was_set};
use crate::queue::store::memory::MemoryStore;

const NOW_MS: u64 = 1_800_000_000_000;
const HOUR_MS: u64 = 3_600_000;
const YEAR_MS: u64 = 366 * 24 * HOUR_MS;

/// A machine: time passes, and its clock on the wall may say anything.
#[derive(Default)]
struct Machine {
    boot: AtomicU64,
    uptime_ms: AtomicU64,
    wall_ms: AtomicU64,
}

impl WallClock for Machine {
    fn now_ms(&self) -> u64 {
        self.wall_ms.load(Relaxed)
    }

    fn uptime(&self) -> Uptime {
        Uptime { boot: Some(self.boot.load(Relaxed).into()), ms: self.uptime_ms.load(Relaxed) }
    }
}

impl Machine {
    fn new() -> Arc<Self> {
        let machine = Self::default();
        machine.uptime_ms.store(PUT_RIGHT_MS, Relaxed);
        machine.set(NOW_MS);
        Arc::new(machine)
    }

    fn set(&self, wall_ms: u64) {
        self.wall_ms.store(wall_ms, Relaxed);
    }

    /// It runs for a while, or sleeps.
    fn pass(&self, ms: u64) {
        self.uptime_ms.fetch_add(ms, Relaxed);
        self.wall_ms.fetch_add(ms, Relaxed);
    }

    /// It was off and says this once it is on again.
    fn boot(&self, wall_ms: u64) {
        self.boot.fetch_add(1, Relaxed);
        self.uptime_ms.store(0, Relaxed);
        self.set(wall_ms);
    }

    fn accepted(&self) -> Accepted {
        Accepted { ms: self.now_ms(), clock_set: self.is_set() }
    }
}

/// A lane whose agents come and go on a machine.
struct Bench {
    machine: Arc<Machine>,
    store: MemoryStore,
    lived: Lived,
    end: u64,
}

impl Bench {
    fn new() -> Self {
        let (machine, store) = (Machine::new(), MemoryStore::default());
        let lived = Lived::recover(Arc::new(store.clone()), 1, machine.clone()).unwrap();
        lived.look().unwrap();
        Self { machine, store, lived, end: 1 }
    }

    fn restart(&mut self) {
        let store = Arc::new(self.store.clone());
        self.lived = Lived::recover(store, self.end, self.machine.clone()).unwrap();
        self.lived.look().unwrap();
    }

    /// Off for so long, with a clock that is right again afterwards.
    fn off(&mut self, ms: u64) {
        self.machine.boot(self.machine.now_ms() + ms);
        self.restart();
        self.machine.pass(PUT_RIGHT_MS);
        self.lived.look().unwrap();
    }

    fn accept(&mut self) -> (u64, Accepted) {
        let accepted = (self.end, self.machine.accepted());
        self.lived.note(self.end, 1).unwrap();
        self.end += 1;
        accepted
    }

    fn age_hours(&self, (position, accepted): (u64, Accepted)) -> u64 {
        self.lived.age_ms(position, accepted) / HOUR_MS
    }
}

#[test]
fn a_clock_that_jumps_makes_nothing_old_while_the_agent_runs_nor_between_two_runs() {
    let mut bench = Bench::new();
    let record = bench.accept();
    for (nth, wall_ms) in [NOW_MS * 2, 0, NOW_MS - YEAR_MS, NOW_MS + HOUR_MS].iter().enumerate() {
        bench.machine.set(*wall_ms);
        if nth % 2 == 1 {
            bench.restart();
        }
        bench.lived.look().unwrap();
        assert_eq!(bench.age_hours(record), 0, "{wall_ms}");
        let later = bench.accept();
        assert_eq!((bench.age_hours(record), bench.age_hours(later)), (0, 0), "{wall_ms}");
    }
    bench.machine.pass(5 * HOUR_MS);
    bench.restart();
    assert_eq!(bench.age_hours(record), 5, "what passed has passed");
}

#[test]
fn power_off_counts_where_the_clock_was_set_before_and_after() {
    for (before_ms, after_ms, hours) in [
        (NOW_MS, NOW_MS + 7 * HOUR_MS, 7),
        (NOW_MS, NOW_MS - 7 * HOUR_MS, 0),
        (NOW_MS, 0, 0),
        (0, NOW_MS, 0),
        (0, 0, 0),
        (NOW_MS, NOW_MS + 10 * YEAR_MS, 0),
    ] {
        let mut bench = Bench::new();
        bench.machine.set(before_ms);
        bench.lived.look().unwrap();
        let record = bench.accept();
        bench.machine.boot(after_ms);
        bench.restart();
        assert_eq!(bench.age_hours(record), 0, "it may be put right yet");
        let later = bench.accept();
        bench.machine.pass(PUT_RIGHT_MS);
        bench.lived.look().unwrap();
        assert_eq!(bench.age_hours(record), hours, "{before_ms} {after_ms}");
        assert_eq!(bench.age_hours(later), 0, "{before_ms} {after_ms}");
    }
}

#[test]
fn a_clock_that_is_put_right_late_tells_how_long_the_machine_was_off() {
    let mut bench = Bench::new();
    let record = bench.accept();
    bench.machine.boot(0);
    bench.restart();
    let dark = bench.accept();
    bench.machine.pass(3 * HOUR_MS);
    bench.lived.look().unwrap();
    assert_eq!((bench.age_hours(record), bench.age_hours(dark)), (3, 3));
    bench.machine.set(NOW_MS + 10 * HOUR_MS);
    bench.restart();
    assert_eq!((bench.age_hours(record), bench.age_hours(dark)), (10, 3));
    bench.machine.set(NOW_MS + 500 * HOUR_MS);
    bench.restart();
    assert_eq!((bench.age_hours(record), bench.age_hours(dark)), (10, 3), "once is enough");
}

#[test]
fn a_machine_that_is_switched_off_every_night_forgets_nothing() {
    let mut bench = Bench::new();
    let record = bench.accept();
    for night in 1..60 {
        bench.machine.pass(10 * HOUR_MS);
        bench.off(14 * HOUR_MS - PUT_RIGHT_MS);
        bench.accept();
        assert_eq!((bench.age_hours(record) + 1) / 24, night);
    }
}

#[test]
fn an_idle_agent_writes_nothing_and_records_without_times_come_late_rather_than_early() {
    let mut bench = Bench::new();
    let record = bench.accept();
    let written = bench.store.load_file(NAME).unwrap();
    (0..100).for_each(|_| {
        bench.machine.pass(HOUR_MS);
        bench.lived.look().unwrap();
    });
    assert_eq!(bench.store.load_file(NAME).unwrap(), written);
    assert_eq!(bench.age_hours(record), 100);
    let torn = [&written[..20], &[7; 9]].concat();
    bench.store.save_file(NAME, &torn).unwrap();
    bench.restart();
    assert_eq!(bench.age_hours(record), 100, "the clock was set all the time");
    let unset = Accepted { ms: 5, clock_set: false };
    assert_eq!(bench.age_hours((record.0, unset)), 0);
    Lived::forget(&bench.store).unwrap();
    Lived::forget(&bench.store).unwrap();
    assert!(bench.store.load_file(NAME).is_err());
}

#[test]
fn golden_bytes_of_the_file() {
    let bench = Bench::new();
    let bytes = bench.store.load_file(NAME).unwrap();
    let golden: &[u8] = b"SPWLIVE\x01\x99\x04\xc7\xff\x01\x01\x00\xfc\xe0\x93\x04\x00\x00\x01\
        \x01\xfd\x00\xa0\xb80F\x03\x00\x00\x02\x00\xfd\xff\x0f\xaf\xb9\x0e\x00\x00\x00\x01\
        \xfd\x00\xa0\xb80F\x03\x00\x00\x01\x00\x01\xfd\x00\xa0\xb80F\x03\x00\x00";
    assert_eq!(bytes, golden);
    assert!(!is_damaged(&bytes) && is_damaged(&bytes[..bytes.len() - 1]));
}

#[derive(Debug, Clone)]
enum Event {
    Pass(u64),
    Accept,
    Restart,
    Set(u64),
    Off(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let wall = prop_oneof![0..NOW_MS * 2, NOW_MS - YEAR_MS..NOW_MS + YEAR_MS];
    prop_oneof![
        4 => (0..9 * HOUR_MS).prop_map(Event::Pass),
        4 => Just(Event::Accept),
        2 => Just(Event::Restart),
        1 => wall.prop_map(Event::Set),
        1 => (0..99 * HOUR_MS).prop_map(Event::Off),
    ]
}

proptest! {
    /// With steps of the clock at any time nothing is older than it is, and while there are not too
    /// many of them all is as old as it is but for what nobody measured.
    #[test]
    fn nothing_is_ever_older_than_it_is(events in prop::collection::vec(event(), 1..60)) {
        let mut bench = Bench::new();
        let (mut real_ms, mut dark, mut steps) = (0, false, 0);
        let mut records = Vec::new();
        for event in events {
            match event {
                Event::Pass(ms) => {
                    bench.machine.pass(ms);
                    real_ms += ms;
                }
                Event::Accept => records.push((bench.accept(), real_ms)),
                Event::Restart => bench.restart(),
                // After a time off that no clock told of, any time might be right.
                Event::Set(_) if dark => {}
                Event::Set(wall_ms) => {
                    bench.machine.set(wall_ms);
                    steps += 1;
                }
                Event::Off(ms) => {
                    dark |= !was_set(bench.machine.now_ms());
                    bench.off(ms);
                    real_ms += ms + PUT_RIGHT_MS;
                }
            }
            bench.lived.look().unwrap();
            for ((position, accepted), at_ms) in &records {
                let (age_ms, true_ms) = (bench.lived.age_ms(*position, *accepted), real_ms - at_ms);
                prop_assert!(age_ms <= true_ms + 1000 * (1 + steps), "{age_ms} {true_ms}");
                let close = age_ms + 1000 * (1 + steps) >= true_ms;
                prop_assert!(steps > 6 || dark || close, "{age_ms} {true_ms}");
            }
        }
    }
}
