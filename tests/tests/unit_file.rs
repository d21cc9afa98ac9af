//! The systemd unit starts without a network and keeps its word about memory and cores.

fn unit() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/spillway.service");
    let text = std::fs::read_to_string(path).unwrap();
    let settings = text.lines().filter(|line| line.contains('=') && !line.starts_with('#'));
    settings.map(str::to_owned).collect()
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
