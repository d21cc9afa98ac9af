//! A trace that an app began goes on at the far side, up to an OTLP collector: through the real
//! agent, the embedded broker, and the consumer library or the example on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use spillway_protocol::consumer::http::HttpFeed;
use spillway_protocol::consumer::otlp::opentelemetry::trace::{
    TraceContextExt, Tracer, TracerProvider,
};
use spillway_protocol::consumer::otlp::opentelemetry_sdk::trace::SdkTracer;
use spillway_protocol::consumer::otlp::{Begin, Counts, Exporter, Settings, Traced, context_of};
use spillway_protocol::consumer::{
    Access, Credentials, Delivery, Feed, Handler, Subscription, Verdict,
};
use spillway_protocol::local::client::Client;
use spillway_protocol::message::Message;
use spillway_protocol::record::Draft;
use spillway_tests::broker::{HttpBroker, INSTANCE, KEY, SECRET};
use spillway_tests::centre::{self, environment, until_count};
use spillway_tests::collector::{Collector, Running, options};
use spillway_tests::gateway::Gateway;
use spillway_tests::mariadb::MariaDb;
use spillway_tests::otlp::{Arrived, Otlp};
use spillway_tests::{port, sample};

const TOPIC: &str = "ward";
const CONSUMER: i32 = 5;
const ERROR: i32 = 2;
/// What a stop may take where all is well.
const ENOUGH: Duration = Duration::from_secs(60);

/// The app's trace and span number `nth`, and the property that names them.
fn ids(nth: u64) -> (String, String) {
    (format!("4bf92f3577b34da6a3ce{nth:012x}"), format!("00f067aa{nth:08x}"))
}

fn traceparent(nth: u64, flags: &str) -> BTreeMap<String, String> {
    let (trace, span) = ids(nth);
    BTreeMap::from([("traceparent".to_owned(), format!("00-{trace}-{span}-{flags}"))])
}

/// Record `nth`, whose app samples its trace.
fn sampled(nth: u64) -> Message {
    let body = format!("body {nth}").into();
    let draft = Draft { properties: traceparent(nth, "01"), body, ..Draft::default() };
    sample::message(TOPIC, nth, draft)
}

fn without(nth: u64) -> Message {
    sample::message(TOPIC, nth, Draft { body: "x".into(), ..Draft::default() })
}

fn feed(broker: &HttpBroker) -> Arc<dyn Feed> {
    let credentials = Credentials { id: KEY.into(), secret: SECRET.into(), security_token: None };
    let access = Access {
        endpoints: vec![broker.endpoint()],
        instance: Some(INSTANCE.into()),
        credentials: Some(credentials),
        ..Access::default()
    };
    Arc::new(HttpFeed::new(&access, &Subscription::new(TOPIC, "GID_trace")).unwrap())
}

fn settings(endpoint: &str) -> Settings {
    let mut settings = Settings::new(format!("{endpoint}/v1/traces"));
    settings.service = Some("far-side".into());
    settings
}

/// Consumes until `count` are done, stops, and answers what became of the spans.
async fn consume(exporter: Exporter, broker: &HttpBroker, count: usize, flush: Duration) -> Counts {
    let handler = Collector::taking_all();
    let traced = Traced::new(handler.clone(), Some(&exporter)).group("GID_trace");
    let running = Running::start(feed(broker), traced, options(1));
    handler.until_done(count).await;
    let status = running.stop().await;
    assert_eq!((status.acked, status.failed), (count as u64, 0), "{status:?}");
    exporter.stop(flush).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_from_the_app_through_the_agent_to_the_example_and_its_collector() {
    let broker = HttpBroker::hiding_for(Duration::from_secs(2)).await;
    let lane = format!("[[lane]]\nname = \"critical\"\ntopic = \"{TOPIC}\"\n");
    let mut gateway = Gateway::new(&format!("{}{lane}", broker.upstream()));
    gateway.start_ready().await;
    let (collector, database) = (Otlp::start().await, MariaDb::start());
    let mut environment = environment(broker.environment(), &database, TOPIC, "GID_trace");
    environment.extend([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=hospital%207".to_owned()),
        ("OTEL_SERVICE_NAME", "ward-centre".to_owned()),
    ]);
    let consumer = centre::Consumer::start(&environment, &["--tries", "2"]);

    let client = Client::connect(&gateway.socket()).await.unwrap();
    let broken = BTreeMap::from([("traceparent".to_owned(), "00-beef-01".to_owned())]);
    let patient = json!({"patient_id": "p-7"});
    for (id, properties, body) in [
        ("sampled", traceparent(1, "01"), &patient),
        ("unsampled", traceparent(2, "00"), &patient),
        ("none", BTreeMap::new(), &patient),
        ("broken", broken, &patient),
        ("unfit", traceparent(3, "01"), &json!({"notes": "whose?"})),
    ] {
        let body = body.to_string().into();
        let draft = Draft { id: Some(id.into()), properties, body, ..Draft::default() };
        client.submit(draft, None).await.unwrap().await.unwrap();
    }
    until_count(&database, "SELECT COUNT(*) FROM patient_records", 4).await;
    until_count(&database, "SELECT COUNT(*) FROM parked_messages", 1).await;
    let log = consumer.stop().await;
    // Two tries of the one that does not fit, and its parking.
    assert!(log.contains("Counts { exported: 4, failed: 0, dropped: 0 }"), "{log}");
    let spans = collector.until(4).await;
    let (mut unfit, well): (Vec<_>, Vec<_>) =
        spans.into_iter().partition(|span| span.ids()[0] == ids(3).0);
    let [well] = &well[..] else { panic!("not one span of the first record: {well:?}") };
    check_well(well);
    check_unfit(&mut unfit);
}

fn check_well(well: &Arrived) {
    let ([trace, own, parent], (app_trace, app_span)) = (well.ids(), ids(1));
    assert_eq!((trace, parent), (app_trace, app_span.clone()));
    assert!(own != app_span && own.len() == 16);
    assert_eq!((well.span.name.as_str(), well.span.kind), ("process ward", CONSUMER));
    assert_eq!(well.service, "ward-centre");
    assert!(well.head.contains("x-tenant: hospital 7"), "{}", well.head);
    assert!(well.span.status.as_ref().is_none_or(|status| status.code == 0));
    assert!(well.span.end_time_unix_nano > well.span.start_time_unix_nano);
    for (name, value) in [
        ("messaging.system", "rocketmq"),
        ("messaging.destination.name", "ward"),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.consumer.group.name", "GID_trace"),
        ("messaging.rocketmq.namespace", INSTANCE),
        ("messaging.rocketmq.message.keys", "sampled"),
        ("messaging.message.body.size", "20"),
        ("spillway.gateway", "gw-test"),
        ("spillway.lane", "critical"),
        ("spillway.seq", "1"),
        ("spillway.attempt", "1"),
    ] {
        assert_eq!(well.attribute(name).as_deref(), Some(value), "{name}");
    }
    assert!(!well.attribute("messaging.message.id").unwrap().is_empty());
}

fn check_unfit(unfit: &mut [Arrived]) {
    unfit.sort_by_key(|span| span.span.start_time_unix_nano);
    let kinds = unfit.iter().map(|span| span.attribute("error.type").unwrap());
    assert_eq!(kinds.collect::<Vec<_>>(), ["failed", "failed", "parked"]);
    for span in unfit {
        assert_eq!(span.ids()[2], ids(3).1);
        let status = span.span.status.as_ref().unwrap();
        assert!(status.code == ERROR && status.message.contains("patient_id"), "{status:?}");
    }
}

/// Starts a span of its own for the batch and one for each delivery; panics over the id `ward-9`.
struct Writer {
    tracer: SdkTracer,
    seen: Arc<Mutex<BTreeSet<String>>>,
    inner: Collector,
}

impl Handler for Writer {
    async fn handle(&self, batch: &[Delivery]) -> Vec<Verdict> {
        assert!(batch.iter().all(|delivery| delivery.id() != "ward-9"), "as it was to");
        // The context has to outlive a wait.
        tokio::task::yield_now().await;
        drop(self.tracer.start("statement"));
        for delivery in batch {
            let context = context_of(delivery);
            drop(self.tracer.start_with_context(format!("row {}", delivery.id()), &context));
            let trace = context.span().span_context().trace_id().to_string();
            self.seen.lock().unwrap().insert(format!("{} {trace}", delivery.id()));
        }
        self.inner.handle(batch).await
    }

    async fn park(&self, delivery: &Delivery, reason: &str) -> Result<(), String> {
        self.inner.park(delivery, reason).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_the_handler_are_children_and_a_batch_is_linked_to_its_first() {
    let (broker, collector) = (HttpBroker::start().await, Otlp::start().await);
    let unsampled =
        Draft { properties: traceparent(4, "00"), body: "x".into(), ..Draft::default() };
    broker
        .publish(&[without(1), sampled(2), sampled(3), sample::message(TOPIC, 4, unsampled)])
        .await;
    let exporter = Exporter::start(&settings(&collector.endpoint())).unwrap();
    let inner = Collector::taking_all();
    let seen = Arc::default();
    let tracer = exporter.provider().tracer("writer");
    let writer = Writer { tracer, seen: Arc::clone(&seen), inner: inner.clone() };
    // All are received before the handler is free, so that they are one batch.
    let options = spillway_protocol::consumer::Options { receivers: 1, handlers: 1, ..options(2) };
    let running = Running::start(feed(&broker), Traced::new(writer, Some(&exporter)), options);
    inner.until_done(4).await;
    running.stop().await;
    assert_eq!(exporter.stop(ENOUGH).await, Counts { exported: 5, ..Counts::default() });
    let spans = collector.until(5).await;
    let named = |name: &str| spans.iter().find(|span| span.span.name == name).expect(name);
    let process = |nth| {
        let of = |span: &&Arrived| span.ids()[0] == ids(nth).0 && span.span.kind == CONSUMER;
        spans.iter().find(of).expect("its span")
    };
    assert_eq!(named("statement").ids()[2], process(2).ids()[1]);
    for nth in [2, 3] {
        let (row, process) = (named(&format!("row ward-{nth}")), process(nth));
        assert_eq!((&row.ids()[0], &row.ids()[2]), (&process.ids()[0], &process.ids()[1]));
        assert_eq!(row.service, "far-side");
    }
    assert!(process(2).span.links.is_empty());
    assert_eq!(process(3).span.links[0].span_id, process(2).span.span_id);
    // What is not exported goes on all the same, and a trace that nobody began is none.
    let seen = seen.lock().unwrap();
    assert!(seen.contains(&format!("ward-4 {}", ids(4).0)), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_leaves_a_span_that_says_so() {
    let (broker, collector) = (HttpBroker::start().await, Otlp::start().await);
    broker.publish(&[sampled(9)]).await;
    let exporter = Exporter::start(&settings(&collector.endpoint())).unwrap();
    let tracer = exporter.provider().tracer("writer");
    let inner = Collector::taking_all();
    let writer = Writer { tracer, seen: Arc::default(), inner: inner.clone() };
    let options = spillway_protocol::consumer::Options { charges_max: 1, ..options(3) };
    let running = Running::start(feed(&broker), Traced::new(writer, Some(&exporter)), options);
    inner.until("it is parked", |seen| seen.parked.len() == 1).await;
    running.stop().await;
    exporter.stop(ENOUGH).await;
    let spans = collector.until(2).await;
    let kinds: Vec<_> = spans.iter().map(|span| span.attribute("error.type").unwrap()).collect();
    assert_eq!(kinds, ["no_verdict", "parked"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_begun_only_for_whom_asks_for_it() {
    let (broker, collector) = (HttpBroker::start().await, Otlp::start().await);
    let unsampled =
        Draft { properties: traceparent(2, "00"), body: "x".into(), ..Draft::default() };
    broker.publish(&[without(1), sample::message(TOPIC, 2, unsampled)]).await;
    let settings = Settings { begin: Begin::Always, ..settings(&collector.endpoint()) };
    let exporter = Exporter::start(&settings).unwrap();
    let counts = consume(exporter, &broker, 2, ENOUGH).await;
    assert_eq!(counts, Counts { exported: 1, ..Counts::default() });
    let spans = collector.until(1).await;
    assert_eq!(spans[0].attribute("spillway.seq").as_deref(), Some("1"));
    assert_eq!((spans[0].ids()[2].as_str(), spans[0].span.kind), ("", CONSUMER));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_or_is_away_costs_spans_and_nothing_else() {
    const COUNT: u64 = 3000;
    let (broker, collector) = (HttpBroker::start().await, Otlp::hanging().await);
    centre::publish_many(&broker, &(1..=COUNT).map(sampled).collect::<Vec<_>>()).await;
    // More than the queue holds: all are consumed though no span ever leaves.
    let exporter = Exporter::start(&settings(&collector.endpoint())).unwrap();
    let counts = consume(exporter, &broker, 3000, Duration::ZERO).await;
    assert_eq!((counts.exported, counts.failed + counts.dropped), (0, COUNT), "{counts:?}");
    assert!(counts.dropped > 0, "{counts:?}");
    assert!(!collector.spans().is_empty(), "it was never asked");

    broker.publish(&[sampled(COUNT + 1)]).await;
    let nobody = settings(&format!("http://127.0.0.1:{}", port::free()));
    let counts = consume(Exporter::start(&nobody).unwrap(), &broker, 1, ENOUGH).await;
    assert_eq!(counts, Counts { failed: 1, ..Counts::default() });
}
