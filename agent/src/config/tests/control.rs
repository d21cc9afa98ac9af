//! `[control]`.

use std::time::Duration;

use super::{SMALL, Setup};

const KEY: &str = "6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=";

fn setup(control: &str) -> Setup {
    let others = "[audit]\n[report]\ntopic = \"r\"\n";
    Setup::new(&format!("gateway.id = \"gw-1\"\n{others}[control]\n{control}{SMALL}"))
}

#[test]
fn it_is_read_with_its_defaults() {
    let url = "url = \"https://centre.example/{gateway}.json\"\n";
    let control = setup(&format!("{url}public_key = \"{KEY}\"\n")).good().control.unwrap();
    assert_eq!(control.url, "https://centre.example/gw-1.json");
    assert_eq!((control.every, control.records_per_day), (Duration::from_secs(1800), 10_000));
    assert_eq!((control.public_key.to_string().as_str(), control.ca), (KEY, None));

    let setup = setup("").file("key", &format!("{KEY}\n"));
    let path = setup.path("key");
    let text = format!(
        "[audit]\n[control]\n{url}public_key = {{ file = {path:?} }}\nevery = \"5m\"\n\
         records_per_day = 7\n{SMALL}"
    );
    let setup = setup.file("spillway.toml", &text);
    let control = setup.good().control.unwrap();
    assert_eq!((control.every, control.records_per_day), (Duration::from_secs(300), 7));
    assert_eq!(control.public_key.to_string(), KEY);
    let warnings = setup.warnings();
    assert!(warnings.iter().any(|warning| warning.contains("add [report]")), "{warnings:?}");
}

#[test]
fn each_fault_says_what_would_be_right() {
    let faults = setup("url = \"http://centre.example/x\"\npublic_key = \"AAAA\"\n").faults();
    assert_eq!(
        faults,
        [
            "spillway.toml:6: control.url: is not encrypted and leaves this machine (plaintext = \
             true allows it); write for example \
             \"https://centre.example/spillway/{gateway}.json\"",
            "spillway.toml:7: control.public_key: has 3 bytes, and an Ed25519 key has 32; write the \
             line that central-control keygen prints, or { file = \"/path\" }",
        ]
    );
    let faults = setup("every = \"10ms\"\n").faults();
    assert_eq!(faults.len(), 3, "{faults:?}");
    let open = setup(&format!(
        "url = \"http://centre.example/x\"\nplaintext = true\npublic_key = \"{KEY}\"\n"
    ));
    assert_eq!(open.good().control.unwrap().url, "http://centre.example/x");
}

#[test]
fn nothing_is_asked_of_a_gateway_that_keeps_nothing() {
    let text =
        format!("[control]\nurl = \"https://centre.example/x\"\npublic_key = \"{KEY}\"\n{SMALL}");
    assert_eq!(
        Setup::new(&text).faults(),
        ["spillway.toml:1: control: needs [audit], which keeps what the centre may ask for; add \
             [audit], or leave [control] out"]
    );
}
