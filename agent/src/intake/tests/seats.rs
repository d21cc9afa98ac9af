use std::sync::atomic::Ordering::SeqCst;

use spillway_protocol::local::Code;
use spillway_protocol::local::frame::{self, ToClient};

use super::super::admission::CONNECTION_BYTES;
use super::*;

const RECORD: &[u8] = br#"{"body":"x"}"#;
const PLACES: usize = 16;

async fn rig() -> Rig {
    Rig::new(Options { connections_max: PLACES, ..Options::default() }).await
}

/// Waits until that is so.
async fn until(what: impl Fn() -> bool) {
    let so = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), so).await.unwrap();
}

/// So many connections of `uid` that say nothing, of which `served` find a place.
async fn silent(rig: &Rig, uid: u32, count: usize, served: usize) -> Vec<UnixStream> {
    rig.uid.store(uid, SeqCst);
    let (before, files) = (rig.intake.budget().used_bytes(), &rig.intake.options.files);
    let refused = files.refused() + (count - served) as u64;
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(rig.connect().await);
    }
    let held = before / CONNECTION_BYTES + served;
    let now_held = || rig.intake.budget().used_bytes() / CONNECTION_BYTES;
    until(|| now_held() == held && files.refused() == refused).await;
    streams
}

/// Connections of `uid` that have stored a record and rest.
async fn resting(rig: &Rig, uid: u32, count: usize) -> Vec<UnixStream> {
    rig.uid.store(uid, SeqCst);
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = rig.connect().await;
        assert_eq!(store(&mut stream).await, 201);
        streams.push(stream);
    }
    streams
}

/// The status that a record is answered with; 0 if the connection is closed.
async fn store(stream: &mut UnixStream) -> u16 {
    let _ = stream.write_all(&post(JSON, RECORD, "")).await;
    Reply::read(stream).await.status
}

async fn store_as(rig: &Rig, uid: u32) -> Reply {
    rig.uid.store(uid, SeqCst);
    rig.post(JSON, RECORD).await
}

#[tokio::test]
async fn one_user_who_opens_all_he_can_shuts_out_nobody_and_is_told() {
    let rig = rig().await;
    let kept = silent(&rig, 1000, PLACES / 2, PLACES / 2).await;
    let told = store_as(&rig, 1000).await;
    assert_eq!(told.refusal(), refusal(503, "overloaded", None));
    assert!(told.head.contains("retry-after: ") && told.body.contains("uid 1000"), "{told:?}");
    let flood = silent(&rig, 1000, 100, 0).await;
    for uid in [0, 1001, 1002] {
        assert_eq!(store_as(&rig, uid).await.status, 201, "{uid}");
    }
    assert!(!rig.intake.is_full());
    drop((kept, flood));
    rig.settle(0).await;
    assert_eq!(store_as(&rig, 1000).await.status, 201);
}

#[tokio::test]
async fn where_all_is_taken_the_longest_at_rest_of_who_has_most_makes_room() {
    let rig = rig().await;
    let mut most = resting(&rig, 1000, 8).await;
    let mut others = resting(&rig, 1001, 7).await;
    assert_eq!(store_as(&rig, 1002).await.status, 201);
    assert_eq!(store(&mut most[0]).await, 0);
    for stream in most[1..].iter_mut().chain(&mut others) {
        assert_eq!(store(stream).await, 201);
    }
}

#[tokio::test]
async fn frames_at_rest_make_room_and_are_told_why() {
    let rig = rig().await;
    let mut raw = binary::Raw::welcome(&rig).await;
    let others = resting(&rig, 1000, 7).await;
    let more = resting(&rig, 1001, 7).await;
    assert_eq!(store_as(&rig, 1002).await.status, 201);
    let Some(ToClient::Bye(why)) = raw.hear().await else { panic!("no goodbye") };
    assert_eq!(why.code, Code::Overloaded);
    assert_eq!(raw.hear().await, None);
    drop((others, more));
}

#[tokio::test]
async fn an_append_that_came_with_the_hello_is_work_under_way() {
    let rig = rig().await;
    rig.uid.store(1000, SeqCst);
    let mut first = binary::Raw::silent(&rig).await;
    let mut most = resting(&rig, 1000, 7).await;
    let others = resting(&rig, 1001, 7).await;
    rig.fake.set_disk(false);
    let stored = rig.fake.bodies().len();
    let hello = binary::Raw::greeting(frame::VERSION, frame::VERSION);
    first.stream.write_all(&[hello, binary::append(1, "x")].concat()).await.unwrap();
    until(|| rig.fake.bodies().len() > stored).await;
    rig.uid.store(1002, SeqCst);
    assert_eq!(rig.get("/v1/status").await.status, 200);
    assert_eq!(store(&mut most[0]).await, 0, "who rests makes room");
    rig.fake.set_disk(true);
    first.welcomed().await;
    for correlation in [1, 2] {
        let answer = first.hear().await;
        let Some(ToClient::Answer { result: Ok(_), .. }) = answer else { panic!("{answer:?}") };
        first.stream.write_all(&binary::append(correlation + 1, "y")).await.unwrap();
    }
    drop(others);
}

#[tokio::test]
async fn who_has_not_said_all_of_his_hello_makes_room_at_once() {
    let rig = rig().await;
    rig.uid.store(1000, SeqCst);
    let mut half = rig.connect().await;
    half.write_all(&frame::PREAMBLE[..1]).await.unwrap();
    let others = [resting(&rig, 1000, 7).await, resting(&rig, 1001, 7).await];
    assert_eq!(store_as(&rig, 1002).await.status, 201);
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(10), half.read_to_end(&mut rest)).await;
    assert_eq!(closed.unwrap().unwrap_or(0), 0);
    drop(others);
}

#[tokio::test]
async fn while_all_are_at_work_others_are_told_and_root_is_served() {
    let rig = rig().await;
    let request = post(JSON, RECORD, "");
    let mut busy = Vec::new();
    for (uid, count) in [(1000, 8), (1001, 7)] {
        for mut stream in silent(&rig, uid, count, count).await {
            stream.write_all(&request[..request.len() - 1]).await.unwrap();
            busy.push(stream);
        }
    }
    until(|| rig.intake.is_full()).await;
    assert_eq!(store_as(&rig, 1002).await.refusal(), refusal(503, "overloaded", None));
    assert_eq!(store_as(&rig, 0).await.status, 201);
    for stream in &mut busy {
        stream.write_all(&request[request.len() - 1..]).await.unwrap();
        assert_eq!(Reply::read(stream).await.status, 201);
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for_but_a_client_that_rests_is() {
    let head_max = Duration::from_millis(50);
    let rig = Rig::new(Options { head_max, ..Options::default() }).await;
    let mut rests = resting(&rig, 1000, 1).await;
    let mut silent = rig.connect().await;
    let mut half = rig.connect().await;
    half.write_all(b"POST /v1/records HTTP/1.1\r\nho").await.unwrap();
    let mut second = resting(&rig, 1000, 1).await;
    second[0].write_all(b"POST /v1/rec").await.unwrap();
    for stream in [&mut silent, &mut half, &mut second[0]] {
        assert_eq!(Reply::read(stream).await.status, 0);
    }
    assert_eq!(store(&mut rests[0]).await, 201);
}
