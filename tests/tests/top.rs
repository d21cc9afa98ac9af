//! `spillway top` on a real terminal: `script` (Debian's bsdutils, on every machine) gives it one.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use spillway_tests::app::{drafts, hand_over};
use spillway_tests::gateway::{Gateway, binary};
use spillway_tests::ledger::Ledger;

const SETTINGS: &str = "[[lane]]\nname = \"ward\"\ntopic = \"t\"\n";
/// How a terminal is told to show the screen of before again.
const LEAVES: &str = "\u{1b}[?1049l";

/// `top` on a terminal of 100 columns.
struct Terminal(Child);

impl Terminal {
    fn start(arguments: &str) -> Self {
        let command = format!("stty cols 100 rows 24; exec {} top {arguments}", binary().display());
        let child = Command::new("script")
            .args(["-qefc", &command, "/dev/null"])
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.expect("script has to be installed"))
    }

    /// What it draws until `wanted` has come.
    fn until(&mut self, wanted: &str) -> String {
        let mut drawn = Vec::new();
        let mut some = [0; 4096];
        while !String::from_utf8_lossy(&drawn).contains(wanted) {
            let count = self.0.stdout.as_mut().unwrap().read(&mut some).unwrap();
            assert!(count > 0, "it ended without {wanted}: {}", String::from_utf8_lossy(&drawn));
            drawn.extend_from_slice(&some[..count]);
        }
        String::from_utf8_lossy(&drawn).into_owned()
    }

    fn press(&mut self, key: &[u8]) {
        self.0.stdin.as_mut().unwrap().write_all(key).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_follows_the_agent_over_a_kill_and_gives_the_terminal_back() {
    let mut gateway = Gateway::new(SETTINGS);
    gateway.start_ready().await;
    hand_over(&gateway.socket(), &Ledger::default(), "ward", drafts("a", 0..5)).await;
    let config = format!("--config {} --every 100ms", gateway.file("spillway.toml").display());
    let mut top = Terminal::start(&config);
    top.until("gw-test");
    gateway.kill();
    top.until("ANSWER");
    gateway.start_ready().await;
    top.until("LANE");
    top.press(b"q");
    top.until(LEAVES);
    assert_eq!(top.0.wait().unwrap().code(), Some(0));

    // Ctrl-C, too.
    let mut top = Terminal::start(&config);
    top.until("gw-test");
    top.press(b"\x03");
    top.until(LEAVES);
    assert_eq!(top.0.wait().unwrap().code(), Some(0));
}

#[test]
fn without_a_terminal_it_says_what_serves_instead() {
    let output = Command::new(binary()).arg("top").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("spillway status --json is for programs"), "{said}");
}
