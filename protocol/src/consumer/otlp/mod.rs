//! Continues a record's trace: one span for each message that is processed, exported by OTLP over
//! HTTP with protobuf.
//!
//! [`Traced`] wraps a handler. Each delivery with a valid `traceparent` gets a span
//! `process TOPIC` of kind CONSUMER below the app's span, as long as the handler takes; it is an
//! error if the delivery failed or was parked, and the reason goes with it. An app that does not
//! sample its trace gets none. Where the record has no trace, none is begun, unless
//! [`Settings::begin`] says so.
//!
//! The handler runs in the span's context, so spans that it starts with [`Exporter::provider`]
//! are children of it. Of a batch, that is the first span; the others are linked to it, and
//! [`context_of`] has the context of each. What a handler spawns has to take the context along.
//!
//! Spans wait in a bounded queue and leave it in batches, in a task of their own: a collector that
//! is slow or away costs spans ([`Counts`]), never a message.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use std::time::Duration;
//! # use spillway_protocol::consumer::otlp::{Exporter, OtlpError, Settings, Traced};
//! # use spillway_protocol::consumer::{Consumer, Feed, Handler, Options};
//! # async fn example(handler: impl Handler, feed: Arc<dyn Feed>) -> Result<(), OtlpError> {
//! let settings = Settings::read(|name| std::env::var(name).ok())?;
//! let exporter = settings.as_ref().map(Exporter::start).transpose()?;
//! let handler = Traced::new(handler, exporter.as_ref()).group("GID_ward");
//! Consumer::new(feed, handler, Options::default()).run(std::future::pending()).await;
//! if let Some(exporter) = exporter {
//!     println!("{:?}", exporter.stop(Duration::from_secs(5)).await);
//! }
//! # Ok(())
//! # }
//! ```

mod client;
mod exporter;
mod queue;
mod settings;
mod spans;
mod traced;

pub use opentelemetry;
pub use opentelemetry_sdk;

pub use self::exporter::Exporter;
pub use self::queue::Counts;
pub use self::settings::{Begin, OtlpError, Settings};
pub use self::spans::context_of;
pub use self::traced::Traced;
