//! `spillway plan`, the real binary: text, JSON, plot, faults; and what `status` says of a lane
//! that drains one message a round trip.

use std::path::Path;
use std::process::{Command, Output};

use quick_xml::events::Event;
use spillway_tests::gateway::{Gateway, binary};

/// A fleet that is simulated in a second without optimisation.
const SMALL: [&str; 6] = ["plan", "--gateways", "20", "--outage", "5m", "--rate=30/min"];

fn plan(more: &[&str]) -> Output {
    Command::new(binary()).args(SMALL).args(more).output().unwrap()
}

#[track_caller]
fn good(more: &[&str]) -> String {
    let output = plan(more);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), &*told), (Some(0), ""), "{more:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(more: &[&str], words: &[&str]) {
    let output = Command::new(binary()).arg("plan").args(more).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{more:?}: {told}");
    assert!(output.stdout.is_empty(), "{more:?}");
    for words in words {
        assert!(told.contains(words), "{words} in {told}");
    }
}

#[test]
fn an_operator_reads_it_in_a_terminal() {
    let text = good(&["--way", "naive"]);
    for words in [
        "THE FLEET",
        "20, 0.50 records/s each",
        "all of it; seed 1",
        "times the capacity",
        "a perfect drain takes 5m",
        "WAY TO RETURN",
        "naive",
        "1,232 B",
        "deleted unread          nothing",
        "SETTINGS THAT FIT",
    ] {
        assert!(text.contains(words), "{words} in {text}");
    }
    let wide = text.lines().filter(|line| line.chars().count() > 100);
    assert_eq!(wide.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_same_question_and_seed_have_the_same_answer_byte_for_byte() {
    let ask = |seed: &str| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plan.svg");
        let json = good(&["--json", "--seed", seed, "--seeds=2", "--svg", file.to_str().unwrap()]);
        (json, std::fs::read_to_string(file).unwrap())
    };
    let first = ask("7");
    assert_eq!(first, ask("7"));
    assert_ne!(first.0, ask("8").0);
}

#[test]
fn json_has_every_figure_with_its_unit() {
    let answer: serde_json::Value = serde_json::from_str(&good(&["--json"])).unwrap();
    for pointer in [
        "/fleet/backlog_records",
        "/broker/capacity_messages_per_s",
        "/simulated/gateways",
        "/ways/0/peak_messages_per_s",
        "/ways/0/last_gateway_drained_s",
        "/ways/0/load_messages_per_s/0",
        "/wire/daily_bytes_per_gateway",
        "/wire/backlog_requests",
        "/consumer/least_rows_per_s",
        "/disk/outage_bytes_of_the_heaviest",
    ] {
        assert!(answer.pointer(pointer).is_some_and(serde_json::Value::is_number), "{pointer}");
    }
    assert_eq!(answer["fleet"]["backlog_records"], 3000.0);
    assert_eq!(answer["ways"].as_array().unwrap().len(), 1);
    assert!(answer["ways"][0]["stopped_by"].is_null() && answer["ways"][0]["events"].is_number());
}

#[test]
fn the_plot_is_well_formed_and_shows_the_usual_ways() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.svg");
    good(&["--svg", file.to_str().unwrap()]);
    let svg = std::fs::read_to_string(&file).unwrap();
    let mut reader = quick_xml::Reader::from_str(&svg);
    let (mut depth, mut curves) = (0, 0);
    loop {
        match reader.read_event().unwrap() {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth -= 1,
            Event::Empty(element) => {
                element.attributes().for_each(|attribute| drop(attribute.unwrap()));
                curves += u32::from(element.name().as_ref() == "polyline");
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!((depth, curves), (0, 4), "ours, naive, exponential, full jitter");
}

#[test]
fn what_cannot_be_planned_is_refused_with_what_would_be_right() {
    refused(
        &["--gateways=20", "--capacity=9"],
        &["never drains", "--capacity 12", "20 in its own length"],
    );
    refused(
        &["--gateways=100000", "--rate=30/min", "--capacity=50100"],
        &["only 1.0020 times", "--capacity 60000", "100000 in its own length", "--bundle"],
    );
    refused(&["--batch", "64"], &["--transport grpc", "--bundle"]);
    refused(&["--batch", "64", "--transport", "grpc", "--order", "key"], &["--order none"]);
    refused(&["--outage", "5"], &["has no unit"]);
    refused(&["--rate", "0"], &["30/min"]);
    refused(&["--bundle", "1"], &["2..=512"]);
    refused(&["--retention", "3 months"], &["ms, s, m, h, d or w"]);
    let output = plan(&["--svg", "/nowhere/plan.svg"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("/nowhere/plan.svg: the plot cannot be written"), "{told}");
}

fn check(folder: &Path) -> Output {
    let file = folder.join("spillway.toml");
    Command::new(binary()).args(["check", "--config"]).arg(file).output().unwrap()
}

/// In a file of their own, and in conf.d beside the default file.
#[test]
fn check_takes_the_settings() {
    let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/spillway.toml");
    let packaged = std::fs::read_to_string(packaged).unwrap();
    let text = good(&["--bundle", "64", "--linger", "10s"]);
    let settings = text.split("SETTINGS THAT FIT\n").nth(1).unwrap().split("\n\n").next().unwrap();
    assert!(settings.contains("bundle = "), "{settings}");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("spillway.toml", &format!("gateway.id = \"gw\"\n{settings}"));
    let output = check(folder.path());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    write("spillway.toml", &format!("gateway.id = \"gw\"\n{packaged}").replace("[gateway]", ""));
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    write("conf.d/50-plan.toml", settings);
    let output = check(folder.path());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_configurations_lanes_are_judged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spillway.toml");
    let text = "gateway.id = \"gw\"\n[drain]\nrecords_per_second = 3\n\
                [[lane]]\nname = \"bulk\"\ntopic = \"readings\"\ndefault = true\n\
                [[lane]]\nname = \"orders\"\ntopic = \"orders\"\norder = \"lane\"\n";
    std::fs::write(&file, text).unwrap();
    let output = plan(&["--config", file.to_str().unwrap(), "--round-trip", "500ms"]);
    let text = String::from_utf8(output.stdout).unwrap().replace("\n  ", " ");
    assert_eq!(output.status.code(), Some(0), "{text}");
    for words in [
        "lane orders (order = \"lane\") drains one message a round trip",
        "2.0 a second",
        "[drain] records_per_second = 3 is less",
        "topic = \"readings\"",
    ] {
        assert!(text.contains(words), "{words} in {text}");
    }
}

#[tokio::test]
async fn status_says_why_a_waiting_lane_of_one_order_is_slow() {
    // Nobody listens there.
    let settings = "[upstream]\nendpoint = \"http://127.0.0.1:9\"\naccess_key_id = \"a\"\n\
                    access_key_secret = \"b\"\n\
                    [[lane]]\nname = \"orders\"\ntopic = \"orders\"\norder = \"lane\"\n";
    let mut gateway = Gateway::new(settings);
    gateway.start_ready().await;
    let config = gateway.file("spillway.toml").display().to_string();
    let spillway = |arguments: &[&str]| {
        let output = Command::new(binary()).args(arguments).args(["--config", &config]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let hint = "lane orders: order = \"lane\" drains one message a round trip";
    let file = gateway.file("lines");
    let lines = file.to_str().unwrap();
    std::fs::write(&file, "one\ntwo\n").unwrap();
    spillway(&["send", "--lines", lines]);
    assert!(!spillway(&["status"]).contains(hint), "two records are no backlog");
    std::fs::write(&file, "record\n".repeat(40)).unwrap();
    spillway(&["send", "--lines", lines]);
    let status = spillway(&["status"]);
    assert!(status.contains(hint), "{status}");
}
