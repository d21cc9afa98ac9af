//! Requests for what the centre's own audit finds missing: nobody has to ask for it.

use central_store::ledger::Ledger;
use central_store::{Database, Fault, Place};
use futures::FutureExt;
use futures::future::BoxFuture;
use sha2::{Digest, Sha256};
use spillway_protocol::control::Request;

use super::source::{Source, SourceError};

/// The gaps of a gateway, in the tables that `central-consumer` writes.
pub(crate) struct Gaps {
    database: Database,
    /// Younger gaps may close by themselves.
    grace_ms: u64,
    /// A gap that is still open after so long is asked for once more.
    again_ms: u64,
}

impl Gaps {
    pub(crate) fn new(database: Database, grace_ms: u64, again_ms: u64) -> Self {
        Self { database, grace_ms, again_ms: again_ms.max(1) }
    }

    async fn read(&self, gateway: &str) -> Result<Vec<Request>, Fault> {
        let mut ledger = Ledger::open(&self.database).await?;
        let now_ms = ledger.now_ms().await?;
        let mut requests = Vec::new();
        // What the agent says of its own is not kept for a resend.
        let places = ledger.places(Some(gateway)).await?;
        for (lane, place) in places.into_iter().filter(|(_, place)| !place.is_own()) {
            let days = ledger.books(lane).await?.audit(now_ms.saturating_sub(self.grace_ms));
            let gaps = days.values().flat_map(|audit| &audit.missing);
            requests.extend(gaps.map(|gap| {
                let (from, to) = (gap.range.first, gap.range.last);
                let turn = now_ms.saturating_sub(gap.since_ms) / self.again_ms;
                request(&place, from, to, turn)
            }));
        }
        Ok(requests)
    }
}

/// The same gap has the same id until its turn is over.
fn request(place: &Place, from: u64, to: u64, turn: u64) -> Request {
    let (lane, stream) = (place.lane.clone(), place.stream.to_string());
    let digest = Sha256::digest(format!("{lane}/{stream}/{from}/{to}/{turn}"));
    let id = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Request { id, lane, stream, from, to }
}

impl Source for Gaps {
    fn requests<'a>(
        &'a self,
        gateway: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Request>, SourceError>> {
        self.read(gateway).map(|read| Ok(read?)).boxed()
    }
}

#[cfg(test)]
mod tests {
    use spillway_protocol::message::StreamId;

    use super::*;

    #[test]
    fn a_gap_keeps_its_id_until_its_turn_is_over() {
        let place =
            Place { gateway: "gw".into(), lane: "main".into(), stream: StreamId(0x00c0_ffee) };
        let one = request(&place, 5, 9, 0);
        assert_eq!((one.stream.as_str(), one.id.len()), ("00c0ffee", 32));
        assert_eq!(one, request(&place, 5, 9, 0));
        for other in [request(&place, 5, 9, 1), request(&place, 5, 8, 0)] {
            assert_ne!(one.id, other.id);
        }
    }
}
