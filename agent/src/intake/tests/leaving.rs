//! Whoever has to make room reads what was answered, if he reads at all.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::io::DuplexStream;
use tokio::time::{Instant, sleep};

use super::super::http::{Patience, converse};
use super::super::seats::{Seat, Seats, User};
use super::super::wire::Wire;
use super::*;

const ANSWER: [u8; 1024] = [b'x'; 1024];
/// Less than one answer.
const BUFFER: usize = 256;

/// A client that has asked three times at once and read nothing, and the conversation with it.
async fn asked() -> (DuplexStream, Arc<Seat>, JoinHandle<bool>) {
    let (mut client, served) = tokio::io::duplex(BUFFER);
    let seat = Arc::new(Seats::new(4).take(User::Unknown).unwrap());
    let place = seat.clone();
    let patience =
        Patience { head_max: Duration::from_secs(30), idle_max: Duration::from_secs(300) };
    let talk = tokio::spawn(async move {
        let wire = Wire::plain(served, Duration::from_secs(60));
        let service = service_fn(|_: hyper::Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(&ANSWER))))
        });
        converse(wire, service, patience, &place, CancellationToken::new()).await
    });
    client.write_all(&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(3)).await.unwrap();
    sleep(Duration::from_secs(10)).await;
    (client, seat, talk)
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_before_the_place_was_lost_is_read() {
    let (mut client, seat, talk) = asked().await;
    seat.leave.cancel();
    sleep(Duration::from_millis(500)).await;
    let reply = Reply::read(&mut client).await;
    assert_eq!((reply.status, reply.body.len()), (200, ANSWER.len()));
    drop(client);
    talk.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_cut_off() {
    let (client, seat, talk) = asked().await;
    let from = Instant::now();
    seat.leave.cancel();
    assert!(!talk.await.unwrap());
    assert_eq!(from.elapsed().as_secs(), 1);
    drop(client);
}
