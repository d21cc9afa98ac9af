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

/// The page's blocks of commands, each with what it says they print.
fn steps(page: &str) -> Vec<(&str, Option<&str>)> {
    let blocks = prose::blocks(page);
    let said =
        |n: usize| blocks.get(n + 1).filter(|(kind, _)| *kind == "text").map(|(_, said)| *said);
    let shell = blocks.iter().enumerate().filter(|(_, (kind, _))| *kind == "sh");
    shell.map(|(n, (_, commands))| (*commands, said(n))).collect()
}

/// Lines of `found` of which the page says nothing are left out where it begins a line anew.
fn lines_match(said: &str, found: &str) -> bool {
    let mut found = found.lines();
    said.lines().all(|said| found.by_ref().any(|found| prose::matches(said, found)))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_true_from_its_first_command_to_its_last() {
    let text = prose::page("getting-started.md");
    let (broker, admin) = (port::free().to_string(), port::free().to_string());
    let page = text.replace("8088", &broker).replace("9465", &admin);
    let steps = steps(&page);
    let folder = tempfile::tempdir().unwrap();
    let script: String =
        steps.iter().map(|(commands, _)| format!("{commands}echo '{MARK}'\n")).collect();
    // Whatever is left of it ends with the shell.
    let script = format!("trap 'kill $AGENT $BROKER 2> left' EXIT\n{script}");
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).current_dir(folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    let path = std::env::var("PATH").unwrap();
    let own = binary().parent().unwrap().display().to_string();
    bash.env("PATH", format!("{own}:{path}")).env_remove("RUST_LOG");
    bash.env("REPOSITORY", Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
    let output = tokio::time::timeout(PATIENCE, bash.output()).await.expect("it ends").unwrap();
    let (out, err) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let printed: Vec<&str> = out.split(&format!("{MARK}\n")).collect();
    assert_eq!(printed.len(), steps.len() + 1, "{out}\n{err}");
    for ((commands, said), found) in steps.iter().zip(printed) {
        let said = said.unwrap_or_default();
        // A wrong file is told on standard error, in the order of the page.
        let both = format!("{err}{found}");
        let fits = lines_match(said, if commands.contains("wrong.toml") { &both } else { found });
        assert!(fits, "{commands}\nthe page says:\n{said}\nit was:\n{found}\n{err}");
    }
    assert!(steps.len() > 8, "{}", steps.len());
}

#[test]
fn what_the_page_says_has_to_be_printed() {
    assert!(lines_match("a\nc…\n", "a\nb\ncd\n"));
    assert!(!lines_match("c\na\n", "a\nb\nc\n") && !lines_match("a\n", "ab\n"));
}
