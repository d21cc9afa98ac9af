//! What is kept of a configuration, and what comes of it when it is needed.

use super::*;
use crate::config::{Kept, Transport, data_dir, read, salvage, transport};

const RICH: &str = r#"
[gateway]
data_dir = "/data/spillway"
[limits]
disk = "1 GiB"
[listen.admin]
token = { file = "TOKEN" }
[upstream]
endpoint = "https://mq.example:443"
access_key_id = "id"
access_key_secret = "in the file"
[drain]
records_per_second = 50
[[lane]]
name = "critical"
topic = "ward"
order = "key"
default = true
bundle = { records = 8 }
[[lane]]
name = "bulk"
topic = "bulk"
ttl = "7d"
[[route]]
when = { kind = "alarm" }
lane = "critical"
[report]
topic = "reports"
[audit]
"#;

fn rich() -> Setup {
    let setup = Setup::new("").file("token", "0123456789abcdef0123");
    let text = RICH.replace("TOKEN", &setup.path("token").display().to_string());
    setup.file("spillway.toml", &text)
}

fn kept(setup: &Setup) -> (Config, Kept) {
    let loaded = read(&setup.path("spillway.toml"), &setup.surroundings()).unwrap();
    let json = serde_json::to_string(&loaded.kept).unwrap();
    assert!(!json.contains("in the file") && !json.contains("0123456789abcdef0123"), "{json}");
    (loaded.config, serde_json::from_str(&json).unwrap())
}

fn revived(setup: &Setup, kept: &Kept) -> (Config, Vec<String>) {
    let revived = kept.revive(&setup.path("spillway.toml"), &setup.surroundings()).unwrap();
    (revived.config, revived.faults.iter().map(|fault| fault.key.clone()).collect())
}

#[test]
fn all_but_secrets_comes_back_and_where_they_come_from_does() {
    let setup = rich().variable("SPILLWAY__DRAIN__RECORDS_PER_SECOND", "70");
    let (config, kept) = kept(&setup);
    // The environment of the start is gone by then.
    let setup = Setup { variables: BTreeMap::new(), ..setup };
    let (found, faults) = revived(&setup, &kept);
    assert_eq!(faults, ["upstream.access_key_secret"]);
    assert_eq!(found, Config { upstream: None, ..config.clone() });
    assert_eq!(found.drain.records_per_second, Some(70));
    // The secret of the admin address is where it was; when that is gone, so is the address.
    std::fs::remove_file(setup.path("token")).unwrap();
    let (found, faults) = revived(&setup, &kept);
    assert_eq!(faults, ["upstream.access_key_secret", "listen.admin.token"]);
    assert_eq!(found.listen.admin, None);
    assert_eq!(found.lanes, config.lanes);
}

#[test]
fn a_program_that_brings_the_key_comes_back_unless_its_words_speak_of_a_secret() {
    let with = |words: &str| {
        let key = "access_key_id = \"id\"\naccess_key_secret = \"in the file\"\n";
        let command = format!("credential_command = [\"/bin/sh\", {words}]\n");
        let setup = rich();
        let text = std::fs::read_to_string(setup.path("spillway.toml")).unwrap();
        let setup = setup.file("spillway.toml", &text.replace(key, &command));
        let (config, kept) = kept(&setup);
        let json = serde_json::to_string(&kept).unwrap();
        (config, revived(&setup, &kept), json)
    };
    let (config, (found, faults), _) = with("\"--role\", \"gateway\"");
    assert_eq!((found, faults), (config, vec![]));
    let (_, (found, faults), json) = with("\"--token\", \"plainlowercase\"");
    assert!(!json.contains("plainlowercase"), "{json}");
    assert_eq!((found.upstream, faults), (None, vec!["upstream.credential_command".to_owned()]));
}

#[test]
fn a_secret_of_the_environment_is_kept_as_a_reference() {
    let setup = rich().variable("SPILLWAY__UPSTREAM__ACCESS_KEY_SECRET", "of the variable");
    let (config, kept) = kept(&setup);
    let json = serde_json::to_string(&kept).unwrap();
    assert!(!json.contains("of the variable"), "{json}");
    let (found, faults) = revived(&setup, &kept);
    assert_eq!((found, faults), (config, vec![]));
}

#[test]
fn lanes_that_are_gone_are_known_by_what_they_were() {
    let setup = rich();
    let (old, before) = kept(&setup);
    let mut after = kept(&Setup::new(SMALL)).1;
    after.retire(&[&before], old.all_lanes().collect::<Vec<_>>().iter());
    let (found, _) = revived(&setup, &after);
    assert_eq!(found.lanes.len(), 1);
    let names: Vec<&str> = found.retired.iter().map(|lane| lane.name.as_str()).collect();
    assert_eq!(names, ["critical", "bulk", "_agent", "_resend"]);
    assert_eq!(found.retired[1], crate::config::Lane { default: false, ..old.lanes[1].clone() });
    assert!(!found.retired[0].default);
}

#[test]
fn configurations_are_told_apart_whatever_lanes_came_before() {
    let (old, before) = kept(&rich());
    let (_, small) = kept(&Setup::new(SMALL));
    assert_ne!(before.fingerprint(), small.fingerprint());
    let mut after = small.clone();
    after.retire(&[&before], old.lanes.iter());
    assert_ne!(after, small);
    assert_eq!(after.fingerprint(), small.fingerprint());
}

#[test]
fn of_a_bad_file_lanes_are_used_if_they_can_be_and_else_there_is_one() {
    let lanes = |setup: &Setup| -> Vec<String> {
        let found = salvage(&setup.path("spillway.toml"), &setup.surroundings()).unwrap();
        assert_eq!(found.config.upstream, None);
        found.config.lanes.iter().map(|lane| lane.name.to_string()).collect()
    };
    let unknown = RICH.replace("[drain]", "[drian]").replace("TOKEN", "/nowhere");
    assert_eq!(lanes(&Setup::new(&unknown)), ["critical", "bulk"]);
    let broken = unknown.replace("default = true", "default = = true");
    assert_eq!(lanes(&Setup::new(&broken)), ["default"]);
    assert_eq!(lanes(&Setup::new("not TOML at all")), ["default"]);
    let setup = Setup::new("");
    std::fs::remove_file(setup.path("spillway.toml")).unwrap();
    std::fs::remove_file(setup.path("machine-id")).unwrap();
    assert_eq!(lanes(&setup), ["default"]);
}

#[test]
fn a_client_whose_presence_is_told_does_not_cost_the_lanes_of_a_bad_file() {
    let more = "[presence]\ntopic = \"p\"\nclient_group = \"GID_g\"\n\
                [[client]]\nname = \"his\"\nuid = 7\npresence = true\n[drian]\n";
    let setup = Setup::new(&[SMALL, more].concat());
    let found = salvage(&setup.path("spillway.toml"), &setup.surroundings()).unwrap();
    let (small, _) = kept(&Setup::new(SMALL));
    assert_eq!(found.config.lanes, small.lanes);
    assert_eq!(found.config.clients.len(), 1);
    assert!(!found.config.clients[0].presence);
}

#[test]
fn the_data_folder_is_found_in_what_can_be_read() {
    let found = |text: &str| {
        let setup = Setup::new(text);
        data_dir(&setup.path("spillway.toml"), &setup.surroundings()).display().to_string()
    };
    assert_eq!(found("[gateway]\ndata_dir = \"/a\"\nid = = 1\n"), "/a");
    assert_eq!(found("[gateway\ndata_dir = \"/a\"\n# data_dir = \"/c\"\n data_dir='/b' \n"), "/b");
    assert_eq!(found("[[[\ngateway.data_dir = \"/a\"\ndata_dir = "), "/a");
    assert_eq!(found("nothing"), "/var/lib/spillway");
}

#[test]
fn where_records_are_sealed_nothing_is_used_without_the_key() {
    let key: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
    let setup = Setup::new("").file("key", &key);
    let path = setup.path("key");
    let text = format!("gateway.encryption_key = {{ file = {path:?} }}\n{SMALL}");
    let setup = setup.file("spillway.toml", &text);
    let (config, kept) = kept(&setup);
    let (found, _) = revived(&setup, &kept);
    assert_eq!(found.gateway.encryption_key, config.gateway.encryption_key);
    std::fs::remove_file(path).unwrap();
    let file = setup.path("spillway.toml");
    assert_eq!(kept.lanes(&file, &setup.surroundings()), config.lanes);
    assert!(kept.seals() && kept.revive(&file, &setup.surroundings()).is_none());
    assert!(salvage(&file, &setup.surroundings()).is_none());
}

#[test]
fn a_client_whose_token_is_gone_is_nobody_and_strangers_stay_out() {
    for (token, faults) in [
        ("{ file = \"TOKEN\" }", &["client.his.token", "client"][..]),
        ("\"0123456789abcdef0123\"", &["client.his.token"]),
    ] {
        let setup = Setup::new("").file("token", "0123456789abcdef0123");
        let text = format!(
            "[gateway]\nid = \"gw\"\n[listen.http]\naddress = \"127.0.0.1:9466\"\n\
             [[lane]]\nname = \"main\"\ntopic = \"t\"\n\
             [[client]]\nname = \"his\"\ntoken = {token}\n\
             [[client]]\nname = \"lis\"\nuid = 7\n"
        );
        let text = text.replace("TOKEN", &setup.path("token").display().to_string());
        let setup = setup.file("spillway.toml", &text);
        let (config, kept) = kept(&setup);
        std::fs::remove_file(setup.path("token")).unwrap();
        let (found, said) = revived(&setup, &kept);
        assert!(
            said.iter().all(|key| faults.contains(&&**key) || key.starts_with("listen.http")),
            "{said:?}"
        );
        assert_eq!(found.lanes, config.lanes);
        let uids: Vec<_> = found.clients.iter().map(|client| (client.uid, &client.token)).collect();
        assert_eq!(uids, [(Some(u32::MAX), &None), (Some(7), &None)]);
    }
}

#[test]
fn what_records_are_taken_in_for_outlives_the_rest_of_the_upstream() {
    let setup = Setup::new(&format!(
        "[upstream]\ntransport = \"grpc\"\nendpoint = \"a:1\"\naccess_key_id = \"i\"\n\
         access_key_secret = \"in the file\"\n{SMALL}"
    ));
    let (config, kept) = kept(&setup);
    assert_eq!(config.transport, Transport::Grpc);
    let (found, faults) = revived(&setup, &kept);
    assert_eq!((found.upstream, found.transport), (None, Transport::Grpc), "{faults:?}");
    let broken = setup.file("spillway.toml", &format!("[upstream]\ntransport = \"grpc\"\n{SMALL}"));
    let said = transport(&broken.path("spillway.toml"), &broken.surroundings());
    assert_eq!(said, Transport::Grpc);
    assert_eq!(Setup::new(SMALL).good().transport, Transport::Http);
}
