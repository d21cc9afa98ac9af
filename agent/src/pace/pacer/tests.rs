use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

fn config(records: Option<u32>, bytes: u64) -> config::Drain {
    config::Drain {
        adaptive: false,
        records_per_second: records,
        bytes_per_second: bytes,
        reconnect_spread: None,
    }
}

fn adaptive(bytes: u64) -> config::Drain {
    config::Drain { adaptive: true, ..config(None, bytes) }
}

fn seconds(n: f64) -> Duration {
    Duration::from_secs_f64(n)
}

/// Sends `sizes` as fast as allowed, each answered after 50 ms; the seconds at which each left.
fn run(pacer: &mut Pacer, start: Instant, sizes: &[usize]) -> Vec<f64> {
    let mut rng = StdRng::seed_from_u64(1);
    let (mut now, mut times) = (start, Vec::new());
    for &size in sizes {
        while let Some(at) = pacer.ready_at(Urgency::Patient, now) {
            pacer.pressed(now);
            now = at;
        }
        times.push((now - start).as_secs_f64());
        pacer.spend(size, now, &mut rng);
        pacer.accepted(size, now, now + seconds(0.05));
    }
    times
}

fn fixed(config: &config::Drain, sizes: &[usize]) -> Vec<f64> {
    let start = Instant::now();
    run(&mut Pacer::new(config, Memory::default(), false, start), start, sizes)
}

#[test]
fn records_keep_their_rate_from_the_first_on() {
    let times = fixed(&config(Some(2), 1 << 30), &[10; 5]);
    let expected = [0.0, 0.5, 1.0, 1.5, 2.0];
    for (time, expected) in times.iter().zip(expected) {
        assert!((time - expected).abs() < 0.01, "{times:?}");
    }
}

#[test]
fn a_message_larger_than_the_bucket_leaves_and_is_paid_for() {
    let four_mib = 4 << 20;
    let times = fixed(&config(None, 256 << 10), &[four_mib, four_mib, 1]);
    assert!(times[0] < 0.01);
    assert!((15.5..16.1).contains(&times[1]), "{times:?}");
    assert!((31.5..32.1).contains(&times[2]), "{times:?}");
}

#[test]
fn small_messages_are_not_rounded_up_to_whole_cells() {
    // 5,000 of 100 bytes at 100 KiB/s: 4.88 s, not the 50 s of a cell each.
    let times = fixed(&config(None, 100 << 10), &[100; 5000]);
    assert!((4.6..5.0).contains(&times[4999]), "{}", times[4999]);
}

#[test]
fn the_records_of_a_bundle_each_count_towards_the_bound_on_records() {
    let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
    let mut pacer = Pacer::new(&config(Some(10), 1 << 30), Memory::default(), false, start);
    pacer.spend(100, start, &mut rng);
    pacer.spend_records(19);
    let mut now = start;
    while let Some(at) = pacer.ready_at(Urgency::Patient, now) {
        now = at;
    }
    assert!((1.8..2.1).contains(&(now - start).as_secs_f64()), "{:?}", now - start);
}

#[test]
fn a_rate_below_one_cell_a_second_is_kept_as_well() {
    let times = fixed(&config(None, 100), &[1024, 1024, 1024]);
    assert!((10.0..10.5).contains(&(times[2] - times[1])), "{times:?}");
}

#[test]
fn the_first_hundred_records_of_a_new_install_leave_within_five_seconds() {
    let start = Instant::now();
    let mut pacer = Pacer::new(&adaptive(256 << 10), Memory::default(), true, start);
    pacer.restart(start);
    let times = run(&mut pacer, start, &[300; 102]);
    assert!(times[99] < 5.0, "{}", times[99]);
    assert!(times[101] - times[100] > 0.5, "and then its own rate: {times:?}");
}

#[test]
fn a_refusal_ends_the_allowance_of_a_new_install() {
    let start = Instant::now();
    let mut pacer = Pacer::new(&adaptive(256 << 10), Memory::default(), true, start);
    let mut rng = StdRng::seed_from_u64(1);
    run(&mut pacer, start, &[300; 3]);
    let now = start + seconds(0.2);
    pacer.throttled(None, start, now, &mut rng);
    let times = run(&mut pacer, now, &[300; 5]);
    assert!(times[4] > 3.0, "{times:?}");
}

#[test]
fn a_backlog_of_ten_thousand_over_ten_minutes_starts_at_seventeen_a_second() {
    let start = Instant::now();
    let mut pacer = Pacer::new(&adaptive(256 << 10), Memory::default(), false, start);
    let oldest_age = Duration::from_secs(600);
    pacer.note(Standing { accepted: 10_000, waiting: 10_000, oldest_age }, start);
    pacer.restart(start);
    let times = run(&mut pacer, start, &[300; 40]);
    let first_second = times.iter().filter(|time| **time < 1.0).count();
    assert!((15..=20).contains(&first_second), "{times:?}");
    assert_eq!(pacer.window(), Duration::from_secs(10), "25 records of it are made sooner");
}

#[test]
fn a_quiet_gateway_may_burst_but_not_after_an_outage() {
    let start = Instant::now();
    let watched = Duration::from_secs(4 * 3600);
    let memory = Memory { own_rate_per_s: 0.01, watched, ..Memory::default() };
    let mut pacer = Pacer::new(&adaptive(256 << 10), memory, false, start);
    let hour = start + Duration::from_secs(3600);
    let times = run(&mut pacer, hour, &[300; 30]);
    assert!(times[29] < 10.0, "{times:?}");
    pacer.restart(hour);
    let times = run(&mut pacer, hour + Duration::from_secs(1), &[300; 3]);
    assert!(times[2] > 100.0, "{times:?}");
}

#[test]
fn at_a_slow_pace_an_urgent_record_takes_the_next_turn_but_not_two_and_not_after_a_reject() {
    let start = Instant::now();
    let mut pacer = Pacer::new(&adaptive(256 << 10), Memory::default(), false, start);
    let mut rng = StdRng::seed_from_u64(1);
    pacer.spend(300, start, &mut rng);
    assert!(pacer.ready_at(Urgency::Patient, start).is_some());
    assert_eq!(pacer.ready_at(Urgency::Urgent, start + seconds(0.3)), None);
    pacer.spend(300, start + seconds(0.3), &mut rng);
    assert!(pacer.ready_at(Urgency::Urgent, start + seconds(0.4)).is_some(), "charged");
    pacer.throttled(None, start, start + seconds(0.5), &mut rng);
    let now = start + seconds(1.1);
    let patient = pacer.ready_at(Urgency::Patient, now);
    assert!(patient.is_some());
    assert_eq!(pacer.ready_at(Urgency::Urgent, now), patient);
}

#[test]
fn retries_spend_what_first_sends_spend() {
    let start = Instant::now();
    let mut pacer = Pacer::new(&config(Some(10), 1 << 30), Memory::default(), false, start);
    let mut rng = StdRng::seed_from_u64(1);
    let (mut now, mut sends) = (start, 0);
    // Each is refused at once and comes again: all the same, ten leave in a second.
    while now < start + seconds(5.0) {
        match pacer.ready_at(Urgency::Patient, now) {
            Some(at) => now = at,
            None => {
                pacer.spend(300, now, &mut rng);
                pacer.throttled(Some(Duration::ZERO), now, now, &mut rng);
                sends += 1;
            }
        }
    }
    assert!((49..=52).contains(&sends), "{sends}");
}

proptest! {
    /// In no window of a second does more leave than rate and bucket allow.
    #[test]
    fn no_second_exceeds_the_bounds(
        records in 1_u32..300,
        careful: bool,
        sizes in prop::collection::vec(1_usize..20_000, 1..150),
    ) {
        let bytes = 64 << 10;
        let config = config::Drain { adaptive: careful, ..config(Some(records), bytes) };
        let times = fixed(&config, &sizes);
        for (i, start) in times.iter().enumerate() {
            let inside = times[i..].iter().take_while(|t| **t < start + 0.999).count();
            prop_assert!(inside as f64 <= f64::from(records) * 1.125 + 2.0);
            let sent: usize = sizes[i..i + inside].iter().sum();
            prop_assert!(sent as u64 <= bytes + bytes / 8 + 20_000 + 2 * CELL_BYTES);
        }
    }

    /// Nothing leaves before the time that the broker asked for.
    #[test]
    fn a_wish_is_never_undercut(wish_ms in 0_u64..3_600_000, careful: bool, seed: u64) {
        let start = Instant::now();
        let config = config::Drain { adaptive: careful, ..config(None, 1 << 20) };
        let mut pacer = Pacer::new(&config, Memory::default(), careful, start);
        let mut rng = StdRng::seed_from_u64(seed);
        let wish = Duration::from_millis(wish_ms);
        let until = pacer.throttled(Some(wish), start, start, &mut rng);
        prop_assert!(until >= start + wish && until <= start + wish.mul_f64(1.5));
        pacer.throttled(Some(wish / 2), start, start, &mut rng);
        for urgency in [Urgency::Patient, Urgency::Urgent] {
            let ready = pacer.ready_at(urgency, start).unwrap_or(start);
            prop_assert!(ready >= until);
        }
        prop_assert!(pacer.throttled_topic(wish, start, start, &mut rng) >= start + wish);
    }
}
