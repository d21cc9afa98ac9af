//! `spillway demo`: the whole story on one machine. A real agent runs in a process of its own, a
//! sample app hands it readings, the link breaks, the agent is killed, the link comes back, and an
//! audit compares what the app was promised with what the broker has.

mod app;
mod audit;
mod gateway;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use self::app::App;
use self::audit::Audit;
use self::gateway::Gateway;
use super::{Exit, Failure, output};
use crate::broker::faults::Plan;
use crate::broker::{Broker, BrokerOptions};
use crate::config::Secret;
use crate::entropy;

const ACCESS_KEY: &str = "demo-key";
const SECRET: &str = "demo-secret";
const TOPIC: &str = "ward-readings";

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Faults of the broker, as JSON, so that a test can see the audit fail
    #[arg(long, hide = true, value_parser = |text: &str| serde_json::from_str::<Plan>(text))]
    faults: Option<Plan>,
}

pub(super) async fn run(args: Demo) -> Exit {
    output::out(
        "A gateway on a ship takes readings of four sensors and sends them to RocketMQ on land.\n\
         The link will break, the agent will be killed, and the link will come back. No reading\n\
         may be lost, doubled or out of order.\n\n",
    );
    let story = Story::begin();
    match story.tell(args.faults.unwrap_or_default()).await {
        Ok(audit) => conclude(&audit, story.start.elapsed()),
        Err(failure) => failure.report(),
    }
}

fn conclude(audit: &Audit, took: Duration) -> Exit {
    output::out(&format!("\n{audit}\n"));
    let seconds = took.as_secs_f64();
    if audit.passed() {
        output::out(&format!("PASSED in {seconds:.1} s\n"));
        Exit::Done
    } else {
        output::out(&format!("FAILED after {seconds:.1} s: a promise was not kept\n"));
        Exit::Failed
    }
}

/// Tells what happens, with the time since the beginning.
struct Story {
    start: Instant,
}

impl Story {
    fn begin() -> Self {
        Self { start: Instant::now() }
    }

    fn say(&self, who: &str, what: &str) {
        let seconds = self.start.elapsed().as_secs_f64();
        output::out(&format!("{seconds:>5.1} s  {who:<7} {what}\n"));
    }

    async fn tell(&self, faults: Plan) -> Result<Audit, Failure> {
        let folder = Folder::make()?;
        let broker = broker(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &folder.0, &faults).await?;
        let address = broker.address();
        self.say("broker", &format!("stands for RocketMQ, at {}", broker.endpoint()));
        let mut gateway = Gateway::new(&folder.0, address)?;
        gateway.start().await?;
        self.say("agent", &format!("runs; its queue is in {}", folder.0.display()));
        let app = App::start(gateway.socket());
        self.say("app", &format!("hands over {} readings, 50 a second", app::READINGS));
        let status = gateway.until("readings flow", |lane, _| lane.delivered >= 60).await?;
        self.say("link", &format!("up: {} readings are stored, {} sent", status.0, status.1));

        broker.stop().await;
        self.say("link", "CUT: the broker cannot be reached any more");
        let status = gateway
            .until("readings pile up", |lane, offline| offline && lane.waiting >= 100)
            .await?;
        self.say("agent", &format!("offline, and takes readings in: {} wait on disk", status.2));
        gateway.kill()?;
        self.say("power", "the agent is KILLED (SIGKILL); the app has to wait for it");
        gateway.start().await?;
        let status = gateway.until("the queue is back", |lane, _| lane.waiting >= status.2).await?;
        self.say("agent", &format!("started again: {} readings wait, none is gone", status.2));

        let broker = self::broker(address, &folder.0, &faults).await?;
        self.say("link", "BACK: the broker answers again");
        let promised = app.finish().await?;
        self.say("app", &format!("done: {} readings were acknowledged as stored", promised.len()));
        let all = promised.len() as u64;
        gateway
            .until("the queue is drained", |lane, _| lane.waiting == 0 && lane.delivered >= all)
            .await?;
        self.say("agent", "drained: nothing waits");
        gateway.stop().await?;
        let audit = Audit::of(&promised, &broker.messages(None, TOPIC));
        broker.stop().await;
        Ok(audit)
    }
}

async fn broker(listen: SocketAddr, folder: &Path, faults: &Plan) -> Result<Broker, Failure> {
    let keys = vec![(ACCESS_KEY.to_owned(), Secret::new(SECRET))];
    let options = BrokerOptions {
        dir: Some(folder.join("broker")),
        faults: faults.clone(),
        seed: entropy::seed(),
        ..BrokerOptions::new(listen, keys)
    };
    Broker::start(options).await.map_err(|error| Failure::new(Exit::TryAgain, error.to_string()))
}

/// A folder of the demo's own, removed at its end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn make() -> Result<Self, Failure> {
        let name = format!("spillway-demo-{:08x}", entropy::seed() as u32);
        let path = std::env::temp_dir().join(name);
        let made = std::fs::create_dir(&path);
        made.map_err(|error| Failure::new(Exit::TryAgain, format!("{}: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the temporary folder is the system's to clear away.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
