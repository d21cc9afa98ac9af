//! The number that stands for a gateway's stream and lane in the other tables.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use mysql_async::prelude::Queryable;
use spillway_protocol::message::StreamId;

use crate::database::{Database, Tries};
use crate::fault::Fault;

/// So many are remembered; then all are forgotten and asked for again.
const REMEMBERED: usize = 100_000;

/// The lane of what gateways tell of themselves.
const OWN_LANE: &str = "_agent";

/// A gateway's stream and lane: within it numbers have no gaps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Gateway id.
    pub gateway: String,
    /// Lane.
    pub lane: String,
    /// Stream.
    pub stream: StreamId,
}

impl Place {
    /// Whether the gateway tells of itself here: not in the accounts of users' lanes. Its messages go to
    /// several topics (reports, presence), so whoever reads only one misses numbers.
    pub fn is_own(&self) -> bool {
        self.lane == OWN_LANE
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.gateway, self.lane, self.stream)
    }
}

/// Knows the numbers that were asked for.
#[derive(Debug, Default)]
pub struct Lanes {
    known: Mutex<HashMap<Place, u32>>,
}

impl Lanes {
    /// The number of a place, which is drawn the first time. It is committed by itself, outside
    /// any transaction, so that nobody waits for it.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn id(&self, database: &Database, place: &Place) -> Result<u32, Fault> {
        if let Some(id) = self.known().get(place) {
            return Ok(*id);
        }
        let mut tries = Tries::default();
        let id = loop {
            match draw(database, place).await {
                Err(fault) => tries.again(fault)?,
                Ok(id) => break id,
            }
        };
        let mut known = self.known();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(place.clone(), id);
        Ok(id)
    }

    /// Forgets all: a database that was away may have come back from a backup without them.
    pub fn forget(&self) {
        self.known().clear();
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Place, u32>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn draw(database: &Database, place: &Place) -> Result<u32, Fault> {
    let mut connection = database.connection().await?;
    let values = || (&place.gateway, &place.lane, place.stream.to_string());
    let find = "SELECT id FROM sw_lanes WHERE gateway = ? AND lane = ? AND stream = ?";
    if let Some(id) = connection.exec_first(find, values()).await? {
        return Ok(id);
    }
    // Two may come here at once; the second gets the first one's number.
    let insert = "INSERT INTO sw_lanes (gateway, lane, stream) VALUES (?, ?, ?) \
                  ON DUPLICATE KEY UPDATE id = id";
    connection.exec_drop(insert, values()).await?;
    let id = connection.exec_first(find, values()).await?;
    id.ok_or_else(|| Fault::Away(format!("the row of {place} in sw_lanes is gone again")))
}
