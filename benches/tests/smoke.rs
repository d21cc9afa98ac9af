//! Each benchmark runs to its end, on a small scale, and prints figures. What it needs is there
//! after `tests/run` or `benches/run`: the agent's binary, the SDK and the jars.

use std::process::{Command, Stdio};

/// Rows of figures that a benchmark prints with `--smoke`.
#[track_caller]
#[allow(clippy::unwrap_used)] // a benchmark that cannot be run fails its test
fn rows(binary: &str, arguments: &[&str]) -> usize {
    let mut command = Command::new(binary);
    let output = command.args(arguments).arg("--smoke").stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {}\n{text}\n{errors}", output.status);
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    let is_figure = |cell: &str| cell.trim().starts_with(|first: char| first.is_ascii_digit());
    text.lines()
        .filter(|line| line.starts_with("| ") && line.split('|').skip(2).any(is_figure))
        .count()
}

/// Rows that describe the machine and begin with a digit: processor, memory, kernel, date, load.
const MACHINE_ROWS: usize = 5;

#[test]
fn intake_measures_everything_at_every_group() {
    assert_eq!(rows(env!("CARGO_BIN_EXE_intake"), &[]), MACHINE_ROWS + 4 * 6);
}

#[test]
fn peers_measures_everybody_that_needs_no_download() {
    let only = ["--only", "client,sqlite,sled,redis"];
    assert_eq!(rows(env!("CARGO_BIN_EXE_peers"), &only), MACHINE_ROWS + 6);
}

#[test]
fn space_measures_each_kind_of_records_full_and_drained() {
    let only = ["--only", "256,1024,telemetry"];
    assert_eq!(rows(env!("CARGO_BIN_EXE_space"), &only), MACHINE_ROWS + 3);
}

#[test]
fn restart_measures_one_lane_and_four() {
    assert_eq!(rows(env!("CARGO_BIN_EXE_restart"), &[]), MACHINE_ROWS + 2);
}

#[test]
fn resident_measures_idle_busy_and_full_agents() {
    assert_eq!(rows(env!("CARGO_BIN_EXE_resident"), &[]), MACHINE_ROWS + 4 + 4);
}

#[test]
fn damage_is_done_in_every_way() {
    assert_eq!(rows(env!("CARGO_BIN_EXE_damage"), &[]), MACHINE_ROWS + 6);
}

#[test]
fn footprint_measures_memory_and_starts() {
    assert_eq!(rows(env!("CARGO_BIN_EXE_footprint"), &[]), MACHINE_ROWS + 2 + 2 + 3);
}

#[test]
fn reality_measures_the_fleets_processes_and_stands_beside_the_simulation() {
    assert_eq!(rows(env!("CARGO_BIN_EXE_reality"), &[]), MACHINE_ROWS + 4 + 2);
}

#[test]
fn drain_over_http_measures_the_agent_and_the_node_client() {
    let http = ["--transport", "http"];
    assert_eq!(rows(env!("CARGO_BIN_EXE_drain"), &http), MACHINE_ROWS + 4);
}

#[test]
fn drain_over_grpc_measures_the_agent_the_java_client_and_a_bare_loop() {
    let grpc = ["--transport", "grpc"];
    assert_eq!(rows(env!("CARGO_BIN_EXE_drain"), &grpc), MACHINE_ROWS + 5);
}

#[test]
fn consume_measures_the_consumer_and_the_node_consumer() {
    assert_eq!(rows(env!("CARGO_BIN_EXE_consume"), &[]), MACHINE_ROWS + 4);
}

#[test]
fn audit_measures_each_way_of_arrival() {
    assert_eq!(rows(env!("CARGO_BIN_EXE_audit"), &[]), MACHINE_ROWS + 3);
}

#[test]
fn bundles_over_http_are_counted_on_the_wire_and_timed() {
    let http = ["--transport", "http"];
    assert_eq!(rows(env!("CARGO_BIN_EXE_together"), &http), MACHINE_ROWS + 2 * 6);
}

#[test]
fn idle_counts_reports_and_pulls_over_both_transports() {
    assert_eq!(rows(env!("CARGO_BIN_EXE_idle"), &[]), MACHINE_ROWS + 2 * 5);
}

#[test]
fn bundles_and_batches_over_grpc_are_counted_and_timed_beside_both_java_clients() {
    let grpc = ["--transport", "grpc"];
    assert_eq!(rows(env!("CARGO_BIN_EXE_together"), &grpc), MACHINE_ROWS + 8 + 8 + 2);
}
