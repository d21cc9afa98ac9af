//! A bare loop around the generated gRPC client: so many requests under way on one connection,
//! with the agent's own message, and nothing stored or counted. What the transport can do at most.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::Uri;
use spillway_protocol::dial::wire::Wire;
use spillway_protocol::message::Message;
use spillway_protocol::record::{RecordId, Topic};
use spillway_protocol::rocketmq::grpc::code::OK;
use spillway_protocol::rocketmq::grpc::request;
use spillway_protocol::rocketmq::grpc::signing::Caller;
use spillway_protocol::rocketmq::grpc::v2;
use spillway_protocol::rocketmq::grpc::v2::messaging_service_client::MessagingServiceClient;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::metadata::{Ascii, MetadataValue};

use crate::Error;
use crate::figure::Turn;
use crate::fleet::now_ms;
use crate::peer::Wish;
use crate::process::Usage;
use crate::record::Bodies;

/// Publishes what is wished to the proxy on `port` of 127.0.0.1. The processor time is that of this
/// whole process, which should do nothing else meanwhile.
///
/// # Errors
/// The first message that was not stored.
pub async fn publish(wish: &Wish<'_>, port: u16) -> Result<Turn, Error> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.set_nodelay(true)?;
    let wire = Wire::open(Box::new(stream)).await?;
    let origin: Uri = format!("http://127.0.0.1:{port}").parse()?;
    let client = MessagingServiceClient::with_origin(wire, origin);
    all(&client, wish, wish.warm_up).await?;
    let (before, begun) = (Usage::of(std::process::id())?, Instant::now());
    all(&client, wish, wish.records).await?;
    let took = begun.elapsed().as_secs_f64();
    Ok(Turn::of(wish.records, took, before, Usage::of(std::process::id())?))
}

async fn all(
    client: &MessagingServiceClient<Wire>,
    wish: &Wish<'_>,
    records: u64,
) -> Result<(), Error> {
    let next = Arc::new(AtomicU64::new(0));
    let topic = Topic::parse(wish.topic).map_err(|error| error.to_string())?;
    let mut loops = JoinSet::new();
    for _ in 0..wish.concurrency {
        let (client, next, topic) = (client.clone(), Arc::clone(&next), topic.clone());
        let bodies = Bodies::new(wish.body_bytes);
        loops.spawn(one_after_the_other(client, bodies, topic, next, records));
    }
    while let Some(ended) = loops.join_next().await {
        ended??;
    }
    Ok(())
}

async fn one_after_the_other(
    mut client: MessagingServiceClient<Wire>,
    mut bodies: Bodies,
    topic: Topic,
    next: Arc<AtomicU64>,
    records: u64,
) -> Result<(), Error> {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= records {
            return Ok(());
        }
        let message = message(&topic, number, bodies.next_body())?;
        let request = request::send(&[message], None, "bench", now_ms());
        let answer = client.send_message(call(request)).await?.into_inner();
        let stored =
            |entry: &v2::SendResultEntry| entry.status.as_ref().is_some_and(|s| s.code == OK);
        if !answer.entries.iter().all(stored) || answer.entries.is_empty() {
            return Err(format!("not stored: {answer:?}").into());
        }
    }
}

/// As the agent composes one.
fn message(topic: &Topic, number: u64, body: bytes::Bytes) -> Result<Message, Error> {
    let id = RecordId::parse(uuid::Uuid::now_v7().to_string()).map_err(|e| e.to_string())?;
    let own = [
        ("sw_gw", "gw-bench".to_owned()),
        ("sw_lane", "lane-0".to_owned()),
        ("sw_st", "0123abcd".to_owned()),
        ("sw_seq", number.to_string()),
        ("sw_at", now_ms().to_string()),
    ];
    Ok(Message {
        topic: topic.clone(),
        tag: None,
        key: id.to_string(),
        id,
        order_key: None,
        properties: own.map(|(name, value)| (name.to_owned(), value)).into(),
        body,
    })
}

fn call<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let caller = Caller { client_id: "tonic-loop", namespace: None, key: None };
    for (name, value) in caller.headers(&uuid::Uuid::new_v4().to_string(), now_ms()) {
        if let Ok(value) = value.parse::<MetadataValue<Ascii>>() {
            request.metadata_mut().insert(name, value);
        }
    }
    request
}
