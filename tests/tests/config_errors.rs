//! The real binary and configurations that are wrong: exit 78, the place and the remedy on
//! standard error, and nothing else tried.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use spillway_tests::gateway::binary;
use tempfile::TempDir;

const LANE: &str = "[[lane]]\nname = \"main\"\ntopic = \"t\"\n";
const UPSTREAM: &str =
    "[upstream]\nendpoint = \"https://mq.example\"\naccess_key_id = \"id\"\naccess_key_secret = ";

struct Setup(TempDir);

impl Setup {
    fn new(text: &str) -> Self {
        let setup = Self(tempfile::tempdir().unwrap());
        // Its own id, so that a machine without one can run this.
        let text = format!("gateway.id = \"gw\"\n{text}");
        std::fs::write(setup.file(), text).unwrap();
        setup
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("spillway.toml")
    }

    fn run(&self, command: &str) -> Output {
        let mut spillway = Command::new(binary());
        spillway.args([command, "--config"]).arg(self.file());
        spillway.env_remove("CREDENTIALS_DIRECTORY").output().unwrap()
    }

    /// Both commands that need the whole file refuse it in the same words.
    #[track_caller]
    fn refused(&self, faults: &[&str]) {
        for command in ["check", "run"] {
            let output = self.run(command);
            let said = String::from_utf8(output.stderr).unwrap();
            let said = said.replace(&format!("{}/", self.0.path().display()), "");
            assert_eq!(output.status.code(), Some(78), "{command}: {said}");
            assert_eq!(said.lines().collect::<Vec<_>>(), faults, "{command}");
            assert!(output.stdout.is_empty(), "{command}");
        }
    }
}

#[test]
fn a_good_file_passes() {
    let output = Setup::new(LANE).run("check");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("valid"));
}

#[test]
fn a_missing_file_names_itself() {
    let setup = Setup::new("");
    std::fs::remove_file(setup.file()).unwrap();
    setup.refused(&["spillway.toml: cannot be read: No such file or directory (os error 2); \
                     create it, or name another with --config FILE"]);
}

#[test]
fn bad_toml_is_shown_by_line_and_column() {
    Setup::new(&format!("[drain]\nadaptive = maybe\n{LANE}")).refused(&[
        "spillway.toml:3: is not TOML: string values must be quoted, expected literal string; \
         look at column 12",
    ]);
}

#[test]
fn an_unknown_key_is_named_with_what_was_meant() {
    Setup::new(&format!("[drain]\nadaptve = true\n{LANE}"))
        .refused(&["spillway.toml:3: drain.adaptve: is not known; did you mean \"adaptive\"?"]);
}

#[test]
fn several_faults_are_reported_at_once() {
    Setup::new(&format!("[backoff]\ninitial = 5\nmax = \"2 MiB\"\n{LANE}")).refused(&[
        "spillway.toml:3: backoff.initial: is a number without its unit; write for example \"5s\"",
        "spillway.toml:4: backoff.max: has the unit \"MiB\", not ms, s, m, h, d or w; \
         write for example \"2m\"",
    ]);
}

#[test]
fn a_secret_that_cannot_be_read_names_its_file_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("secret");
    let fault = |path: &Path, error: &str, remedy: &str| {
        let path = path.display();
        format!(
            "spillway.toml:5: upstream.access_key_secret: cannot be read from {path}: {error}; {remedy}"
        )
    };
    Setup::new(&format!("{UPSTREAM}{{ file = {missing:?} }}\n{LANE}")).refused(&[&fault(
        &missing,
        "No such file or directory (os error 2)",
        "create it, or let the user that runs the agent read it",
    )]);
    // A folder in a file's place cannot be read by root either.
    Setup::new(&format!("{UPSTREAM}{{ file = {:?} }}\n{LANE}", folder.path())).refused(&[&fault(
        folder.path(),
        "Is a directory (os error 21)",
        "let the user that runs the agent read it",
    )]);
}

#[test]
fn two_default_lanes_name_each_other() {
    let lane = |name: &str| format!("[[lane]]\nname = \"{name}\"\ntopic = \"t\"\ndefault = true\n");
    Setup::new(&format!("{}{}", lane("a"), lane("b")))
        .refused(&["spillway.toml:6: lane.b.default: is true, as in lane a (spillway.toml:2); \
         leave it true in one lane only"]);
}

#[test]
fn http_on_loopback_has_a_token_and_stays_on_this_machine() {
    let text = format!("{LANE}[listen.http]\naddress = \"127.0.0.1:1\"\n");
    Setup::new(&text).refused(&[
        "spillway.toml:5: listen.http.token: is missing, and no [[client]] has one; write token = \
         { file = \"/etc/spillway/http_token\" } (make one: openssl rand -hex 24)",
    ]);
    let open =
        "listen.http.address = \"0.0.0.0:9466\"\nlisten.http.token = \"hidden-0123456789\"\n";
    Setup::new(&format!("{open}{LANE}")).refused(&[
        "spillway.toml:2: listen.http.address: can be reached from other machines, but there is no \
         TLS here: records and the token would cross the network in the clear; have an app there talk \
         to an agent of its own, or to a proxy with TLS on this machine; write for example \
         \"127.0.0.1:9466\"",
    ]);
}

#[test]
fn the_mq_http_front_stays_on_this_machine() {
    let front = "listen.mq_http.address = \"0.0.0.0:8088\"\n\
                 listen.mq_http.access_keys = [{ id = \"app\", secret = \"hidden-one\" }]\n";
    Setup::new(&format!("{front}{LANE}")).refused(&[
        "spillway.toml:2: listen.mq_http.address: can be reached from other machines, but there is \
         no TLS here: records and signed requests would cross the network in the clear; \
         write for example \"127.0.0.1:8088\"",
    ]);
    let output =
        Setup::new(&format!("{}{LANE}", front.replace("0.0.0.0", "127.0.0.1"))).run("check");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!format!("{output:?}").contains("hidden-one"));
}

#[test]
fn others_look_at_metrics_with_a_token_only() {
    let admin = "listen.admin.address = \"0.0.0.0:9465\"\n";
    Setup::new(&format!("{admin}{LANE}")).refused(&[
        "spillway.toml:2: listen.admin.address: 0.0.0.0 can be reached from other machines, but \
         there is no token; add token = { file = \"/etc/spillway/admin_token\" }, or write \
         \"127.0.0.1:9465\"",
    ]);
    let token = "listen.admin.token = \"hidden-one-0123456789\"\n";
    let output = Setup::new(&format!("{admin}{token}{LANE}")).run("check");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!format!("{output:?}").contains("hidden-one"));
}

#[test]
fn no_secret_is_ever_printed() {
    let setup = Setup::new(&format!("{UPSTREAM}\"hidden-one\"\nproxy = \"x\"\n{LANE}"));
    let output = setup.run("check");
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("hidden-one"), "{said}");
    let setup = Setup::new(&format!("{UPSTREAM}\"hidden-one\"\n{LANE}"));
    let output = setup.run("check");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!format!("{output:?}").contains("hidden-one"));
}
