//! Who may use the socket: users are made up, connections are real.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use spillway_protocol::local::Code;
use spillway_protocol::local::client::{AppendError as ClientError, Client, ConnectError};
use spillway_protocol::local::frame::{HelloReply, VERSION};
use spillway_protocol::record::LaneName;
use tokio::sync::watch;

use super::binary::{Raw, append, draft};
use super::*;
use crate::attendance::{Attendance, Register};
use crate::config::{self, Route};

const HIS: u32 = 991;
const LAB: u32 = 992;
const BUSY: u32 = 993;

fn client(name: &str, uid: u32, lanes: &[&str]) -> config::Client {
    let lane = |lane: &&str| LaneName::parse(*lane).unwrap();
    config::Client {
        name: name.to_owned(),
        uid: Some(uid),
        gid: None,
        token: None,
        lanes: (!lanes.is_empty()).then(|| lanes.iter().map(lane).collect()),
        presence: false,
        records_per_second: None,
    }
}

/// `his` may use two lanes without the default, `lab` all, `busy` one record in a second, and a
/// second client of `lab`'s user the default lane.
async fn rig() -> Rig {
    let busy =
        config::Client { records_per_second: NonZeroU32::new(1), ..client("busy", BUSY, &[]) };
    let second = config::Client { gid: Some(GID), ..client("second", LAB + 10, &["main"]) };
    let other = config::Client { gid: Some(GID + 1), ..client("other", LAB + 10, &["keyed"]) };
    let alarm = Route {
        when: vec![("kind".to_owned(), Some("alarm".to_owned()))],
        lane: LaneName::parse("main").ok(),
        topic: None,
        tag: None,
        order_key: None,
    };
    let his = client("his", HIS, &["keyed", "laned"]);
    let clients = vec![his, client("lab", LAB, &[]), busy, second, other];
    let options = Options {
        rules: Rules { clients, routes: vec![alarm], ..Rules::default() },
        register: Some(Register::default()),
        ..Options::default()
    };
    Rig::new(options).await
}

impl Rig {
    fn become_user(&self, uid: u32) {
        self.uid.store(uid, SeqCst);
    }

    fn attendance(&self) -> watch::Receiver<BTreeMap<String, Attendance>> {
        self.intake.options.register.as_ref().unwrap().watch()
    }
}

fn message(reply: &Reply) -> String {
    reply.json()["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_stranger_is_refused_in_each_dialect_and_told_what_to_add() {
    let rig = rig().await;
    for request in [post(JSON, b"{\"body\":\"x\"}", ""), b"GET /v1/status HTTP/1.1\r\n\r\n".into()]
    {
        let reply = rig.ask(&request).await;
        assert_eq!(reply.refusal(), refusal(403, "not_allowed", None));
        assert!(reply.head.contains("connection: close"), "{reply:?}");
        let told = message(&reply);
        assert!(told.contains("uid 1000 (gid 70) is none of this agent's clients"), "{told}");
        assert!(told.contains("add [[client]] with name = \"...\" and uid = 1000"), "{told}");
    }
    let (mut raw, reply) = Raw::hello(&rig, VERSION, VERSION).await;
    assert!(matches!(reply, HelloReply::Refused(told) if told.code == Code::NotAllowed));
    assert!(raw.hear().await.is_none(), "the connection is closed");
    let Err(ConnectError::Refused { refusal, .. }) = Client::connect(&rig.path).await else {
        panic!("not refused");
    };
    assert!(refusal.message.contains("uid = 1000"), "{refusal}");
    assert_eq!(rig.fake.bodies(), [""; 0]);
}

#[tokio::test]
async fn strangers_take_no_place_of_clients() {
    let options = Options {
        rules: Rules { clients: vec![client("his", HIS, &[])], ..Rules::default() },
        connections_max: 2,
        ..Options::default()
    };
    let rig = Rig::new(options).await;
    // Not even one that is still being told.
    let mut waiting = rig.connect().await;
    rig.get("/v1/status").await;
    rig.become_user(HIS);
    assert_eq!(rig.post(PLAIN, b"x").await.status, 201);
    waiting.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(Reply::read(&mut waiting).await.status, 403);
}

#[tokio::test]
async fn a_lane_of_others_is_403_whatever_named_it_and_in_every_form() {
    let rig = rig().await;
    rig.become_user(HIS);
    let routed = r#"{"body":"x","properties":{"kind":"alarm"}}"#;
    for json in [r#"{"body":"x","lane":"main"}"#, routed] {
        let reply = rig.post(JSON, json.as_bytes()).await;
        assert_eq!(reply.refusal(), refusal(403, "not_allowed", Some("lane")));
        assert_eq!(message(&reply), "main is not yours (client his); yours are: keyed, laned");
    }
    let reply = rig.ask(&post(PLAIN, b"x", "spillway-lane: main\r\n")).await;
    assert_eq!(reply.refusal(), refusal(403, "not_allowed", Some("lane")));
    // None is named, and the default lane is not its own.
    let reply = rig.post(PLAIN, b"x").await;
    assert_eq!(reply.refusal(), refusal(403, "not_allowed", Some("lane")));
    let told = message(&reply);
    assert!(
        told.contains("the default lane main is not yours")
            && told.contains("name one of yours: keyed, laned"),
        "{told}"
    );
    let reply = rig.post(JSON, br#"{"body":"x","lane":"nope"}"#).await;
    assert_eq!(reply.refusal(), refusal(400, "unknown_lane", Some("lane")));
    assert!(message(&reply).ends_with("the lanes are: keyed, laned"), "{reply:?}");
    assert_eq!(rig.fake.bodies(), [""; 0]);
    // Its own, and all of one that has all.
    assert_eq!(rig.post(JSON, br#"{"body":"1","lane":"laned"}"#).await.status, 201);
    rig.become_user(LAB);
    assert_eq!(rig.post(PLAIN, b"2").await.status, 201);
}

#[tokio::test]
async fn in_ndjson_only_that_record_and_its_order_are_refused() {
    let rig = rig().await;
    rig.become_user(HIS);
    let text = r#"{"body":"1","lane":"keyed","order_key":"k"}
        {"body":"2","lane":"main","order_key":"k"}
        {"body":"3","lane":"keyed","order_key":"k"}
        {"body":"4","lane":"keyed","order_key":"other"}
        {"body":"5","lane":"laned"}
        {"body":"6"}"#;
    let reply = rig.post(LINES, text.as_bytes()).await;
    let codes: Vec<_> = reply.lines().iter().map(|line| line["error"]["code"].clone()).collect();
    let none = serde_json::Value::Null;
    let refused = |code: &str| serde_json::Value::from(code);
    assert_eq!(
        codes,
        [
            none.clone(),
            refused("not_allowed"),
            refused("not_attempted"),
            none.clone(),
            none,
            refused("not_allowed"),
        ]
    );
    assert_eq!(rig.fake.bodies(), ["1", "4", "5"]);
}

#[tokio::test]
async fn in_frames_only_that_record_is_refused() {
    let rig = rig().await;
    rig.become_user(HIS);
    let client = Client::connect(&rig.path).await.unwrap();
    for lane in [Some("main"), None] {
        let Err(ClientError::Refused(told)) = client.append(draft(None, "x"), lane).await else {
            panic!("not refused");
        };
        assert_eq!((told.code, told.field.as_deref()), (Code::NotAllowed, Some("lane")));
    }
    assert_eq!(client.append(draft(None, "y"), Some("keyed")).await.unwrap().seq, 1);
}

#[tokio::test]
async fn records_are_found_only_in_ones_own_lanes() {
    let rig = rig().await;
    rig.become_user(LAB);
    rig.post(JSON, br#"{"body":"x","id":"a","lane":"main"}"#).await;
    rig.post(JSON, br#"{"body":"y","id":"b","lane":"keyed"}"#).await;
    rig.become_user(HIS);
    assert_eq!(rig.get("/v1/records/b").await.json()["lane"], "keyed");
    assert_eq!(rig.get("/v1/records/never").await.json()["state"], "unknown");
    assert_eq!(rig.get("/v1/records?lane=keyed&seq=1").await.status, 200);
    for path in ["/v1/records/a", "/v1/records?lane=main&seq=1"] {
        assert_eq!(rig.get(path).await.refusal(), refusal(403, "not_allowed", Some("lane")));
    }
    assert_eq!(rig.get("/v1/status").await.status, 200);
}

#[tokio::test]
async fn a_record_of_another_client_does_not_pass_for_ones_own() {
    let rig = rig().await;
    rig.become_user(LAB);
    assert_eq!(rig.post(JSON, br#"{"body":"x","id":"1"}"#).await.status, 201);
    rig.become_user(HIS);
    let own = r#"{"body":"x","id":"1","lane":"keyed","order_key":"k"}"#;
    let reply = rig.post(JSON, own.as_bytes()).await;
    assert_eq!(reply.refusal(), refusal(422, "id_reused", Some("id")));
    let lines = format!("{own}\n{}", own.replace("\"1\"", "\"2\""));
    let lines = rig.post(LINES, lines.as_bytes()).await.lines();
    let codes = lines.iter().map(|line| line["error"]["code"].as_str().unwrap());
    assert_eq!(codes.collect::<Vec<_>>(), ["id_reused", "not_attempted"]);
    let client = Client::connect(&rig.path).await.unwrap();
    let Err(ClientError::Refused(told)) = client.append(draft(Some("1"), "x"), Some("keyed")).await
    else {
        panic!("not refused");
    };
    assert_eq!(told.code, Code::IdReused);
    // Who may use that lane gets the first one's number, as ever.
    rig.become_user(BUSY);
    assert_eq!(rig.post(JSON, br#"{"body":"x","id":"1","lane":"keyed"}"#).await.status, 200);
}

#[tokio::test]
async fn root_and_the_agents_own_user_may_look_and_not_store() {
    let rig = rig().await;
    let own = rig.connect().await.peer_cred().unwrap().uid();
    for uid in [0, own] {
        rig.become_user(uid);
        assert_eq!(rig.get("/v1/status").await.status, 200);
        assert_eq!(rig.get("/v1/records?lane=main&seq=1").await.status, 200);
        for form in [JSON, PLAIN] {
            let reply = rig.post(form, b"{\"body\":\"x\"}").await;
            assert_eq!(reply.refusal(), refusal(403, "not_allowed", None));
            assert!(message(&reply).contains(&format!("uid = {uid}")), "{reply:?}");
        }
        let mut raw = Raw::welcome(&rig).await;
        raw.stream.write_all(&append(1, "x")).await.unwrap();
        assert!(format!("{:?}", raw.hear().await).contains("NotAllowed"));
    }
    assert_eq!(rig.fake.bodies(), [""; 0]);
}

#[tokio::test]
async fn the_group_tells_two_clients_of_one_user_apart() {
    let rig = rig().await;
    rig.become_user(LAB + 10);
    assert_eq!(rig.post(PLAIN, b"x").await.status, 201);
    let reply = rig.post(JSON, br#"{"body":"x","lane":"keyed"}"#).await;
    assert!(message(&reply).contains("(client second)"), "{reply:?}");
}

#[tokio::test]
async fn beyond_its_rate_a_client_gets_429_on_all_its_connections_and_others_do_not() {
    let rig = rig().await;
    rig.become_user(BUSY);
    // The next record is due a second after this one.
    let spend = async || while rig.post(PLAIN, b"spent").await.status == 429 {};
    // Refused for their own sake: they cost nothing.
    assert_eq!(rig.post(JSON, b"{}").await.status, 400);
    assert_eq!(rig.post(PLAIN, b"1").await.status, 201);
    spend().await;
    let reply = rig.post(PLAIN, b"2").await;
    assert_eq!(reply.refusal(), refusal(429, "over_rate", None));
    assert!(reply.head.contains("\r\nretry-after: 1\r\n"), "{reply:?}");
    let client = Client::connect(&rig.path).await.unwrap();
    spend().await;
    let refused = client.append(draft(None, "3"), None).await;
    assert!(
        matches!(&refused, Err(ClientError::Refused(told)) if told.code == Code::OverRate),
        "{refused:?}"
    );
    let text = "{\"body\":\"4\",\"order_key\":\"k\"}\n{\"body\":\"5\",\"order_key\":\"k\"}\n";
    spend().await;
    let codes = rig.post(LINES, text.as_bytes()).await.lines();
    let codes = codes.iter().map(|line| line["error"]["code"].as_str().unwrap());
    assert_eq!(codes.collect::<Vec<_>>(), ["over_rate", "not_attempted"]);
    rig.become_user(LAB);
    assert_eq!(rig.post(PLAIN, b"6").await.status, 201);
    // What was refused is stored when it comes again.
    rig.become_user(BUSY);
    while rig.post(PLAIN, b"2").await.status == 429 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stored = rig.fake.bodies();
    let own: Vec<_> = stored.iter().filter(|body| *body != "spent").collect();
    assert_eq!(own, ["1", "6", "2"]);
}

#[tokio::test]
async fn it_is_noted_who_is_connected_and_how_the_last_connection_ended() {
    let rig = rig().await;
    let mut attendance = rig.attendance();
    let mut until = async |open: u64, visits: u64, orderly: bool| {
        let wanted = Attendance { open, visits, orderly };
        let found =
            attendance.wait_for(|all| all.get("his").copied().unwrap_or_default() == wanted);
        let found = tokio::time::timeout(Duration::from_secs(10), found).await;
        assert!(found.is_ok(), "in vain until {wanted:?}");
    };
    rig.become_user(LAB);
    rig.post(PLAIN, b"x").await;
    rig.become_user(HIS);
    let mut first = rig.connect().await;
    first.write_all(&post(JSON, br#"{"body":"x","lane":"keyed"}"#, "")).await.unwrap();
    assert_eq!(Reply::read(&mut first).await.status, 201);
    until(1, 1, false).await;
    let mut second = Raw::welcome(&rig).await;
    until(2, 2, false).await;
    drop(first);
    until(1, 2, true).await;
    // In the midst of a frame.
    second.stream.write_all(&append(1, "x")[..6]).await.unwrap();
    drop(second);
    until(0, 2, false).await;
    let third = Raw::welcome(&rig).await;
    until(1, 3, false).await;
    drop(third);
    until(0, 3, true).await;
    // In the midst of a request.
    let mut fourth = rig.connect().await;
    let head = format!(
        "POST /v1/records HTTP/1.1\r\nhost: x\r\ncontent-type: {LINES}\r\n\
                        transfer-encoding: chunked\r\n\r\n1\r\n"
    );
    fourth.write_all(head.as_bytes()).await.unwrap();
    until(1, 4, true).await;
    drop(fourth);
    until(0, 4, false).await;
    // The agent closes it.
    let _fifth = Raw::welcome(&rig).await;
    until(1, 5, false).await;
    rig.stop.cancel();
    until(0, 5, false).await;
}
