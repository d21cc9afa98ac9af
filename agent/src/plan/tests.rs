use std::time::Duration;

use super::*;
use crate::config::{self, Order, Surroundings, Transport};
use crate::fleet::{Policy, Scenario, simulate};

const HOUR: Duration = Duration::from_secs(3600);

fn question() -> Question {
    let Scenario { drain, backoff, .. } = Scenario::outage(1, 2.0);
    Question {
        gateways: 20,
        rate_per_s: 0.5,
        heavy_part: 0.05,
        heavy_times: 20.0,
        record_bytes: 256,
        content: Content::Telemetry,
        outage: Duration::from_secs(300),
        capacity_per_s: 20.0,
        transport: Transport::Http,
        order: Order::None,
        company: Company::Alone,
        round_trip: Duration::from_millis(800),
        consumer_per_s: 20.0,
        retention: 72 * HOUR,
        drain,
        backoff,
        ordered_lanes: Vec::new(),
        lane: ("main".to_owned(), "spillway".to_owned()),
    }
}

fn bundled(records: u32, linger: Duration) -> Question {
    let company = Company::Bundle { records, bytes: 1 << 20, linger };
    Question { company, ..question() }
}

fn answer(question: &Question, policies: &[Policy]) -> Answer {
    let scale = Scale::quick(question);
    let scenario = scale.scenario(question);
    let run =
        |policy: &Policy| Run { policy: *policy, outcomes: vec![simulate(&scenario, *policy, 1)] };
    Answer::new(question, &scale, 1, &policies.iter().map(run).collect::<Vec<_>>())
}

fn near(value: f64, expected: f64, part: f64) -> bool {
    (value - expected).abs() <= part * expected
}

/// The rows of docs/benchmarks.md, "Bytes on the wire", out and back together.
#[test]
fn bytes_of_a_record_are_those_measured() {
    let bundle = Company::Bundle { records: 64, bytes: 16 << 10, linger: Duration::ZERO };
    let batch = |records| Company::Batch { records };
    let rows = [
        (Transport::Http, Company::Alone, Content::Telemetry, 1232.0),
        (Transport::Http, bundle, Content::Telemetry, 79.0),
        (Transport::Http, bundle, Content::Noise, 294.0),
        (Transport::Grpc, Company::Alone, Content::Telemetry, 717.0),
        (Transport::Grpc, bundle, Content::Telemetry, 54.0),
        (Transport::Grpc, bundle, Content::Noise, 216.0),
        (Transport::Grpc, batch(64), Content::Telemetry, 474.0),
        (Transport::Grpc, batch(512), Content::Noise, 470.0),
    ];
    for (transport, company, content, measured) in rows {
        let question = Question { transport, company, content, ..question() };
        let (requests, bytes) = question.backlog_wire();
        let record = bytes / question.backlog();
        assert!(near(record, measured, 0.02), "{company:?} {content:?}: {record}");
        assert!(near(requests, question.backlog() / question.in_request(), 1e-9));
    }
}

#[test]
fn a_broker_below_the_live_rate_is_refused_with_what_would_do() {
    let small = Question { capacity_per_s: 9.0, ..question() };
    let told = small.prove().unwrap_err().to_string();
    for words in ["makes 10 messages/s", "never drains", "--capacity 12", "20 in its own length"] {
        assert!(told.contains(words), "{told}");
    }
    // Bundles that fill make fewer messages of it.
    let company = bundled(64, Duration::from_secs(30)).company;
    assert_eq!(Question { company, ..small }.prove(), Ok(()));
}

#[test]
fn a_broker_hardly_above_the_live_rate_is_refused_with_what_would_do() {
    let nearly = |capacity_per_s| Question { capacity_per_s, ..question() };
    let told = nearly(10.09).prove().unwrap_err().to_string();
    for words in
        ["only 1.0090 times the 10 messages/s", "--capacity 12", "20 in its own", "--bundle"]
    {
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(nearly(10.1001).prove(), Ok(()));
}

#[test]
fn a_simulation_that_is_stopped_says_so_and_why() {
    let question = question();
    let scale = Scale::quick(&question);
    let answer = |scenario: Scenario| {
        let outcomes = vec![simulate(&scenario, Policy::SelfAnchored, 1)];
        Answer::new(&question, &scale, 1, &[Run { policy: Policy::SelfAnchored, outcomes }])
    };
    let whole = scale.scenario(&question);
    let drained = answer(whole.clone());
    assert_eq!((drained.ways[0].stopped_by, drained.warnings.len()), (None, 0));
    assert!(drained.ways[0].events > 5000);
    let few = answer(Scenario { most_events: 5000, ..whole.clone() });
    assert_eq!(few.ways[0].stopped_by, Some("events"));
    let words = ["stopped after 5,", "events, before all gateways had drained", "--capacity"];
    assert!(words.iter().all(|words| few.warnings[0].contains(words)), "{:?}", few.warnings);
    let short = answer(Scenario { horizon: Duration::from_secs(60), ..whole });
    assert_eq!(short.ways[0].stopped_by, Some("time"));
    assert!(short.warnings[0].contains("within 1m"), "{:?}", short.warnings);
}

/// Where a perfect drain takes years.
#[test]
fn the_simulated_time_is_bounded_however_slow_the_drain() {
    let slow = Question { capacity_per_s: 10.2, outage: 24 * 30 * HOUR, ..question() };
    assert_eq!(Scale::exact(&slow).scenario(&slow).horizon, 24 * 30 * HOUR);
}

#[test]
fn batches_are_refused_where_the_configuration_refuses_them() {
    let batch = Question { company: Company::Batch { records: 64 }, ..question() };
    assert_eq!(batch.prove(), Err(PlanError::BatchOverHttp));
    let ordered = Question { transport: Transport::Grpc, order: Order::Key, ..batch };
    assert_eq!(ordered.prove(), Err(PlanError::BatchInOrder));
}

#[test]
fn live_records_share_a_message_only_as_far_as_they_wait_for_each_other() {
    assert!(near(bundled(64, Duration::ZERO).in_live_message(), 1.0, 1e-9));
    let even = |linger_s| Question { heavy_part: 0.0, ..bundled(8, Duration::from_secs(linger_s)) };
    assert!(near(even(2).in_live_message(), 2.0, 1e-9), "one, and what comes in two seconds");
    assert!(near(even(60).in_live_message(), 8.0, 1e-9), "no more than fit");
}

#[test]
fn a_bundle_holds_what_its_bytes_allow() {
    let company = Company::Bundle { records: 64, bytes: 16 << 10, linger: Duration::ZERO };
    assert_eq!(Question { company, ..question() }.in_message(), 64.0);
    assert_eq!(Question { company, record_bytes: 4096, ..question() }.in_message(), 4.0);
    assert_eq!(Question { company, record_bytes: 1 << 20, ..question() }.in_message(), 1.0);
}

#[test]
fn a_large_fleet_is_simulated_by_a_smaller_one_and_a_small_one_as_a_whole() {
    let large =
        Question { gateways: 100_000, capacity_per_s: 100_000.0, outage: 24 * HOUR, ..question() };
    let scale = Scale::quick(&large);
    let sends = f64::from(scale.gateways) * scale.outage.as_secs_f64() * 0.5 * 2.0;
    assert!(scale.gateways >= 100 && sends < 1_600_000.0, "{scale:?}");
    assert!(near(scale.stretch(&large), 86_400.0 / scale.outage.as_secs_f64(), 1e-9));
    let scenario = scale.scenario(&large);
    assert_eq!((scenario.gateways, scenario.capacity), (scale.gateways, 2.0));
    assert_eq!(Scale::quick(&question()), Scale::exact(&question()));
    assert_eq!(Scale::exact(&large).gateways, 100_000);
}

/// 20,000 gateways that make a record a minute.
fn sparse() -> Question {
    let rate_per_s = 1.0 / 60.0;
    Question {
        gateways: 20_000,
        rate_per_s,
        capacity_per_s: 400.0,
        outage: 24 * HOUR,
        ..question()
    }
}

/// With the hundred-odd whose backlog could be simulated, a TLS connect would be more than a second of
/// the broker's work.
#[test]
fn a_part_of_a_sparse_fleet_has_a_broker_to_speak_of() {
    let scale = Scale::quick(&sparse());
    assert_eq!(scale.gateways, 5000);
    assert!(scale.outage >= Duration::from_secs(2400), "{scale:?}");
    let few = Question { gateways: 4000, capacity_per_s: 80.0, ..sparse() };
    assert_eq!(Scale::quick(&few).gateways, 4000);
    let vast = Question { gateways: 1_000_000, capacity_per_s: 200.0, ..sparse() };
    assert_eq!(Scale::quick(&Question { rate_per_s: 0.0001, ..vast }).gateways, 10_000);
}

#[test]
fn the_probes_of_a_sparse_fleet_get_a_bound_that_helps() {
    let (sparse, busy) = (answer(&sparse(), &[]), answer(&question(), &[]));
    let max = "[backoff]\nmax = \"1125s\"";
    assert!(sparse.settings_toml.contains(max), "{}", sparse.settings_toml);
    assert!(!busy.settings_toml.contains("[backoff]"), "{}", busy.settings_toml);
    let told = |answer: &Answer, words| answer.warnings.iter().any(|told| told.contains(words));
    assert!(told(&sparse, "begin with 4.2 times the capacity"), "{:?}", sparse.warnings);
    assert!(told(&sparse, "set below, it is 0.4 times"), "{:?}", sparse.warnings);
    assert!(!told(&busy, "[backoff]"), "{:?}", busy.warnings);
}

#[test]
fn the_figures_are_the_whole_fleets() {
    let question = Question { heavy_part: 0.0, ..question() };
    let whole = answer(&question, &[Policy::SelfAnchored]);
    let ten = Question {
        gateways: 200,
        capacity_per_s: 200.0,
        consumer_per_s: 200.0,
        ..question.clone()
    };
    // Ten times the fleet, by the same simulated part.
    let scale = Scale::exact(&question);
    let outcomes = vec![simulate(&scale.scenario(&question), Policy::SelfAnchored, 1)];
    let runs = [Run { policy: Policy::SelfAnchored, outcomes }];
    let scaled = Answer::new(&ten, &scale, 1, &runs);
    assert!(whole.is_exact() && !scaled.is_exact());
    let (one, ten) = (&whole.ways[0], &scaled.ways[0]);
    assert!(near(ten.peak_messages_per_s, 10.0 * one.peak_messages_per_s, 1e-9));
    assert_eq!(ten.last_gateway_drained_s, one.last_gateway_drained_s);
    let most = |way: &Way| way.load_messages_per_s.iter().copied().fold(0.0, f64::max);
    assert!(near(most(ten), ten.peak_messages_per_s, 0.01), "the curve shows the peak");
    let unread = |answer: &Answer| answer.consumer.unread_records_at_most;
    assert!(near(unread(&scaled), 10.0 * unread(&whole), 0.05) || unread(&whole) < 5.0);
}

#[test]
fn delivered_is_not_read() {
    let slow = Question { consumer_per_s: 11.0, retention: Duration::from_secs(100), ..question() };
    let answer = answer(&slow, &[Policy::SelfAnchored]);
    assert!(answer.consumer.deleted_unread_records.unwrap() > 100.0, "{:?}", answer.consumer);
    assert!(answer.consumer.least_rows_per_s > 11.0);
    assert!(answer.warnings.iter().any(|warning| warning.contains("delivered is not read")));
}

#[test]
fn lanes_of_one_order_are_named_with_their_pace_and_the_remedy() {
    let question = Question {
        order: Order::Lane,
        ordered_lanes: vec!["orders".to_owned()],
        round_trip: Duration::from_millis(500),
        ..question()
    };
    assert_eq!(question.one_at_a_time(0.5), (2.0, Some(100.0)));
    assert_eq!(question.one_at_a_time(3.0).1, None);
    let warnings = answer(&question, &[Policy::SelfAnchored]).warnings;
    for (warning, lane) in warnings.iter().zip(["lane main ", "lane orders "]) {
        assert!(warning.starts_with(lane), "{warning}");
        for words in ["2.0 a second", "0.50 records/s needs 1m 40s", "bundle = {}"] {
            assert!(warning.contains(words), "{warning}");
        }
    }
    let company = bundled(64, Duration::ZERO).company;
    let told = answer(&Question { company, ordered_lanes: Vec::new(), ..question }, &[]).warnings;
    assert!(!told.iter().any(|warning| warning.contains("round trip")), "{told:?}");
}

#[test]
fn the_settings_are_a_configuration() {
    let company = Company::Batch { records: 64 };
    let batch = Question { company, transport: Transport::Grpc, ..question() };
    let sparse = Question { rate_per_s: 0.001, capacity_per_s: 0.04, ..question() };
    let bundle = bundled(64, Duration::from_secs(5));
    for question in [question(), bundle.clone(), batch, sparse] {
        let toml = answer(&question, &[]).settings_toml;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("spillway.toml");
        std::fs::write(&file, format!("gateway.id = \"gw\"\n{toml}")).unwrap();
        let variables = std::collections::BTreeMap::new();
        let surroundings = Surroundings { variables, machine_id: "/nothing".into() };
        let (config, _) = config::load(&file, &surroundings).expect(&toml);
        assert!(config.drain.records_per_second.is_some_and(|bound| bound >= 10), "{toml}");
        assert!(config.audit.is_some(), "{toml}");
        assert!(toml.lines().all(|line| line.len() <= 96), "{toml}");
        assert_eq!(config.lanes[0].bundle.is_some(), question == bundle);
    }
}

#[test]
fn the_plot_names_everything_and_needs_nothing_from_outside() {
    let answer = answer(&question(), &[Policy::SelfAnchored, Policy::Naive]);
    let svg = plot::svg(&answer);
    for words in [
        ">capacity: 20/s<",
        ">Spillway (",
        ">naive (",
        ">since the network is back<",
        "messages offered in a second",
        "prefers-color-scheme: dark",
    ] {
        assert!(svg.contains(words), "{words} in {svg}");
    }
    assert_eq!(svg.matches("<polyline").count(), 2);
    let outside = svg.replace("http://www.w3.org/2000/svg", "");
    assert!(!outside.contains("http") && !outside.contains("url("));
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
}
