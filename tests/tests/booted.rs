//! The package on a Debian whose systemd runs as first process: the units as they are shipped start
//! the agent, keep it and its sockets over restarts, upgrades, freezes and failures, and its sandbox
//! is what it says. Needs root, debootstrap's folder, control groups of version 2, iproute2 and curl.

use std::time::Duration;

use serde_json::Value;
use spillway_tests::app::{Crowd, Habit, drafts, hand_over};
use spillway_tests::arrival::Arrival;
use spillway_tests::broker::{HttpBroker, INSTANCE, KEY, SECRET};
use spillway_tests::debian::CONFIG;
use spillway_tests::ledger::Ledger;
use spillway_tests::machine::{Machine, SERVICE};
use spillway_tests::namespace::Namespace;
use spillway_tests::oracle;
use spillway_tests::relay::Relay;
use tokio::time::sleep;

/// Another test program has the networks from 1 up.
const NETWORK: u8 = 210;
const PORT: u16 = 7_071;
const LANES: &str = "[[lane]]\nname = \"main\"\ntopic = \"main\"\ndefault = true\n\
                     [[lane]]\nname = \"keyed\"\ntopic = \"keyed\"\norder = \"key\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn installed_it_runs_and_so_it_does_after_the_next_boot_until_it_is_purged() {
    let machine = Machine::start(&[]).await;
    for (name, value) in [("ActiveState", "active"), ("SubState", "running"), ("Type", "notify")] {
        assert_eq!(machine.property(name), value);
    }
    assert!(machine.property("StatusText").starts_with("records are taken in; 0 wait"));
    machine.send();
    assert_eq!(machine.booted.property("spillway.socket", "ActiveState"), "active");

    let machine = machine.boots_again().await;
    machine.until_active().await;
    assert_eq!((machine.accepted(), machine.property("NRestarts").as_str()), (1, "0"));
    machine.send();
    let journal = machine.booted.said(&["journalctl", "--no-pager", "-u", SERVICE]);
    // systemd 247 of Debian 11 has the other word.
    let ended = ["spillway.service: Deactivated successfully", "spillway.service: Succeeded"];
    assert!(ended.iter().any(|word| journal.contains(word)), "{journal}");

    machine.booted.said(&["dpkg", "--purge", "spillway"]);
    let (_, said) = machine.booted.tried(&["systemctl", "is-active", SERVICE, "spillway.socket"]);
    assert_eq!(said, "inactive\ninactive\n");
    for gone in ["/run/spillway", "/var/lib/spillway"] {
        assert!(!machine.booted.path(gone).exists(), "{gone}");
    }
    let failed = machine.booted.said(&["systemctl", "--failed", "--plain", "--no-legend"]);
    assert_eq!(failed, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_agent_is_killed_by_the_watchdog_and_another_goes_on() {
    let machine = Machine::start(&[]).await;
    machine.edit(SERVICE, "[Service]\nWatchdogSec=8s\n");
    machine.booted.said(&["systemctl", "restart", SERVICE]);
    machine.send();
    let frozen = machine.property("MainPID");
    assert_eq!(machine.property("WatchdogUSec"), "8s");
    // Idle as it is, it feeds the watchdog.
    sleep(Duration::from_secs(10)).await;
    assert_eq!((machine.property("MainPID"), machine.property("NRestarts")), (frozen, "0".into()));
    machine.booted.said(&["systemctl", "kill", "-s", "STOP", "--kill-who=main", SERVICE]);
    machine.until("NRestarts", |count| count == "1").await;
    machine.until_active().await;
    let journal = machine.booted.said(&["journalctl", "--no-pager", "-u", SERVICE]);
    assert!(journal.contains("Watchdog timeout (limit 8s)"), "{journal}");
    assert!(!journal.contains("dumped core"), "{journal}");
    assert_eq!(machine.accepted(), 1);
    machine.send();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_fails_at_once_is_started_for_ever_and_apps_wait_meanwhile() {
    let machine = Machine::start(&[]).await;
    machine.send();
    machine.edit(SERVICE, "[Service]\nRestartSec=100ms\n");
    machine.booted.said(&["mv", "/usr/bin/spillway", "/usr/bin/spillway.away"]);
    machine.booted.said(&["systemctl", "kill", "-s", "KILL", SERVICE]);
    // systemd would have given up after 5 within 10 s, the socket after 20 within 2 s.
    let socket = machine.socket();
    let app = tokio::spawn(async move {
        hand_over(&socket, &Ledger::default(), "main", drafts("r", 0..1)).await;
    });
    machine.until("NRestarts", |count| count.parse::<u32>().unwrap() > 30).await;
    assert!(!app.is_finished());
    assert_eq!(machine.booted.property("spillway.socket", "Result"), "success");
    machine.booted.said(&["mv", "/usr/bin/spillway.away", "/usr/bin/spillway"]);
    app.await.unwrap();
    machine.until_active().await;
    assert_eq!(machine.accepted(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_a_change_and_a_bad_file_fails_and_changes_nothing() {
    let machine = Machine::start(&[]).await;
    let shipped = std::fs::read_to_string(machine.booted.path(CONFIG)).unwrap();
    let pid = machine.property("MainPID");
    let lanes = |machine: &Machine| -> Vec<String> {
        let status = machine.status();
        let lanes = status["lanes"].as_array().unwrap().iter();
        lanes.map(|lane| lane["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(lanes(&machine), ["main"]);
    machine.booted.write(CONFIG, &format!("{shipped}\n[[lane]]\nname = \"more\"\ntopic = \"m\"\n"));
    machine.booted.said(&["systemctl", "reload", SERVICE]);
    assert!(lanes(&machine).contains(&"more".to_owned()));
    machine.booted.write(CONFIG, "[[lane]]\nname = \n");
    let (fine, _) = machine.booted.tried(&["systemctl", "reload", SERVICE]);
    assert!(!fine, "a bad file was taken");
    let journal = machine.booted.said(&["journalctl", "--no-pager", "-u", SERVICE]);
    assert!(journal.contains("spillway.toml:2"), "{journal}");
    assert!(lanes(&machine).contains(&"more".to_owned()));
    // Nor does the bad file keep the next agent from starting.
    machine.booted.said(&["systemctl", "restart", SERVICE]);
    assert!(lanes(&machine).contains(&"more".to_owned()));
    assert_ne!(machine.property("MainPID"), pid);
    assert_eq!(machine.property("ActiveState"), "active");
}

/// The units in docs/install.md for the control socket and, after its words, for `[listen.http]`.
fn further_sockets() -> [(&'static str, String); 2] {
    let page = std::fs::read_to_string("../docs/install.md").unwrap();
    let (_, rest) = page.split_once("```ini\n").unwrap();
    let control = rest.split_once("```").unwrap().0.to_owned();
    let kept = |line: &&str| {
        !["SocketUser", "SocketGroup", "SocketMode"].iter().any(|n| line.starts_with(n))
    };
    let http: Vec<&str> = control.lines().filter(kept).collect();
    let http = http.join("\n").replace("/run/spillway/control.sock", "127.0.0.1:9466");
    let http = http.replace("FileDescriptorName=control", "FileDescriptorName=http");
    [("spillway-control.socket", control), ("spillway-http.socket", http)]
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_holds_the_control_socket_and_the_http_address_too() {
    let machine = Machine::start(&[]).await;
    let shipped = std::fs::read_to_string(machine.booted.path(CONFIG)).unwrap();
    let token = "0123456789abcdef-tcp";
    let http = format!("[listen.http]\naddress = \"127.0.0.1:9466\"\ntoken = \"{token}\"\n");
    machine.booted.write(CONFIG, &format!("{shipped}\n{http}"));
    let units = further_sockets();
    for (name, text) in &units {
        machine.booted.write(&format!("/etc/systemd/system/{name}"), text);
    }
    let all = ["spillway.socket", units[0].0, units[1].0];
    machine.booted.said(&["systemctl", "stop", "spillway.socket", SERVICE]);
    machine.booted.said(&["systemctl", "daemon-reload"]);
    machine.booted.said(&["systemctl", "enable", "--now", all[0], all[1], all[2], SERVICE]);
    assert!(machine.curl(token).wait().unwrap().success());
    assert!(!machine.curl("another").wait().unwrap().success());
    let journal = machine.booted.said(&["journalctl", "--no-pager", "-u", SERVICE]);
    assert!(!journal.contains("ERROR"), "{journal}");
    // An app that comes while the agent is away waits at the address, and starts it.
    for stop in ["stop", "kill"] {
        match stop {
            "stop" => drop(machine.booted.said(&["systemctl", "stop", SERVICE])),
            _ => drop(machine.booted.said(&["systemctl", "kill", "-s", "KILL", SERVICE])),
        }
        assert!(machine.curl(token).wait().unwrap().success(), "after {stop}");
        // So does an operator, at the other one.
        assert!(machine.booted.said(&["spillway", "upgrade"]).contains("level 2"));
    }
    assert_eq!(machine.accepted(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_is_what_the_unit_says() {
    let machine = Machine::start(&[]).await;
    let pid = machine.property("MainPID");
    let status = machine.booted.said(&["cat", &format!("/proc/{pid}/status")]);
    let has = |line: &str| status.lines().any(|found| found == line);
    assert!(has("NoNewPrivs:\t1") && has("Seccomp:\t2"), "{status}");
    for set in ["CapEff", "CapPrm", "CapBnd", "CapAmb"] {
        assert!(has(&format!("{set}:\t0000000000000000")), "{set}: {status}");
    }
    let limits = machine.booted.said(&["cat", &format!("/proc/{pid}/limits")]);
    let limit = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(limit("Max core file size").split_whitespace().any(|word| word == "0"), "{limits}");
    assert!(limit("Max open files").contains("16384"), "{limits}");
    // As its mounts have it, even for root.
    let inside = |words: &[&str]| {
        let enter = ["nsenter", "--mount", "--target", pid.as_str(), "--"];
        machine.booted.tried(&[&enter[..], words].concat())
    };
    for path in ["/etc/x", "/usr/x", "/var/x", "/home/x", "/opt/x"] {
        let (fine, said) = inside(&["touch", path]);
        assert!(!fine && said.contains("Read-only file system"), "{path}: {said}");
    }
    for path in ["/var/lib/spillway/x", "/run/spillway/x", "/tmp/x"] {
        assert_eq!(
            inside(&["sh", "-c", &format!("touch {path} && rm {path}")]),
            (true, String::new())
        );
    }
}

/// With the broker at the far end, and a key that comes so.
fn with_upstream(machine: &Machine, far: &str, how: &str) {
    let text = format!(
        "[upstream]\ntransport = \"http\"\nendpoint = \"http://{far}:{PORT}\"\nplaintext = true\n\
         instance_id = \"{INSTANCE}\"\n{how}\n[drain]\nadaptive = false\n\
         bytes_per_second = \"1 GiB\"\nreconnect_spread = \"0s\"\n\
         [backoff]\ninitial = \"50ms\"\nmax = \"200ms\"\n{LANES}"
    );
    machine.booted.write(CONFIG, &text);
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_in_a_container_send_on_over_restarts_kills_and_an_upgrade_and_nothing_is_lost() {
    let network = Namespace::numbered(NETWORK);
    let (broker, ledger) = (HttpBroker::start().await, Ledger::default());
    let far = network.far();
    let _relay = Relay::between((far.into(), PORT), broker.port(), Duration::ZERO).await;
    let machine = Machine::start(&network.wrapper()).await;
    // Root's alone: systemd passes it.
    let secret = "/etc/spillway/upstream_secret";
    machine.booted.write(secret, SECRET);
    machine.booted.said(&["chmod", "0600", secret]);
    let how =
        format!("access_key_id = \"{KEY}\"\naccess_key_secret = {{ credential = \"upstream\" }}");
    with_upstream(&machine, &far.to_string(), &how);
    let load = format!("LoadCredential=upstream:{secret}");
    machine.edit(SERVICE, &format!("[Service]\n{load}\nRestartSec=100ms\n"));
    machine.booted.said(&["systemctl", "restart", SERVICE]);
    let words = ["systemd-run", "--pipe", "--wait", "-p", "User=spillway", "-p", &load];
    let doctor = ["spillway", "check", "--connect"];
    let said = machine.booted.said(&[&words[..], &doctor].concat());
    assert!(!said.contains("BAD"), "{said}");

    let inodes = machine.inodes();
    let mount = machine.mounted_elsewhere();
    let mut crowd = Crowd::new(&ledger, &mount.join("spillway.sock"), 7);
    crowd.client(Habit::brisk("a", "main"));
    crowd.client(Habit { order_keys: 5, ..Habit::brisk("c", "keyed") });
    let pause_max = Duration::from_millis(80);
    crowd.ndjson(Habit { window: 20, pause_max, ..Habit::brisk("e", "main") });
    for (nth, words) in [
        &["systemctl", "restart", SERVICE][..],
        &["systemctl", "kill", "-s", "KILL", SERVICE],
        // The next app starts it.
        &["systemctl", "stop", SERVICE],
        &["systemctl", "reload-or-restart", SERVICE],
        &["upgrade"],
        &["systemctl", "restart", SERVICE],
    ]
    .into_iter()
    .enumerate()
    {
        let before = ledger.acknowledged("main");
        match words {
            ["upgrade"] => machine.install("0.1.0~2"),
            words => drop(machine.booted.said(words)),
        }
        while ledger.acknowledged("main") < before + 100 {
            sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(machine.inodes(), inodes, "after {words:?}, the {nth}th");
    }
    crowd.stop().await;
    until_delivered(&machine).await;
    check(&ledger, &broker.arrivals(&["main", "keyed"]));
}

async fn until_delivered(machine: &Machine) {
    let done = |said: &str| {
        let status: Value = serde_json::from_str(said).unwrap_or_default();
        let lanes = status["lanes"].as_array().map(Vec::as_slice).unwrap_or_default();
        !lanes.is_empty() && lanes.iter().all(|lane| lane["delivered"] == lane["accepted"])
    };
    machine.booted.until(&["spillway", "status", "--json"], done).await;
}

fn check(ledger: &Ledger, arrived: &[Arrival]) {
    let sent = ledger.snapshot();
    oracle::assert_none("losses", &oracle::losses(&sent, arrived));
    oracle::assert_none("gaps", &oracle::gaps(arrived));
    oracle::assert_none("order of the keys", &oracle::disorder(&sent, arrived, order_key));
    println!("{} arrivals of {} records", arrived.len(), sent.len());
}

fn order_key(arrival: &Arrival) -> Option<&str> {
    arrival.order_key.as_deref()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_brings_the_key_runs_in_the_sandbox() {
    let network = Namespace::numbered(NETWORK + 1);
    let (broker, ledger) = (HttpBroker::start().await, Ledger::default());
    let far = network.far();
    let _relay = Relay::between((far.into(), PORT), broker.port(), Duration::ZERO).await;
    let machine = Machine::start(&network.wrapper()).await;
    let program = "/usr/local/bin/get-key";
    let script = format!(
        "#!/bin/sh\nid -un >&2\ncat <<END\n{{\"access_key_id\": \"{KEY}\", \
         \"access_key_secret\": \"{SECRET}\"}}\nEND\n"
    );
    machine.booted.write(program, &script);
    machine.booted.said(&["chmod", "0755", program]);
    let how = format!("credential_command = [\"{program}\"]");
    with_upstream(&machine, &far.to_string(), &how);
    machine.booted.said(&["systemctl", "reload", SERVICE]);
    hand_over(&machine.socket(), &ledger, "main", drafts("r", 0..20)).await;
    until_delivered(&machine).await;
    check(&ledger, &broker.arrivals(&["main"]));
}

/// As docs/install.md tells it.
#[tokio::test(flavor = "multi_thread")]
async fn the_queue_moves_to_another_place() {
    let machine = Machine::start(&[]).await;
    machine.send();
    let page = std::fs::read_to_string("../docs/install.md").unwrap();
    let (_, rest) = page.split_once("`data_dir = \"/data/spillway\"`, and:\n\n```sh\n").unwrap();
    let (steps, _) = rest.split_once("```").unwrap();
    let (first, rest) = steps.split_once("systemctl edit spillway ").unwrap();
    let edited = rest.lines().map_while(|line| Some(line.trim_start().strip_prefix("# ")?.trim()));
    let edited: Vec<&str> = edited.collect();
    let (_, last) = rest.split_once(edited[edited.len() - 1]).unwrap();
    let shipped = std::fs::read_to_string(machine.booted.path(CONFIG)).unwrap();
    let there = shipped.replace("[gateway]\n", "[gateway]\ndata_dir = \"/data/spillway\"\n");
    machine.booted.said(&["mkdir", "/data"]);
    machine.booted.write(CONFIG, &there);
    machine.booted.said(&["sh", "-ec", first]);
    machine.edit(SERVICE, &edited.join("\n"));
    machine.booted.said(&["sh", "-ec", last]);
    machine.send();
    assert_eq!(machine.accepted(), 2);
    let queue = "/data/spillway/lanes/main";
    assert!(machine.booted.path(queue).exists(), "{queue} is missing");
    assert_eq!(machine.property("NRestarts"), "0");
}
