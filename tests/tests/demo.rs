//! `spillway demo` is honest: it passes on a good broker and fails on one that loses a record.

use std::process::{Command, Output};

fn demo(arguments: &[&str]) -> Output {
    Command::new(spillway_tests::gateway::binary()).arg("demo").args(arguments).output().unwrap()
}

#[test]
fn the_demo_passes_and_tells_its_story() {
    let output = demo(&[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for needle in ["CUT", "KILLED", "BACK", "PASSED", "acknowledged to the app    400"] {
        assert!(text.contains(needle), "{needle:?} is missing in\n{text}");
    }
}

#[test]
fn the_demo_fails_when_the_broker_loses_a_record() {
    let faults = r#"{"rules": [{"kind": "lose", "count": 1}]}"#;
    let output = demo(&["--faults", faults]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("FAILED") && !text.contains("PASSED"), "{text}");
}
