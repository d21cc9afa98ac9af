//! `[listen.mq_http]`.

use super::super::Secret;
use super::{SMALL, Setup};

const KEYS: &str = "access_keys = [{ id = \"app\", secret = { env = \"KEY\" } }]\n";

fn setup(front: &str) -> Setup {
    Setup::new(&format!("[listen.mq_http]\n{front}\n{SMALL}")).variable("KEY", "hidden")
}

#[track_caller]
fn faults(front: &str) -> Vec<String> {
    setup(front).faults_by_line()
}

#[test]
fn address_and_keys_are_read_and_secrets_come_from_where_they_are() {
    let two = "address = \"[::1]:8088\"\n\
               [[listen.mq_http.access_keys]]\nid = \"app\"\nsecret = { file = \"SECRET\" }\n\
               [[listen.mq_http.access_keys]]\nid = \"his\"\nsecret = { env = \"KEY\" }\n";
    let folder = setup("").file("secret", "from file\n");
    let two = two.replace("SECRET", &folder.path("secret").display().to_string());
    let front = setup(&two).good().listen.mq_http.unwrap();
    assert_eq!(front.address.to_string(), "[::1]:8088");
    let keys = [("app", "from file"), ("his", "hidden")];
    assert_eq!(front.access_keys, keys.map(|(id, s)| (id.to_owned(), Secret::new(s))));
    assert!(!format!("{front:?}").contains("hidden"));
    let moved = setup(&format!("address = \"127.0.0.1:1\"\n{KEYS}"))
        .variable("SPILLWAY__LISTEN__MQ_HTTP__ADDRESS", "127.0.0.1:9");
    assert_eq!(moved.good().listen.mq_http.unwrap().address.port(), 9);
}

#[test]
fn an_address_that_others_reach_is_refused_with_the_reason() {
    for address in ["0.0.0.0:8088", "192.168.1.5:8088", "[::]:8088"] {
        assert_eq!(
            faults(&format!("address = \"{address}\"\n{KEYS}")),
            ["2: listen.mq_http.address: can be reached from other machines, but there is no TLS \
              here: records and signed requests would cross the network in the clear; \
              write for example \"127.0.0.1:8088\""]
        );
    }
    for (address, problem) in [
        ("localhost:8088", "is not an IP address and a port"),
        ("127.0.0.1", "is not an IP address and a port"),
        ("127.0.0.1:0", "has the port 0, which no app could find"),
    ] {
        let expected =
            format!("2: listen.mq_http.address: {problem}; write for example \"127.0.0.1:8088\"");
        assert_eq!(faults(&format!("address = \"{address}\"\n{KEYS}")), [expected]);
    }
}

#[test]
fn keys_are_there_whole_and_once_each() {
    let example = "[{ id = \"local-app\", secret = { file = \"/path\" } }]";
    let key = "listen.mq_http.access_keys";
    for (keys, fault) in [
        ("", format!("1: {key}: is missing; write for example access_keys = {example}")),
        ("access_keys = []", format!("3: {key}: is an empty list; write for example {example}")),
        (
            "access_keys = 5",
            format!("3: {key}: is a number, not a list; write for example {example}"),
        ),
        (
            "access_keys = [5]",
            format!(
                "3: {key}[0]: is a number, not a section in braces; write for example {example}"
            ),
        ),
        (
            "access_keys = [{ id = \"a\" }]",
            format!("3: {key}[0].secret: is missing; write for example {example}"),
        ),
        (
            "access_keys = [{ id = \"a:b\", secret = { env = \"KEY\" } }]",
            format!(
                "3: {key}[0].id: holds ':', which no Authorization header carries; \
                 use letters, digits and punctuation other than a colon"
            ),
        ),
        (
            "access_keys = [{ id = \"a\", secret = { env = \"KEY\" } }, \
             { id = \"a\", secret = { env = \"KEY\" } }]",
            format!("3: {key}: lists \"a\" twice; give each app an id of its own"),
        ),
    ] {
        assert_eq!(faults(&format!("address = \"127.0.0.1:8088\"\n{keys}")), [fault]);
    }
    let unknown = faults(&format!("address = \"127.0.0.1:8088\"\n{KEYS}adress = 1"));
    assert_eq!(unknown, ["4: listen.mq_http.adress: is not known; did you mean \"address\"?"]);
}
