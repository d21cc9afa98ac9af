//! The whole drain against a scripted far end, under a paused clock.

mod breakage;
mod change;
mod fake;
mod faults;
mod flow;
mod fresh;
mod random;
mod rations;
mod stranger;
mod together;
mod way;

use std::sync::Arc;
use std::time::Duration;

use spillway_protocol::local::status::LinkState;
use spillway_protocol::record::{LaneName, Topic};
use tokio::time::{Instant, sleep};

use self::fake::{FakeQueue, FakeUpstream};
use super::{Connection, Drain, DrainHandle, Options};
use crate::budget;
use crate::clock::SystemClock;
use crate::config::{self, OnReject, Order};
use crate::pace::{Memory, spread};
use crate::upstream::{Outcome, Upstream};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn lane(name: &str, order: Order) -> config::Lane {
    config::Lane {
        name: LaneName::parse(name).unwrap(),
        topic: Topic::parse(format!("topic-{name}")).unwrap(),
        tag: None,
        priority: 1,
        weight: 1,
        min_share_percent: 5,
        default: false,
        order,
        on_reject: OnReject::DeadLetter,
        quota_bytes: None,
        when_full: config::WhenFull::Reject,
        bundle: None,
        batch: None,
        freshness: None,
        ttl: None,
        lz4: false,
        degrade: Vec::new(),
    }
}

fn options(lanes: Vec<config::Lane>) -> Options {
    Options {
        gateway: "gw-0042".to_owned(),
        lanes,
        drain: config::Drain {
            adaptive: true,
            records_per_second: None,
            bytes_per_second: 256 << 10,
            reconnect_spread: None,
        },
        backoff: config::Backoff { initial: Duration::from_secs(5), max: Duration::from_secs(120) },
        fresh: true,
        memory: Memory::default(),
        budget: budget::Options::default(),
        no_upstream: None,
        in_flight_bytes: 8 << 20,
        ahead_bytes: 16 << 20,
    }
}

fn queue(options: &Options) -> FakeQueue {
    let lanes: Vec<_> = options.lanes.iter().map(|lane| (lane.name.as_str(), lane.order)).collect();
    FakeQueue::new(&lanes)
}

fn spawn(options: Options, queue: &FakeQueue, upstream: &Arc<FakeUpstream>) -> DrainHandle {
    let upstream: Arc<dyn Upstream> = upstream.clone();
    let clock = Arc::new(SystemClock);
    Drain::spawn(options, Arc::new(queue.clone()), Some(upstream), 7, clock)
}

fn delivered() -> Outcome {
    Outcome::Delivered { message_id: "m".to_owned() }
}

fn refused(code: &str, own: bool) -> Outcome {
    Outcome::Rejected { code: code.to_owned(), reason: "no".to_owned(), own }
}

fn link_down() -> Outcome {
    Outcome::LinkDown { reason: "no route".to_owned() }
}

/// Waits until nothing waits, and says how long that took; at most `limit`.
async fn drained(queue: &FakeQueue, limit: Duration) -> Duration {
    let start = Instant::now();
    while queue.waiting() > 0 {
        assert!(start.elapsed() < limit, "{} still wait after {limit:?}", queue.waiting());
        sleep(MS * 50).await;
    }
    start.elapsed()
}

/// Waits for a state of the link.
async fn until(handle: &DrainHandle, state: LinkState) {
    let start = Instant::now();
    while handle.status().link.state != state {
        assert!(start.elapsed() < SECOND * 1000, "never {state:?}");
        sleep(MS * 10).await;
    }
}
