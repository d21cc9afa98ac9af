use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn head(ordering: Ordering) -> Head {
    Head::new(ordering, Settled::below(1), 1, Tally::default())
}

/// Leases everything that may be sent of records whose keys are `keys[position - 1]`.
fn lease_all(head: &mut Head, keys: &[KeyHash], now: Instant) -> Vec<u64> {
    let end = keys.len() as u64 + 1;
    let key = |position: u64| keys[position as usize - 1];
    let mut leased = Vec::new();
    loop {
        match head.next(now, 0, end) {
            Next::Again(position) => {
                head.lease(position);
                leased.push(position);
            }
            Next::Look(position) => {
                if head.found(position, key(position), false) {
                    leased.push(position);
                }
            }
            Next::Refill(refill) => {
                let all = (refill.from..refill.to).filter(|p| key(*p) == refill.key);
                let found: Vec<u64> = all.take(refill.limit).collect();
                let enough = found.len() == refill.limit;
                let to = found.last().filter(|_| enough).map_or(refill.to, |last| last + 1);
                head.refill(refill, found, to);
            }
            Next::Nothing => return leased,
        }
    }
}

#[test]
fn an_unordered_lane_hands_out_everything_and_others_while_one_is_delayed() {
    let (mut head, now) = (head(Ordering::None), Instant::now());
    assert_eq!(lease_all(&mut head, &[1, 1, 1], now), [1, 2, 3]);
    head.defer(1, Some(now + Duration::from_secs(5)), true);
    head.defer(2, None, false);
    assert_eq!(head.next_due(now, 4), Some(now));
    assert_eq!(lease_all(&mut head, &[1, 1, 1, 1], now), [2, 4]);
    assert_eq!(head.next_due(now, 5), Some(now + Duration::from_secs(5)));
    let later = now + Duration::from_secs(5);
    assert_eq!(head.next(later, 0, 5), Next::Again(1));
    assert_eq!(head.lease(1), 1, "one attempt was charged");
}

#[test]
fn a_lane_in_order_has_one_in_flight_and_waits_for_a_delayed_one() {
    let (mut head, now) = (head(Ordering::Lane), Instant::now());
    let keys = [1, 2, 3];
    assert_eq!(lease_all(&mut head, &keys, now), [1]);
    head.defer(1, Some(now + Duration::from_secs(1)), true);
    assert!(lease_all(&mut head, &keys, now).is_empty());
    let later = now + Duration::from_secs(1);
    assert_eq!(lease_all(&mut head, &keys, later), [1]);
    head.settle(1, End::Delivered);
    assert_eq!(lease_all(&mut head, &keys, later), [2]);
}

#[test]
fn a_held_key_holds_up_no_other() {
    let (mut head, now) = (head(Ordering::Key), Instant::now());
    let keys: Vec<KeyHash> = (0..20_000).map(|i| if i % 2 == 0 { 7 } else { 100 + i }).collect();
    let held = lease_all(&mut head, &keys, now);
    assert_eq!(held.len(), 10_001);
    held[1..].iter().for_each(|&position| head.settle(position, End::Delivered));
    head.defer(1, None, false);
    for expected in (1..20_000).step_by(2) {
        assert_eq!(lease_all(&mut head, &keys, now), [expected], "the key's own order");
        head.settle(expected, End::Delivered);
    }
    assert_eq!(head.settled().watermark(), 20_001);
    assert_eq!(head.tally().delivered, 20_000);
}

#[test]
fn damage_is_counted_once_and_frees_the_key_behind_it() {
    let (mut head, now) = (head(Ordering::Key), Instant::now());
    let keys = [1, 1, 2, 1];
    assert_eq!(lease_all(&mut head, &keys, now), [1, 3]);
    head.defer(1, None, false);
    head.damaged(1, 2);
    assert_eq!(head.tally().damaged, 1);
    assert_eq!(lease_all(&mut head, &keys, now), [2]);
}

#[test]
fn a_run_of_a_lane_in_order_ends_where_it_steps_back() {
    let (mut head, now) = (head(Ordering::Lane), Instant::now());
    assert_eq!(head.next(now, 0, 6), Next::Look(1));
    assert!(head.found(1, 7, false));
    assert_eq!([head.follower(7, 6), head.follower(7, 6)], [Some(2), Some(3)]);
    head.defer(2, None, false);
    head.defer(3, None, false);
    assert_eq!(head.next(now, 0, 6), Next::Nothing, "the first is still under way");
    head.defer(1, Some(now + Duration::from_secs(1)), true);
    assert_eq!(head.next(now, 0, 6), Next::Nothing);
    let later = now + Duration::from_secs(1);
    assert_eq!(head.next(later, 0, 6), Next::Again(1));
    assert_eq!(head.lease(1), 1);
    assert_eq!((head.follower(7, 6), head.follower(7, 6)), (Some(2), Some(3)));
    // The second steps back, the first is delivered, then the third gives up, too.
    head.defer(2, None, false);
    head.settle(1, End::Delivered);
    head.defer(3, Some(later + Duration::from_secs(9)), true);
    assert_eq!(head.next(later, 0, 6), Next::Look(2));
    assert!(head.found(2, 7, false));
    assert_eq!(head.follower(7, 3), None, "nothing lies behind the end");
}

#[test]
fn a_run_of_a_key_joins_only_without_a_gap_and_steps_back_in_order() {
    let (mut head, now) = (head(Ordering::Key), Instant::now());
    let look = |head: &mut Head, position, joins| {
        assert_eq!(head.next(now, 0, 9), Next::Look(position));
        head.found(position, 7, joins)
    };
    assert!(look(&mut head, 1, false) && look(&mut head, 2, true));
    assert!(!look(&mut head, 3, false), "it waits");
    assert!(!look(&mut head, 4, true), "3 lies between");
    assert_eq!((head.follower(7, 9), head.follower(7, 9)), (Some(3), Some(4)));
    head.defer(3, None, false);
    head.defer(2, None, false);
    head.settle(1, End::Delivered);
    head.defer(4, None, false);
    assert_eq!(head.next(now, 0, 9), Next::Again(2));
    head.lease(2);
    assert_eq!((head.follower(7, 9), head.follower(7, 9)), (Some(3), Some(4)));
    [2, 3, 4].into_iter().for_each(|position| head.settle(position, End::Delivered));
    assert!(look(&mut head, 5, false));
}

proptest! {
    /// Under any outcomes: never two of a key in flight, each key in order, nothing lost or
    /// doubled, and the tally is the number of settled positions.
    #[test]
    fn order_and_accounts_hold_under_any_outcomes(
        keys in prop::collection::vec(0u64..6, 1..120),
        choices in prop::collection::vec((0usize..6, 0u8..4), 0..600),
    ) {
        let mut now = Instant::now();
        let mut head = head(Ordering::Key);
        let mut flying: BTreeMap<u64, KeyHash> = BTreeMap::new();
        let mut last: BTreeMap<KeyHash, u64> = BTreeMap::new();
        let mut delivered = 0;
        for (choice, outcome) in choices.into_iter().chain(std::iter::repeat_n((0, 0), 400)) {
            for position in lease_all(&mut head, &keys, now) {
                let key = keys[position as usize - 1];
                prop_assert!(!flying.values().any(|k| *k == key), "two of a key in flight");
                flying.insert(position, key);
            }
            now += Duration::from_millis(700);
            if flying.is_empty() { continue; }
            let (&position, &key) = flying.iter().nth(choice % flying.len()).unwrap();
            flying.remove(&position);
            match outcome {
                0 | 1 => {
                    prop_assert!(last.insert(key, position).is_none_or(|before| before < position));
                    head.settle(position, End::Delivered);
                    delivered += 1;
                }
                2 => head.defer(position, None, false),
                _ => head.defer(position, Some(now + Duration::from_secs(1)), true),
            }
            prop_assert_eq!(head.tally().sum(), head.settled().count_from(1));
        }
        prop_assert_eq!(delivered, keys.len());
        prop_assert_eq!(head.settled().watermark(), keys.len() as u64 + 1);
    }
}

#[test]
fn what_is_leased_ahead_is_one_stretch_until_what_is_before_it_is_done() {
    let (mut head, now) = (head(Ordering::None), Instant::now());
    let lease = |head: &mut Head, from| match head.next(now, from, 10) {
        Next::Look(position) => {
            head.found(position, 0, false);
            position
        }
        other => panic!("{other:?}"),
    };
    assert_eq!((lease(&mut head, 7), lease(&mut head, 7), lease(&mut head, 0)), (7, 8, 1));
    assert_eq!(head.front(now, 7, 10), (Some(9), 1));
    head.settle(7, End::Delivered);
    head.defer(8, None, false);
    assert_eq!(head.next(now, 7, 10), Next::Again(8));
    assert_eq!(head.next(now, 0, 10), Next::Look(2), "what went back is not the oldest");
    assert_eq!(head.front(now, 9, 9), (None, 1), "nothing lies behind the end");
    head.lease(8);
    assert_eq!([0; 6].map(|from| lease(&mut head, from)), [2, 3, 4, 5, 6, 9]);
    assert_eq!(head.front(now, 0, 10), (None, 0));
    (1..10).for_each(|position| head.settle(position, End::Delivered));
    assert_eq!((head.settled().watermark(), head.tally().delivered), (10, 9));
}

#[test]
fn what_was_delivered_is_not_lost_to_damage_around_it() {
    let (mut head, now) = (head(Ordering::None), Instant::now());
    lease_all(&mut head, &[1; 9], now);
    head.settle(5, End::Delivered);
    head.damaged(3, 8);
    let lost: Vec<u64> = (1..10).filter(|position| head.is_lost(*position)).collect();
    assert_eq!(lost, [3, 4, 6, 7]);
}
