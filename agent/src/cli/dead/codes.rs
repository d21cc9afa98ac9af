//! Which codes dead letters have, for who asked by one that none has.

use std::collections::BTreeMap;

use super::{Letters, Which};
use crate::cli::Failure;
use crate::cli::client::Client;
use crate::control::api::PAGE_MAX;

/// `; none has that code or words: there are TopicNotExist (3), Malformed (1)`, where one was asked for
/// and the rest of `which` finds letters: the oldest, as many as one answer takes.
pub(super) async fn others(client: &mut Client, which: &Which) -> Result<String, Failure> {
    if which.reason.is_none() {
        return Ok(String::new());
    }
    let any = Which { lane: which.lane.clone(), reason: None, since: which.since, limit: None };
    let letters: Letters = client.get(&any.path(None, PAGE_MAX, false)).await?.json()?;
    let mut codes: BTreeMap<&str, u64> = BTreeMap::new();
    for letter in &letters.letters {
        *codes.entry(&letter.code).or_default() += 1;
    }
    if codes.is_empty() {
        return Ok(String::new());
    }
    let codes = codes.iter().map(|(code, count)| format!("{code} ({count})"));
    let more = if letters.more { " and more" } else { "" };
    let codes: Vec<String> = codes.collect();
    Ok(format!("; none has that code or words: there are {}{more}", codes.join(", ")))
}
