//! docs/getting-started.md says the truth: its commands are run as they stand there, one after the
//! other in one shell, and print what it says.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Stdio;

use spillway_tests::gateway::{PATIENCE, binary};
use spillway_tests::{port, prose};
use tokio::process::Command;

/// Between what two blocks print.
const MARK: &str = "=== the next block ===";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_true_from_its_first_command_to_its_last() {
    let text = prose::page("getting-started.md");
    let (broker, admin) = (port::free().to_string(), port::free().to_string());
    let page = text.replace("8088", &broker).replace("9465", &admin);
    let steps = prose::steps(&page);
    let folder = tempfile::tempdir().unwrap();
    let script: String =
        steps.iter().map(|(commands, _)| format!("{commands}echo '{MARK}'\n")).collect();
    // Whatever is left of it ends with the shell.
    let script = format!("exec 2>&1\ntrap 'kill $AGENT $BROKER 2> left' EXIT\n{script}");
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).current_dir(folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    let path = std::env::var("PATH").unwrap();
    let own = binary().parent().unwrap().display().to_string();
    bash.env("PATH", format!("{own}:{path}")).env_remove("RUST_LOG");
    bash.env("REPOSITORY", Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
    let output = tokio::time::timeout(PATIENCE, bash.output()).await.expect("it ends").unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<&str> = out.split(&format!("{MARK}\n")).collect();
    assert_eq!(printed.len(), steps.len() + 1, "{out}");
    for ((commands, said), found) in steps.iter().zip(printed) {
        let said = said.unwrap_or_default();
        let fits = prose::lines_match(said, found);
        assert!(fits, "{commands}\nthe page says:\n{said}\nit was:\n{found}");
    }
    assert!(steps.len() > 8, "{}", steps.len());
}
