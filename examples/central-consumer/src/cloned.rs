//! The alarm: two machines share a gateway's id.

use std::time::Duration;

use central_store::Cloned;
use central_store::ledger::Ledger;
use serde_json::{Value, json};

use crate::Failure;

#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Patience {
    /// A stream of a gateway is over when another has gone on for so long without it; two that go
    /// on beside each other are two machines.
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    live: Duration,
}

impl Patience {
    /// All gateways, or the one, that have the alarm.
    pub(crate) async fn find(
        self,
        ledger: &mut Ledger,
        gateway: Option<&str>,
    ) -> Result<Vec<Cloned>, Failure> {
        Ok(ledger.cloned(gateway, u64::try_from(self.live.as_millis())?).await?)
    }
}

/// One line.
pub(crate) fn text(cloned: &Cloned) -> String {
    let streams: Vec<String> = cloned.streams.iter().map(|(name, _)| name.to_string()).collect();
    format!(
        "ALARM: gateway {} has {} live streams, {}: machines that share its id (a cloned disk?); \
         give each its own [gateway] id",
        cloned.gateway,
        streams.len(),
        streams.join(" and ")
    )
}

/// The same for programs.
pub(crate) fn to_json(cloned: &Cloned) -> Value {
    let stream = |(name, newest_ms): &(_, u64)| {
        let name: &spillway_protocol::message::StreamId = name;
        json!({"stream": name.to_string(), "newest_stored_ms": newest_ms})
    };
    let streams: Vec<Value> = cloned.streams.iter().map(stream).collect();
    json!({"alarm": "cloned", "gateway": cloned.gateway, "streams": streams})
}
