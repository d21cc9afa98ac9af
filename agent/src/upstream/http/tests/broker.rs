use super::*;
use crate::broker::faults::{Kind, Rule};
use crate::upstream::Verdict;

fn stored(broker: &Broker) -> Vec<Arc<crate::broker::Stored>> {
    broker.messages(Some("MQ_INST_1"), TOPIC)
}

#[tokio::test]
async fn a_message_arrives_with_everything_it_has() {
    let broker = start_broker().await;
    let upstream = upstream(broker.address().port());
    let outcome = upstream.send(&message("a ]]> <b> & \r\n 🩺 &amp;")).await;
    let stored = stored(&broker);
    assert_eq!(outcome, Outcome::Delivered { message_id: stored[0].message_id.clone() });
    assert_eq!(stored[0].body, "a ]]> <b> & \r\n 🩺 &amp;");
    assert_eq!(stored[0].tag.as_deref(), Some("SyncEvent"));
    assert_eq!(stored[0].key.as_deref(), Some("key-1"));
    assert_eq!(stored[0].order_key.as_deref(), Some("bed-12"));
    assert_eq!(stored[0].property("sw_seq"), Some("7"));
    assert_eq!(upstream.clock_offset_s(), Some(0));
}

#[tokio::test]
async fn what_xml_cannot_carry_arrives_as_flagged_base64_or_is_refused_here() {
    let broker = start_broker().await;
    let upstream = upstream(broker.address().port());
    assert!(is_delivered(&upstream.send(&message(vec![0, 159, 1])).await));
    let first = stored(&broker).remove(0);
    assert_eq!((&*first.body, first.property("sw_flags")), ("AJ8B", Some("base64")));
    let large = upstream.send(&message(vec![0; 3 * 1024 * 1024 + 1])).await;
    let Outcome::Rejected { own: false, reason, .. } = large else { panic!("{large:?}") };
    assert!(reason.contains("upstream.transport"), "{reason}");
    assert!(is_delivered(&upstream.send(&message(vec![b'<'; 4 * 1024 * 1024])).await));
    assert_eq!(stored(&broker).len(), 2);
}

#[tokio::test]
async fn many_are_sent_at_once() {
    let broker = start_broker().await;
    let upstream = upstream(broker.address().port());
    let messages: Vec<Message> = (0..200).map(|n| message(format!("body {n}"))).collect();
    let sends = messages.iter().map(|message| upstream.send(message));
    assert!(futures::future::join_all(sends).await.iter().all(is_delivered));
    assert_eq!(stored(&broker).len(), 200);
}

#[tokio::test]
async fn every_fault_of_a_broker_is_what_it_is() {
    let broker = start_broker().await;
    let upstream = upstream(broker.address().port());
    for (kind, retry_after_s, kept, right) in [
        (
            Kind::Throttle,
            None,
            0,
            (|o| matches!(o, Outcome::Throttled { after: None, .. })) as fn(&Outcome) -> bool,
        ),
        (
            Kind::Throttle,
            Some(2),
            0,
            |o| matches!(o, Outcome::Throttled { after: Some(a), .. } if a.as_secs() == 2),
        ),
        (Kind::ServerError, None, 0, |o| matches!(o, Outcome::Unknown { link: false, .. })),
        (Kind::ServerError, Some(2), 0, |o| matches!(o, Outcome::Throttled { after: Some(_), .. })),
        (Kind::LostReply, None, 1, |o| matches!(o, Outcome::Unknown { link: true, .. })),
        (Kind::Cut, None, 0, |o| matches!(o, Outcome::Unknown { link: true, .. })),
        (Kind::RefuseSignature, None, 0, |o| {
            matches!(o, Outcome::Misconfigured { scope: Scope::Link, code: "credentials", .. })
        }),
        (Kind::TopicMissing, None, 0, |o| {
            matches!(o, Outcome::Misconfigured { scope: Scope::Topic, code: "topic_missing", .. })
        }),
        (Kind::RefuseRecord, None, 0, |o| matches!(o, Outcome::Rejected { own: false, .. })),
        (Kind::WrongMd5, None, 1, |o| matches!(o, Outcome::Unknown { link: false, .. })),
        (Kind::Lose, None, 0, is_delivered),
    ] {
        let before = stored(&broker).len();
        broker.faults().set_rules([Rule { retry_after_s, ..Rule::times(kind, 1) }]);
        let outcome = upstream.send(&message("x")).await;
        assert!(right(&outcome), "{kind:?}: {outcome:?}");
        assert_eq!(stored(&broker).len() - before, kept, "{kind:?}");
        assert!(is_delivered(&upstream.send(&message("x")).await), "after {kind:?}");
    }
}

#[tokio::test]
async fn a_wrong_secret_is_an_operators_matter() {
    let broker = start_broker().await;
    let mut settings = settings(broker.address().port());
    settings.access.keys[0].secret = Secret::new("other");
    let upstream = HttpUpstream::new(&settings, Arc::new(SystemClock)).unwrap();
    match upstream.send(&message("x")).await {
        Outcome::Misconfigured { scope: Scope::Link, code: "credentials", reason } => {
            assert!(reason.contains("SignatureDoesNotMatch"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    settings.access.keys[0].id = "line\nbreak".into();
    let upstream = HttpUpstream::new(&settings, Arc::new(SystemClock)).unwrap();
    let outcome = upstream.send(&message("x")).await;
    assert!(matches!(outcome, Outcome::Misconfigured { code: "credentials", .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_gateway_that_booted_in_1970_sends_at_once_with_the_brokers_time() {
    let broker = start_broker().await;
    let clock = Arc::new(SetClock(AtomicU64::new(60_000)));
    let settings = settings(broker.address().port());
    let upstream = HttpUpstream::new(&settings, Arc::clone(&clock) as _).unwrap();
    assert_eq!(upstream.clock_offset_s(), None);
    assert!(is_delivered(&upstream.send(&message("x")).await));
    assert!(upstream.clock_offset_s().unwrap() > 1_700_000_000);
    assert_eq!(stored(&broker).len(), 1);
    // Then the clock is set, and the offset is wrong the other way.
    clock.0.store(SystemClock.now_ms(), Ordering::Relaxed);
    assert!(is_delivered(&upstream.send(&message("x")).await));
    assert_eq!(upstream.clock_offset_s(), Some(0));
}

#[tokio::test]
async fn the_doctor_sees_signature_and_clock_and_publishes_nothing() {
    let broker = start_broker().await;
    let mut settings = settings(broker.address().port());
    let topic = Topic::parse(TOPIC).unwrap();
    let inspect = async |settings: &config::Upstream, clock: Arc<dyn WallClock>| {
        let upstream = HttpUpstream::new(settings, clock).unwrap();
        let findings = upstream.inspect(&topic, true).await;
        let verdicts = findings.iter().map(|f| (f.subject.clone(), f.verdict));
        verdicts.collect::<Vec<_>>()
    };
    let verdict = |list: &[(String, Verdict)], subject: &str| {
        list.iter().find(|(s, _)| s == subject).map(|(_, verdict)| *verdict)
    };
    let good = inspect(&settings, Arc::new(SystemClock)).await;
    for subject in ["name 127.0.0.1", "connection", "clock", "signature"] {
        assert_eq!(verdict(&good, subject), Some(Verdict::Good), "{subject}");
    }
    assert_eq!(verdict(&good, "topic ward"), Some(Verdict::Note));
    let unset = inspect(&settings, Arc::new(SetClock(AtomicU64::new(0)))).await;
    assert_eq!(verdict(&unset, "clock"), Some(Verdict::Note));
    assert_eq!(verdict(&unset, "signature"), Some(Verdict::Good));
    settings.access.keys[0].secret = Secret::new("other");
    let refused = inspect(&settings, Arc::new(SystemClock)).await;
    assert_eq!(verdict(&refused, "signature"), Some(Verdict::Bad));
    drop(broker);
    let down = inspect(&settings, Arc::new(SystemClock)).await;
    assert_eq!(verdict(&down, "signature"), None);
}
