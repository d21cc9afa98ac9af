//! The far side: messages received from RocketMQ, read back into records, and handed to whoever
//! stores them.
//!
//! A [`Feed`] receives and acknowledges over one of the transports ([`http`], [`grpc`]). The
//! [`Consumer`] pulls from it, hands batches of [`Delivery`] to a [`Handler`], and acknowledges
//! what is done:
//!
//! - a message is acknowledged only after [`Verdict::Done`], so a consumer that is killed loses
//!   nothing, and a message may come twice: de-duplicate by [`Delivery::id`]
//! - one that fails by its own fault is charged, tried again, and after
//!   [`Options::charges_max`] parked ([`Handler::park`]) and acknowledged
//! - a bundle is taken apart: handlers get its records one by one, and it is acknowledged when the
//!   last of them is done or parked
//! - while the database is away nothing is received and nobody is charged
//! - a record's trace is there for handlers ([`Delivery::trace_context`]); with the feature `otlp`
//!   it is continued and exported (`otlp`)
//! - in ordered mode no delivery overtakes an earlier one of its order key
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use spillway_protocol::consumer::http::HttpFeed;
//! # use spillway_protocol::consumer::{Access, Consumer, Handler, Options, Stop, Subscription};
//! # async fn example(handler: impl Handler, access: Access) -> Result<(), Box<dyn std::error::Error>> {
//! let feed = Arc::new(HttpFeed::new(&access, &Subscription::new("ward", "GID_ward"))?);
//! let consumer = Consumer::new(feed, handler, Options::default());
//! let counts = consumer.status();
//! let last = consumer.run(Stop::on_signal()?.asked()).await;
//! # Ok(())
//! # }
//! ```

mod access;
mod clock;
mod delivery;
mod desk;
mod driver;
mod endpoint;
mod environment;
mod feed;
pub mod grpc;
mod handler;
pub mod http;
mod options;
mod origin;
#[cfg(feature = "otlp")]
pub mod otlp;
mod runtime;
mod status;
mod stop;
mod torn;
mod trace;
mod unpack;

pub use self::access::{Access, Credentials, Subscription, SystemClock, WallClock};
pub use self::delivery::{Delivery, Fault, Receipt};
pub use self::endpoint::BuildError;
pub use self::environment::{Environment, EnvironmentError};
pub use self::feed::{AckFailure, Feed, FeedError, Nature};
pub use self::handler::{Handler, Verdict};
pub use self::options::Options;
pub use self::origin::Origin;
pub use self::runtime::Consumer;
pub use self::status::Status;
pub use self::stop::Stop;
pub use self::trace::TraceContext;
pub use crate::dial::{Tls, TlsError};
