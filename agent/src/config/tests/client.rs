//! `[[client]]`.

use super::super::Client;
use super::{SMALL, Setup};

const TWO_LANES: &str = "[[lane]]\nname = \"main\"\ntopic = \"t\"\ndefault = true\n\
                         [[lane]]\nname = \"critical\"\ntopic = \"c\"\n";
const PRESENCE: &str = "[presence]\ntopic = \"s\"\nclient_group = \"GID_g\"\n";

#[track_caller]
fn faults(text: &str) -> Vec<String> {
    Setup::new(text).faults_by_line()
}

fn plain(name: &str, uid: u32) -> Client {
    Client {
        name: name.to_owned(),
        uid: Some(uid),
        gid: None,
        token: None,
        lanes: None,
        presence: false,
        records_per_second: None,
    }
}

#[test]
fn a_client_has_all_lanes_and_no_bound_unless_it_says_so() {
    let text = format!(
        "{TWO_LANES}{PRESENCE}[[client]]\nname = \"his\"\nuid = 991\n\
         [[client]]\nname = \"lab\"\nuid = 0\ngid = 7\nlanes = [\"critical\"]\npresence = true\n\
         records_per_second = 5\n"
    );
    let config = Setup::new(&text).good();
    let lab = &config.clients[1];
    assert_eq!(config.clients[0], plain("his", 991));
    assert_eq!(lab.lanes.as_deref(), Some(&[config.lanes[1].name.clone()][..]));
    let rate = lab.records_per_second.map(u32::from);
    assert_eq!((lab.uid, lab.gid, lab.presence, rate), (Some(0), Some(7), true, Some(5)));
    assert_eq!(config.presence.unwrap().linger.as_secs(), 30);
    assert_eq!(Setup::new(SMALL).good().clients, []);
}

#[test]
fn every_fault_is_told_at_once_with_its_line_and_key() {
    let text = format!(
        "{TWO_LANES}[[client]]\nname = \"a b\"\n[[client]]\nname = \"his\"\nuid = \"his\"\n\
         lanes = [\"nope\"]\npresence = true\nrecords_per_second = 0\nlane = 1\n\
         [[client]]\nname = \"x\"\nuid = 5\nlanes = []\n[[client]]\nname = \"y\"\nuid = 5\n\
         lanes = [\"main\", \"main\"]\n"
    );
    assert_eq!(
        faults(&text),
        [
            "8: client.a b.uid: is missing; write for example uid = 991 (id -u USER says it), or a \
             token for [listen.http]",
            "9: client.a b.name: holds ' '; letters, digits, _ and - are taken; \
             write for example \"his\"",
            "12: client.his.uid: is a text, not a whole number; write for example 991",
            "13: client.his.lanes: holds \"nope\", which is not among the lanes: main, critical; \
             write for example [\"critical\"]",
            "14: client.his.presence: is true, but there is no [presence] to tell it; \
             write [presence] with topic and client_group, or leave it out",
            "15: client.his.records_per_second: is not a number from 1 to 4294967295; \
             write for example 100",
            "16: client.his.lane: is not known; did you mean \"lanes\"?",
            "20: client.x.lanes: is an empty list; left out, it is all lanes; \
             write for example [\"critical\"]",
            "21: client.y.uid: is that of client x (17) too; \
             make them one, or tell them apart by gid",
            "24: client.y.lanes: holds \"main\" twice; write for example [\"critical\"]",
        ]
    );
}

#[test]
fn what_is_no_list_of_clients_refuses_nobody_and_is_a_fault() {
    let remedy = "write [[client]] with name = \"his\" and uid = 991";
    let empty = format!("client = []\n{SMALL}");
    assert_eq!(
        faults(&empty),
        [format!("1: client: is an empty list, which refuses nobody; {remedy}")]
    );
    let section = format!("[client]\nname = \"his\"\nuid = 1\n{SMALL}");
    assert_eq!(
        faults(&section),
        [format!("1: client: is a section, not a list of clients; {remedy}")]
    );
    let numbers = format!("client = [1]\n{SMALL}");
    assert_eq!(faults(&numbers), [format!("1: client[0]: is a number, not a client; {remedy}")]);
}

#[test]
fn one_user_is_two_clients_by_their_groups() {
    let client = |name, more| format!("[[client]]\nname = \"{name}\"\nuid = 5\n{more}\n");
    let text =
        SMALL.to_owned() + &client("a", "gid = 1") + &client("b", "gid = 2") + &client("c", "");
    assert_eq!(Setup::new(&text).good().clients.len(), 3);
}

#[test]
fn later_files_and_the_environment_change_clients_by_name() {
    let main = format!("{SMALL}[[client]]\nname = \"his-app\"\nuid = 991\nlanes = [\"main\"]\n");
    let more = "[[client]]\nname = \"his-app\"\nuid = 992\n[[client]]\nname = \"lab\"\nuid = 5\n";
    let setup = Setup::new(&main)
        .file("conf.d/more.toml", more)
        .variable("SPILLWAY__CLIENT__HIS_APP__RECORDS_PER_SECOND", "7");
    let clients = setup.good().clients;
    assert_eq!((clients[0].uid, clients[0].lanes.as_ref().map(Vec::len)), (Some(992), Some(1)));
    assert_eq!(clients[0].records_per_second.map(u32::from), Some(7));
    assert_eq!(clients[1], plain("lab", 5));
    let twice = "[[client]]\nname = \"lab\"\nuid = 5\n".repeat(2);
    let setup = Setup::new(&main).file("conf.d/more.toml", &twice);
    assert!(
        setup.faults()[0].contains("client.lab: is the name of two clients"),
        "{setup:?}",
        setup = setup.faults()
    );
    let stray = Setup::new(&main).variable("SPILLWAY__CLIENT__LAB__UID", "1");
    assert!(stray.faults()[0].contains("names no client of the files"), "{:?}", stray.faults());
}
