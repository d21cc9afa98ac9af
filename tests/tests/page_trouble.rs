//! The status page in a real browser where something is wrong: with the agent, its access keys, the
//! token that was brought, or who else asks.
//!
//! Needs Debian's chromium and chromium-driver.

use serde_json::{Value, json};
use spillway_protocol::local::status::Status;
use spillway_tests::chromium::Chromium;
use spillway_tests::told::{self, Listening, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TOKEN: &str = "0123456789abcdef%41";

fn flowing(state: &str, more: &Value) -> Status {
    told::status(&told::link(state, ""), &[told::lane("main", 0, more)])
}

fn hidden(id: &str) -> String {
    format!("return document.getElementById('{id}').hidden")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_heading_says_what_keeps_the_agent_from_its_work_whatever_the_link_does() {
    let well = State::of(flowing("online", &json!({})));
    let agent = Listening::start(well.clone(), None).await;
    let browser = Chromium::start();
    browser.open(&agent.origin());
    browser.until_says("#title-text", "Online since");
    browser.until_says("#sentence", "No record waits; nothing is lost.");

    let stuck = "the disk has not stored what lane main gave it for 61 s".to_owned();
    agent.tell(State { stuck: Some(stuck), ..well.clone() });
    browser.until("#title-text", "it is stuck", |text| text == "Stuck");
    browser.until("#sentence", "no more than is known", |text| text == "No record waits.");
    browser.until_says("#reason", "The disk has not stored what lane main gave it for 61 s.");
    browser.until_says("#state.bad .mark", "■");
    agent.tell(State { accepts: false, ..well.clone() });
    browser.until("#title-text", "nothing is taken in", |text| text == "Takes nothing in");
    browser.until("#sentence", "no more than is known", |text| text == "No record waits.");

    let full = json!({"limit": {"bytes": 400, "used": 399, "full": "its quota is used up"}});
    agent.tell(State::of(flowing("ramping", &full)));
    browser.until_says("#title-text", "Online again, but lane main is stopped");
    browser.until_says("#state.bad .mark", "■");
    let mut refused = flowing("unconfigured", &json!({}));
    refused.configuration.state = "refused, and none was accepted before".to_owned();
    agent.tell(State::of(refused));
    browser.until_says("#title-text", "nothing to send them to");
    browser.until_says("#state.bad .mark", "■");
    agent.tell(well);
    browser.until_says("#state.good .mark", "●");
    assert_eq!(browser.complaints(), [""; 0]);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_agent_that_cannot_tell_is_not_lost_and_its_silence_is_as_old_as_it_is() {
    let well = State::of(flowing("online", &json!({})));
    let agent = Listening::start(well.clone(), None).await;
    let browser = Chromium::start();
    browser.open(&agent.origin());
    browser.until_says("#title-text", "Online since");
    agent.tell(State { status: None, ..well.clone() });
    let since = browser.until_says("#contact-text", "The agent cannot tell since");
    browser.until_says("#title-text", "Not known since");
    browser.until_says("#reason", "The agent's state cannot be gathered; its log says why. Trying");
    // Each look is told two seconds after the one before, and this counts seconds.
    agent.looked_at(3).await;
    assert_eq!(browser.text("#contact-text"), since);
    agent.tell(well);
    browser.until_says("#contact-text", "Live");
    browser.until_says("#title-text", "Online since");
    agent.tell(State { status: None, ..State::of(flowing("online", &json!({}))) });
    browser.until_says("#contact-text", "The agent cannot tell since");
    agent.stop().await;
    browser.until_says("#contact-text", "Connection to the agent lost since");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn trouble_with_access_keys_is_shown_while_one_of_them_works() {
    let keys = |keys: Value| {
        let mut status = flowing("online", &json!({}));
        status.access_keys = serde_json::from_value(keys).unwrap();
        State::of(status)
    };
    let one = json!({"in_use": 1, "of": 1, "refused": [], "expires_in_s": 3000, "fault": null});
    let agent = Listening::start(keys(one.clone()), None).await;
    let browser = Chromium::start();
    browser.open(&agent.origin());
    browser.until_says("#more", "1 of 1 in use, ends in 50\u{a0}min");
    browser.until_true(&hidden("attention"));
    let refused =
        json!({"in_use": 2, "of": 2, "refused": [1], "expires_in_s": null, "fault": null});
    agent.tell(keys(refused));
    browser.until_says("#notes", "2 of 2 in use; refused: 1");
    let fault = json!({"in_use": 1, "of": 1, "refused": [], "expires_in_s": 60,
                       "fault": "credential_command /x: failed"});
    agent.tell(keys(fault));
    browser
        .until_says("#notes", "1 of 1 in use, ends in 1\u{a0}min; credential_command /x: failed");
    agent.tell(keys(one));
    browser.until_true(&hidden("attention"));
    assert_eq!(browser.complaints(), [""; 0]);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_that_was_mangled_is_asked_for_and_a_new_address_is_taken_in_the_same_tab() {
    let agent = Listening::start(State::of(flowing("online", &json!({}))), Some(TOKEN)).await;
    let browser = Chromium::start();
    let with = |token: &str| format!("{}/#token={token}", agent.origin());
    // Cut off behind a %; what no header carries; what is as good as another's.
    for mangled in ["0123456789abcdef%2", "0123456789%E2%82%AC", "0123456789abcdefA"] {
        browser.open("about:blank");
        browser.open(&with(mangled));
        browser.until_says("#token", "This token is not the gateway’s");
        assert_eq!(browser.run("return location.hash"), "");
    }
    browser.open(&with("0123456789abcdef%2541"));
    browser.until_says("#contact-text", "Live");
    browser.until_true(&hidden("token"));
    // Another one while it is shown: it is tried.
    browser.open(&with("0123456789abcdeX"));
    browser.until_says("#token", "This token is not the gateway’s");
    browser.until_true(&hidden("facts"));
    // What it says, typed: not decoded a second time.
    browser.run(&format!(
        "document.getElementById('token-text').value = {TOKEN:?};
         document.getElementById('token').requestSubmit()"
    ));
    browser.until_says("#contact-text", "Live");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_page_of_another_site_takes_no_place_of_those_who_watch() {
    let well = State::of(flowing("online", &json!({})));
    let (agent, other) =
        (Listening::start(well.clone(), None).await, Listening::start(well, None).await);
    let (foreign, port) = (Chromium::start(), agent.admin.port());
    // Any page that is not the agent's: another port is another origin. A browser opens six
    // connections to a name.
    foreign.open(&format!("{}/healthz", other.origin()));
    foreign.run(&format!(
        "window.answered = 0;
         for (let i = 0; i < 8; i++) {{
           const frame = document.createElement('iframe');
           frame.onload = () => window.answered++;
           frame.src = `http://${{i < 4 ? 'localhost' : '127.0.0.1'}}:{port}/events`;
           document.body.append(frame);
         }}"
    ));
    foreign.until_true("return window.answered === 8");
    let mut places = Vec::new();
    for _ in 0..8 {
        let mut stream = agent.admin.connect().await.unwrap();
        let asked = b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(asked).await.unwrap();
        let mut begun = [0; 15];
        stream.read_exact(&mut begun).await.unwrap();
        assert_eq!(&begun, b"HTTP/1.1 200 OK");
        places.push(stream);
    }
    // A link from elsewhere to the page itself leads there.
    drop(places);
    foreign.run(&format!("location.href = '{}/'", agent.origin()));
    foreign.until_says("#contact-text", "Live");
    agent.stop().await;
    other.stop().await;
}
