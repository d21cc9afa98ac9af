//! Live records beside a backlog.

use spillway_protocol::bundle::Compress;

use super::fake::Seen;
use super::*;

const GOAL: Duration = Duration::from_secs(5);
/// What may leave a second; two a second come in.
const RATE_PER_S: u32 = 10;
const BACKLOG: usize = 1000;

fn fresh(goal: Option<Duration>) -> config::Lane {
    config::Lane { freshness: goal, ..lane("a", Order::None) }
}

fn bounded(lanes: Vec<config::Lane>, records_per_second: u32) -> Options {
    let options = options(lanes);
    let records_per_second = Some(records_per_second);
    let drain = config::Drain { adaptive: false, records_per_second, ..options.drain };
    Options { drain, ..options }
}

/// Adds a live record every half second; returns when each was added, by its number.
async fn add_live(queue: &FakeQueue, count: usize, upstream: &FakeUpstream) -> Vec<Duration> {
    let mut added = Vec::new();
    for _ in 0..count {
        sleep(MS * 500).await;
        added.push(upstream.start_elapsed());
        queue.fill(0, 1);
    }
    added
}

/// How long each live record waited until it was sent.
fn waits(seen: &[Seen], added: &[Duration]) -> Vec<Duration> {
    let sent = |nth: usize| {
        let id = format!("0-{}", BACKLOG + nth);
        seen.iter().find(|seen| seen.ids.contains(&id)).unwrap_or_else(|| panic!("{id}")).at
    };
    let mut waits: Vec<_> =
        added.iter().enumerate().map(|(nth, at)| sent(nth).saturating_sub(*at)).collect();
    waits.sort();
    waits
}

async fn run(lane: config::Lane, live: usize) -> (Vec<Duration>, Vec<Seen>) {
    let options = bounded(vec![lane], RATE_PER_S);
    let queue = queue(&options);
    queue.fill(0, BACKLOG);
    let upstream = FakeUpstream::new(|_, _| (MS * 100, delivered()));
    let _handle = spawn(options, &queue, &upstream);
    let added = add_live(&queue, live, &upstream).await;
    drained(&queue, SECOND * 1000).await;
    let seen = upstream.seen();
    (waits(&seen, &added), seen)
}

#[tokio::test(start_paused = true)]
async fn live_records_keep_the_goal_while_the_backlog_drains_and_wait_for_it_without_one() {
    let (waits, seen) = run(fresh(Some(GOAL)), 100).await;
    assert!(waits[98] < GOAL, "{waits:?}");
    let ids: Vec<String> = seen.into_iter().flat_map(|seen| seen.ids).collect();
    assert_eq!(ids.len(), BACKLOG + 100, "each once");
    let number = |id: &String| id[2..].parse::<usize>().unwrap();
    let backlog: Vec<usize> = ids.iter().map(number).filter(|n| *n < BACKLOG).collect();
    assert!(backlog.is_sorted(), "oldest first");
    let (waits, _) = run(fresh(None), 100).await;
    assert!(waits[0] > GOAL * 5, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn live_records_that_are_too_many_miss_the_goal_but_none_is_left_and_the_backlog_moves() {
    let options = bounded(vec![fresh(Some(GOAL))], 1);
    let queue = queue(&options);
    queue.fill(0, BACKLOG);
    let upstream = FakeUpstream::new(|_, _| (MS * 100, delivered()));
    let _handle = spawn(options, &queue, &upstream);
    // Two a second come, one leaves.
    let added = add_live(&queue, 400, &upstream).await;
    let seen = upstream.seen();
    let (live, backlog): (Vec<_>, Vec<_>) =
        seen.iter().partition(|seen| seen.ids[0][2..].parse::<usize>().unwrap() >= BACKLOG);
    assert!(backlog.len() * 100 >= seen.len() * 19, "{} of {}", backlog.len(), seen.len());
    let fresh = live.iter().filter(|seen| {
        let nth = seen.ids[0][2..].parse::<usize>().unwrap() - BACKLOG;
        seen.at < added[nth] + GOAL + SECOND
    });
    assert!(fresh.count() * 10 >= live.len() * 9, "those that leave are fresh");
    drained(&queue, SECOND * 2000).await;
}

#[tokio::test(start_paused = true)]
async fn bundles_carry_live_records_and_fill_up_with_the_backlog() {
    let bundle =
        config::Bundle { records: 10, bytes: 4096, linger: MS * 200, compress: Compress::Deflate };
    let lane = config::Lane { bundle: Some(bundle), ..fresh(Some(GOAL)) };
    let options = bounded(vec![lane], RATE_PER_S);
    let queue = queue(&options);
    queue.fill(0, BACKLOG);
    let upstream = FakeUpstream::new(|_, _| (MS * 100, delivered()));
    let _handle = spawn(options, &queue, &upstream);
    let added = add_live(&queue, 100, &upstream).await;
    drained(&queue, SECOND * 1000).await;
    let seen = upstream.seen();
    assert!(waits(&seen, &added)[98] < GOAL);
    assert!(seen.len() < 300, "{} messages", seen.len());
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_live_records_that_brings_none_is_not_repeated_at_once() {
    let options = bounded(vec![fresh(Some(GOAL))], RATE_PER_S);
    let queue = queue(&options);
    queue.fill(0, BACKLOG);
    let upstream = FakeUpstream::new(|_, _| (MS * 100, delivered()));
    let _handle = spawn(options, &queue, &upstream);
    sleep(SECOND * 2).await;
    queue.set_unreadable(true);
    queue.fill(0, 1);
    let before = queue.leases(0);
    sleep(SECOND * 2).await;
    assert!(queue.leases(0) - before < 30, "{}", queue.leases(0) - before);
    queue.set_unreadable(false);
    drained(&queue, SECOND * 1000).await;
}
