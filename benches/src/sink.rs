//! A far end that takes everything and keeps little of it: the embedded broker with a bound.

use spillway::broker::{Broker, BrokerOptions};
use spillway::config::Secret;

use crate::Error;
use crate::broker::{ACCESS_KEY, SECRET, upstream};

/// Messages kept of a topic.
const KEEP_MESSAGES: usize = 64;

/// The running broker, in this process.
pub struct Sink(Broker);

impl Sink {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// If it cannot listen.
    pub async fn start() -> Result<Self, Error> {
        let keys = vec![(ACCESS_KEY.to_owned(), Secret::new(SECRET))];
        let options = BrokerOptions::new(([127, 0, 0, 1], 0).into(), keys);
        let options = BrokerOptions { keep_messages: Some(KEEP_MESSAGES), ..options };
        Ok(Self(Broker::start(options).await?))
    }

    /// The lines of `[upstream]` that lead here.
    pub fn upstream(&self) -> String {
        upstream(&self.0.endpoint())
    }

    /// Ends it.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}
