//! `central-consumer` on a real RocketMQ by gRPC: agent, broker, consumer, auditor and database, all real.

use spillway_tests::app;
use spillway_tests::centre::{Consumer, command, environment, said, until_count};
use spillway_tests::gateway::{Gateway, PATIENCE};
use spillway_tests::ledger::Ledger;
use spillway_tests::mariadb::MariaDb;
use spillway_tests::rocketmq::{Options, RocketMq};

const TOPIC: &str = "ward";
const GROUP: &str = "GID_ward";
/// Topics that nobody consumes.
const ALONE: [&str; 2] = ["labs", "vitals"];
const COUNT: u64 = 300;
/// The apps' bodies are no JSON.
const MAP: &str = "table = \"raw\"\nidentity = [\"id\"]\n\
    [[column]]\nname = \"id\"\nfrom = \"id\"\n\
    [[column]]\nname = \"seq\"\nfrom = \"seq\"\n\
    [[column]]\nname = \"body\"\nfrom = \"body\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_accepts_is_in_the_database_once_and_the_audit_says_so() {
    let database = MariaDb::start();
    let mut mq = tokio::task::block_in_place(|| RocketMq::start(Options::default()));
    let port = mq.grpc_port();
    tokio::task::block_in_place(|| {
        mq.create_topic(TOPIC, "NORMAL");
        mq.create_group(GROUP, TOPIC, false);
        for topic in ALONE {
            mq.create_topic(topic, "NORMAL");
            mq.create_group("central-auditor", topic, false);
        }
    });
    let lane = |topic| format!("[[lane]]\nname = \"{topic}\"\ntopic = \"{topic}\"\n");
    let lanes = ALONE.map(lane).concat();
    let mut gateway = Gateway::new(&format!(
        "[upstream]\ntransport = \"grpc\"\nendpoint = \"127.0.0.1:{port}\"\n\
         [drain]\nadaptive = false\nreconnect_spread = \"0s\"\n\
         [[lane]]\nname = \"ward\"\ntopic = \"{TOPIC}\"\ndefault = true\n{lanes}"
    ));
    gateway.start_ready().await;
    let drafts = app::drafts("r", 1..COUNT + 1);
    app::hand_over(&gateway.socket(), &Ledger::default(), "ward", drafts.clone()).await;
    for topic in ALONE {
        let drafts = app::drafts(topic, 1..COUNT + 1);
        app::hand_over(&gateway.socket(), &Ledger::default(), topic, drafts).await;
    }
    gateway.until_delivered(PATIENCE).await;

    let map = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(map.path(), MAP).unwrap();
    let broker = [("ROCKETMQ_ENDPOINT", format!("grpc://127.0.0.1:{port}"))];
    let environment = environment(broker, &database, TOPIC, GROUP);
    let consumer = Consumer::start(&environment, &["--map", map.path().to_str().unwrap()]);
    until_count(&database, "SELECT COUNT(*) FROM raw", COUNT).await;
    let rows: Vec<(String, u64, Vec<u8>)> =
        database.rows("SELECT id, seq, body FROM raw ORDER BY seq").await;
    for ((id, seq, body), (draft, number)) in rows.into_iter().zip(drafts.into_iter().zip(1..)) {
        assert_eq!((Some(id), seq, &body[..]), (draft.id, number, &draft.body[..]));
    }
    let mut audited = environment.clone();
    audited.retain(|(name, _)| !name.starts_with("ROCKETMQ_") || *name == "ROCKETMQ_ENDPOINT");
    audited.push(("ROCKETMQ_TOPIC", ALONE.join(",")));
    let auditor = Consumer::auditor(&audited);
    let seen = format!(
        "SELECT COUNT(*) FROM sw_consumers \
         WHERE consumer_group = 'central-auditor' AND done >= {COUNT}"
    );
    until_count(&database, &seen, 2).await;
    let output = command(&environment, &["audit", "--grace", "0s"]).await;
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    let sum = format!("accepted {COUNT} = stored {COUNT}");
    assert_eq!(text.lines().filter(|line| line.contains(&sum)).count(), 3, "{text}");
    auditor.stop().await;
    let log = consumer.stop().await;
    assert!(log.contains("failed: 0") && log.contains("parked: 0"), "{log}");
}
