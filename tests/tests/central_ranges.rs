//! The ranges of what arrived: many write and several join rows at once, and nothing is lost. With
//! `tests/run --full` a million numbers, and what they cost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use central_store::compaction::Compactor;
use central_store::explained::Told;
use central_store::ledger::Ledger;
use central_store::seen::Sightings;
use central_store::{Database, Lanes, Place, Settings, Sighting};
use rand::seq::SliceRandom;
use spillway_protocol::message::StreamId;
use spillway_protocol::report::Report;
use spillway_tests::mariadb::MariaDb;
use spillway_tests::{full, random};

const WRITERS: usize = 4;
const BATCH: usize = 64;
/// Out of order by at most so many numbers, as messages come that are under way side by side.
const DISORDER: usize = 256;
const LANES: usize = 5;

fn count() -> u64 {
    if full() { 1_000_000 } else { 20_000 }
}

fn sightings() -> Vec<Sighting> {
    let place = |lane: usize| Place {
        gateway: format!("gw-{lane}"),
        lane: "ward".to_owned(),
        stream: StreamId(7),
    };
    let places: Vec<Place> = (0..LANES).map(place).collect();
    let numbers = 0..count();
    let mut all: Vec<Sighting> = numbers
        .map(|number| Sighting {
            place: places[number as usize % LANES].clone(),
            seq: number / LANES as u64 + 1,
            accepted_ms: 1_700_000_000_000,
            live_ms: Some(1_700_000_000_000 + number),
        })
        // A hole in each lane.
        .filter(|sighting| sighting.seq != 1000)
        .collect();
    let mut rng = random::rng(random::seed(), 1);
    all.chunks_mut(DISORDER).for_each(|chunk| chunk.shuffle(&mut rng));
    // Some come twice.
    let again: Vec<Sighting> = all.iter().step_by(10).cloned().collect();
    all.extend(again);
    all
}

fn settings(server: &MariaDb) -> Settings {
    let environment = server.environment();
    let find = |name| environment.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone());
    Settings::read(find).unwrap()
}

async fn write(database: Database, batches: Vec<Vec<Sighting>>) {
    let lanes = Lanes::default();
    for batch in batches {
        let rows = Sightings::prepare(&database, &lanes, &batch).await.unwrap();
        let mut transaction = database.begin().await.unwrap();
        rows.write(&mut transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }
}

/// Joins until told that all is written, and once more.
async fn join(database: Database, written: Arc<AtomicBool>) {
    let mut compactor = Compactor::new(database.clone());
    loop {
        let last = written.load(Ordering::SeqCst);
        compactor.pass().await.unwrap();
        if last {
            // A fresh one looks back at all: the last rows may have become visible late.
            Compactor::new(database).pass().await.unwrap();
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_write_and_two_join_and_nothing_is_lost() {
    let server = MariaDb::start();
    let database = Database::new(&settings(&server));
    database.create_tables().await.unwrap();
    let all = sightings();
    let batches: Vec<Vec<Sighting>> = all.chunks(BATCH).map(<[_]>::to_vec).collect();
    let written = Arc::new(AtomicBool::new(false));
    let joining = [0, 1].map(|_| tokio::spawn(join(database.clone(), written.clone())));
    let begun = Instant::now();
    let writers = (0..WRITERS).map(|nth| {
        let own = batches.iter().skip(nth).step_by(WRITERS).cloned().collect();
        tokio::spawn(write(database.clone(), own))
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let wrote = begun.elapsed();
    written.store(true, Ordering::SeqCst);
    for joiner in joining {
        joiner.await.unwrap();
    }
    let rows = server.count("SELECT COUNT(*) FROM sw_seen").await;
    assert_eq!(rows, 2 * LANES as u64, "one row before the hole of each lane, and one behind it");
    let begun = Instant::now();
    let mut ledger = Ledger::open(&database).await.unwrap();
    let mut missing = BTreeSet::new();
    let mut stored = 0;
    for (lane, place) in ledger.places(None).await.unwrap() {
        for audit in ledger.books(lane).await.unwrap().audit(u64::MAX).values() {
            stored += audit.stored;
            missing.extend(
                audit
                    .missing
                    .iter()
                    .map(|gap| (place.gateway.clone(), gap.range.first, gap.range.last)),
            );
        }
    }
    assert_eq!(stored, count() - LANES as u64);
    let hole = |lane| (format!("gw-{lane}"), 1000, 1000);
    assert_eq!(missing, (0..LANES).map(hole).collect());
    let size = "SELECT CAST(data_length + index_length AS UNSIGNED) FROM \
                information_schema.tables WHERE table_name = 'sw_seen'";
    println!(
        "{} numbers in batches of {BATCH}: written in {wrote:?}, audited in {:?}, {rows} rows, \
         {} bytes of table",
        all.len(),
        begun.elapsed(),
        server.count(size).await
    );
}

/// 100 were accepted, three of which wait; told again, with a later time.
async fn report(database: &Database, stored_ms: u64) {
    let vector = include_str!("../../protocol/vectors/report.json");
    let mut report = Report::from_json(vector.as_bytes()).unwrap();
    let lane = &mut report.lanes[0];
    (lane.name, lane.waiting) = ("ward".into(), 3);
    lane.streams.drain(..1);
    (lane.streams[0].stream, lane.streams[0].accepted_seq) = ("00000007".into(), 100);
    let lanes = Lanes::default();
    let told = Told::report(database, &lanes, "gw-0", report, stored_ms).await.unwrap();
    let mut transaction = database.begin().await.unwrap();
    told.write(&mut transaction, "gw-0").await.unwrap();
    transaction.commit().await.unwrap();
}

/// The database's clock goes on, so that what comes next is later.
async fn tick(ledger: &mut Ledger) {
    let now_ms = ledger.now_ms().await.unwrap();
    while ledger.now_ms().await.unwrap() == now_ms {}
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_lost_in_a_steady_flow_is_missing_although_rows_are_joined() {
    let server = MariaDb::start();
    let database = Database::new(&settings(&server));
    database.create_tables().await.unwrap();
    let mut compactor = Compactor::new(database.clone());
    let mut ledger = Ledger::open(&database).await.unwrap();
    let sighting = |seq| Sighting {
        place: Place { gateway: "gw-0".into(), lane: "ward".into(), stream: StreamId(7) },
        seq,
        accepted_ms: 1_700_000_000_000,
        live_ms: None,
    };
    let first = (1..=97).filter(|seq| *seq != 41).map(sighting).collect();
    write(database.clone(), vec![first]).await;
    compactor.pass().await.unwrap();
    report(&database, 5).await;
    tick(&mut ledger).await;
    write(database.clone(), vec![(98..=110).map(sighting).collect()]).await;
    compactor.pass().await.unwrap();
    let places = ledger.places(Some("gw-0")).await.unwrap();
    let (lane, _) = places.iter().find(|(_, place)| !place.is_own()).unwrap();
    let days = ledger.books(*lane).await.unwrap().audit(u64::MAX);
    let audit = days.values().next().unwrap();
    let missing: Vec<u64> = audit.missing.iter().map(|gap| gap.range.first).collect();
    assert_eq!((missing, audit.waiting, audit.stored), (vec![41], 0, 109));
    assert_eq!(server.count("SELECT COUNT(*) FROM sw_seen").await, 3);
    // After the next report they are one row, and what comes then is another.
    tick(&mut ledger).await;
    report(&database, 6).await;
    tick(&mut ledger).await;
    write(database.clone(), vec![vec![sighting(111)]]).await;
    compactor.pass().await.unwrap();
    let joined = "SELECT COUNT(*) FROM sw_seen WHERE first_seq = 42 AND last_seq = 110";
    assert_eq!(server.count(joined).await, 1);
}
