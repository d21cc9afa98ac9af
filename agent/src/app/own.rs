//! Wires the agent's own records, and writes down how the gateway is.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use spillway_protocol::local::status::Status;
use spillway_protocol::record::LaneName;
use spillway_protocol::report::{self as wire, Disk, Lane, Link, Stream};
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

use super::fresh_id;
use super::report::Report;
use crate::attendance::Register;
use crate::clock::WallClock;
use crate::config::{Config, Endpoint};
use crate::drain::DrainHandle;
use crate::own::presence::Address;
use crate::own::report::Compose;
use crate::own::{Guests, Own, Post, Presence, Reporting};
use crate::queue::Queue;
use crate::{entropy, host};

/// Time to look up the far end's name.
const LOOK_UP: Duration = Duration::from_secs(2);
/// An address that is not known.
const NOWHERE: &str = "0.0.0.0";

/// Starts what the configuration asks for.
pub(super) fn start(
    config: &Config,
    queue: &Queue,
    drain: &DrainHandle,
    report: &Arc<Report>,
    register: &Register,
    clock: Arc<dyn WallClock>,
) -> Option<Own> {
    let post = post(config, queue)?;
    let gateway = &config.gateway;
    let reporting = config.report.as_ref().map(|section| {
        let writer = Writer {
            queue: queue.clone(),
            report: report.clone(),
            clock: clock.clone(),
            data_dir: gateway.data_dir.clone(),
            every: section.every,
        };
        let compose: Compose = Arc::new(move || writer.write());
        let when = (section.topic.clone(), section.every);
        Reporting::new(post.clone(), when, compose, drain.connection(), entropy::seed())
    });
    let presence = config.presence.as_ref().map(|section| {
        let to = (section.topic.clone(), section.client_group.as_str());
        let address = address(config);
        let connection = drain.connection();
        Presence::new(post.clone(), to, &gateway.data_dir, address, connection, clock.clone())
    });
    let guests = config.presence.as_ref().map(|section| {
        let how = (section.topic.clone(), section.client_group.as_str(), section.linger);
        let connection = drain.connection();
        let told = told(config);
        Guests::new(post, how, &gateway.data_dir, (register, &told), connection, clock)
    });
    Some(Own::start(reporting, presence, guests))
}

/// Clients of which it is told when they are connected.
fn told(config: &Config) -> Vec<String> {
    let told = config.clients.iter().filter(|client| client.presence);
    told.map(|client| client.name.clone()).collect()
}

/// All that [`start`] goes by.
pub(super) fn part(config: &Config) -> impl PartialEq + use<> {
    let upstream = config.upstream.as_ref();
    let endpoints = upstream.map(|upstream| upstream.endpoints.clone());
    (config.report.clone(), config.presence.clone(), told(config), endpoints)
}

/// The intake of the agent's own records, if there are any.
pub(super) fn post(config: &Config, queue: &Queue) -> Option<Post> {
    let lane = config.own_lane()?.name;
    Some(Post::new(queue.clone(), lane, config.gateway.id.clone(), fresh_id))
}

/// Writes reports.
struct Writer {
    queue: Queue,
    report: Arc<Report>,
    clock: Arc<dyn WallClock>,
    data_dir: PathBuf,
    every: Duration,
}

impl Writer {
    fn write(&self) -> wire::Report {
        let status = self.report.status();
        let lane = |lane: &_| self.lane(lane);
        let (at_ms, clock_set) = (self.clock.now_ms(), self.clock.is_set());
        wire::Report {
            lanes: status.lanes.iter().map(lane).collect(),
            own: status.own.as_ref().map(lane),
            disk: self.disk(&status),
            gateway: status.gateway,
            stream: status.stream,
            version: status.version,
            started_ms: self.report.started_ms(at_ms, clock_set),
            at_ms,
            clock_set,
            clock_offset_s: status.clock_offset_s,
            every_s: self.every.as_secs(),
            link: Link { state: status.link.state, since_ms: status.link.since },
        }
    }

    fn lane(&self, lane: &spillway_protocol::local::status::Lane) -> Lane {
        let name = LaneName::parse(lane.name.as_str()).ok();
        let numbers = name.map(|name| self.queue.newest_numbers(&name)).unwrap_or_default();
        let stream = |(stream, accepted_seq): (_, u64)| Stream {
            stream: ToString::to_string(&stream),
            accepted_seq,
        };
        Lane {
            name: lane.name.clone(),
            streams: numbers.into_iter().map(stream).collect(),
            accepted: lane.accepted,
            delivered: lane.delivered,
            waiting: lane.waiting,
            dead: lane.dead,
            expired: lane.expired,
            dropped: lane.dropped,
            damaged: lane.damaged,
            oldest_age_s: lane.oldest_age_s,
            hold: lane.hold.as_ref().map(|hold| hold.code.clone()),
        }
    }

    fn disk(&self, status: &Status) -> Option<Disk> {
        let found = host::disk(&self.data_dir)?;
        let lanes = status.lanes.iter().chain(&status.own).map(|lane| lane.disk_bytes);
        Some(Disk {
            total_bytes: found.total_bytes,
            free_bytes: found.free_bytes,
            queue_bytes: lanes.sum::<u64>() + self.queue.dead_disk_bytes(),
        })
    }
}

/// How this gateway finds its own address: by the route to the far end. Nothing is sent.
fn address(config: &Config) -> Address {
    let endpoint =
        config.upstream.as_ref().and_then(|upstream| upstream.endpoints.first().cloned());
    Arc::new(move || {
        let endpoint = endpoint.clone();
        async move {
            let found = match endpoint {
                Some(endpoint) => timeout(LOOK_UP, towards(&endpoint)).await.ok().flatten(),
                None => None,
            };
            found.map_or_else(|| NOWHERE.to_owned(), |address| address.ip().to_string())
        }
        .boxed()
    })
}

async fn towards(endpoint: &Endpoint) -> Option<SocketAddr> {
    let far = lookup_host((endpoint.host.as_str(), endpoint.port)).await.ok()?.next()?;
    let any: SocketAddr = match far {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0; 16], 0).into(),
    };
    let socket = UdpSocket::bind(any).await.ok()?;
    socket.connect(far).await.ok()?;
    socket.local_addr().ok()
}
