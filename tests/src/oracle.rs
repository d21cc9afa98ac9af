//! What has to hold between what was sent and what arrived. Each function returns the faults, so
//! that the oracle itself can be shown to find them.

use std::collections::{BTreeMap, BTreeSet};

use crate::arrival::Arrival;
use crate::ledger::Sent;

/// Records by their ids.
pub type Records = BTreeMap<String, Sent>;

/// Everything acknowledged arrived, nothing was invented, and nothing was changed on the way.
pub fn losses(sent: &Records, arrived: &[Arrival]) -> Vec<String> {
    let mut faults = Vec::new();
    let ids: BTreeSet<&str> = arrived.iter().map(|arrival| arrival.id.as_str()).collect();
    for (id, record) in sent {
        if record.acknowledged.is_some() && !ids.contains(id.as_str()) {
            faults.push(format!("{id} was acknowledged and is lost"));
        }
    }
    for arrival in arrived {
        match sent.get(&arrival.id) {
            None => faults.push(format!("{} was never sent", arrival.id)),
            Some(record) => faults.extend(difference(record, arrival)),
        }
    }
    faults
}

fn difference(sent: &Sent, arrival: &Arrival) -> Option<String> {
    let key = sent.key.as_ref().unwrap_or(&arrival.id);
    let what = if sent.body != arrival.body {
        "body"
    } else if *key != arrival.key {
        "key"
    } else if sent.tag.is_some() && sent.tag != arrival.tag {
        "tag"
    } else if sent.lane != arrival.lane {
        "lane"
    } else if sent.acknowledged.is_some_and(|seq| seq != arrival.seq) {
        "number"
    } else {
        return None;
    };
    Some(format!("{} arrived with another {what}", arrival.id))
}

/// Numbers have no gaps per stream and lane, each belongs to one id, and each id has one.
pub fn gaps(arrived: &[Arrival]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut lanes: BTreeMap<(&str, &str), BTreeMap<u64, &str>> = BTreeMap::new();
    let mut numbers: BTreeMap<&str, (&str, &str, u64)> = BTreeMap::new();
    for arrival in arrived {
        let Arrival { id, lane, stream, seq, .. } = arrival;
        let other = lanes.entry((lane, stream)).or_default().insert(*seq, id);
        if let Some(other) = other.filter(|other| other != id) {
            faults.push(format!("{other} and {id} are both number {seq} of {lane}"));
        }
        let number = (lane.as_str(), stream.as_str(), *seq);
        let known = numbers.insert(id, number);
        if let Some(known) = known.filter(|known| *known != number) {
            faults.push(format!("{id} is {known:?} and {number:?}"));
        }
    }
    for ((lane, stream), numbers) in lanes {
        let missing = (1..).zip(numbers.keys()).find(|(wanted, seq)| wanted != *seq);
        if let Some((missing, _)) = missing {
            faults.push(format!("number {missing} of {lane} in stream {stream} is missing"));
        }
    }
    faults
}

/// Within each `scope` (`None`: not ordered) first arrivals stand in the order of their numbers,
/// and numbers in the order of sending.
pub fn disorder<'a>(
    sent: &Records,
    arrived: &'a [Arrival],
    scope: impl Fn(&'a Arrival) -> Option<&'a str>,
) -> Vec<String> {
    let mut faults = Vec::new();
    let mut scopes: BTreeMap<&str, Vec<&Arrival>> = BTreeMap::new();
    for arrival in arrived {
        if let Some(scope) = scope(arrival) {
            scopes.entry(scope).or_default().push(arrival);
        }
    }
    for (scope, mut arrivals) in scopes {
        arrivals.sort_by_key(|arrival| arrival.place);
        let queues: BTreeSet<i32> = arrivals.iter().map(|arrival| arrival.place.0).collect();
        if queues.len() > 1 {
            faults.push(format!("{scope} lies in the queues {queues:?}"));
        }
        let mut seen = BTreeSet::new();
        arrivals.retain(|arrival| seen.insert(&arrival.id));
        for pair in arrivals.windows(2) {
            let nth = |arrival: &Arrival| sent.get(&arrival.id).map(|record| record.nth);
            if pair[0].seq >= pair[1].seq || nth(pair[0]) >= nth(pair[1]) {
                faults.push(format!("{scope}: {} came before {}", pair[0].id, pair[1].id));
            }
        }
    }
    faults
}

/// A record that arrived once more: its arrival before and the one again.
pub type Repeat<'a> = (&'a Arrival, &'a Arrival);

/// All repeats, in the order of the second arrival.
pub fn repeats(arrived: &[Arrival]) -> Vec<Repeat<'_>> {
    let mut ordered: Vec<&Arrival> = arrived.iter().collect();
    ordered.sort_by_key(|arrival| (arrival.at_ms, arrival.place));
    let mut last: BTreeMap<&str, &Arrival> = BTreeMap::new();
    let pairs = ordered.into_iter().filter_map(|arrival| {
        let before = last.insert(&arrival.id, arrival)?;
        Some((before, arrival))
    });
    pairs.collect()
}

/// Panics with the first faults, if there are any.
#[track_caller]
pub fn assert_none(what: &str, faults: &[String]) {
    let first = &faults[..faults.len().min(20)];
    assert!(faults.is_empty(), "{what}: {} faults, the first: {first:#?}", faults.len());
}

#[cfg(test)]
mod tests;
