//! Looking at the agent: few at a time, and none for ever.

use std::sync::Arc;
use std::time::Duration;

use spillway_protocol::local::status::Status;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Observed;

/// Most states that are being gathered at a time: each may hold a thread.
pub(super) const AT_ONCE_MAX: usize = 4;
/// The state is gathered in milliseconds. What holds it up for so long holds up apps and the
/// drain, too.
pub(super) const TIME_MAX: Duration = Duration::from_secs(10);

/// The agent, and how many look at it.
#[derive(Clone)]
pub(super) struct Looks {
    agent: Arc<dyn Observed>,
    places: Arc<Semaphore>,
}

impl Looks {
    /// At `agent`.
    pub(super) fn at(agent: Arc<dyn Observed>) -> Self {
        Self { agent, places: Arc::new(Semaphore::new(AT_ONCE_MAX)) }
    }

    /// What can be asked at once.
    pub(super) fn agent(&self) -> &dyn Observed {
        self.agent.as_ref()
    }

    /// The agent's state; what is wrong where it does not come.
    pub(super) async fn status(&self) -> Result<Status, &'static str> {
        self.look(|agent| agent.status()).await
    }

    /// Why no records are taken in, if that is so; what is wrong where that cannot be told.
    pub(super) async fn refuses(&self) -> Result<Option<String>, &'static str> {
        self.look(|agent| agent.refuses()).await
    }

    async fn look<T: Send + 'static>(
        &self,
        what: impl FnOnce(&dyn Observed) -> T + Send + 'static,
    ) -> Result<T, &'static str> {
        let (agent, places) = (self.agent.clone(), self.places.clone());
        let gathered = async move {
            let place = places.acquire_owned().await;
            let look = move || {
                // Kept until the look is over, though nobody may wait for it any more.
                let _place = place;
                what(agent.as_ref())
            };
            tokio::task::spawn_blocking(look).await
        };
        match timeout(TIME_MAX, gathered).await {
            Ok(Ok(seen)) => Ok(seen),
            Ok(Err(error)) => {
                tracing::error!(%error, "the agent's state could not be gathered");
                Err("the agent's state cannot be gathered; its log says why\n")
            }
            Err(_) => Err("the agent's state does not come: queue or drain are stuck\n"),
        }
    }
}
