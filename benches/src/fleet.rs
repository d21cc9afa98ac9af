//! Real agents as a fleet: processes with an own rate they know, and an app for each that makes
//! records at just that rate.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use spillway::pace::{Memory, Quiet};
use spillway_protocol::local::client::Client;
use spillway_protocol::record::Draft;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::Error;
use crate::agent::{Agent, Setup};
use crate::process::Usage;
use crate::record::Bodies;

/// So long they have watched their apps, as their memory says: a habit.
const WATCHED: Duration = Duration::from_secs(4 * 3600);

/// How long a quiet broker on this machine takes to answer, in seconds: as the simulation's gateways
/// they know that, too.
const ANSWER_S: f64 = 0.002;

/// One gateway: the agent, its app, and when records were accepted.
#[derive(Debug)]
pub struct Gateway {
    /// Its id.
    pub id: String,
    /// Records a second.
    pub own_per_s: f64,
    agent: Agent,
    app: JoinHandle<()>,
    accepted: Arc<Mutex<Vec<(u64, u64)>>>,
}

impl Gateway {
    /// Number and time (ms since 1970) of every record accepted so far.
    pub fn accepted(&self) -> Vec<(u64, u64)> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What its agent has used.
    ///
    /// # Errors
    /// If it has ended.
    pub fn usage(&self) -> Result<Usage, Error> {
        Usage::of(self.agent.pid())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.app.abort();
    }
}

/// Starts so many, with rates drawn between `own_per_s`, below `folder`.
///
/// # Errors
/// If one does not start.
pub async fn start(
    count: u32,
    own_per_s: (f64, f64),
    upstream: &str,
    folder: &Path,
    seed: u64,
) -> Result<Vec<Gateway>, Error> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut gateways = Vec::new();
    for nth in 0..count {
        let own_per_s = rng.random_range(own_per_s.0..=own_per_s.1);
        let id = format!("gw-{seed}-{nth}");
        let setup = Setup::new(&folder.join(nth.to_string()), 1).with_upstream(upstream);
        let setup = setup.one_of_a_fleet(&id);
        std::fs::create_dir_all(setup.data_dir())?;
        let quiet = Quiet { base_s: ANSWER_S, deviation_s: ANSWER_S / 2.0, known: 64 };
        let memory = Memory { own_rate_per_s: own_per_s, watched: WATCHED, quiet };
        std::fs::write(setup.data_dir().join("pace"), memory.encode())?;
        let agent = setup.start()?;
        let accepted = Arc::default();
        let client = Client::connect(agent.socket()).await?;
        let first = Duration::from_secs_f64(rng.random::<f64>() / own_per_s);
        let interval = Duration::from_secs_f64(1.0 / own_per_s);
        let app =
            tokio::spawn(make(client, Instant::now() + first, interval, Arc::clone(&accepted)));
        gateways.push(Gateway { id, own_per_s, agent, app, accepted });
    }
    Ok(gateways)
}

/// A record at each interval, until it is ended.
async fn make(
    client: Client,
    first: Instant,
    interval: Duration,
    accepted: Arc<Mutex<Vec<(u64, u64)>>>,
) {
    let mut bodies = Bodies::new(256);
    let mut at = first;
    loop {
        sleep_until(at).await;
        at += interval;
        let draft: Draft = bodies.next_draft();
        let Ok(pending) = client.submit(draft, None).await else { return };
        let Ok(receipt) = pending.await else { return };
        let noted = (receipt.seq, now_ms());
        accepted.lock().unwrap_or_else(PoisonError::into_inner).push(noted);
    }
}

/// Ms since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
