//! Case by case: what is said of which facts.

use spillway_protocol::local::status::{
    AccessKeys, Degraded, Freshness, Hold, Link, LinkState, Pace, Rates,
};

use super::facts::{
    Bounds, Budget, Failure, Gateway, GivenUp, Head, Key, Lane, Letter, Loss, Lot, Part, Record,
    Stopped, Waiting,
};
use super::{Answer, Kind, State};

fn link(state: LinkState, reason: &str, next_attempt_in_s: Option<u64>) -> Link {
    Link { state, since_s: 180, since: 0, reason: reason.to_owned(), next_attempt_in_s }
}

fn linked(state: LinkState, reason: &str, next_attempt_in_s: Option<u64>) -> Gateway {
    Gateway {
        gateway: "gw".into(),
        link: Some(link(state, reason, next_attempt_in_s)),
        waiting: 12,
        bounds: Bounds { records_per_second: None, bytes_per_second: 1 << 20 },
        ..Gateway::default()
    }
}

fn online() -> Gateway {
    let pace = Pace { allowed_per_s: Some(35.0), reason: "growing".into(), ..Pace::default() };
    Gateway { pace, drained_in_s: Some(240), ..linked(LinkState::Online, "", None) }
}

fn offline() -> Gateway {
    linked(LinkState::Offline, "127.0.0.1:1: connection refused", Some(12))
}

fn lane() -> Lane {
    Lane { name: "ward".into(), waiting: 12, oldest_age_s: Some(300), ..Lane::default() }
}

fn hold(code: &str) -> Hold {
    Hold {
        code: code.into(),
        reason: "topic ward: TopicNotExist: no such topic.".into(),
        remedy: "create topic ward at the broker, or name another".into(),
        since_s: 60,
    }
}

fn failure(code: &str) -> Failure {
    Failure { code: code.into(), reason: "bad words".into(), tries: 3 }
}

fn record(lot: Lot) -> Record {
    Record {
        id: Some("r-7".into()),
        lane: "ward".into(),
        stream: "0000000a".into(),
        present_stream: true,
        seq: 7,
        age_s: Some(90),
        lot,
    }
}

fn waiting(waiting: Waiting) -> Record {
    record(Lot::Waiting(waiting))
}

fn of_record(gateway: &Gateway, lane: &Lane, asked: &Record) -> Answer {
    super::record("r-7", gateway, lane, asked)
}

fn of_key(gateway: &Gateway, lane: &Lane, waiting: u64, dead: u64, first: Record) -> Answer {
    let key =
        Key { key: "bed-1".into(), lane: "ward".into(), waiting, at_least: false, dead, first };
    super::key(gateway, lane, &key)
}

#[track_caller]
fn says(answer: &Answer, state: State, why: &str, help: &str) {
    assert_eq!((answer.state, &*answer.why, &*answer.help), (state, why, help));
}

const DRAINED: &str = "Nothing to do: all is drained in about 4 min.";

#[test]
fn a_stopped_agent_and_one_without_upstream() {
    let mut gateway = Gateway {
        stopped: Some(Stopped { active_ago_s: Some(300) }),
        waiting: 1,
        ..Gateway::default()
    };
    says(
        &super::link(&gateway, &[]),
        State::Stopped,
        "No agent is running here (the last one was at work about 5 min ago); 1 record waits.",
        "Start the agent: what waits lies on disk, and leaves then.",
    );
    gateway.stopped = Some(Stopped::default());
    let why = super::lane(&gateway, &lane(), false).why;
    assert_eq!(
        why,
        "Lane ward: 12 records are waiting, the oldest for 5 min, because no agent is running here."
    );
    let none = linked(LinkState::Unconfigured, "no [upstream]", None);
    says(
        &super::link(&none, &[]),
        State::Unconfigured,
        "The configuration has no [upstream], so there is nowhere to send; 12 records wait.",
        "Write [upstream] with the endpoint, then spillway reload; until then everything is kept.",
    );
}

#[test]
fn a_link_that_is_away_counts_down() {
    let see = "if it should be reachable, spillway check --connect shows what is in the way.";
    says(
        &super::link(&offline(), &[]),
        State::Offline,
        "RocketMQ has not been reached for 3 min: 127.0.0.1:1: connection refused; 12 records wait.",
        &format!("It is tried again by itself in 12 s; {see}"),
    );
    let probing = linked(LinkState::Probing, "no route", None);
    let answer = super::link(&probing, &[]);
    assert_eq!(answer.state, State::Probing);
    assert_eq!(answer.help, format!("It is being tried at this moment; {see}"));
    let failed = linked(LinkState::Offline, "the drain failed; see the log", None);
    assert!(super::link(&failed, &[]).help.starts_with("Restart the agent"), "{failed:?}");
}

#[test]
fn a_far_end_that_is_reached_and_answers_no_record_is_not_called_out_of_reach() {
    let reason = "reached, but no record is answered: no answer within 15 s";
    let mute = Some("no answer within 15 s".to_owned());
    let mute = Gateway { mute, ..linked(LinkState::Offline, reason, Some(12)) };
    says(
        &super::link(&mute, &[]),
        State::Offline,
        "RocketMQ can be reached, but has answered no record for 3 min: no answer within 15 s; 12 \
         records wait.",
        "It is tried again by itself in 12 s; see whether the broker itself works: what can be \
         reached may be only a proxy or a load balancer before it.",
    );
}

#[test]
fn where_a_lane_stays_the_link_does_not_say_that_it_leaves_by_itself() {
    let free = super::link(&online(), &[lane()]);
    assert_eq!((free.state, &*free.help), (State::Leaving, DRAINED));
    let key = Head { seq: 5, failure: Some(failure("Bad")), ..Head::default() };
    let blocked = [
        Lane { hold: Some(hold("topic_missing")), ..lane() },
        Lane { hold: Some(hold("topic_missing")), others_leave: true, ..lane() },
        Lane { held_keys: 1, held_key: Some(key.clone()), ..lane() },
        Lane { failed: 12, failure: Some(key), ..lane() },
        Lane { budget_stopped: true, ..lane() },
    ];
    for stays in blocked {
        let answer = super::link(&online(), &[lane(), stays.clone()]);
        assert_eq!(answer.help, "See the lanes below.", "{stays:?}");
        let empty = super::link(&online(), &[lane(), Lane { waiting: 0, ..stays }]);
        assert_eq!(empty.help, DRAINED);
    }
}

#[test]
fn after_a_start_or_an_outage_the_gateways_turn_counts_down() {
    let starting = Gateway { first_send_in_s: Some(42), ..offline() };
    let nothing_to_do =
        "Nothing to do: it leaves by itself in 42 s; reconnect_spread in [drain] sets the window.";
    says(
        &super::lane(&starting, &lane(), false),
        State::Turn,
        "Lane ward: 12 records are waiting, the oldest for 5 min, because RocketMQ has not been \
         tried yet, and this gateway's turn to send comes in 42 s: gateways that return \
         together do not send all at once.",
        nothing_to_do,
    );
    let back = Gateway {
        first_send_in_s: Some(42),
        ..linked(LinkState::Ramping, "back; the rate is growing", None)
    };
    says(
        &super::link(&back, &[]),
        State::Turn,
        "RocketMQ can be reached again, and this gateway's turn to send comes in 42 s: gateways \
         that return together do not send all at once; 12 records wait.",
        nothing_to_do,
    );
    let urgent = super::lane(&back, &Lane { first_send_in_s: Some(5), ..lane() }, false);
    assert!(urgent.why.contains("comes in 5 s"), "{urgent:?}");
}

#[test]
fn a_held_link_says_whose_mistake_it_is() {
    for (code, why) in [
        ("credentials", "RocketMQ has refused this gateway's access key for 3 min"),
        ("permission", "RocketMQ has not let this gateway publish for 3 min"),
        ("clock", "RocketMQ has refused this machine's clock for 3 min"),
        ("odd", "RocketMQ has refused everything from this gateway for 3 min (odd)"),
    ] {
        let hold = Hold {
            code: code.into(),
            reason: "SignatureDoesNotMatch".into(),
            remedy: "put it right; records go on by themselves".into(),
            since_s: 180,
        };
        let held = linked(LinkState::Held, "x", Some(40));
        let gateway = Gateway { hold: Some(hold), ..held };
        says(
            &super::link(&gateway, &[]),
            State::Held,
            &format!("{why}: SignatureDoesNotMatch; 12 records wait."),
            "Put it right; records go on by themselves (asked again by itself in 40 s).",
        );
    }
}

#[test]
fn a_budget_that_is_used_and_one_that_is_reserved() {
    let budget = Budget { bytes_per_day: 20 << 20, reserve: 5 << 20, resets_in_s: 18_000 };
    let spent = Gateway {
        budget: Some(budget),
        ..linked(LinkState::Budget, "the day's bytes are used", Some(18_000))
    };
    let help = "It goes on by itself in 5 h; a larger bytes_per_day, or bundle = {} for small \
                records, would let more through in a day.";
    says(
        &super::link(&spent, &[]),
        State::Budget,
        "Today's 20 MiB of [budget] are used up; 12 records wait.",
        help,
    );
    let up = Gateway { link: online().link, ..spent };
    says(
        &super::lane(&up, &Lane { budget_stopped: true, ..lane() }, false),
        State::Budget,
        "Lane ward: 12 records are waiting, the oldest for 5 min, because what is left of today's \
         20 MiB of [budget] is too little for its next record: 5 MiB are kept for lanes of the first \
         priority.",
        help,
    );
    let first = super::lane(&up, &Lane { budget_stopped: true, is_first: true, ..lane() }, false);
    assert!(first.why.ends_with("is too little for its next record."), "{first:?}");
    let none = Budget { reserve: 0, ..up.budget.clone().unwrap() };
    let none = Gateway { budget: Some(none), ..up };
    let none = super::lane(&none, &Lane { budget_stopped: true, ..lane() }, false);
    assert!(none.why.ends_with("is too little for its next record."), "{none:?}");
}

#[test]
fn which_of_several_keys_is_in_use_is_told_and_of_a_single_one_when_it_ends() {
    let with = |in_use, of, expires_in_s| {
        let keys = AccessKeys { in_use, of, expires_in_s, ..AccessKeys::default() };
        let idle = Gateway { waiting: 0, access_keys: Some(keys), ..online() };
        super::link(&idle, &[]).why
    };
    let reached = "RocketMQ has been reached for 3 min";
    assert_eq!(with(Some(1), 1, None), format!("{reached}, and nothing waits."));
    let second = format!("{reached} with access key 2 of 2, and nothing waits.");
    assert_eq!(with(Some(2), 2, None), second);
    let ends =
        format!("{reached} with access key 1 of 1, which ends in 50 min, and nothing waits.");
    assert_eq!(with(Some(1), 1, Some(3000)), ends);
}

#[test]
fn nothing_waits_or_all_is_leaving() {
    let idle = Gateway { waiting: 0, ..online() };
    says(
        &super::link(&idle, &[]),
        State::Idle,
        "RocketMQ has been reached for 3 min, and nothing waits.",
        "Nothing to do.",
    );
    let nothing = Lane { waiting: 0, hold: Some(hold("topic_missing")), ..lane() };
    says(
        &super::lane(&idle, &nothing, false),
        State::Idle,
        "Lane ward: nothing waits.",
        "Nothing to do.",
    );
    says(
        &super::lane(&online(), &lane(), false),
        State::Leaving,
        "Lane ward: 12 records are waiting, the oldest for 5 min, and leaving: up to 35 a second \
         may leave now (growing).",
        DRAINED,
    );
}

#[test]
fn what_bounds_the_pace_is_named_and_what_does_not_catch_up() {
    let bounds = Bounds { records_per_second: Some(35), bytes_per_second: 1 << 20 };
    let bound = super::link(&Gateway { bounds, ..online() }, &[]);
    let about = "Nothing to do: all is drained in about 4 min";
    assert_eq!(bound.help, format!("{about}; records_per_second in [drain] is the bound."));
    let pace = Pace { reason: "configured".into(), ..Pace::default() };
    let alone = super::lane(&Gateway { pace, ..online() }, &lane(), false);
    assert!(alone.why.ends_with("up to 1 MiB a second may leave now (configured)."), "{alone:?}");
    let rates = Rates { delivered_bytes_per_s: 900_000.0, ..Rates::default() };
    let bytes = super::link(&Gateway { rates, ..online() }, &[]);
    assert_eq!(bytes.help, format!("{about}; bytes_per_second in [drain] is the bound."));
    let rates = Rates { accepted_per_s: 40.0, delivered_per_s: 30.0, ..Rates::default() };
    let late = super::link(&Gateway { rates, drained_in_s: None, ..online() }, &[]);
    let help = "Nothing to do: it leaves by itself, though more came in over the last minute (40 a \
                second) than left (30).";
    assert_eq!(late.help, help);
    let fresh = super::link(&Gateway { drained_in_s: None, ..online() }, &[]);
    assert_eq!(fresh.help, "Nothing to do: it leaves by itself.");
}

#[test]
fn a_broker_that_asks_for_a_pause_gets_it() {
    let pace = Pace { paused_s: Some(12), ..Pace::default() };
    let paused = Gateway { pace, ..online() };
    for answer in [super::link(&paused, &[]), super::lane(&paused, &lane(), false)] {
        assert_eq!(answer.state, State::Throttled);
        let busy = "RocketMQ is busy and asked for a pause, which lasts 12 s more";
        assert!(answer.why.contains(busy), "{answer:?}");
        assert!(answer.help.starts_with("Nothing to do: it goes on by itself in 12 s"));
    }
    let topic = super::lane(&online(), &Lane { paused_s: Some(9), ..lane() }, false);
    assert_eq!(topic.state, State::Throttled);
    assert!(topic.why.ends_with("asked for it, or a hold has just ended."), "{topic:?}");
}

#[test]
fn a_held_lane_gives_code_words_and_remedy() {
    let held = Lane { hold: Some(hold("topic_missing")), asked_in_s: Some(40), ..lane() };
    says(
        &super::lane(&online(), &held, false),
        State::Held,
        "Lane ward: 12 records are waiting, the oldest for 5 min, because the lane has been held \
         for 1 min (topic_missing): topic ward: TopicNotExist: no such topic.",
        "Create topic ward at the broker, or name another (asked again by itself in 40 s).",
    );
    let partial =
        super::lane(&online(), &Lane { held_part: Part::OtherTopics, ..held.clone() }, false);
    let some = "because the lane's records for another topic have been held";
    assert!(partial.why.contains(some), "{partial:?}");
    let others = Lane { held_part: Part::OtherTopics, others_leave: true, ..held };
    says(
        &super::lane(&online(), &others, false),
        State::Leaving,
        "Lane ward: 12 records are waiting, the oldest for 5 min, and leaving: up to 35 a second may \
         leave now (growing); those for another topic have been held for 1 min (topic_missing): \
         topic ward: TopicNotExist: no such topic.",
        "Create topic ward at the broker, or name another (asked again by itself in 40 s).",
    );
}

#[test]
fn a_lane_that_gives_way_and_one_that_waits_for_the_new_day() {
    let degraded =
        Degraded { rule: "disk 80%: pause".into(), since_s: Some(120), paused: true, dropped: 0 };
    let paused = Lane { degraded: Some(degraded.clone()), ..lane() };
    says(
        &super::lane(&online(), &paused, false),
        State::Degraded,
        "Lane ward: 12 records are waiting, the oldest for 5 min, because the lane's degrade rule \
         \"disk 80%: pause\" has paused it for 2 min.",
        "It goes on by itself once what the rule measures is a tenth below its threshold.",
    );
    let thinning =
        Degraded { paused: false, dropped: 9, rule: "disk 90%: thin".into(), ..degraded };
    let thinned = Lane { degraded: Some(thinning.clone()), ..lane() };
    let thinned = super::lane(&online(), &thinned, false);
    assert_eq!(thinned.state, State::Leaving);
    let words = "; its degrade rule \"disk 90%: thin\" is in force and has dropped 9 records.";
    assert!(thinned.why.ends_with(words), "{thinned:?}");
    let over = Lane { degraded: Some(Degraded { since_s: None, ..thinning }), ..lane() };
    assert!(!super::lane(&online(), &over, false).why.contains("degrade"));
    let full =
        super::lane(&online(), &Lane { full: Some("its files have all".into()), ..lane() }, false);
    assert!(
        full.why.ends_with("; it is full and refuses new records: its files have all."),
        "{full:?}"
    );
    let rests = super::lane(&online(), &Lane { rests_s: Some(30), ..lane() }, false);
    assert!(rests.why.contains("a new day of [budget] has begun"), "{rests:?}");
}

#[test]
fn one_message_a_round_trip_points_to_bundles() {
    let single = Lane { one_at_a_time: true, ..lane() };
    says(
        &super::lane(&online(), &single, false),
        State::Leaving,
        "Lane ward: 12 records are waiting, the oldest for 5 min, and leaving: order = \"lane\" \
         sends one message a round trip, since each waits for the answer to the one before.",
        "With bundle = {} in the lane many would leave in one message, for consumers that unpack \
         bundles; as it is, all is drained in about 4 min.",
    );
}

#[test]
fn live_records_and_lanes_of_smaller_priority_go_first() {
    let freshness = Freshness { goal_ms: 5000, oldest_live_ms: None, backlog: 9000 };
    let fresh = Lane { freshness: Some(freshness), ..lane() };
    let said = super::lane(&online(), &fresh, false).why;
    let words = "and leaving: 9000 records are backlog, and live ones leave first when they come.";
    assert!(said.ends_with(words), "{said}");
    let live =
        of_record(&online(), &fresh, &waiting(Waiting { ahead: 9000, ..Waiting::default() }));
    assert!(live.why.ends_with("it is live, and leaves before its lane's backlog."), "{live:?}");
    let second = Lane { behind_lanes: vec!["critical".into()], ..lane() };
    let said = super::lane(&online(), &second, false).why;
    assert!(said.ends_with("lanes of smaller priority go first: critical."), "{said}");
}

#[test]
fn a_held_order_key_names_its_first_record() {
    let head = Head {
        seq: 5,
        id: Some("r-5".into()),
        failure: Some(failure("MalformedXML")),
        again_in_s: Some(40),
    };
    let help = "Put right what RocketMQ refuses; it is tried again by itself in 40 s, or spillway \
                dead accept ward moves it to the dead letters.";
    let keyed = Lane { held_keys: 1, held_key: Some(head.clone()), ..lane() };
    says(
        &super::lane(&online(), &keyed, false),
        State::Order,
        "Lane ward: 12 records are waiting, the oldest for 5 min; those of one order key wait for \
         the first of them: RocketMQ refused record 5 (id r-5) 3 times: MalformedXML: bad words.",
        help,
    );
    let behind = waiting(Waiting { ahead: 1, behind: Some(head), ..Waiting::default() });
    says(
        &of_record(&online(), &keyed, &behind),
        State::Order,
        "Record r-7 (lane ward, number 7) has been here for 1 min 30 s: it waits for record 5 (id \
         r-5), which is before it in the same order: RocketMQ refused that one 3 times: \
         MalformedXML: bad words.",
        help,
    );
    let well = Head { seq: 5, ..Head::default() };
    let behind = waiting(Waiting { ahead: 1, behind: Some(well), ..Waiting::default() });
    let said = of_record(&online(), &lane(), &behind);
    assert_eq!(said.state, State::Order);
    assert!(said.help.starts_with("Nothing to do: it leaves by itself after that one"));
}

#[test]
fn a_failed_record_says_how_and_when_it_is_tried_again() {
    let of = |code: &str, lane: &Lane| {
        let failed =
            Waiting { failure: Some(failure(code)), again_in_s: Some(40), ..Waiting::default() };
        of_record(&online(), lane, &waiting(failed))
    };
    let refused = of("MalformedXML", &lane());
    assert_eq!(refused.state, State::Retry);
    assert!(refused.why.ends_with("RocketMQ refused it 3 times: MalformedXML: bad words."));
    let unknown = of("unknown", &lane());
    assert!(unknown.why.ends_with("RocketMQ gave no valid answer to it 3 times: bad words."));
    let breaks = of("connection", &lane());
    assert!(
        breaks.why.ends_with("requests with it fail while the connection itself works: bad words.")
    );
    for answer in [refused, unknown, breaks] {
        assert!(answer.help.contains("it is tried again by itself in 40 s"), "{answer:?}");
    }
    let alone = of("MalformedXML", &Lane { buries: true, ..lane() });
    assert!(alone.help.contains("if it is refused once a later record of its topic has passed"));
    let held = of("MalformedXML", &Lane { hold: Some(hold("refused")), buries: true, ..lane() });
    assert_eq!(held.state, State::Held);
    assert!(held.why.ends_with("its lane has been held for 1 min (refused)."), "{held:?}");
    let remedy =
        "Create topic ward at the broker, or name another (asked again by itself in 40 s).";
    assert_eq!(held.help, remedy);
    let of_topic = Lane { held_part: Part::OneTopic, hold: Some(hold("refused")), ..lane() };
    let held = of("MalformedXML", &of_topic);
    assert!(held.why.ends_with("its topic has been held for 1 min (refused)."), "{held:?}");
    let next = of_record(&online(), &of_topic, &waiting(Waiting::default()));
    assert!(next.why.contains("and waits because its topic has been held for 1 min"), "{next:?}");
    let free = Waiting { again_in_s: Some(4), ..Waiting::default() };
    let last = Lane { last_error: Some("no answer: no answer within 15 s".into()), ..lane() };
    says(
        &of_record(&online(), &last, &waiting(free)),
        State::Retry,
        "Record r-7 (lane ward, number 7) has been here for 1 min 30 s: its last try did not get \
         through (no answer: no answer within 15 s).",
        "Nothing to do: it is tried again by itself in 4 s.",
    );
}

#[test]
fn a_lane_of_failed_records_alone_says_how_the_oldest_failed() {
    let head = Head { seq: 5, failure: Some(failure("Bad")), again_in_s: Some(9), id: None };
    let failed = Lane { failed: 12, failure: Some(head), ..lane() };
    let answer = super::lane(&online(), &failed, false);
    assert_eq!(answer.state, State::Retry);
    assert!(answer.why.ends_with("because RocketMQ refused the oldest 3 times: Bad: bad words."));
    let one = Lane { failed: 1, waiting: 1, ..failed.clone() };
    let why = super::lane(&online(), &one, false).why;
    assert!(
        why.ends_with(
            "1 record is waiting, for 5 min, because RocketMQ refused it 3 times: Bad: bad words."
        ),
        "{why}"
    );
    let few = Lane { failed: 11, ..failed };
    assert_eq!(super::lane(&online(), &few, false).state, State::Leaving);
}

#[test]
fn a_record_in_line_says_how_many_are_before_it() {
    let ahead = |ahead| waiting(Waiting { ahead, ..Waiting::default() });
    says(
        &of_record(&offline(), &lane(), &ahead(3)),
        State::Offline,
        "Record r-7 (lane ward, number 7) has been here for 1 min 30 s: it waits, with 3 records of \
         its lane before it, because RocketMQ has not been reached for 3 min: 127.0.0.1:1: \
         connection refused.",
        "It is tried again by itself in 12 s; if it should be reachable, spillway check --connect \
         shows what is in the way.",
    );
    let next = of_record(&online(), &Lane { hold: Some(hold("topic_type")), ..lane() }, &ahead(0));
    assert_eq!(next.state, State::Held);
    assert!(
        next.why.contains("it is the next of its lane and waits because the lane has been held")
    );
    let leaving = of_record(&online(), &lane(), &ahead(1));
    assert_eq!((leaving.state, &*leaving.help), (State::Leaving, DRAINED));
    assert!(leaving.why.contains("1 record of its lane leaves before it"), "{leaving:?}");
    let sending = Waiting { sending_s: Some(2), ..Waiting::default() };
    let sending = of_record(&offline(), &lane(), &waiting(sending));
    assert_eq!(sending.state, State::Sending);
    assert!(sending.why.ends_with("it is being sent at this moment (for 2 s)."), "{sending:?}");
}

#[test]
fn what_is_not_here_any_more_says_where_it_went() {
    let of = |lot| of_record(&online(), &lane(), &record(lot));
    let place = "Record r-7 (lane ward, number 7)";
    says(
        &of(Lot::Delivered { kept: false }),
        State::Delivered,
        &format!("{place} has left: RocketMQ acknowledged it."),
        "Nothing to do here; look for it at the far side.",
    );
    let kept = of(Lot::Delivered { kept: true });
    let again = "spillway resend --lane ward --from 7 --to 7 sends it again.";
    assert!(kept.help.ends_with(again), "{kept:?}");
    let older = Record { present_stream: false, ..record(Lot::Delivered { kept: true }) };
    let older = of_record(&online(), &lane(), &older);
    assert!(older.help.contains("--lane ward --stream 0000000a --from 7"), "{older:?}");
    let letter = Letter { number: 3, code: "Bad".into(), reason: "no.".into(), died_ago_s: 60 };
    says(
        &of(Lot::Dead(letter)),
        State::Dead,
        &format!("{place} has been in the dead letters for 1 min, because of Bad: no."),
        "Put right what was refused; then spillway dead replay 3 sends it again.",
    );
    says(
        &of(Lot::Forgotten),
        State::Gone,
        &format!(
            "{place} is no longer here: delivered, or given up longer ago than is remembered."
        ),
        "Look for it at the far side; with [report] that was told of what was given up.",
    );
    for (loss, state, words) in [
        (
            Some(Loss::Thinned(10)),
            State::Thinned,
            "was dropped by a degrade rule that keeps 1 in 10.",
        ),
        (Some(Loss::Purged), State::Dropped, "was purged by an operator."),
        (Some(Loss::Expired), State::Expired, "was older than its lane's ttl."),
        (Some(Loss::Damaged), State::Damaged, "was lost to a damaged file."),
    ] {
        let answer = of(Lot::GivenUp(loss));
        assert_eq!(answer.state, state);
        assert!(answer.why.starts_with(&format!("{place} will not be sent: it ")), "{answer:?}");
        assert!(answer.why.ends_with(words), "{answer:?}");
        assert!(answer.help.starts_with("The app may send it again, under another id; "));
    }
}

#[test]
fn only_what_the_lane_does_or_did_is_named_as_the_cause_of_a_loss() {
    let of = |lane: &Lane, loss| {
        super::record::answer("r-7", &online(), lane, &record(Lot::GivenUp(loss)))
    };
    let lane_of = |drops_oldest, degrades, (expired, dropped, damaged)| {
        let given_up = GivenUp { expired, dropped, damaged };
        Lane { drops_oldest, degrades, given_up, ..lane() }
    };
    let full = "dropped to make room for newer ones (when_full = \"drop-oldest\")";
    let either =
        "dropped, to make room for newer ones (when_full = \"drop-oldest\") or by a degrade rule";
    let former = "dropped at a limit of an earlier configuration";
    let (purged, damaged) = ("purged by an operator", "lost to a damaged file");
    for (lane, loss, state, words) in [
        (lane_of(true, false, (0, 1, 0)), Some(Loss::Dropped), State::Dropped, full.to_owned()),
        (
            lane_of(false, true, (0, 1, 0)),
            Some(Loss::Dropped),
            State::Dropped,
            "dropped by a degrade rule".to_owned(),
        ),
        (lane_of(true, true, (0, 1, 0)), Some(Loss::Dropped), State::Dropped, either.to_owned()),
        (lane_of(false, false, (0, 1, 0)), Some(Loss::Dropped), State::Dropped, former.to_owned()),
        (lane_of(true, true, (0, 0, 3)), None, State::Damaged, damaged.to_owned()),
        (
            lane_of(false, false, (0, 2, 0)),
            None,
            State::Dropped,
            format!("given up: {former}, or {purged}"),
        ),
        (
            lane_of(true, false, (1, 2, 3)),
            None,
            State::Dropped,
            format!("given up: older than its lane's ttl, {full}, {purged}, or {damaged}"),
        ),
        (
            lane_of(false, true, (0, 2, 3)),
            None,
            State::Dropped,
            format!("given up: dropped by a degrade rule, {purged}, or {damaged}"),
        ),
    ] {
        let answer = of(&lane, loss);
        assert_eq!(answer.state, state, "{answer:?}");
        assert!(answer.why.ends_with(&format!(" will not be sent: it was {words}.")), "{answer:?}");
    }
}

#[test]
fn a_key_says_how_many_wait_and_which_is_first() {
    let first = || waiting(Waiting { ahead: 3, ..Waiting::default() });
    let several = of_key(&offline(), &lane(), 3, 1, first());
    assert_eq!((several.state, several.subject.kind), (State::Offline, Kind::Key));
    let why = "3 records of key bed-1 wait in lane ward (another one is in the dead letters); the \
               first is number 7, id r-7: it waits, with 3 records of its lane before it, because";
    assert!(several.why.starts_with(why), "{several:?}");
    let one = of_key(&offline(), &lane(), 1, 0, first());
    let why = "1 record of key bed-1 waits in lane ward; it is number 7, id r-7: it waits,";
    assert!(one.why.starts_with(why), "{one:?}");
    let letter = Letter { number: 3, code: "Bad".into(), reason: "no".into(), died_ago_s: 60 };
    says(
        &of_key(&online(), &lane(), 0, 2, record(Lot::Dead(letter))),
        State::Dead,
        "Nothing of key bed-1 waits in lane ward, but 2 records are in the dead letters, the newest \
         (number 7, id r-7) because of Bad: no.",
        "Put right what was refused; then spillway dead replay 3 sends it again.",
    );
    let gone = of_key(&online(), &lane(), 0, 0, record(Lot::Forgotten));
    assert_eq!(gone.state, State::Gone);
    assert!(gone.why.ends_with("was delivered, or given up longer ago than is remembered."));
    let gone = of_key(&online(), &lane(), 0, 0, record(Lot::Delivered { kept: false }));
    assert_eq!(gone.state, State::Delivered);
    assert_eq!(
        gone.why,
        "Nothing of key bed-1 waits in lane ward: the newest that is still here (number 7, id r-7) \
         has been delivered."
    );
}

#[test]
fn beside_the_links_answer_a_lane_does_not_repeat_it() {
    says(
        &super::lane(&offline(), &lane(), true),
        State::Offline,
        "Lane ward: 12 records are waiting, the oldest for 5 min, for the same reason.",
        "What helps the link helps the lane.",
    );
    let held = Lane { hold: Some(hold("topic_missing")), ..lane() };
    assert_eq!(super::lane(&online(), &held, true), super::lane(&online(), &held, false));
}

#[test]
fn an_answer_in_json_has_its_facts_and_reads_back() {
    let answer = super::lane(&offline(), &lane(), false);
    assert_eq!(answer.facts["lane"]["waiting"], 12);
    assert_eq!(answer.facts["gateway"]["link"]["state"], "offline");
    let text = serde_json::to_string(&answer).unwrap();
    assert!(
        text.contains(r#""subject":{"kind":"lane","name":"ward"},"state":"offline""#),
        "{text}"
    );
    assert_eq!(serde_json::from_str::<Answer>(&text).unwrap(), answer);
}
