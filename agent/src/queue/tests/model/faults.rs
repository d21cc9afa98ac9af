//! A day in which every operation of the disk fails once, or is the last of the process.

use super::{Action, Fault, Ground, Ordering, Packing, World, sealed};

/// All that a queue does, starts among it, with entries of several packs.
fn day() -> Vec<Action> {
    vec![
        Action::Append(vec![100, 130_000, 7]),
        Action::Drain(2, 3),
        Action::Append(vec![300; 9]),
        Action::Save,
        Action::Append(vec![1; 4]),
        Action::Drain(9, 90),
        Action::Tell(true),
        Action::Restart,
        Action::Append(vec![2_000, 2_000]),
        Action::Replay,
        Action::Drain(30, 17),
        Action::Save,
        Action::Expire(30),
        Action::Append(vec![20; 3]),
        Action::Drop(3, None),
        Action::Append(vec![50; 5]),
        Action::Drain(5, 200),
        Action::Drop(2, Some(2)),
        Action::Purge,
        Action::Expire(30),
        Action::Tell(true),
        Action::Restart,
        Action::Append(vec![90; 4]),
        Action::Expire(61),
        Action::Drain(30, 1),
        Action::Save,
        Action::Append(vec![10]),
    ]
}

/// One record stays while segments behind it are delivered and go.
fn day_behind_one_that_is_held() -> Vec<Action> {
    let deliver = [Action::Append(vec![1_500; 6]), Action::Drain(30, 5), Action::Save];
    let mut day = vec![Action::Append(vec![3_500]), Action::Hold(true)];
    day.extend(deliver.iter().cycle().take(9).cloned());
    day.extend([Action::Save, Action::Restart]);
    day.extend(deliver.iter().cycle().take(6).cloned());
    day.extend([Action::Save, Action::Restart, Action::Drain(9, 5)]);
    day.extend([Action::Hold(false), Action::Drain(30, 5), Action::Save, Action::Save]);
    day
}

/// Two lanes on a disk that fills up: the one refuses at its quota, the other's oldest make room.
fn day_on_a_full_disk() -> Vec<Action> {
    let turn = |lane, size: usize| [Action::Turn(lane), Action::Append(vec![size; 3])];
    let mut day = Vec::new();
    day.extend((0..4).flat_map(|_| [turn(1, 1_500), turn(0, 900)].concat()));
    day.extend([Action::Drain(3, 3), Action::Save, Action::Room(Some(30_000))]);
    day.extend((0..2).flat_map(|_| [turn(1, 2_000), turn(0, 2_000)].concat()));
    day.extend([Action::Tell(true), Action::Restart, Action::Turn(0), Action::Drain(4, 3)]);
    day.extend([Action::Replay, Action::Room(None), Action::Append(vec![130_000; 4])]);
    day.extend([Action::Save, Action::Turn(1), Action::Drain(2, 3), Action::Purge]);
    day.extend([Action::Turn(0), Action::Drain(9, 5), Action::Save, Action::Append(vec![7])]);
    day
}

#[test]
fn on_a_full_disk_one_lane_refuses_and_the_other_drops() {
    for ground in [Ground::memory, Ground::disk] {
        let mut world = World::packed(ground(), Ordering::None, Packing::default());
        day_on_a_full_disk().iter().for_each(|action| world.run(action));
        let dropped = world.parts().lanes[1].accounts().dropped;
        assert!(dropped > 0 && world.refused > 0, "{dropped} {}", world.refused);
        world.finish();
    }
}

/// How many operations the day has.
fn every_operation(
    ground: fn() -> Ground,
    fault: Fault,
    ordering: Ordering,
    packing: &Packing,
    day: &[Action],
) -> u64 {
    for nth in 0.. {
        let mut world = World::packed(ground(), ordering, packing.clone());
        world.faults.set(nth, fault);
        day.iter().for_each(|action| world.run(action));
        let over = world.faults.clear();
        world.finish();
        if over {
            return nth;
        }
    }
    unreachable!()
}

#[test]
fn every_operation_of_the_disk_may_fail_or_be_the_last() {
    for fault in [Fault::Before, Fault::After, Fault::Death] {
        for packing in [Packing::default(), sealed()] {
            let operations =
                every_operation(Ground::memory, fault, Ordering::Key, &packing, &day());
            assert!(operations > 100, "{operations} with {fault:?}");
        }
        let (packing, behind) = (Packing::default(), day_behind_one_that_is_held());
        let operations = every_operation(Ground::memory, fault, Ordering::Key, &packing, &behind);
        assert!(operations > 60, "{operations} with {fault:?}");
        let full = day_on_a_full_disk();
        let operations = every_operation(Ground::memory, fault, Ordering::Key, &packing, &full);
        assert!(operations > 60, "{operations} with {fault:?}");
    }
}

#[test]
fn every_operation_on_sled_may_fail_or_be_the_last() {
    for fault in [Fault::Before, Fault::After, Fault::Death] {
        let operations = every_operation(Ground::disk, fault, Ordering::None, &sealed(), &day());
        assert!(operations > 100, "{operations} with {fault:?}");
        let (packing, behind) = (Packing::default(), day_behind_one_that_is_held());
        let operations = every_operation(Ground::disk, fault, Ordering::None, &packing, &behind);
        assert!(operations > 60, "{operations} with {fault:?}");
        let full = day_on_a_full_disk();
        let operations = every_operation(Ground::disk, fault, Ordering::None, &packing, &full);
        assert!(operations > 60, "{operations} with {fault:?}");
    }
}
