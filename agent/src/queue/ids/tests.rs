use super::*;
use crate::queue::cipher::Keys;
use crate::queue::store::memory::MemoryStore;

fn print(id: u32, body: u64) -> Print {
    named(&format!("id-{id}"), body)
}

fn named(id: &str, body: u64) -> Print {
    Print { key: Key::of(&RecordId::parse(id).unwrap()), body }
}

/// A UUIDv7 of that millisecond.
fn timed(ms: u32, body: u64) -> Print {
    named(&format!("00000000-{:04x}-7000-8000-{ms:012x}", ms & 0xffff), body)
}

fn fresh() -> (MemoryStore, Ids) {
    let store = MemoryStore::default();
    let ids = recover(&store);
    (store, ids)
}

fn recover(store: &MemoryStore) -> Ids {
    Ids::recover(vec![Arc::new(store.clone()), Arc::new(MemoryStore::default())], Keys::default())
        .unwrap()
}

fn store_ids(ids: &Ids, from: u32, to: u32) {
    let rows: Vec<_> = (from..to).map(|i| (print(i, 1), u64::from(i))).collect();
    let before = ids.begin(0, &rows);
    ids.finish(0, &rows, before, true);
}

#[test]
fn the_same_id_is_known_by_its_body() {
    let (_, ids) = fresh();
    store_ids(&ids, 1, 2);
    assert_eq!(ids.seen(&print(1, 1)).unwrap(), Seen::Same { lane: 0, position: 1 });
    assert_eq!(ids.seen(&print(1, 9)).unwrap(), Seen::Other { lane: 0, position: 1 });
    assert_eq!(ids.seen(&print(2, 1)).unwrap(), Seen::New);
}

#[test]
fn an_id_counts_only_once_it_is_durable() {
    let (_, ids) = fresh();
    let rows = [(print(5, 1), 5)];
    let before = ids.begin(1, &rows);
    assert_eq!(ids.seen(&rows[0].0).unwrap(), Seen::Pending);
    assert_eq!(ids.locate(&RecordId::parse("id-5").unwrap()).unwrap(), None);
    ids.finish(1, &rows, before, false);
    assert_eq!(ids.seen(&rows[0].0).unwrap(), Seen::New);
}

#[test]
fn sealed_ids_are_found_again_also_after_a_restart() {
    let (store, ids) = fresh();
    store_ids(&ids, 1, 5_000);
    ids.seal(0, 1, 4_000, 7).unwrap();
    store_ids(&ids, 5_000, 5_010);
    ids.seal(0, 4_000, 5_010, 8).unwrap();
    for ids in [&ids, &recover(&store)] {
        for known in [1, 3_999, 4_000, 5_009] {
            let same = Seen::Same { lane: 0, position: u64::from(known) };
            assert_eq!(ids.seen(&print(known, 1)).unwrap(), same);
        }
        assert_eq!(ids.seen(&print(6_000, 1)).unwrap(), Seen::New);
        assert_eq!(ids.table_end(0, 1, 4_000), Some(4_000));
    }
}

#[test]
fn a_table_goes_only_when_all_three_windows_are_over() {
    let (_, ids) = fresh();
    store_ids(&ids, 1, 101);
    ids.seal(0, 1, 101, 0).unwrap();
    let known = |ids: &Ids| ids.seen(&print(50, 1)).unwrap() != Seen::New;
    ids.expire(0, 101, 1000, WINDOW_MS).unwrap();
    assert!(known(&ids), "too few newer ids");
    store_ids(&ids, 101, 101 + WINDOW_IDS as u32);
    ids.expire(0, 100, 1000, WINDOW_MS).unwrap();
    assert!(known(&ids), "one of its records waits");
    ids.expire(0, 101, 1000, WINDOW_MS - 1).unwrap();
    assert!(known(&ids), "younger than an hour");
    ids.expire(0, 101, 1000, WINDOW_MS).unwrap();
    assert!(!known(&ids));
}

#[test]
fn every_id_of_a_large_table_is_found_and_no_other() {
    let (_, ids) = fresh();
    store_ids(&ids, 0, 30_000);
    ids.seal(0, 0, 30_000, 7).unwrap();
    for id in 0..30_000 {
        let same = Seen::Same { lane: 0, position: u64::from(id) };
        assert_eq!(ids.seen(&print(id, 1)).unwrap(), same);
    }
    for id in 30_000..60_000 {
        assert_eq!(ids.seen(&print(id, 1)).unwrap(), Seen::New);
    }
}

#[test]
fn ids_that_tell_their_time_are_searched_where_their_time_is_also_after_a_restart() {
    let (store, ids) = fresh();
    for (first, print) in [(0, timed(1_000, 1)), (10, timed(3_000, 1)), (20, print(5, 1))] {
        let before = ids.begin(0, &[(print, first)]);
        ids.finish(0, &[(print, first)], before, true);
        ids.seal(0, first, first + 10, 7).unwrap();
    }
    for ids in [&ids, &recover(&store)] {
        assert_eq!(ids.seen(&timed(1_000, 1)).unwrap(), Seen::Same { lane: 0, position: 0 });
        assert_eq!(ids.seen(&timed(3_000, 1)).unwrap(), Seen::Same { lane: 0, position: 10 });
        assert_eq!(ids.seen(&print(5, 1)).unwrap(), Seen::Same { lane: 0, position: 20 });
        assert_eq!(ids.seen(&timed(2_000, 1)).unwrap(), Seen::New);
        assert_eq!(ids.seen(&print(6, 1)).unwrap(), Seen::New);
    }
}

#[test]
fn ids_that_tell_their_time_take_half_the_memory_and_are_found() {
    let of = |print: fn(u32, u64) -> Print| {
        let (_, ids) = fresh();
        let rows: Vec<_> = (1..6_400).map(|i| (print(i, 1), u64::from(i))).collect();
        let before = ids.begin(0, &rows);
        ids.finish(0, &rows, before, true);
        ids.seal(0, 1, 6_400, 7).unwrap();
        for (print, position) in rows {
            assert_eq!(ids.seen(&print).unwrap(), Seen::Same { lane: 0, position });
        }
        let bytes = ids.lock()[0].tables[0].filter_bytes();
        (bytes, ids.seen(&timed(7_000, 1)).unwrap())
    };
    assert_eq!((of(print), of(timed)), ((8_000, Seen::New), (4_000, Seen::New)));
}

#[test]
fn only_a_uuid_of_version_7_tells_its_time() {
    let time = |id: &str| made_ms(&RecordId::parse(id).unwrap());
    assert_eq!(time("0198e1c2-0a00-7abc-8def-000000000001"), Some(0x0198_e1c2_0a00));
    assert_eq!(time("0198e1c2-0a00-4abc-8def-000000000001"), None);
    assert_eq!(time("order-17"), None);
}

#[test]
fn tables_beyond_the_newest_are_searched_before_they_are_read_and_read_one_by_one() {
    let (store, ids) = fresh();
    let each = 50_000;
    for nth in 0..4 {
        store_ids(&ids, nth * each, (nth + 1) * each);
        ids.seal(0, u64::from(nth * each), u64::from((nth + 1) * each), 7).unwrap();
    }
    let ids = recover(&store);
    let known = |ids: &Ids| {
        for id in [0, 49_999, 50_000, 120_000, 199_999] {
            let same = Seen::Same { lane: 0, position: u64::from(id) };
            assert_eq!(ids.seen(&print(id, 1)).unwrap(), same);
        }
        assert_eq!(ids.seen(&print(200_000, 1)).unwrap(), Seen::New);
    };
    known(&ids);
    // Two are within the bytes that are read at once; of the others one is damaged since.
    let oldest = store.files("ids-").unwrap().swap_remove(0);
    let mut bytes = store.load_file(&oldest).unwrap();
    bytes[1000] ^= 1;
    store.save_file(&oldest, &bytes).unwrap();
    assert_eq!(ids.read_one().unwrap(), Some(None));
    let damaged = ids.read_one().unwrap().unwrap().unwrap();
    assert_eq!((damaged.lane, damaged.end), (0, u64::from(each)));
    assert!(ids.table_end(0, 1, damaged.end).is_some(), "until there is another");
    store_ids(&ids, 0, each);
    ids.seal(0, 0, damaged.end, 9).unwrap();
    ids.replace(&damaged).unwrap();
    known(&ids);
    assert_eq!(ids.read_one().unwrap(), None);
    assert_eq!(store.files("ids-").unwrap().len(), 4);
    known(&recover(&store));
    store.remove_file(&store.files("ids-").unwrap()[0]).unwrap();
    let ids = recover(&store);
    assert_eq!(ids.table_end(0, 1, u64::from(each)), None);
    assert_eq!(ids.seen(&print(120_000, 1)).unwrap(), Seen::Same { lane: 0, position: 120_000 });
}

const KEY: [u8; 32] = [1; 32];
const LATER: [u8; 32] = [2; 32];

fn under(store: &MemoryStore, keys: Keys) -> Ids {
    Ids::recover(vec![Arc::new(store.clone())], keys).unwrap()
}

#[test]
fn under_a_key_ids_are_found_by_who_has_it_and_their_hashes_stand_nowhere() {
    let store = MemoryStore::default();
    let ids = under(&store, Keys::new(Some(&KEY), []));
    store_ids(&ids, 1, 2_000);
    ids.seal(0, 1, 2_000, 7).unwrap();
    let later = under(&store, Keys::new(Some(&LATER), [&KEY]));
    store_ids(&later, 2_000, 2_010);
    later.seal(0, 2_000, 2_010, 8).unwrap();
    let [both, one, none] =
        [Keys::new(None, [&KEY, &LATER]), Keys::new(Some(&LATER), []), Keys::default()]
            .map(|keys| under(&store, keys));
    for id in (1..2_010).step_by(67).chain([1_999, 2_009]) {
        let seen = Seen::Same { lane: 0, position: u64::from(id) };
        assert_eq!(both.seen(&print(id, 1)).unwrap(), seen);
        let other = Seen::Other { lane: 0, position: u64::from(id) };
        assert_eq!(both.seen(&print(id, 2)).unwrap(), other);
        let known = if id < 2_000 { Seen::New } else { seen };
        assert_eq!(one.seen(&print(id, 1)).unwrap(), known);
        assert_eq!(none.seen(&print(id, 1)).unwrap(), Seen::New);
    }
    assert!(none.table_end(0, 1, 2_000).is_some(), "its segment need not be read for that");
    for name in store.files("ids-").unwrap() {
        let bytes = store.load_file(&name).unwrap();
        assert!(!is_damaged(&bytes));
        for id in 1..2_010 {
            let hash = print(id, 1).key.hash;
            assert!(!bytes.windows(8).any(|part| part == &hash[..8]), "{id}");
        }
    }
}

#[test]
fn golden_bytes_of_a_table_under_a_key() {
    let store = MemoryStore::default();
    let ids = under(&store, Keys::new(Some(&KEY), []));
    store_ids(&ids, 1, 2);
    ids.seal(0, 1, 2, 7).unwrap();
    let bytes = store.load_file(&store.files("ids-").unwrap()[0]).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // Made by a program of its own, as the pack formats' are.
    let golden = "535057494453000324df93eeffffffffffffffff000000000000000001000000\
                  00000000c3ffc5253655d142a173a789b3cf14d2a576028b7ae483540ac604b8\
                  0100000000000000";
    assert_eq!(hex, golden);
}

#[test]
fn of_a_group_that_failed_nothing_is_known_also_if_an_id_was_there_twice() {
    let (_, ids) = fresh();
    let rows = [(print(7, 1), 5), (print(7, 2), 6)];
    let before = ids.begin(0, &rows);
    ids.finish(0, &rows, before, false);
    // Others take those positions.
    store_ids(&ids, 100, 103);
    let later = [(print(8, 1), 5)];
    let before = ids.begin(0, &later);
    ids.finish(0, &later, before, true);
    assert_eq!(ids.seen(&print(7, 1)).unwrap(), Seen::New);
}

#[test]
fn a_damaged_table_is_missed_beside_that_of_a_segment_which_is_gone() {
    let (store, ids) = fresh();
    for (from, to) in [(1, 10), (10, 20)] {
        store_ids(&ids, from, to);
        ids.seal(0, u64::from(from), u64::from(to), 7).unwrap();
    }
    assert_eq!(recover(&store).table_end(0, 1, 30), Some(10));
    let own = store.files("ids-").unwrap().swap_remove(0);
    store.save_file(&own, b"damaged").unwrap();
    let ids = recover(&store);
    assert_eq!(ids.table_end(0, 1, 30), None, "the segment has to be read again");
    store_ids(&ids, 1, 10);
    ids.seal(0, 1, 10, 9).unwrap();
    ids.replaced(0, 1, 30);
    for ids in [ids, recover(&store)] {
        assert_eq!(ids.table_end(0, 1, 30), Some(10));
        assert_eq!(ids.seen(&print(5, 1)).unwrap(), Seen::Same { lane: 0, position: 5 });
    }
    assert_eq!(store.files("ids-").unwrap().len(), 2);
}

#[test]
fn an_id_being_stored_is_not_durable_because_a_table_reaches_further_than_the_chain() {
    let (store, ids) = fresh();
    store_ids(&ids, 1, 100);
    ids.seal(0, 1, 100, 7).unwrap();
    let ids = recover(&store);
    ids.begin_at(0, 50);
    assert_eq!(ids.seen(&print(80, 1)).unwrap(), Seen::Same { lane: 0, position: 80 });
    let rows = [(print(500, 1), 50)];
    let before = ids.begin(0, &rows);
    assert_eq!(ids.seen(&rows[0].0).unwrap(), Seen::Pending);
    ids.finish(0, &rows, before, true);
    assert_eq!(ids.seen(&rows[0].0).unwrap(), Seen::Same { lane: 0, position: 50 });
}
