//! Why a record was given up: what is known of it, else what it can have been in its lane.

use super::State;
use super::facts::{Lane, Loss};

const PURGED: &str = "purged by an operator";
const DAMAGED: &str = "lost to a damaged file";

/// The clause after "it", and the state that it means.
pub(super) fn clause(lane: &Lane, loss: Option<Loss>) -> (State, String) {
    match loss {
        Some(Loss::Dropped) => (State::Dropped, format!("was {}", dropped(lane))),
        Some(Loss::Expired) => (State::Expired, "was older than its lane's ttl".to_owned()),
        Some(Loss::Thinned(n)) => {
            (State::Thinned, format!("was dropped by a degrade rule that keeps 1 in {n}"))
        }
        Some(Loss::Purged) => (State::Dropped, format!("was {PURGED}")),
        Some(Loss::Damaged) => (State::Damaged, format!("was {DAMAGED}")),
        None => unknown(lane),
    }
}

/// Both leave the same behind; what the lane may do says which it was.
fn dropped(lane: &Lane) -> &'static str {
    match (lane.drops_oldest, lane.degrades) {
        (true, false) => "dropped to make room for newer ones (when_full = \"drop-oldest\")",
        (false, true) => "dropped by a degrade rule",
        (true, true) => {
            "dropped, to make room for newer ones (when_full = \"drop-oldest\") or by a degrade rule"
        }
        (false, false) => "dropped at a limit of an earlier configuration",
    }
}

/// What has happened in its lane at all, by the lane's accounts.
fn unknown(lane: &Lane) -> (State, String) {
    let mut all = Vec::new();
    if lane.given_up.expired > 0 {
        all.push((State::Expired, "older than its lane's ttl"));
    }
    if lane.given_up.dropped > 0 {
        // Both count as dropped, and what the lane does now it need not have done then.
        all.extend([(State::Dropped, dropped(lane)), (State::Dropped, PURGED)]);
    }
    if lane.given_up.damaged > 0 {
        all.push((State::Damaged, DAMAGED));
    }
    match all.as_slice() {
        [] => (State::Dropped, "was given up".to_owned()),
        [(state, only)] => (*state, format!("was {only}")),
        [firsts @ .., (_, last)] => {
            let firsts: Vec<&str> = firsts.iter().map(|(_, words)| *words).collect();
            (State::Dropped, format!("was given up: {}, or {last}", firsts.join(", ")))
        }
    }
}
