//! Any sequence of appends, leases, outcomes, failures, power cuts and restarts, held against a
//! model: what was acknowledged is never lost, nothing is invented, keys keep their order, the
//! accounts add up.

mod faults;
mod ground;
mod machine;
mod world;

use proptest::prelude::*;
use spillway_protocol::record::LaneName;

use crate::queue::store::faulty::Fault;
use crate::queue::{KEY_BYTES, Keys, Lease, Ordering, Packing, Run};
use ground::Ground;
use world::World;

#[derive(Debug, Clone)]
enum Action {
    /// A group: sizes of the bodies.
    Append(Vec<usize>),
    /// Lease so many and deliver, defer, bury or drop them in turn.
    Drain(usize, u8),
    Save,
    Restart,
    PowerCut,
    /// The operation after so many has this fault.
    Fail(u64, Fault),
    Replay,
    Purge,
    /// All but so many are dropped, or thinned to one in so many.
    Drop(u64, Option<u32>),
    /// What was given up is told, and perhaps the queue hears that it is.
    Tell(bool),
    /// From now on the oldest that waits never gets through, or does again.
    Hold(bool),
    /// So many minutes pass, and what is too old goes.
    Expire(u64),
    /// From now on the other lane is at work.
    Turn(usize),
    /// From now on there is room for so many bytes of segments, or for all.
    Room(Option<u64>),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop::sample::select(vec![Fault::Before, Fault::After, Fault::Death])
}

fn action() -> impl Strategy<Value = Action> {
    let size = prop_oneof![8 => 1usize..400, 1 => 50_000usize..130_000];
    prop_oneof![
        6 => prop::collection::vec(size, 1..12).prop_map(Action::Append),
        6 => (1usize..30, any::<u8>()).prop_map(|(count, how)| Action::Drain(count, how)),
        2 => Just(Action::Save),
        1 => Just(Action::Restart),
        2 => Just(Action::PowerCut),
        3 => (0u64..8, fault()).prop_map(|(n, fault)| Action::Fail(n, fault)),
        1 => Just(Action::Replay),
        1 => Just(Action::Purge),
        1 => (0u64..9, prop::option::of(2u32..5)).prop_map(|(n, every)| Action::Drop(n, every)),
        2 => any::<bool>().prop_map(Action::Tell),
        1 => any::<bool>().prop_map(Action::Hold),
        2 => (0u64..90).prop_map(Action::Expire),
        4 => (0usize..2).prop_map(Action::Turn),
        2 => prop::option::of(0u64..300_000).prop_map(Action::Room),
    ]
}

/// A committer that has sealed a segment comes to its ids a little later, and the keeper may save
/// in between.
#[test]
fn a_segment_that_is_settled_stays_until_its_ids_are_written() {
    let mut world = World::new(Ground::memory(), Ordering::None);
    world.append(&[100, 100]);
    let leases = world.lane().lease(0, 10, usize::MAX, Run::ONE, world.now).unwrap();
    leases.into_iter().for_each(Lease::ack);
    assert!(world.seal().is_some());
    (0..3).for_each(|_| assert!(world.save()));
    assert_eq!(world.ground.segments(), 1);
}

#[test]
fn segments_behind_one_that_is_held_go_and_leave_no_hole() {
    let mut world = World::new(Ground::memory(), Ordering::None);
    world.append(&[3_500]);
    world.run(&Action::Hold(true));
    for _ in 0..10 {
        world.append(&[1_500; 6]);
        world.run(&Action::Drain(30, 5));
        world.run(&Action::Save);
        world.run(&Action::Save);
        assert!(world.ground.segments() <= 3, "{}", world.ground.segments());
    }
    world.run(&Action::PowerCut);
    let all = world.lane().check(0, world.now + std::time::Duration::from_secs(60)).unwrap();
    assert_eq!((all.lost, all.records >= 1), (vec![], true));
    let (tables, segments) = (world.ground.tables(), world.ground.segments());
    assert!(tables <= segments + 10, "{tables} {segments}");
    world.finish();
}

fn ordering() -> impl Strategy<Value = Ordering> {
    prop::sample::select(vec![Ordering::None, Ordering::Key, Ordering::Lane])
}

/// Everything that can be done to records is done.
fn sealed() -> Packing {
    let lz4 = vec![LaneName::parse("a").unwrap()];
    Packing { lz4, keys: Keys::new(Some(&[7; KEY_BYTES]), []) }
}

fn play(ground: Ground, ordering: Ordering, packing: Packing, actions: &[Action]) {
    let mut world = World::packed(ground, ordering, packing);
    actions.iter().for_each(|action| world.run(action));
    world.finish();
}

proptest! {
    #[test]
    fn nothing_acknowledged_is_lost_whatever_happens(
        actions in prop::collection::vec(action(), 1..60),
        ordering in ordering(),
    ) {
        play(Ground::memory(), ordering, Packing::default(), &actions);
    }

    #[test]
    fn nothing_is_lost_of_what_is_compressed_and_sealed(
        actions in prop::collection::vec(action(), 1..60),
        ordering in ordering(),
    ) {
        play(Ground::memory(), ordering, sealed(), &actions);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn nothing_acknowledged_is_lost_on_sled_either(
        actions in prop::collection::vec(action(), 1..40),
        ordering in ordering(),
        packing in prop::sample::select(vec![Packing::default(), sealed()]),
    ) {
        play(Ground::disk(), ordering, packing, &actions);
    }
}
