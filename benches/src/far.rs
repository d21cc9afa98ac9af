//! The far end of a benchmark, over either transport, and what drains to it are asked alike.

use std::path::PathBuf;

use clap::ValueEnum;
use spillway_tests::rocketmq::{Options, RocketMq};

use crate::Error;
use crate::broker::{self, Broker};

/// What an agent speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// The MQ HTTP API, to the embedded broker.
    Http,
    /// gRPC, to a real `RocketMQ`.
    Grpc,
}

/// Options of a benchmark of drains.
#[derive(Debug, clap::Args)]
pub struct Course {
    /// Over HTTP to the embedded broker, or over gRPC to a real `RocketMQ`
    #[arg(long, value_enum)]
    pub transport: Transport,
    /// Rounds; in each everybody has their turn
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Bytes of a body
    #[arg(long, default_value_t = 256)]
    pub body_bytes: usize,
    /// Folder on the disk to measure
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Only shows that it works
    #[arg(long)]
    pub smoke: bool,
}

/// A running far end.
pub enum Far {
    /// The embedded broker.
    Http(Broker),
    /// A real `RocketMQ`.
    Grpc(Box<RocketMq>),
}

impl Far {
    /// Starts it, with these topics and their types; it blocks its thread meanwhile.
    ///
    /// # Errors
    /// If the embedded broker does not start.
    pub fn start(transport: Transport, topics: &[(&str, &str)]) -> Result<Self, Error> {
        Ok(match transport {
            // Its topics come into being on first use.
            Transport::Http => Self::Http(Broker::start()?),
            Transport::Grpc => {
                let mut server = RocketMq::start(Options::default());
                topics.iter().for_each(|(topic, kind)| server.create_topic(topic, kind));
                Self::Grpc(Box::new(server))
            }
        })
    }

    /// Where it listens on this machine.
    ///
    /// # Errors
    /// If the broker's address has no port.
    pub fn port(&self) -> Result<u16, Error> {
        Ok(match self {
            Self::Http(broker) => broker.endpoint().rsplit(':').next().ok_or("no port")?.parse()?,
            Self::Grpc(server) => server.grpc_port(),
        })
    }

    /// The lines of `[upstream]` that lead to `port`, of the far end or of a relay before it.
    pub fn upstream(&self, port: u16) -> String {
        match self {
            Self::Http(_) => broker::upstream(&format!("http://127.0.0.1:{port}")),
            Self::Grpc(_) => format!("transport = \"grpc\"\nendpoint = \"127.0.0.1:{port}\"\n"),
        }
    }
}
