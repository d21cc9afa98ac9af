use proptest::prelude::*;

use super::*;

const MINUTE: u64 = 60_000;
const OLD: StreamId = StreamId(1);
const NEW: StreamId = StreamId(2);

/// Records accepted each minute of `minutes`, and stored so many minutes later.
fn records(minutes: std::ops::Range<u64>, later: u64) -> Vec<(u64, u64)> {
    minutes.map(|minute| (minute * MINUTE, (minute + later) * MINUTE)).collect()
}

fn life(points: &[(u64, u64)]) -> Life {
    let lives = points.iter().map(|(accepted_ms, stored_ms)| Life::at(*accepted_ms, *stored_ms));
    lives.fold(None, |all, one| Life::joined(all, Some(one))).unwrap()
}

/// The streams that are named.
fn named(old: &[(u64, u64)], new: &[(u64, u64)]) -> Vec<StreamId> {
    let lives = [(OLD, life(old)), (NEW, life(new))];
    live(&lives, LIVE_MS).into_iter().map(|(stream, _)| stream).collect()
}

#[test]
fn two_machines_that_both_go_on_are_named() {
    assert_eq!(named(&records(0..300, 0), &records(200..300, 0)), [OLD, NEW]);
    // One of them is offline for hours at a time and drains then.
    let late: Vec<(u64, u64)> = (200..300).map(|at| (at * MINUTE, 301 * MINUTE + at)).collect();
    assert_eq!(named(&records(0..310, 0), &late), [OLD, NEW]);
}

#[test]
fn a_stream_that_replaces_another_is_none_beside_it() {
    assert_eq!(named(&records(0..200, 0), &records(201..300, 0)), []);
    // The same minute, with clocks that differ by seconds.
    let from = 200 * MINUTE - SKEW_MS / 2;
    let new: Vec<(u64, u64)> = (0..9).map(|at| (from + at * MINUTE, from + at * MINUTE)).collect();
    let mut old = records(0..200, 0);
    old.push((200 * MINUTE, 201 * MINUTE));
    assert_eq!(named(&old, &new), []);
}

#[test]
fn a_backlog_that_moved_to_the_new_machine_is_no_life() {
    // Of another lane, so that it leaves among the new stream's records.
    let mut old = records(0..100, 0);
    old.extend(records(100..200, 101));
    assert_eq!(named(&old, &records(201..300, 0)), []);
}

#[test]
fn what_comes_again_late_is_no_life() {
    // The agent had no answer for the last hour's, and RocketMQ has them twice.
    let mut old = records(0..200, 0);
    old.extend(records(140..200, 90));
    assert_eq!(named(&old, &records(201..300, 0)), []);
}

#[test]
fn a_clock_that_jumps_is_no_second_machine() {
    let (hour, day) = (60 * MINUTE, 1440 * MINUTE);
    // The new machine's clock was an hour, and a day, behind until it was set.
    for behind in [hour, day] {
        let shifted = |(at, stored): (u64, u64)| (at.saturating_sub(behind), stored);
        let mut new: Vec<(u64, u64)> = records(2201..2230, 0).into_iter().map(shifted).collect();
        new.extend(records(2230..2250, 0));
        assert_eq!(named(&records(2000..2200, 0), &new), []);
    }
    // The old one's was ahead.
    let ahead = |(at, stored): (u64, u64)| (at + hour, stored);
    let old: Vec<(u64, u64)> = records(0..200, 0).into_iter().map(ahead).collect();
    assert_eq!(named(&old, &records(201..300, 0)), []);
}

#[test]
fn the_alarm_ends_when_one_of_them_stops() {
    let (old, stopped) = (records(0..300, 0), records(200..300, 0));
    assert_eq!(named(&old, &stopped), [OLD, NEW]);
    assert_eq!(named(&records(0..361, 0), &stopped), []);
    // Both gave way to a third long ago.
    let third = StreamId(3);
    let lives = [(OLD, life(&old)), (NEW, life(&stopped)), (third, life(&records(400..401, 0)))];
    assert_eq!(live(&lives, LIVE_MS), []);
}

#[test]
fn of_three_only_those_beside_another_are_named() {
    let lives = [
        (OLD, life(&records(0..230, 0))),
        (NEW, life(&records(235..260, 0))),
        (StreamId(3), life(&records(240..270, 0))),
    ];
    let named: Vec<StreamId> = live(&lives, LIVE_MS).into_iter().map(|(name, _)| name).collect();
    assert_eq!(named, [NEW, StreamId(3)]);
    assert_eq!(live(&[], LIVE_MS), []);
}

proptest! {
    /// In whatever order and pieces records arrive, and however often: the life is the same.
    #[test]
    fn the_order_of_arrival_is_nothing(
        points in prop::collection::vec((0_u64..1000, 0_u64..1000), 1..20),
        again in prop::collection::vec(0_usize..20, 0..20),
    ) {
        let mut shuffled: Vec<(u64, u64)> = points.iter().rev().copied().collect();
        shuffled.extend(again.iter().map(|at| points[at % points.len()]));
        prop_assert_eq!(life(&shuffled), life(&points));
    }
}
