//! docs/curl.md says the truth: its commands are run as they stand there, and answered as it says.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::Stdio;

use spillway_protocol::local::Code;
use spillway_tests::broker::HttpBroker;
use spillway_tests::gateway::{Gateway, PATIENCE};
use spillway_tests::port;
use spillway_tests::prose;
use tokio::process::Command;

/// From here on the page has a link.
const LINK_IS_BACK: &str = "## When RocketMQ has it";
/// What the page begins with, and the test has its own of.
const SOCKET: &str = "SOCKET=/run/spillway/spillway.sock";
/// The same of the address.
const HTTP: &str = "HTTP=http://127.0.0.1:9466\n";
const TOKEN: &str = "0123456789abcdef";
/// Refusals that HTTP never gives.
const NOT_HTTP: [&str; 2] = ["not_built_yet", "incompatible_version"];

async fn run(gateway: &Gateway, commands: &str) -> String {
    let mut bash = Command::new("bash");
    let commands = &commands.replace(HTTP, "");
    let config = std::fs::read_to_string(gateway.file("spillway.toml")).unwrap();
    let address = config.split("listen.http.address = \"").nth(1).unwrap().split('"').next();
    bash.env("HTTP", format!("http://{}", address.unwrap()));
    bash.args(["-c", commands]).env("SOCKET", gateway.socket()).current_dir(gateway.file(""));
    bash.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, bash.output()).await.expect(commands).unwrap();
    String::from_utf8(output.stdout).unwrap().replace('\r', "")
}

/// Runs each block of commands and compares what it printed; how many there were.
async fn compare(gateway: &Gateway, text: &str) -> usize {
    let mut blocks = prose::blocks(text).into_iter().filter(|(_, block)| block.trim() != SOCKET);
    let mut compared = 0;
    while let Some((kind, commands)) = blocks.next() {
        assert_eq!(kind, "sh", "{commands}");
        let (_, said) = blocks.next().filter(|(kind, _)| *kind == "text").expect(commands);
        let found = run(gateway, commands).await;
        let said = said.strip_suffix("…\n").map_or(said.to_owned(), |said| format!("{said}…"));
        assert!(
            prose::matches(&said, &found),
            "{commands}\nthe page says:\n{said}\nit was:\n{found}"
        );
        compared += 1;
    }
    compared
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_is_answered_as_the_page_says() {
    let page = prose::page("curl.md");
    let (lanes, commands) = page.split_once("```toml\n").unwrap().1.split_once("```").unwrap();
    let (offline, online) = commands.split_once(LINK_IS_BACK).unwrap();
    let mut broker = HttpBroker::start().await;
    broker.stop().await;
    let pace = "[drain]\nadaptive = false\nreconnect_spread = \"0s\"\n\
                [backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n";
    let http = format!(
        "listen.http.address = \"127.0.0.1:{}\"\nlisten.http.token = \"{TOKEN}\"\n",
        port::free()
    );
    let mut gateway = Gateway::new(&format!("{http}{}{pace}{lanes}", broker.upstream()));
    std::fs::write(gateway.file("http_token"), TOKEN).unwrap();
    gateway.start_ready().await;
    assert_eq!(compare(&gateway, offline).await, 12);
    broker.restart().await;
    assert_eq!(compare(&gateway, online).await, 1);
    gateway.until_delivered(PATIENCE).await;
}

#[test]
fn every_refusal_is_in_the_table_as_it_is() {
    let page = prose::page("curl.md");
    let mut listed = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let Some(name) = cells[2].strip_prefix('`').and_then(|cell| cell.strip_suffix('`')) else {
            continue;
        };
        if name == "code" {
            continue;
        }
        let code: Code = serde_json::from_str(&format!("\"{name}\"")).unwrap();
        let retry = code.retry_after_s().map(|seconds| seconds.to_string()).unwrap_or_default();
        assert_eq!((cells[1], cells[3]), (&*code.status().to_string(), &*retry), "{name}");
        listed.insert(name);
    }
    // The reader of the names knows them all, and says so.
    let unknown = serde_json::from_str::<Code>("\"?\"").unwrap_err().to_string();
    let known: BTreeSet<&str> = unknown.split('`').skip(3).step_by(2).collect();
    let not_http = BTreeSet::from(NOT_HTTP);
    assert!(known.len() > 10 && known.is_superset(&not_http), "{unknown}");
    assert_eq!(listed, known.difference(&not_http).copied().collect());
}
