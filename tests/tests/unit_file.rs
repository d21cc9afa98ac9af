//! The systemd units start without a network, keep their word about memory and cores, and stand up to
//! systemd's own judgement. Needs systemd-analyze and strace, not a running systemd.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use spillway_tests::app::{drafts, hand_over};
use spillway_tests::broker::{HttpBroker, INSTANCE, KEY, SECRET};
use spillway_tests::gateway::{Gateway, PATIENCE, binary};
use spillway_tests::ledger::Ledger;

/// Highest exposure that `systemd-analyze security` may see, in tenths; docs/install.md has it.
const EXPOSURE_MAX: u32 = 15;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(name)
}

fn settings(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(path(name)).unwrap();
    let settings = text.lines().filter(|line| line.contains('=') && !line.starts_with('#'));
    settings.map(str::to_owned).collect()
}

fn unit() -> Vec<String> {
    settings("spillway.service")
}

#[test]
fn nothing_in_the_unit_waits_for_a_network() {
    for line in unit() {
        let (name, value) = line.split_once('=').unwrap();
        let orders = ["After", "Wants", "Requires", "BindsTo", "Requisite", "PartOf"];
        assert!(!orders.contains(&name) || !value.contains("network"), "{line}");
    }
}

#[test]
fn the_unit_never_gives_up_and_leaves_no_core() {
    let unit = unit();
    for line in [
        "Type=notify",
        "ExecStart=/usr/bin/spillway run --resilient --config /etc/spillway/spillway.toml",
        "ExecReload=/usr/bin/spillway reload --config /etc/spillway/spillway.toml",
        "WatchdogSec=60s",
        "Restart=always",
        "StartLimitIntervalSec=0",
        "RuntimeDirectoryPreserve=yes",
        "StateDirectory=spillway",
        "LimitCORE=0",
        "Environment=MALLOC_ARENA_MAX=1",
        "Environment=MALLOC_MMAP_THRESHOLD_=131072",
    ] {
        assert!(unit.iter().any(|found| found == line), "{line} is missing");
    }
}

#[test]
fn the_socket_is_where_the_configuration_has_it_and_never_gives_up() {
    let socket = settings("spillway.socket");
    let configuration = std::fs::read_to_string(path("spillway.toml")).unwrap();
    let configured = configuration.lines().find_map(|line| line.strip_prefix("#socket = "));
    let listen = format!("ListenStream={}", configured.unwrap().trim_matches('"'));
    let mode = configuration.lines().find_map(|line| line.strip_prefix("#mode = "));
    let mode = format!("SocketMode={}", mode.unwrap().trim_matches('"'));
    for line in [listen.as_str(), &mode, "FileDescriptorName=intake", "TriggerLimitIntervalSec=0"] {
        assert!(socket.iter().any(|found| found == line), "{line} is missing");
    }
}

/// What `systemd-analyze` says.
fn analyzed(words: &[&str], files: &[PathBuf]) -> (bool, String) {
    let missing = "systemd-analyze is missing: apt-get install systemd";
    let output = Command::new("systemd-analyze").args(words).args(files).output().expect(missing);
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let built = binary().display().to_string();
    // It looks whether the program is there.
    let files = ["spillway.service", "spillway.socket"].map(|name| {
        let text = std::fs::read_to_string(path(name)).unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, text.replace("/usr/bin/spillway", &built)).unwrap();
        file
    });
    assert_eq!(analyzed(&["verify"], &files), (true, String::new()));
    let text = std::fs::read_to_string(&files[0]).unwrap();
    std::fs::write(&files[0], text.replace("WatchdogSec=", "WatchdogSecond=")).unwrap();
    let (_, said) = analyzed(&["verify"], &files);
    assert!(said.contains("WatchdogSecond"), "{said}");
}

#[test]
fn the_service_is_exposed_as_little_as_the_documentation_says() {
    let judged = |tenths: u32| {
        let threshold = format!("--threshold={tenths}");
        let words = ["security", "--offline=yes", "--no-pager", threshold.as_str()];
        analyzed(&words, &[path("spillway.service")])
    };
    let (fine, said) = judged(EXPOSURE_MAX);
    assert!(fine, "{said}");
    assert!(!judged(EXPOSURE_MAX - 1).0, "it is less: change it here and in docs/install.md");
    let score = format!("{}.{}", EXPOSURE_MAX / 10, EXPOSURE_MAX % 10);
    let docs = std::fs::read_to_string(path("../docs/install.md")).unwrap();
    assert!(docs.contains(&format!("exposure {score}")), "docs/install.md says something else");
}

/// The system calls of a set that systemd knows, such as `@system-service`.
fn calls(set: &str) -> BTreeSet<String> {
    let (known, said) = analyzed(&["syscall-filter", set], &[]);
    assert!(known, "{said}");
    let words = said.lines().skip(1).map(str::trim).filter(|line| !line.starts_with('#'));
    words
        .flat_map(|word| match word.starts_with('@') {
            true => calls(word),
            false => [word.to_owned()].into(),
        })
        .collect()
}

/// Those that the unit lets through.
fn let_through() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for line in unit() {
        let Some(filter) = line.strip_prefix("SystemCallFilter=") else { continue };
        for set in filter.trim_start_matches('~').split(' ') {
            match filter.starts_with('~') {
                true => all = &all - &calls(set),
                false => all.extend(calls(set)),
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_lets_through_what_the_agent_calls() {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let file = trace.path().to_str().unwrap();
    let broker = HttpBroker::start().await;
    let upstream =
        format!("[upstream]\nendpoint = \"{}\"\ninstance_id = \"{INSTANCE}\"\n", broker.endpoint());
    let mut gateway = Gateway::new("");
    let command = gateway.file("get-key");
    let script = format!(
        "#!/bin/sh\ncurl -sf -o /dev/null {}/_keys && date >&2 && cat <<END\n\
         {{\"access_key_id\": \"{KEY}\", \"access_key_secret\": \"{SECRET}\"}}\nEND\n",
        broker.endpoint()
    );
    std::fs::write(&command, script).unwrap();
    std::fs::set_permissions(&command, Permissions::from_mode(0o700)).unwrap();
    gateway.configure(&format!(
        "{upstream}credential_command = [{command:?}]\n[drain]\nreconnect_spread = \"0s\"\n[audit]\n[report]\ntopic = \"report\"\n\
         [[lane]]\nname = \"main\"\ntopic = \"main\"\n"
    ));
    gateway = gateway.wrapped(&["strace", "-f", "-qq", "-o", file, "--"]);
    let pid = gateway.start_ready().await.pid;
    hand_over(&gateway.socket(), &Ledger::default(), "main", drafts("r", 0..50)).await;
    gateway.until_delivered(PATIENCE).await;
    gateway.terminate(pid);
    assert!(gateway.ended(Duration::from_secs(60)).await.success());
    let text = std::fs::read_to_string(trace.path()).unwrap();
    let named = text.lines().filter_map(|line| {
        let (name, _) = line.split_once(char::is_whitespace)?.1.trim_start().split_once('(')?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        (!name.is_empty() && name.chars().all(is_name)).then(|| name.to_owned())
    });
    let used: BTreeSet<String> = named.collect();
    assert!(used.contains("execve") && used.contains("dup2"), "{used:?}");
    assert!(used.contains("accept4") && used.contains("fdatasync"), "{used:?}");
    assert_eq!(&used - &let_through(), BTreeSet::new());
}
