//! What an operator can do while no agent runs.

use std::process::{Command, Output};

use spillway_tests::gateway::Gateway;

const SETTINGS: &str = "[[lane]]\nname = \"main\"\ntopic = \"t\"\n";

fn spillway(arguments: &[&str]) -> Output {
    Command::new(spillway_tests::gateway::binary()).args(arguments).output().unwrap()
}

#[tokio::test]
async fn a_reload_without_an_agent_is_69() {
    let gateway = Gateway::new(SETTINGS);
    for words in ["", "--confirm 10m", "--keep"] {
        let (code, said) = gateway.reload(words).await;
        assert_eq!((code, said), (69, serde_json::Value::Null), "{words}");
    }
    assert_eq!(gateway.reload("--keep --confirm 10m").await.0, 2);
    assert_eq!(gateway.reload("--confirm 10").await.0, 2, "a time without its unit");
}

#[tokio::test]
async fn the_queue_of_a_stopped_agent_can_be_looked_into_and_stays_as_it_was() {
    let mut gateway = Gateway::new(SETTINGS);
    gateway.start_ready().await;
    let config = gateway.file("spillway.toml").display().to_string();
    for body in ["one", "two", "three"] {
        let file = gateway.file(body);
        std::fs::write(&file, body).unwrap();
        let sent = spillway(&["send", "--config", &config, &file.display().to_string()]);
        assert!(sent.status.success(), "{sent:?}");
    }
    let look = || {
        let output = spillway(&["queue", "peek", "--json", "--body", "--config", &config]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), output.stderr)
    };
    let running = look();
    gateway.kill();
    let stopped = look();
    assert_eq!((stopped.0, &stopped.1), (Some(0), &running.1), "{running:?} {stopped:?}");
    assert!(String::from_utf8_lossy(&stopped.2).contains("no agent is running"));
    assert!(stopped.1.contains("three"));
    let status = gateway.start_ready().await;
    assert_eq!((status.lanes[0].waiting, status.lanes[0].accepted), (3, 3));
}
