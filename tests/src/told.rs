//! The agent's admin listener over an agent whose state a test writes down: for what takes long to
//! come about, or never should.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use spillway::admin::{Guard, Letters, Observed, serve};
use spillway::open_files::OpenFiles;
use spillway_protocol::local::status::Status;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::gateway::PATIENCE;

/// What such an agent says.
#[derive(Debug, Clone)]
pub struct State {
    /// `None`: its state cannot be gathered.
    pub status: Option<Status>,
    /// Dead letters.
    pub letters: Vec<Letters>,
    /// What should move and does not.
    pub stuck: Option<String>,
    /// Whether records are taken in.
    pub accepts: bool,
}

impl State {
    /// All is well, as `status` says.
    pub fn of(status: Status) -> Self {
        Self { status: Some(status), letters: Vec::new(), stuck: None, accepts: true }
    }
}

/// The agent.
pub struct Told {
    state: Mutex<State>,
    asked: AtomicUsize,
}

impl Told {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Observed for Told {
    fn status(&self) -> Status {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let told = self.state().status.clone();
        told.expect("the test has one to tell")
    }

    fn letters(&self) -> Vec<Letters> {
        self.state().letters.clone()
    }

    fn stuck(&self) -> Option<String> {
        self.state().stuck.clone()
    }

    fn accepts(&self) -> bool {
        self.state().accepts
    }

    fn refuses(&self) -> Option<String> {
        (!self.accepts()).then(|| "the agent is stopping".to_owned())
    }
}

/// Its listener.
pub struct Listening {
    /// Where.
    pub admin: Admin,
    told: Arc<Told>,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl Listening {
    /// Begins to listen on loopback; with a token only those are let in who bring it.
    pub async fn start(state: State, token: Option<&str>) -> Self {
        let admin = Admin::new();
        let listener = TcpListener::bind(("127.0.0.1", admin.port())).await.unwrap();
        let guard = Guard::new(listener.local_addr().unwrap(), vec![], token);
        let told = Arc::new(Told { state: Mutex::new(state), asked: AtomicUsize::new(0) });
        let stop = CancellationToken::new();
        let serving = serve(listener, guard, told.clone(), OpenFiles::default(), stop.clone());
        Self { admin, told, stop, served: tokio::spawn(serving) }
    }

    /// Says this from now on.
    pub fn tell(&self, state: State) {
        *self.told.state() = state;
    }

    /// Waits until it was looked at so often from now on.
    pub async fn looked_at(&self, times: usize) {
        let wanted = self.told.asked.load(Ordering::SeqCst) + times;
        let deadline = Instant::now() + PATIENCE;
        while self.told.asked.load(Ordering::SeqCst) < wanted {
            assert!(Instant::now() < deadline, "nobody looks");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Where a browser on this machine finds it.
    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin.port())
    }

    /// Ends it.
    pub async fn stop(self) {
        self.stop.cancel();
        self.served.await.unwrap();
    }
}

/// A lane in which so many records wait; `more` replaces any of its fields.
pub fn lane(name: &str, waiting: u64, more: &Value) -> Value {
    let mut lane = json!({
        "name": name, "accepted": 100 + waiting, "delivered": 100, "waiting": waiting, "dead": 0,
        "expired": 0, "dropped": 0, "damaged": 0,
        "oldest_age_s": (waiting > 0).then_some(11_000), "live_bytes": 90 * waiting,
        "disk_bytes": 120 * waiting, "hold": null, "held_keys": 0, "last_error": null,
    });
    more.as_object().unwrap().iter().for_each(|(key, value)| lane[key] = value.clone());
    lane
}

/// A link in a state.
pub fn link(state: &str, reason: &str) -> Value {
    let next = (state == "offline").then_some(47);
    json!({"state": state, "since_s": 11_000, "since": 0, "reason": reason, "next_attempt_in_s": next})
}

/// What `GET /v1/status` says of them.
pub fn status(link: &Value, lanes: &[Value]) -> Status {
    let status = json!({
        "gateway": "gw-0042", "stream": "0a1b2c3d", "version": "0.1.0", "pid": 4, "uptime_s": 9000,
        "configuration": {"file": "f", "state": "in force"}, "link": link, "lanes": lanes,
        "rates": {"accepted_per_s": 0.5, "delivered_per_s": 1.5, "delivered_bytes_per_s": 256.0},
        "budget": {"bytes_today": 6_000_000, "headers_today": 5, "bytes_per_day": 20_000_000,
                   "reserve": 25, "overhead": 10, "lanes": [], "resets_at": 0, "resets_in_s": 3600},
        "drained_in_s": null, "first_send_in_s": null, "clock_offset_s": -2,
    });
    serde_json::from_value(status).unwrap()
}
