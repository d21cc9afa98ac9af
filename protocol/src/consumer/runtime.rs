//! The consumer.

use std::sync::Arc;

use tokio::sync::watch;

use super::driver::Driver;
use super::{Feed, Handler, Options, Status};

/// Pulls from a [`Feed`] and has a [`Handler`] do the work. See the module for what it keeps.
pub struct Consumer<H> {
    feed: Arc<dyn Feed>,
    handler: Arc<H>,
    options: Options,
    status: watch::Sender<Status>,
}

impl<H: Handler> Consumer<H> {
    /// A consumer that does nothing until it is run.
    pub fn new(feed: Arc<dyn Feed>, handler: H, options: Options) -> Self {
        Self { feed, handler: Arc::new(handler), options, status: watch::Sender::default() }
    }

    /// Counts and troubles, while it runs and after.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Works until `stop`; then receives no more, finishes what is in hand within
    /// [`Options::grace`], acknowledges it, and returns the last status. The rest comes again.
    ///
    /// Dropping the future is like killing the consumer: nothing is lost, and what was in hand
    /// comes again.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> Status {
        Driver::new(self.feed, self.handler, self.options, self.status).run(stop).await
    }
}
