use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::queue::pack::Packer;
use crate::queue::store::faulty::{Fault, Faults, Faulty};
use crate::queue::store::memory::MemoryStore;

fn recover(store: &MemoryStore, saved_end: Option<u64>) -> (Arc<Chain>, Tail) {
    recover_with(store, saved_end, &Faults::default())
}

fn recover_with(
    store: &MemoryStore,
    saved_end: Option<u64>,
    faults: &Faults,
) -> (Arc<Chain>, Tail) {
    let store = Faulty::new(Arc::new(store.clone()), faults.clone());
    let (chain, newest) = Chain::recover(Arc::new(store), Keys::default(), saved_end).unwrap();
    let chain = Arc::new(chain);
    let base = newest.map_or(0, |n| n.base);
    // Another run draws other nonces.
    let rng = StdRng::seed_from_u64(chain.end());
    let tail = Tail::new(chain.clone(), Packer::default(), 2_000, StreamId(1), base, rng);
    (chain, tail)
}

fn entry(position: u64, bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|i| (i * 7 + position) as u8).collect()
}

fn append(tail: &mut Tail, sizes: &[usize]) {
    tail.seal(false);
    let entries: Vec<_> = (tail.next()..).zip(sizes).map(|(p, s)| entry(p, *s)).collect();
    tail.append(&entries).unwrap();
}

/// Every position from `from` on: its entry's length, or `None` where there is a hole.
fn contents(chain: &Chain, from: u64) -> Vec<(u64, Option<usize>)> {
    let mut position = from;
    let mut found = Vec::new();
    loop {
        match chain.read(position).unwrap() {
            Read::Pack(pack) => {
                let bytes = pack.entry(position).unwrap();
                assert_eq!(bytes, &entry(position, bytes.len()));
                found.push((position, Some(bytes.len())));
                position += 1;
            }
            Read::Hole { until } => {
                assert!(until > position);
                found.extend((position..until).map(|p| (p, None)));
                position = until;
            }
            Read::Locked { .. } => panic!("no key is needed"),
            Read::End => return found,
        }
    }
}

#[test]
fn a_segment_of_tiny_entries_is_closed_before_their_ids_are_too_many() {
    let (chain, _) = recover(&MemoryStore::default(), None);
    let rng = StdRng::seed_from_u64(1);
    let mut tail = Tail::new(chain.clone(), Packer::default(), u64::MAX, StreamId(1), 0, rng);
    (0..20).for_each(|_| append(&mut tail, &[1; 4096]));
    let longest = chain.spans().into_iter().map(|(first, end)| end - first).max();
    assert_eq!(longest, Some(24 << 10));
}

#[test]
fn what_was_appended_is_read_back_across_segments_and_restarts() {
    let store = MemoryStore::default();
    let (chain, mut tail) = recover(&store, None);
    for round in 0..30 {
        append(&mut tail, &[10 + round, 500, 3]);
    }
    append(&mut tail, &[200_000]);
    assert!(chain.spans().len() > 5);
    let before = contents(&chain, 1);
    assert_eq!(before.len(), 91);
    drop(tail);
    let (chain, mut tail) = recover(&store, Some(1));
    assert_eq!(contents(&chain, 1), before);
    append(&mut tail, &[5]);
    assert_eq!(contents(&chain, 92), [(92, Some(5))]);
}

#[test]
fn an_append_that_failed_leaves_no_trace_and_the_next_one_takes_its_numbers() {
    let points = [(false, 0), (false, 1), (true, 0), (true, 1), (true, 2)];
    for ((sealed, failing), fault) in
        points.into_iter().flat_map(|point| [(point, Fault::Before), (point, Fault::After)])
    {
        let (store, faults) = (MemoryStore::default(), Faults::default());
        let (chain, mut tail) = recover_with(&store, None, &faults);
        append(&mut tail, &[10, 11]);
        tail.seal(sealed);
        faults.set(failing, fault);
        assert!(tail.append(&[entry(3, 700), entry(4, 1)]).is_err());
        assert_eq!(contents(&chain, 1).len(), 2, "{sealed} {failing}");
        append(&mut tail, &[70, 71, 72]);
        let expected = contents(&chain, 1);
        assert_eq!(expected.len(), 5);
        let (chain, _) = recover(&store, None);
        assert_eq!(contents(&chain, 1), expected, "{sealed} {failing}");
    }
}

#[test]
fn damage_is_a_hole_with_its_bounds_and_the_segment_is_put_aside() {
    let store = MemoryStore::default();
    let (_, mut tail) = recover(&store, None);
    for _ in 0..10 {
        append(&mut tail, &[900, 900]);
    }
    drop(tail);
    store.damage(1, 0..1);
    let (chain, _) = recover(&store, None);
    let holes: Vec<_> =
        contents(&chain, 1).into_iter().filter(|(_, found)| found.is_none()).collect();
    assert_eq!(holes.len(), 2);
    let aside = chain.remove_below(chain.end(), usize::MAX).unwrap();
    assert_eq!((aside.len(), store.quarantined()), (1, 1));
    assert_eq!(chain.spans(), []);
}

#[test]
fn an_end_that_the_state_knew_and_the_segments_do_not_is_a_hole() {
    let store = MemoryStore::default();
    let (_, mut tail) = recover(&store, None);
    append(&mut tail, &[1, 2, 3]);
    drop(tail);
    let (chain, mut tail) = recover(&store, Some(6));
    assert_eq!(contents(&chain, 1)[3..], [(4, None), (5, None)]);
    append(&mut tail, &[9]);
    assert_eq!(contents(&chain, 6), [(6, Some(9))]);
}

#[test]
fn segments_below_a_position_go_and_the_open_one_stays() {
    let store = MemoryStore::default();
    let (chain, mut tail) = recover(&store, None);
    for _ in 0..10 {
        append(&mut tail, &[900, 900]);
    }
    let all = chain.spans().len();
    assert!(!chain.removable_below(2));
    chain.remove_below(chain.end(), usize::MAX).unwrap();
    assert!(all > 3);
    assert_eq!(chain.spans().len(), 1);
    let first = chain.first();
    assert!(matches!(chain.read(1).unwrap(), Read::Hole { until } if until == first));
}

#[test]
fn an_empty_newest_segment_does_not_make_numbers_begin_anew() {
    let store = MemoryStore::default();
    let (_, mut tail) = recover(&store, None);
    append(&mut tail, &[1, 2, 3]);
    drop(tail);
    // Two runs that ended before anything was durable in their segment, or a state was saved.
    for nonce in 7..9 {
        store.create(SegmentId { first: 4, nonce }).unwrap();
        let (chain, newest) =
            Chain::recover(Arc::new(store.clone()), Keys::default(), None).unwrap();
        assert_eq!((chain.end(), newest), (4, Some(Newest { stream: StreamId(1), base: 0 })));
    }
}

#[test]
fn the_largest_entry_is_the_last_that_fits_alone() {
    let empty = Tail::alone(0);
    for bytes in (empty..empty + 30).chain([1 << 20, (1 << 20) + 7, u64::from(u32::MAX)]) {
        let largest = Tail::largest_entry(bytes);
        assert!(Tail::alone(largest) <= bytes && Tail::alone(largest + 1) > bytes, "{bytes}");
    }
    assert_eq!(Tail::largest_entry(0), 0);
}
