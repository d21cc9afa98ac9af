//! What keeps records here, the outermost first. Each cause is a clause that stands after
//! "because", and what would help.

use spillway_protocol::local::status::{Hold, Link, LinkState};

use super::State;
use super::facts::{Gateway, Lane, Part, Stopped};
use super::words::{bytes, quoted, time, within};

/// One cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cause {
    pub(super) state: State,
    pub(super) why: String,
    pub(super) help: String,
}

impl Cause {
    pub(super) fn new(state: State, why: impl Into<String>, help: impl Into<String>) -> Self {
        Self { state, why: why.into(), help: help.into() }
    }
}

/// What keeps all lanes from sending. The turn of first sends is each lane's own.
pub(super) fn of_gateway(facts: &Gateway) -> Option<Cause> {
    if let Some(stopped) = &facts.stopped {
        return Some(not_running(stopped));
    }
    let link = facts.link.as_ref()?;
    match link.state {
        LinkState::Online | LinkState::Ramping => None,
        LinkState::Unconfigured if facts.configuration.is_some() => Some(Cause::new(
            State::Unconfigured,
            "the configuration that is in force leads nowhere",
            "put the file right, then spillway reload; until then everything is kept",
        )),
        LinkState::Unconfigured => Some(Cause::new(
            State::Unconfigured,
            "the configuration has no [upstream], so there is nowhere to send",
            "write [upstream] with the endpoint, then spillway reload; until then everything is kept",
        )),
        LinkState::Held => facts.hold.as_ref().map(|hold| link_held(hold, link)),
        LinkState::Budget => Some(spent(facts)),
        LinkState::Offline => Some(match facts.first_send_in_s {
            Some(s) => turn("RocketMQ has not been tried yet", s),
            None => away(facts, link),
        }),
        LinkState::Probing => Some(away(facts, link)),
    }
}

/// What keeps a lane from sending, where nothing keeps all of them.
pub(super) fn of_lane(gateway: &Gateway, lane: &Lane) -> Option<Cause> {
    let first = lane.first_send_in_s.map(|s| turn("RocketMQ can be reached again", s));
    first
        .or_else(|| lane.missing_key.as_deref().map(locked))
        .or_else(|| held(lane).map(|hold| lane_held(lane, hold)))
        .or_else(|| degraded(lane))
        .or_else(|| lane.budget_stopped.then(|| too_little(gateway, lane)))
        .or_else(|| gateway.pace.paused_s.map(throttled))
        .or_else(|| lane.paused_s.map(paused))
        .or_else(|| lane.rests_s.map(|s| turn("a new day of [budget] has begun", s)))
}

fn locked(key: &str) -> Cause {
    Cause::new(
        State::Held,
        format!("they are sealed with the key {key}, which the agent does not have"),
        "add that key to [gateway] former_keys and restart the agent; until then everything is kept",
    )
}

fn not_running(stopped: &Stopped) -> Cause {
    let last =
        stopped.active_ago_s.map(|s| format!(" (the last one was at work about {} ago)", time(s)));
    Cause::new(
        State::Stopped,
        format!("no agent is running here{}", last.unwrap_or_default()),
        "start the agent: what waits lies on disk, and leaves then",
    )
}

/// Only the mistake's words are the broker's.
fn link_held(hold: &Hold, link: &Link) -> Cause {
    let (since, reason) = (time(link.since_s), quoted(&hold.reason));
    let why = match hold.code.as_str() {
        "credentials" => format!("RocketMQ has refused this gateway's access key for {since}"),
        "permission" => format!("RocketMQ has not let this gateway publish for {since}"),
        "clock" => format!("RocketMQ has refused this machine's clock for {since}"),
        code => format!("RocketMQ has refused everything from this gateway for {since} ({code})"),
    };
    Cause::new(State::Held, format!("{why}: {reason}"), remedy(hold, link.next_attempt_in_s))
}

fn spent(facts: &Gateway) -> Cause {
    let budget = facts.budget.clone().unwrap_or_default();
    Cause::new(
        State::Budget,
        format!("today's {} of [budget] are used up", bytes(budget.bytes_per_day)),
        more_bytes(&budget),
    )
}

fn too_little(facts: &Gateway, lane: &Lane) -> Cause {
    let budget = facts.budget.clone().unwrap_or_default();
    let kept = match budget.reserve {
        reserve if reserve > 0 && !lane.is_first => {
            format!(": {} are kept for lanes of the first priority", bytes(reserve))
        }
        _ => String::new(),
    };
    let day = bytes(budget.bytes_per_day);
    Cause::new(
        State::Budget,
        format!(
            "what is left of today's {day} of [budget] is too little for its next record{kept}"
        ),
        more_bytes(&budget),
    )
}

fn more_bytes(budget: &super::facts::Budget) -> String {
    format!(
        "it goes on by itself {}; a larger bytes_per_day, or bundle = {{}} for small records, \
         would let more through in a day",
        within(Some(budget.resets_in_s))
    )
}

fn away(facts: &Gateway, link: &Link) -> Cause {
    let since = time(link.since_s);
    let (why, see) = match &facts.mute {
        Some(reason) => (
            format!(
                "RocketMQ can be reached, but has answered no record for {since}: {}",
                quoted(reason)
            ),
            "see whether the broker itself works: what can be reached may be only a proxy or a load \
             balancer before it",
        ),
        None => (
            format!("RocketMQ has not been reached for {since}: {}", quoted(&link.reason)),
            "if it should be reachable, spillway check --connect shows what is in the way",
        ),
    };
    let (state, help) = match (link.state, link.next_attempt_in_s) {
        (LinkState::Probing, _) => {
            (State::Probing, format!("it is being tried at this moment; {see}"))
        }
        (_, Some(s)) => {
            (State::Offline, format!("it is tried again by itself {}; {see}", within(Some(s))))
        }
        // Only a defect leaves no next attempt.
        (_, None) => (
            State::Offline,
            "restart the agent, which loses nothing, and report what its log says".to_owned(),
        ),
    };
    Cause::new(state, why, help)
}

fn turn(after: &str, in_s: u64) -> Cause {
    Cause::new(
        State::Turn,
        format!(
            "{after}, and this gateway's turn to send comes {}: gateways that return together do \
             not send all at once",
            within(Some(in_s))
        ),
        format!(
            "nothing to do: it leaves by itself {}; reconnect_spread in [drain] sets the window",
            within(Some(in_s))
        ),
    )
}

/// What holds the lane, where nothing of it leaves meanwhile.
fn held(lane: &Lane) -> Option<&Hold> {
    lane.hold.as_ref().filter(|_| !lane.others_leave)
}

fn lane_held(lane: &Lane, hold: &Hold) -> Cause {
    let what = match lane.held_part {
        Part::OtherTopics => "the lane's records for another topic have",
        Part::Lane => "the lane has",
        Part::OneTopic => "its topic has",
    };
    let why = format!("{what} {}", been_held(hold));
    Cause::new(State::Held, why, remedy(hold, lane.asked_in_s))
}

/// `been held for 1 min (topic_missing): topic x: ...`
fn been_held(hold: &Hold) -> String {
    format!("been held for {} ({}): {}", time(hold.since_s), hold.code, quoted(&hold.reason))
}

/// What is held of a lane while the rest of it leaves.
pub(super) fn of_part(lane: &Lane) -> Option<Cause> {
    let hold = lane.hold.as_ref().filter(|_| lane.others_leave)?;
    let why = format!("those for another topic have {}", been_held(hold));
    Some(Cause::new(State::Leaving, why, remedy(hold, lane.asked_in_s)))
}

/// What puts the hold right, and when what is held is asked again.
pub(super) fn remedy(hold: &Hold, again_in_s: Option<u64>) -> String {
    let again = again_in_s.filter(|s| *s > 0);
    let again = again.map(|s| format!(" (asked again by itself in {})", time(s)));
    format!("{}{}", quoted(&hold.remedy), again.unwrap_or_default())
}

fn degraded(lane: &Lane) -> Option<Cause> {
    let degraded = lane.degraded.as_ref().filter(|degraded| degraded.paused)?;
    let since = degraded.since_s.map(|s| format!(" for {}", time(s))).unwrap_or_default();
    Some(Cause::new(
        State::Degraded,
        format!("the lane's degrade rule \"{}\" has paused it{since}", degraded.rule),
        "it goes on by itself once what the rule measures is a tenth below its threshold",
    ))
}

fn throttled(for_s: u64) -> Cause {
    Cause::new(
        State::Throttled,
        format!("RocketMQ is busy and asked for a pause, which lasts {} more", time(for_s)),
        format!(
            "nothing to do: it goes on by itself {}; if it comes again and again, the broker \
             needs more capacity or a higher limit",
            within(Some(for_s))
        ),
    )
}

fn paused(for_s: u64) -> Cause {
    Cause::new(
        State::Throttled,
        format!(
            "the topic rests for {} more: RocketMQ asked for it, or a hold has just ended",
            time(for_s)
        ),
        format!("nothing to do: it goes on by itself {}", within(Some(for_s))),
    )
}
