//! docs/sizing.md says the truth: each of its examples is asked, and answered with these lines.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};

use spillway_tests::gateway::binary;
use spillway_tests::prose;

#[test]
fn every_example_is_answered_as_the_page_says() {
    let page = prose::page("sizing.md");
    let own = binary().parent().unwrap().display().to_string();
    let path = format!("{own}:{}", std::env::var("PATH").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for (commands, said) in prose::steps(&page) {
        let mut bash = Command::new("bash");
        bash.args(["-c", &format!("exec 2>&1\n{commands}")])
            .env("PATH", &path)
            .current_dir(folder.path());
        let output = bash.stdin(Stdio::null()).output().unwrap();
        let found = String::from_utf8(output.stdout).unwrap();
        let said = said.expect(commands);
        assert!(
            prose::lines_match(said, &found),
            "{commands}\nthe page says:\n{said}\nit was:\n{found}"
        );
        compared += 1;
    }
    assert_eq!(compared, 5);
}
