//! What the kernel says of the network, told to those whom it concerns.

use std::sync::Arc;

use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::drain::DrainHandle;
use crate::network::{self, Event};
use crate::upstream::Upstream;

/// Runs until `stop`.
pub(super) async fn follow(
    upstream: Arc<dyn Upstream>,
    drain: Arc<DrainHandle>,
    stop: CancellationToken,
) {
    let asked = Arc::clone(&upstream);
    let mut events = network::watch(move || asked.addresses());
    loop {
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            // The kernel is silent from now on.
            None => return,
            Some(Event::Gone(reason)) => drain.unrouted(&reason),
            Some(Event::Came { other }) => {
                if other {
                    upstream.reconnect();
                }
                drain.way_came();
            }
        }
    }
}
