//! Certificates are renewed under their names while the agent runs: a reload makes connections with the new
//! ones, over real TLS in both directions, and half of a renewal changes nothing.

use serde_json::Value;
use spillway_protocol::local::status::{LinkState, Status};
use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::{HttpBroker, INSTANCE, KEY, SECRET};
use spillway_tests::gateway::{Gateway, PATIENCE};
use spillway_tests::ledger::Ledger;
use spillway_tests::mutual_tls::{Issue, MutualTlsFront};
use spillway_tests::oracle;

fn settings(front: &MutualTlsFront, gateway: &Gateway) -> String {
    let [ca, certificate, key] =
        ["ca.pem", "gateway.pem", "gateway.key"].map(|name| gateway.file(name));
    format!(
        "[upstream]\nendpoint = \"{}\"\ninstance_id = \"{INSTANCE}\"\naccess_key_id = \"{KEY}\"\n\
         access_key_secret = \"{SECRET}\"\n\
         tls = {{ ca = {ca:?}, certificate = {certificate:?}, key = {key:?} }}\n\
         [drain]\nadaptive = false\nreconnect_spread = \"0s\"\n\
         [backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n\
         [[lane]]\nname = \"main\"\ntopic = \"main\"\n",
        front.endpoint()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_certificates_are_taken_by_a_reload_and_half_a_renewal_is_not() {
    let broker = HttpBroker::start().await;
    let (old, new) = (Issue::new(), Issue::new());
    let front = MutualTlsFront::start(broker.port(), &old).await;
    let mut gateway = Gateway::new("");
    let folder = gateway.file("");
    old.write_certificates(&folder);
    old.write_key(&folder);
    gateway.configure(&settings(&front, &gateway));
    gateway.start_ready().await;
    let ledger = Ledger::default();
    hand_over(&gateway.socket(), &ledger, "main", drafts("o", 0..5)).await;
    gateway.until_delivered(PATIENCE).await;
    let (as_old, all) = front.came(&old);
    assert!(as_old > 0 && as_old == all);
    // The certificate is there, its key is not yet: what is in force works on.
    new.write_certificates(&folder);
    let (code, said) = gateway.reload("").await;
    assert_eq!((code, &said["taken"]), (78, &Value::Bool(false)), "{said}");
    assert!(said["faults"][0].as_str().unwrap().contains("belong together"), "{said}");
    hand_over(&gateway.socket(), &ledger, "main", drafts("h", 0..5)).await;
    gateway.until_delivered(PATIENCE).await;
    // Renewed at the far end first: who has the old ones is not let in, and records wait.
    new.write_key(&folder);
    front.renew(&new);
    let pid = gateway.status().await.unwrap().pid;
    let (code, said) = gateway.reload("").await;
    assert_eq!((code, &said["changed"]), (0, &serde_json::json!(["upstream"])), "{said}");
    hand_over(&gateway.socket(), &ledger, "main", drafts("n", 0..5)).await;
    let status = gateway.until_delivered(PATIENCE).await;
    assert_eq!((status.pid, status.link.state), (pid, LinkState::Online));
    let (as_new, with_new) = (front.came(&new).0, front.came(&old));
    assert!(as_new > 0 && as_new + with_new.0 == with_new.1, "{as_new} {with_new:?}");
    // What nobody renewed here is told, and mended by the next reload.
    let newest = Issue::new();
    front.renew(&newest);
    hand_over(&gateway.socket(), &ledger, "main", drafts("w", 0..5)).await;
    let offline = |status: &Status| status.link.state == LinkState::Offline;
    let status = gateway.until("nobody is trusted", offline).await;
    assert!(format!("{:?}", status.link).contains("certificate"), "{:?}", status.link);
    newest.write_certificates(&folder);
    newest.write_key(&folder);
    assert_eq!(gateway.reload("").await.0, 0);
    gateway.until_delivered(PATIENCE).await;
    assert!(front.came(&newest).0 > 0);
    let losses = oracle::losses(&ledger.snapshot(), &broker.arrivals(&["main"]));
    oracle::assert_none("losses", &losses);
}
