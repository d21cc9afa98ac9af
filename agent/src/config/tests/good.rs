//! What is read, and what only warns.

use std::time::Duration;

use super::super::{AccessKeys, Compress, Endpoint, OnReject, Order, Tls, Transport};
use super::{SMALL, Setup};

const HTTP: &str = "[upstream]\nendpoint = \"https://mq.example\"\naccess_key_id = \"id\"\n";

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = Setup::new(SMALL).good();
    assert_eq!(config.gateway.id.len(), 16);
    assert_eq!(config.gateway.data_dir.to_str(), Some("/var/lib/spillway"));
    assert_eq!(config.limits.memory_bytes, 32 << 20);
    assert_eq!(config.listen.socket.to_str(), Some("/run/spillway/spillway.sock"));
    assert_eq!(config.listen.control.to_str(), Some("/run/spillway/control.sock"));
    assert_eq!(config.listen.mode, 0o660);
    assert_eq!(config.upstream, None);
    assert_eq!(config.dead.keep_bytes, 64 << 20);
    let drain = &config.drain;
    assert_eq!((drain.adaptive, drain.records_per_second), (true, None));
    assert_eq!((drain.bytes_per_second, drain.reconnect_spread), (256 << 10, None));
    let backoff = &config.backoff;
    assert_eq!((backoff.initial, backoff.max), (Duration::from_secs(5), Duration::from_secs(120)));
    let lane = config.default_lane();
    assert_eq!((lane.priority, lane.weight, lane.min_share_percent), (1, 1, 5));
    assert_eq!(
        (lane.default, lane.order, lane.on_reject),
        (true, Order::None, OnReject::DeadLetter)
    );
}

#[test]
fn the_documented_sample_is_read_as_far_as_it_is_built() {
    let sample = r#"
[gateway]
id = "gw-0042"
data_dir = "/var/lib/spillway"
[limits]
disk = "10%"
keep_free = "15%"
memory = "32 MiB"
[listen]
socket = "/run/spillway/spillway.sock"
mode = "0660"
control = "/run/spillway/control.sock"
[upstream]
transport = "http"
endpoint = "https://host:443"
instance_id = "MQ_INST_1"
access_key_id = { env = "ALIBABA_ACCESS_KEY" }
access_key_secret = { env = "ALIBABA_SECRET_KEY" }
[[lane]]
name = "critical"
topic = "ward-critical"
tag = "SyncEvent"
priority = 1
weight = 1
min_share = "5%"
default = true
order = "none"
on_reject = "dead-letter"
ttl = "none"
quota = "none"
when_full = "reject"
[dead]
keep = "64 MiB"
keep_for = "30d"
when_full = "hold"
[drain]
adaptive = true
records_per_second = "auto"
bytes_per_second = "256 KiB"
reconnect_spread = "auto"
[backoff]
initial = "5s"
max = "2m"
"#;
    let config = Setup::new(sample)
        .variable("ALIBABA_ACCESS_KEY", "id")
        .variable("ALIBABA_SECRET_KEY", "secret")
        .good();
    let upstream = config.upstream.unwrap();
    assert_eq!(upstream.transport, Transport::Http);
    assert_eq!(upstream.endpoints, [Endpoint { host: "host".into(), port: 443, tls: true }]);
    assert_eq!(upstream.namespace.as_deref(), Some("MQ_INST_1"));
    let credentials = upstream.access.keys[0].clone();
    assert_eq!((credentials.id.as_str(), credentials.secret.reveal()), ("id", "secret"));
    assert_eq!(config.lanes[0].tag.as_ref().unwrap().as_str(), "SyncEvent");
}

#[test]
fn grpc_lists_endpoints_and_needs_no_key() {
    let text = "[upstream]\ntransport = \"grpc\"\nendpoint = [\"a:8081\", \"http://127.0.0.1:1\"]\n\
                namespace = \"ns\"\n";
    let upstream = Setup::new(&format!("{text}{SMALL}")).good().upstream.unwrap();
    let urls: Vec<String> = upstream.endpoints.iter().map(Endpoint::url).collect();
    assert_eq!(urls, ["https://a:8081", "http://127.0.0.1:1"]);
    assert_eq!((upstream.access, upstream.tls), (AccessKeys::default(), Tls::default()));
}

#[test]
fn a_numbers_bound_and_waits_are_read() {
    let text = "[drain]\nadaptive = false\nrecords_per_second = 50\nreconnect_spread = \"30s\"\n\
                [backoff]\ninitial = \"250ms\"\n";
    let config = Setup::new(&format!("{text}{SMALL}")).good();
    assert_eq!(config.drain.records_per_second, Some(50));
    assert_eq!(config.drain.reconnect_spread, Some(Duration::from_secs(30)));
    assert_eq!(config.backoff.initial, Duration::from_millis(250));
}

#[test]
fn ordered_lanes_hold_rather_than_dead_letter() {
    let lanes = "[[lane]]\nname='a'\ntopic='t'\norder='key'\ndefault=true\n\
                 [[lane]]\nname='b'\ntopic='t'\norder='lane'\non_reject='dead-letter'\n";
    let setup = Setup::new(lanes);
    let warnings = setup.warnings();
    let warned = |name: &str| warnings.iter().any(|w| w.contains(&format!("{name}.on_reject")));
    assert!(warned("lane.b") && !warned("lane.a"), "{warnings:?}");
    let lanes = setup.good().lanes;
    let found: Vec<_> = lanes.iter().map(|lane| (lane.order, lane.on_reject)).collect();
    assert_eq!(found, [(Order::Key, OnReject::Hold), (Order::Lane, OnReject::DeadLetter)]);
}

#[test]
fn fragments_and_environment_come_after_the_main_file() {
    let setup = Setup::new(&format!("[drain]\nbytes_per_second = \"1 KiB\"\n{SMALL}"))
        .file("conf.d/20.toml", "[drain]\nbytes_per_second = \"3 KiB\"\n")
        .file("conf.d/10.toml", "[drain]\nbytes_per_second = \"2 KiB\"\n")
        .file("conf.d/ignored.bak", "not TOML")
        .file("conf.d/30.toml", "[[lane]]\nname = \"main\"\ntag = \"T\"\n")
        .variable("SPILLWAY__DRAIN__RECORDS_PER_SECOND", "7")
        .variable("SPILLWAY__DRAIN__ADAPTIVE", "false")
        .variable("SPILLWAY__LANE__MAIN__TOPIC", "t2");
    let config = setup.good();
    assert_eq!(config.drain.bytes_per_second, 3 << 10);
    assert_eq!((config.drain.records_per_second, config.drain.adaptive), (Some(7), false));
    let lane = &config.lanes[0];
    assert_eq!((lane.topic.as_str(), lane.tag.as_ref().unwrap().as_str()), ("t2", "T"));
}

#[test]
fn secrets_come_from_files_and_credentials_and_never_show() {
    let text = format!(
        "{HTTP}access_key_secret = {{ credential = \"key\" }}\nsecurity_token = {{ file = \"FILE\" }}\n{SMALL}"
    );
    let setup = Setup::new("").file("credentials/key", "hidden-1\n").file("token", "hidden-2\n");
    let text = text.replace("FILE", setup.path("token").to_str().unwrap());
    let folder = setup.path("credentials");
    let setup = setup
        .file("spillway.toml", &text)
        .variable("CREDENTIALS_DIRECTORY", folder.to_str().unwrap());
    let config = setup.good();
    assert!(!format!("{config:?}").contains("hidden"));
    let credentials = config.upstream.unwrap().access.keys.remove(0);
    assert_eq!(credentials.secret.reveal(), "hidden-1");
    assert_eq!(credentials.security_token.unwrap().reveal(), "hidden-2");
}

#[test]
fn doubtful_things_only_warn() {
    let setup = Setup::new(SMALL);
    assert_eq!(
        setup.warnings(),
        ["spillway.toml: upstream: is missing: records are taken in and wait, nothing is sent"]
    );
    let literal = Setup::new(&format!("{HTTP}access_key_secret = \"hidden\"\n{SMALL}"));
    assert_eq!(
        literal.warnings(),
        [
            "spillway.toml:4: upstream.access_key_secret: stands in the file as it is; write { file = \
          \"/path\" }, { credential = \"name\" } or { env = \"VARIABLE\" }"
        ]
    );
    let setup = Setup::new("").file("key", "hidden");
    let path = setup.path("key");
    let text = format!("{HTTP}access_key_secret = {{ file = {path:?} }}\n{SMALL}");
    let setup = setup.file("spillway.toml", &text);
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(
        setup.warnings(),
        ["spillway.toml:4: upstream.access_key_secret: every user can read key; chmod o-r key"]
    );
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    assert_eq!(setup.warnings(), Vec::<String>::new());
}

#[test]
fn the_agents_own_lane_is_there_where_something_needs_it_behind_all_others() {
    let setup = Setup::new(&format!("[report]\ntopic = \"r\"\n{SMALL}"));
    let config = setup.good();
    let report = config.report.clone().unwrap();
    assert_eq!((report.topic.as_str(), report.every), ("r", Duration::from_secs(900)));
    let names: Vec<String> = config.all_lanes().map(|lane| lane.name.to_string()).collect();
    assert_eq!(names, ["main", "_agent"]);
    let own = config.own_lane().unwrap();
    assert!(own.priority > config.lanes[0].priority && !own.default);
    let presence = "[presence]\ntopic = \"p\"\nclient_group = \"GID_g\"\n";
    let config = Setup::new(&format!("{presence}{SMALL}")).good();
    assert_eq!(config.own_lane().unwrap().topic.as_str(), "p");
    assert_eq!(config.presence.unwrap().client_group, "GID_g");
    assert_eq!(Setup::new(SMALL).good().own_lane(), None);
}

#[test]
fn what_leaves_together_has_defaults_and_a_lane_of_one_order_is_pointed_to_it() {
    let lane = |lines: &str| Setup::new(&format!("[[lane]]\nname = \"a\"\ntopic = \"t\"\n{lines}"));
    let default = lane("bundle = {}").good().lanes.remove(0);
    let documented = "bundle = { records = 64, bytes = \"16 KiB\", linger = \"200ms\", \
                      compress = \"deflate\" }";
    assert_eq!(lane(documented).good().lanes[0], default);
    let bundle = default.bundle.unwrap();
    assert_eq!((bundle.records, bundle.bytes), (64, 16 << 10));
    let other = lane("bundle.linger = \"0s\"\nbundle.compress = \"none\"").good().lanes.remove(0);
    let other = other.bundle.unwrap();
    assert_eq!((other.linger, other.compress), (Duration::ZERO, Compress::None));
    let batch = lane("batch = { records = 512 }").good().lanes.remove(0).batch;
    assert_eq!(batch.unwrap().records, 512);
    let hint = "lane.a.order: drains one message a round trip";
    let warnings = |lines: &str| {
        let all = lane(lines).warnings();
        all.into_iter().filter(|warning| warning.contains(hint)).count()
    };
    assert_eq!(warnings("order = \"lane\""), 1);
    assert_eq!(warnings("order = \"lane\"\nbundle = {}"), 0);
    assert_eq!(warnings("order = \"key\""), 0);
}

#[test]
fn a_queue_that_depends_on_the_working_folder_is_found_and_pointed_out() {
    let setup = Setup::new(&format!("[gateway]\ndata_dir = \"data\"\n{SMALL}"));
    let here = std::env::current_dir().unwrap().join("data");
    assert_eq!(setup.good().gateway.data_dir, here);
    assert!(setup.warnings()[0].contains("write it from / on"));
}
