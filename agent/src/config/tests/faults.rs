//! Each kind of fault: its line, its key, what is wrong and what would be right.

use super::super::{Surroundings, load};
use super::{SMALL, Setup};

const HTTP: &str = "[upstream]\nendpoint = \"https://mq.example\"\naccess_key_id = \"id\"\n\
                    access_key_secret = { env = \"KEY\" }\n";

/// Faults of `text` in front of a good lane.
#[track_caller]
fn faults(text: &str) -> Vec<String> {
    Setup::new(&format!("{text}\n{SMALL}")).variable("KEY", "hidden").faults()
}

#[track_caller]
fn lane_faults(lanes: &str) -> Vec<String> {
    Setup::new(lanes).faults()
}

#[test]
fn unknown_settings_are_named_with_what_was_probably_meant() {
    assert_eq!(
        faults("[backoff]\nintial = \"5s\""),
        ["spillway.toml:2: backoff.intial: is not known; did you mean \"initial\"?"]
    );
    assert_eq!(
        faults("[gateway]\nbytes_per_second = \"1 KiB\""),
        ["spillway.toml:2: gateway.bytes_per_second: is not known; it belongs to [drain]"]
    );
    assert_eq!(
        faults("[backoff]\ncolour = \"red\""),
        ["spillway.toml:2: backoff.colour: is not known; known here: initial, max"]
    );
    assert_eq!(
        faults("[drian]"),
        ["spillway.toml:1: drian: is not known; did you mean \"drain\"?"]
    );
    assert_eq!(
        lane_faults("[[lane]]\nname='a'\ntopic='t'\nprio = 1"),
        [
            "spillway.toml:4: lane.a.prio: is not known; known here: batch, bundle, compress, default, degrade, \
          freshness, min_share, name, on_reject, order, priority, quota, tag, topic, ttl, weight, when_full"
        ]
    );
}

#[test]
fn numbers_without_units_and_wrong_units_are_refused() {
    assert_eq!(
        faults("[backoff]\ninitial = 5\nmax = \"2 MiB\""),
        [
            "spillway.toml:2: backoff.initial: is a number without its unit; write for example \"5s\"",
            "spillway.toml:3: backoff.max: has the unit \"MiB\", not ms, s, m, h, d or w; \
             write for example \"2m\"",
        ]
    );
    assert_eq!(
        faults("[limits]\nmemory = \"64\""),
        [
            "spillway.toml:2: limits.memory: has no unit (B, KiB, MiB or GiB); write for example \"32 MiB\""
        ]
    );
    assert_eq!(
        lane_faults("[[lane]]\nname='a'\ntopic='t'\nmin_share = 5"),
        [
            "spillway.toml:4: lane.a.min_share: is a number without its unit; write for example \"5%\""
        ]
    );
}

#[test]
fn wrong_kinds_of_values_are_refused() {
    assert_eq!(
        faults("[drain]\nadaptive = \"yes\"\nrecords_per_second = 0\nreconnect_spread = 30"),
        [
            "spillway.toml:2: drain.adaptive: is a text, not true or false; write for example true",
            "spillway.toml:3: drain.records_per_second: is not a number from 1 to 4294967295; \
             write for example \"auto\" or 500",
            "spillway.toml:4: drain.reconnect_spread: is a number without its unit; \
             write for example \"auto\" or \"30s\"",
        ]
    );
    assert_eq!(
        faults("drain = 1"),
        ["spillway.toml:1: drain: is a number, not a section; write [drain]"]
    );
    assert_eq!(
        faults("[listen]\nmode = 660"),
        [
            "spillway.toml:2: listen.mode: is a number, not a text in quotes; write for example \"0660\""
        ]
    );
    assert_eq!(
        lane_faults("[[lane]]\nname='a'\ntopic='t'\norder = \"strict\""),
        ["spillway.toml:4: lane.a.order: is not one of its words; \
          write \"none\" or \"key\" or \"lane\""]
    );
}

#[test]
fn what_is_not_toml_is_shown_by_line_and_nothing_else_is_judged() {
    let found = lane_faults("[gateway]\nid = gw-1\n\n[drain]\nadaptive = tru\nnonsense = 1\n");
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("spillway.toml:2: is not TOML: "), "{found:#?}");
    assert!(found[1].starts_with("spillway.toml:5: is not TOML: "), "{found:#?}");
    assert!(found[1].ends_with("; look at column 12"), "{found:#?}");
}

#[test]
fn all_faults_of_all_files_are_reported_at_once_in_order() {
    let setup = Setup::new("[drain]\nbytes_per_second = 1\n[backoff]\ninitial = 1\n")
        .file("conf.d/a.toml", "\n[dead]\nkeep = 1\n")
        .variable("SPILLWAY__UPSTREEM__ENDPOINT", "x")
        .variable("SPILLWAY__LIMITS__MEMORY", "1 B");
    let places: Vec<String> = setup
        .faults()
        .iter()
        .map(|fault| fault.split(": ").take(2).collect::<Vec<_>>().join(": "))
        .collect();
    assert_eq!(
        places,
        [
            "spillway.toml: lane",
            "spillway.toml:2: drain.bytes_per_second",
            "spillway.toml:4: backoff.initial",
            "conf.d/a.toml:3: dead.keep",
            "environment variable SPILLWAY__LIMITS__MEMORY: limits.memory",
            "environment variable SPILLWAY__UPSTREEM__ENDPOINT: upstreem",
        ]
    );
}

#[test]
fn a_missing_file_says_how_to_name_another() {
    let surroundings = Setup::new("").surroundings();
    let error = load(std::path::Path::new("/nowhere/x.toml"), &surroundings).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nowhere/x.toml: cannot be read: No such file or directory (os error 2); \
         create it, or name another with --config FILE"
    );
}

#[test]
fn secrets_that_cannot_be_had_name_their_source_and_the_remedy() {
    let secret = |form: &str| {
        let text = "[upstream]\nendpoint = \"https://mq.example\"\naccess_key_id = \"id\"\n";
        faults(&format!("{text}access_key_secret = {form}"))
    };
    assert_eq!(
        secret("{ env = \"NONE\" }"),
        [
            "spillway.toml:4: upstream.access_key_secret: is to come from the environment variable NONE, \
          which is not set; set NONE, or use { file = \"/path\" }"
        ]
    );
    assert_eq!(
        secret("{ file = \"/nowhere/key\" }"),
        [
            "spillway.toml:4: upstream.access_key_secret: cannot be read from /nowhere/key: No such file \
          or directory (os error 2); create it, or let the user that runs the agent read it"
        ]
    );
    assert_eq!(
        secret("{ credential = \"key\" }"),
        [
            "spillway.toml:4: upstream.access_key_secret: is the systemd credential key, but systemd \
          passed none; add LoadCredential=key:/path to the unit, or use { file = \"/path\" }"
        ]
    );
    let forms = "write { file = \"/path\" }, { credential = \"name\" } or { env = \"VARIABLE\" }";
    for (form, problem) in [
        ("{ env = \"KEY\", file = \"/x\" }", "does not name exactly one source"),
        ("{ vault = \"x\" }", "is to come from \"vault\", which is no source"),
        ("{ env = 1 }", "has a number for its env"),
        ("7", "is a number"),
    ] {
        let expected = format!("spillway.toml:4: upstream.access_key_secret: {problem}; {forms}");
        assert_eq!(secret(form), [expected]);
    }
    assert_eq!(
        secret("\"\""),
        ["spillway.toml:4: upstream.access_key_secret: is empty; put the value there"]
    );
}

#[test]
fn http_needs_one_endpoint_with_its_scheme_and_an_access_key() {
    assert_eq!(
        faults("[upstream]"),
        [
            "spillway.toml:1: upstream.endpoint: is missing; write for example \"https://host:port\"",
            "spillway.toml:1: upstream.access_key_id: is missing; write for example { file = \"/path\" }",
            "spillway.toml:1: upstream.access_key_secret: is missing; \
             write for example { file = \"/path\" }",
        ]
    );
    let endpoint = |value: &str| faults(&HTTP.replace("\"https://mq.example\"", value));
    assert_eq!(
        endpoint("\"mq.example:80\""),
        ["spillway.toml:2: upstream.endpoint: \"mq.example:80\" has no scheme; \
          write for example \"https://host:port\""]
    );
    assert_eq!(
        endpoint("[\"https://a\", \"https://b\"]"),
        ["spillway.toml:2: upstream.endpoint: lists several, but transport = \"http\" takes one; \
          write for example \"https://host:port\""]
    );
    assert_eq!(
        endpoint("\"http://mq.example\""),
        [
            "spillway.toml:2: upstream.endpoint: http://mq.example:80 is not encrypted and leaves this \
          machine; write https://mq.example:80, or add plaintext = true"
        ]
    );
    let open = format!("{}plaintext = true\n{SMALL}", HTTP.replace("https", "http"));
    Setup::new(&open).variable("KEY", "k").good();
}

#[test]
fn the_transports_do_not_share_the_instances_name() {
    assert_eq!(
        faults(&format!("{HTTP}namespace = \"ns\"")),
        ["spillway.toml:5: upstream.namespace: does not belong to this transport; \
          write instance_id instead, or change transport"]
    );
}

#[test]
fn tls_files_must_be_there_and_the_key_comes_with_its_certificate() {
    assert_eq!(
        faults(&format!("{HTTP}tls = {{ ca = \"/nowhere/ca.pem\" }}")),
        [
            "spillway.toml:5: upstream.tls.ca: names /nowhere/ca.pem, which cannot be read: No such file \
          or directory (os error 2); write for example \"/etc/spillway/file.pem\", a file that the \
          agent's user can read"
        ]
    );
    let found = faults(&format!("{HTTP}tls = {{ key = \"/etc/hostname\" }}"));
    assert_eq!(
        found,
        ["spillway.toml:5: upstream.tls.key: has no certificate beside it; add certificate"]
    );
}

#[test]
fn lanes_have_names_topics_and_one_default() {
    let place = "write [[lane]] with name = \"main\" and topic = \"the-topic\"";
    assert_eq!(lane_faults(""), [format!("spillway.toml: lane: is missing; {place}")]);
    assert_eq!(
        lane_faults("lane = []"),
        [format!("spillway.toml:1: lane: is an empty list; {place}")]
    );
    assert_eq!(
        lane_faults("[lane]\nname = \"a\""),
        [format!("spillway.toml:1: lane: is a section, not a list of lanes; {place}")]
    );
    assert_eq!(
        lane_faults("\n[[lane]]\n"),
        [
            "spillway.toml:2: lane[0].name: is missing; write for example name = \"critical\"",
            "spillway.toml:2: lane[0].topic: is missing; write for example topic = \"ward-critical\"",
        ]
    );
    let two = "[[lane]]\nname='a'\ntopic='t'\n[[lane]]\nname='b'\ntopic='t'\n";
    assert_eq!(
        lane_faults(two),
        ["spillway.toml:1: lane: none of the lanes is the default; \
          write default = true in one of them"]
    );
    assert_eq!(
        lane_faults(&two.replace("topic='t'", "topic='t'\ndefault=true")),
        ["spillway.toml:5: lane.b.default: is true, as in lane a (spillway.toml:1); \
          leave it true in one lane only"]
    );
    assert_eq!(
        lane_faults("[[lane]]\nname='_agent'\ntopic='a b'\n"),
        [
            "spillway.toml:2: lane._agent.name: begins with _, which is kept for the agent's own \
             lanes; write for example \"critical\"",
            "spillway.toml:3: lane._agent.topic: holds U+0020; a topic has letters, digits, _ and - \
             only; write for example \"ward-critical\"",
        ]
    );
}

#[test]
fn a_topic_is_no_longer_than_its_transport_takes() {
    let lane = format!("[[lane]]\nname='a'\ntopic='{}'\n", "x".repeat(65));
    assert_eq!(
        Setup::new(&format!("{HTTP}{lane}")).variable("KEY", "k").faults(),
        ["spillway.toml:7: lane.a.topic: has 65 characters, the HTTP API takes 64; \
          write for example \"ward-critical\""]
    );
    Setup::new(&lane).good();
}

#[test]
fn report_and_presence_are_checked_like_lanes_and_their_lane_is_nobodys() {
    let long = "t".repeat(65);
    assert_eq!(
        faults(&format!("[report]\nevery = \"15\"\n[presence]\ntopic = \"{long}\"\n{HTTP}")),
        [
            "spillway.toml:1: report.topic: is missing; write for example topic = \"gateway-report\"",
            "spillway.toml:2: report.every: has no unit (ms, s, m, h, d or w); write for example \
             \"15m\"",
            "spillway.toml:3: presence.client_group: is missing; write for example \
             client_group = \"GID_gateways\"",
            "spillway.toml:4: presence.topic: has 65 characters, the HTTP API takes 64; \
             write for example \"gateway-status\"",
        ]
    );
    assert_eq!(
        faults("[report]\ntopic = \"r\"\nevery = \"10ms\"\nevrey = \"1m\""),
        [
            "spillway.toml:3: report.every: is less than a second; write for example \"15m\"",
            "spillway.toml:4: report.evrey: is not known; did you mean \"every\"?",
        ]
    );
    assert_eq!(
        faults("[presence]\ntopic = \"p\"\nclient_group = \"GID@@@x\""),
        ["spillway.toml:3: presence.client_group: holds '@'; letters, digits, _ and - are taken; \
          write for example \"GID_gateways\""]
    );
    assert_eq!(
        lane_faults("[[lane]]\nname = \"_agent\"\ntopic = \"t\"")[0],
        "spillway.toml:2: lane._agent.name: begins with _, which is kept for the agent's own \
         lanes; write for example \"critical\""
    );
}

#[test]
fn the_age_at_which_records_are_given_up_is_a_time_or_none() {
    let with = |ttl: &str| Setup::new(&format!("{}ttl = {ttl}", lane_a()));
    for (ttl, expected) in [
        ("\"none\"", None),
        ("\"1s\"", Some(std::time::Duration::from_secs(1))),
        ("\"7d\"", Some(std::time::Duration::from_secs(7 * 86_400))),
    ] {
        assert_eq!(with(ttl).good().lanes[0].ttl, expected);
    }
    let remedy = "write for example \"7d\", or \"none\"";
    for (ttl, problem) in [
        ("\"999ms\"", "is less than a second"),
        ("\"soon\"", "is not a whole number with its unit"),
        ("7", "is a number without its unit"),
    ] {
        let found = with(ttl).faults();
        let expected = format!("spillway.toml:4: lane.a.ttl: {problem}; {remedy}");
        assert!(found == [expected.clone()], "{found:?} {expected}");
    }
}

#[test]
fn limits_that_make_no_sense_are_refused_with_what_would() {
    for (text, expected) in [
        (
            "[limits]\ndisk = \"0%\"",
            "2: limits.disk: leaves the queue nothing; write for example \"10%\" or \"2 GiB\"",
        ),
        (
            "[limits]\ndisk = \"9 KiB\"",
            "2: limits.disk: is less than 1 MiB; write for example \"10%\" or \"2 GiB\"",
        ),
        (
            "[limits]\nkeep_free = \"100%\"",
            "2: limits.keep_free: leaves the queue nothing; write for example \"15%\" or \"1 GiB\"",
        ),
        (
            "[limits]\nkeep_free = 1",
            "2: limits.keep_free: is a number without its unit; write for example \"15%\" or \"1 GiB\"",
        ),
        (
            "[dead]\nkeep_for = \"0s\"",
            "2: dead.keep_for: is nothing at all; write for example \"30d\"",
        ),
        (
            "[dead]\nwhen_full = \"reject\"",
            "2: dead.when_full: is not one of its words; write \"hold\" or \"drop-oldest\"",
        ),
        (
            &format!("{}quota = \"100 KiB\"", lane_a()),
            "4: lane.a.quota: is less than 1 MiB, the least a lane can work with; write for example \"256 MiB\", or \"none\"",
        ),
        (
            &format!("{}when_full = \"drop\"", lane_a()),
            "4: lane.a.when_full: is not one of its words; write \"reject\" or \"drop-oldest\"",
        ),
    ] {
        let text = text.to_owned();
        let whole = if text.contains("[[lane]]") { text } else { format!("{text}\n{SMALL}") };
        assert_eq!(Setup::new(&whole).faults(), [format!("spillway.toml:{expected}")]);
    }
}

#[test]
fn quotas_larger_than_the_disk_are_doubtful_and_taken() {
    let text = format!(
        "limits.disk = \"100 MiB\"\n{}quota = \"1 GiB\"\nwhen_full = \"drop-oldest\"",
        lane_a()
    );
    let setup = Setup::new(&text);
    let lane = setup.good().lanes.remove(0);
    assert_eq!(
        (lane.quota_bytes, lane.when_full),
        (Some(1 << 30), crate::config::WhenFull::DropOldest)
    );
    let warnings = setup.warnings();
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("quotas together are more than [limits] disk")),
        "{warnings:?}"
    );
}

fn lane_a() -> &'static str {
    "[[lane]]\nname='a'\ntopic='t'\n"
}

#[test]
fn what_leaves_together_is_bounded_and_a_batch_has_its_conditions() {
    let faults = |lines: &str| lane_faults(&format!("{}{lines}", lane_a()));
    assert_eq!(
        faults("bundle = { records = 1, bytes = \"2 MiB\", linger = \"2m\", compress = \"zip\" }"),
        [
            "spillway.toml:4: lane.a.bundle.records: is not a number from 2 to 4294967295; \
             write for example 64",
            "spillway.toml:4: lane.a.bundle.bytes: is more than 1 MiB; write for example \"16 KiB\"",
            "spillway.toml:4: lane.a.bundle.linger: is longer than a minute; \
             write for example \"200ms\"",
            "spillway.toml:4: lane.a.bundle.compress: is not one of its words; \
             write \"deflate\" or \"none\"",
        ]
    );
    assert_eq!(
        faults("order = \"key\"\nbatch = { records = 2000 }\nbundle = {}"),
        [
            "spillway.toml:5: lane.a.batch.records: is more than 1024; write for example 64",
            "spillway.toml:5: lane.a.batch: breaks the order: RocketMQ spreads the messages of a \
             batch over all queues; leave it out, or write bundle",
            "spillway.toml:5: lane.a.batch: stands beside bundle; leave one of them out",
        ]
    );
    let http = format!("{HTTP}{}batch = {{ records = 2 }}", lane_a());
    assert_eq!(
        Setup::new(&http).variable("KEY", "k").faults(),
        ["spillway.toml:8: lane.a.batch: is not known to the MQ HTTP API; \
          leave it out, or write bundle"]
    );
}

#[test]
fn backoff_and_sockets_make_sense_together() {
    assert_eq!(
        faults("[backoff]\ninitial = \"3m\""),
        [
            "spillway.toml:2: backoff.initial: initial is longer than max; make initial the smaller one"
        ]
    );
    assert_eq!(
        faults("[listen]\nsocket = \"/x/control.sock\""),
        ["spillway.toml:1: listen.control: is the intake socket too; give each its own path"]
    );
    let long = format!("/run/{}.sock", "x".repeat(110));
    assert_eq!(
        faults(&format!("[listen]\nsocket = \"{long}\"")),
        ["spillway.toml:2: listen.socket: has 120 bytes, a socket's path at most 107; \
          write for example \"/run/spillway/spillway.sock\""]
    );
}

#[test]
fn a_gateway_without_a_machine_id_asks_for_its_own() {
    let setup = Setup::new(SMALL);
    let machine_id = setup.path("missing");
    let surroundings = Surroundings { machine_id, ..setup.surroundings() };
    let error = load(&setup.path("spillway.toml"), &surroundings).unwrap_err();
    assert_eq!(
        setup.bare(&error),
        "spillway.toml: gateway.id: is missing and cannot be made from missing: No such file or \
         directory (os error 2); write for example id = \"gw-0042\""
    );
}

#[test]
fn routes_lead_somewhere_and_ask_for_what_they_use() {
    let route = |lines: &str| lane_faults(&format!("{SMALL}[[route]]\n{lines}"));
    assert_eq!(
        route("lane = \"main\""),
        [
            "spillway.toml:4: route[0].when: is missing; write for example when = { kind = \"alarm\", zone = \"*\" }"
        ]
    );
    assert_eq!(
        route("when = { kind = \"a\" }\ntopic = \"t-{zone}\""),
        ["spillway.toml:6: route[0].topic: names \"zone\", which `when` does not ask for; \
             write for example \"ward-{zone}\""]
    );
    assert_eq!(
        route("when = { kind = \"a\" }\nlane = \"other\""),
        [
            "spillway.toml:6: route[0].lane: is not among the lanes: main; write for example \"critical\""
        ]
    );
    assert_eq!(
        route("when = { kind = 5 }\ntag = \"a b\""),
        [
            "spillway.toml:5: route[0].when: has a number for kind, not a text in quotes; \
             write for example { kind = \"alarm\", zone = \"*\" }",
            "spillway.toml:6: route[0].tag: holds U+0020; a tag has no white space, controls, | or *; \
             write for example \"{kind}\"",
        ]
    );
    assert_eq!(
        route("when = { kind = \"a\" }"),
        [
            "spillway.toml:4: route[0]: leads nowhere; name at least one of lane, topic, tag, order_key"
        ]
    );
}

#[test]
fn freshness_is_for_lanes_without_order_and_for_goals_that_make_sense() {
    let lane = |line: &str| lane_faults(&format!("{SMALL}{line}"));
    assert_eq!(
        lane("order = \"key\"\nfreshness = \"5s\""),
        [
            "spillway.toml:5: lane.main.freshness: breaks the order: live records would overtake the \
          backlog; leave it out, or write order = \"none\""
        ]
    );
    assert_eq!(
        lane("freshness = \"5ms\""),
        ["spillway.toml:4: lane.main.freshness: is less than 100 ms; write for example \"5s\""]
    );
    assert!(lane("freshness = \"61m\"")[0].contains("longer than an hour"));
}

#[test]
fn rules_of_degrade_do_what_they_say_or_are_refused() {
    let rule = |rule: &str| lane_faults(&format!("{SMALL}degrade = [{{ {rule} }}]"));
    for (text, problem) in [
        ("do = \"thin\", keep = \"1 in 10\"", "degrade[0].when: is missing"),
        ("when = \"backlog 6h\"", "degrade[0].do: is missing"),
        ("when = \"backlog 6h\", do = \"burn\"", "degrade[0].do: is not one of its words"),
        ("when = \"backlog 6h\", do = \"thin\"", "degrade[0].keep: is missing"),
        ("when = \"backlog 6h\", do = \"thin\", keep = \"1 in 1\"", "is not like"),
        ("when = \"backlog 6h\", do = \"drop-oldest\", keep = \"1 in 3\"", "belongs to do"),
        ("when = \"backlog 6h\", do = \"pause\"", "would never end"),
        ("when = \"disk 80%\", do = \"pause\"", "frees no disk"),
        ("when = \"disk 80%\", do = \"thin\", keep = \"1 in 3\"", "frees no disk until"),
        ("when = \"disk 100%\", do = \"drop-oldest\"", "always or too late"),
        ("when = \"disk\", do = \"drop-oldest\"", "has no % sign"),
        ("when = \"moon 5%\", do = \"drop-oldest\"", "names \"moon\", not disk, backlog or budget"),
        ("when = \"backlog 5ms\", do = \"drop-oldest\"", "is less than a second"),
        ("when = \"budget 50%\", do = \"pause\"", "there is none"),
        ("when = \"budget 50%\", do = \"drop-oldest\"", "gives back no bytes"),
        ("when = \"backlog 6h\", do = \"drop-oldest\", who = 1", "degrade[0].who: is not known"),
    ] {
        let faults = rule(text);
        let named =
            faults.iter().any(|fault| fault.starts_with("spillway.toml:4: lane.main.degrade[0]"));
        assert!(named && faults.iter().any(|fault| fault.contains(problem)), "{text}: {faults:?}");
    }
    let ordered =
        "order = \"key\"\ndegrade = [{ when = \"backlog 6h\", do = \"thin\", keep = \"1 in 2\" }]";
    assert!(lane_faults(&format!("{SMALL}{ordered}"))[0].contains("leaves gaps"));
}

#[test]
fn lanes_of_lower_priorities_give_way_first() {
    let lane = |name: &str, priority: u32, gives_way: bool| {
        let rule = "degrade = [{ when = \"backlog 6h\", do = \"drop-oldest\" }]\n";
        let rule = if gives_way { rule } else { "" };
        let default = name == "a";
        format!(
            "[[lane]]\nname = \"{name}\"\ntopic = \"t\"\npriority = {priority}\ndefault = {default}\n{rule}"
        )
    };
    let faults = |lanes: [String; 3]| lane_faults(&lanes.concat());
    assert_eq!(
        faults([lane("a", 1, true), lane("b", 2, true), lane("c", 3, true)]),
        ["spillway.toml:1: lane.a.degrade: would let the highest priority give way while lane b \
          has a lower one; give the rules to lanes of lower priorities"]
    );
    assert_eq!(
        faults([lane("a", 1, false), lane("b", 2, true), lane("c", 3, false)]),
        ["spillway.toml:6: lane.b.degrade: would let it give way before lane c, of a lower \
          priority; give lane c rules, too"]
    );
    Setup::new(&[lane("a", 1, false), lane("b", 2, true), lane("c", 2, false)].concat()).good();
    Setup::new(&[lane("a", 1, true), lane("b", 1, false)].concat()).good();
}
