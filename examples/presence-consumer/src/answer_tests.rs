//! Cases by hand, and orders and repetitions by chance.

use proptest::prelude::*;
use spillway_protocol::presence::{Event, EventType};

use super::*;
use crate::table::Fact;

const NOW_MS: u64 = 10_000_000;

fn event(kind: EventType, gateway: u8, channel: u8, stored_ms: u64) -> Fact {
    let event = Event {
        event_type: kind,
        client_id: format!("GID_g@@@gw-{gateway}"),
        channel_id: format!("channel-{channel}"),
        client_ip: "10.0.0.7".to_owned(),
        // Times are of no use: the end may be told with an earlier one than the beginning.
        time: 500 - u64::from(channel),
    };
    Fact::Event { event, stored_ms }
}

fn heard(gateway: u8, stored_ms: u64, presence: bool) -> Fact {
    Fact::Heard { gateway: format!("gw-{gateway}"), stored_ms, presence }
}

fn interval(gateway: u8, stored_ms: u64, every_s: u64) -> Fact {
    Fact::Interval { gateway: format!("gw-{gateway}"), stored_ms, every_s }
}

fn asked(facts: &[Fact]) -> Answer {
    answer(&facts.iter().cloned().collect(), None, NOW_MS)
}

fn ids(clients: &[Client]) -> Vec<&str> {
    clients.iter().map(|client| client.id.as_str()).collect()
}

#[test]
fn a_client_is_online_while_any_of_its_channels_is_live() {
    use EventType::{Connect, Disconnect, TcpClean};
    let old = event(Connect, 1, 1, 10);
    let new = event(Connect, 1, 2, 20);
    let (old_end, new_end) = (event(TcpClean, 1, 1, 30), event(TcpClean, 1, 2, 5));
    let goodbye = event(Disconnect, 1, 1, 7);
    for (facts, online, channels) in [
        (vec![old.clone()], true, vec!["channel-1"]),
        (vec![old.clone(), goodbye.clone()], true, vec!["channel-1"]),
        (vec![old.clone(), new.clone()], true, vec!["channel-1", "channel-2"]),
        (vec![old.clone(), new.clone(), old_end.clone()], true, vec!["channel-2"]),
        // The end before the beginning, and the beginning once more.
        (vec![new_end.clone(), new.clone()], false, vec![]),
        (vec![new.clone(), new_end.clone(), new.clone()], false, vec![]),
        (vec![old_end.clone()], false, vec![]),
    ] {
        let answer = asked(&facts);
        assert_eq!(answer.online.len(), usize::from(online), "{facts:?}");
        let found = answer.online.first().map_or(vec![], |client| client.channels.clone());
        assert_eq!(found, channels, "{facts:?}");
        assert_eq!(answer.silent, []);
    }
}

#[test]
fn a_lease_ends_three_intervals_after_the_last_that_was_stored() {
    let connect = event(EventType::Connect, 1, 1, 10);
    let report = interval(1, NOW_MS - 60_000, 10);
    let silent = |heard_ms| {
        let facts = [connect.clone(), report.clone(), heard(1, heard_ms, true)];
        let answer = asked(&facts);
        assert_eq!(answer.online.len() + answer.silent.len(), 1);
        !answer.silent.is_empty()
    };
    assert!(!silent(NOW_MS - 30_000));
    assert!(silent(NOW_MS - 30_001));
    // By a clock behind the broker's.
    assert!(!silent(NOW_MS + 5_000));
}

#[test]
fn the_newest_report_says_how_long_a_lease_is() {
    let connect = event(EventType::Connect, 1, 1, 10);
    let alive = heard(1, NOW_MS - 60_000, true);
    let (short, long) = (interval(1, 100, 1), interval(1, 200, 900));
    assert_eq!(asked(&[connect.clone(), alive.clone(), long, short]).silent, []);
    let (long, short) = (interval(1, 100, 900), interval(1, 200, 1));
    assert_eq!(asked(&[connect, alive, long, short]).online, []);
}

#[test]
fn a_local_client_is_online_only_while_its_gateway_is() {
    use EventType::{Connect, TcpClean};
    let local = |kind, channel, stored_ms| match event(kind, 1, channel, stored_ms) {
        Fact::Event { mut event, stored_ms } => {
            event.client_id.push_str(":his");
            Fact::Event { event, stored_ms }
        }
        other => other,
    };
    let (gateway, his) = (event(Connect, 1, 1, 10), local(Connect, 7, 20));
    let (report, alive) = (interval(1, NOW_MS, 10), heard(1, NOW_MS, true));
    let both = [gateway.clone(), his.clone(), report.clone(), alive.clone()];
    assert_eq!(ids(&asked(&both).online), ["GID_g@@@gw-1", "GID_g@@@gw-1:his"]);
    // The gateway is gone, and has not told yet what became of its client.
    let gone = [&both[..], &[event(TcpClean, 1, 1, 30)]].concat();
    assert_eq!(asked(&gone), Answer::default());
    let back = [&gone[..], &[event(Connect, 1, 2, 40)]].concat();
    assert_eq!(ids(&asked(&back).online), ["GID_g@@@gw-1", "GID_g@@@gw-1:his"]);
    let closed = [&back[..], &[local(TcpClean, 7, 50)]].concat();
    assert_eq!(ids(&asked(&closed).online), ["GID_g@@@gw-1"]);
    // Cut off: silent, both.
    let silent = [gateway, his.clone(), interval(1, 5, 10), heard(1, 5, true)];
    assert_eq!(ids(&asked(&silent).silent), ["GID_g@@@gw-1", "GID_g@@@gw-1:his"]);
    assert_eq!(ids(&asked(&silent).online), [""; 0]);
    // A device of somebody else that happens to be called so.
    assert_eq!(ids(&asked(&[his]).online), ["GID_g@@@gw-1:his"]);
}

#[test]
fn who_never_reports_has_no_lease_but_the_one_that_is_given() {
    let facts = [event(EventType::Connect, 1, 1, 10), heard(1, 10, true)];
    assert_eq!(ids(&asked(&facts).online), ["GID_g@@@gw-1"]);
    let table = facts.iter().cloned().collect();
    assert_eq!(ids(&answer(&table, Some(10), NOW_MS).silent), ["GID_g@@@gw-1"]);
    // A device without an agent.
    assert_eq!(asked(&facts[..1]).online.len(), 1);
}

#[test]
fn reports_alone_say_it_only_of_gateways_that_send_no_presence() {
    let fresh = [interval(1, NOW_MS - 1, 10), heard(1, NOW_MS - 1, false)];
    assert_eq!(ids(&asked(&fresh).online), ["gw-1"]);
    let stale = [interval(1, 5, 10), heard(1, 5, false)];
    assert_eq!(ids(&asked(&stale).silent), ["gw-1"]);
    // It has said goodbye, and the report before it is not old yet.
    let parted = [&fresh[..], &[heard(1, NOW_MS, true)]].concat();
    assert_eq!(asked(&parted), Answer::default());
}

fn facts() -> impl Strategy<Value = Vec<Fact>> {
    let kind = prop_oneof![
        Just(EventType::Connect),
        Just(EventType::Disconnect),
        Just(EventType::TcpClean)
    ];
    let stored = NOW_MS - 100_000..NOW_MS;
    let fact = prop_oneof![
        4 => (kind, 0..3u8, 0..4u8, stored.clone()).prop_map(|(k, g, c, s)| event(k, g, c, s)),
        1 => (0..3u8, stored.clone(), any::<bool>()).prop_map(|(g, s, p)| heard(g, s, p)),
        1 => (0..3u8, stored, 1..40u64).prop_map(|(g, s, e)| interval(g, s, e)),
    ];
    proptest::collection::vec(fact, 0..40)
}

proptest! {
    /// The same set of facts, whatever their order and however often each comes.
    #[test]
    fn orders_and_repetitions_do_not_change_the_answer(
        (facts, mixed) in facts().prop_flat_map(|facts| {
            let repeated = proptest::collection::vec(any::<proptest::sample::Index>(), 0..40);
            let all = (Just(facts.clone()), repeated).prop_map(|(facts, again)| {
                let repeats = again.iter().filter(|_| !facts.is_empty()).map(|i| i.get(&facts));
                [facts.clone(), repeats.cloned().collect()].concat()
            });
            (Just(facts), all.prop_shuffle())
        })
    ) {
        prop_assert_eq!(asked(&facts), asked(&mixed));
    }

    /// A client is offline once every channel of it is gone, whatever else is known.
    #[test]
    fn nobody_is_online_whose_channels_are_all_gone(facts in facts()) {
        let ends = (0..3u8).flat_map(|g| (0..4u8).map(move |c| event(EventType::TcpClean, g, c, 1)));
        let all: Vec<Fact> = ends.chain(facts).collect();
        prop_assert!(asked(&all).online.iter().all(|client| client.channels.is_empty()));
    }

    /// Forgetting closed channels changes no answer.
    #[test]
    fn what_is_forgotten_is_not_missed(facts in facts(), before_ms in NOW_MS - 100_000..NOW_MS) {
        let mut table: Table = facts.into_iter().collect();
        let before = answer(&table, None, NOW_MS);
        let gone: Vec<_> = table.forgettable(before_ms).cloned().collect();
        gone.iter().for_each(|key| drop(table.channels.remove(key)));
        prop_assert_eq!(answer(&table, None, NOW_MS), before);
    }
}
