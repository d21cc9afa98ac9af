//! The sample app: four sensors, each with readings in order.

use std::path::Path;
use std::time::Duration;

use spillway_protocol::local::client::{Client, Options};
use spillway_protocol::record::Draft;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::{Exit, Failure};

/// Readings in all.
pub(super) const READINGS: usize = 400;
const SENSORS: usize = 4;
const EVERY: Duration = Duration::from_millis(20);

/// A reading that the agent acknowledged as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Promised {
    pub(super) id: String,
    pub(super) body: String,
}

/// The running app.
pub(super) struct App(JoinHandle<Vec<Promised>>);

impl App {
    /// Hands readings to the agent at `socket`. While the agent is away the app waits for it, and
    /// brings what was not acknowledged again.
    pub(super) fn start(socket: &Path) -> Self {
        let options = Options {
            wait_when_busy: true,
            backoff_initial: Duration::from_millis(50),
            backoff_max: Duration::from_millis(500),
            name: "demo".to_owned(),
            ..Options::default()
        };
        Self(tokio::spawn(hand_over(Client::lazy(socket, options))))
    }

    /// What was acknowledged, once every reading has been answered.
    pub(super) async fn finish(self) -> Result<Vec<Promised>, Failure> {
        let ended = self.0.await;
        ended.map_err(|error| Failure::new(Exit::Failed, format!("the app failed: {error}")))
    }
}

async fn hand_over(client: Client) -> Vec<Promised> {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pending = Vec::new();
    for number in 0..READINGS {
        ticks.tick().await;
        let (draft, promised) = reading(number);
        if let Ok(answer) = client.submit(draft, None).await {
            pending.push((promised, answer));
        }
    }
    let mut stored = Vec::new();
    for (promised, answer) in pending {
        if answer.await.is_ok() {
            stored.push(promised);
        }
    }
    stored
}

fn reading(number: usize) -> (Draft, Promised) {
    let (sensor, nth) = (number % SENSORS, number / SENSORS);
    let degrees = 36.5 + (number as f64 / 9.0).sin();
    let body = format!(r#"{{"sensor":{sensor},"reading":{nth},"celsius":{degrees:.2}}}"#);
    let id = format!("sensor-{sensor}-{nth}");
    let draft = Draft {
        id: Some(id.clone()),
        order_key: Some(format!("sensor-{sensor}")),
        body: body.clone().into(),
        ..Draft::default()
    };
    (draft, Promised { id, body })
}
