//! Access keys of the way to RocketMQ: a link that is held for them goes on with others, and how they
//! stand.

use std::sync::Arc;

use spillway_protocol::local::status::AccessKeys;
use tokio_util::sync::CancellationToken;

use crate::drain::DrainHandle;
use crate::upstream::Upstream;

/// Runs until `stop`.
pub(super) async fn follow(
    upstream: Arc<dyn Upstream>,
    drain: Arc<DrainHandle>,
    stop: CancellationToken,
) {
    let Some(mut changes) = upstream.key_changes() else { return };
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = changes.changed() => match changed {
                Ok(()) => drain.rekeyed(),
                Err(_) => return,
            }
        }
    }
}

/// How they stand.
pub(super) fn status(upstream: &dyn Upstream) -> Option<AccessKeys> {
    let keys = upstream.keys()?;
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Some(AccessKeys {
        in_use: keys.in_use.map(number),
        of: number(keys.of),
        refused: keys.refused.into_iter().map(number).collect(),
        expires_in_s: keys.expires_in.map(|left| left.as_secs()),
        fault: keys.fault,
    })
}
