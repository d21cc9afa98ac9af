//! What `packaging/sbom` lists is what the agent's program is made of: every crate that left its name
//! in the program is there, each as Cargo.lock pins it, with its licence.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use spillway_tests::gateway::binary;

const TARGET: &str = "x86_64-unknown-linux-gnu";

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn sbom(target: &str) -> Value {
    let made = Command::new(root().join("packaging/sbom")).arg(target).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    serde_json::from_slice(&made.stdout).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// Name and version of each, with its checksum.
fn listed(sbom: &Value) -> BTreeMap<String, Option<String>> {
    let one = |component: &Value| {
        let key = format!("{}-{}", text(&component["name"]), text(&component["version"]));
        let sum = component["hashes"][0]["content"].as_str().map(str::to_owned);
        (key, sum)
    };
    sbom["components"].as_array().unwrap().iter().map(one).collect()
}

/// The same of all that Cargo.lock pins.
fn pinned() -> BTreeMap<String, Option<String>> {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let value = |package: &str, name: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    let packages = lock.split("[[package]]").skip(1);
    let one = |package: &str| {
        let (name, version) = (value(package, "name")?, value(package, "version")?);
        Some((format!("{name}-{version}"), value(package, "checksum")))
    };
    packages.filter_map(one).collect()
}

/// Crates whose code says where it stood when it panics: `.../registry/src/HOST/NAME-VERSION/...`.
fn in_the_program() -> BTreeSet<String> {
    let program = std::fs::read(binary()).unwrap();
    let text = String::from_utf8_lossy(&program);
    let places = text.split("/registry/src/").skip(1);
    let crates = places.filter_map(|place| place.split('/').nth(1));
    let named = |name: &&str| name.len() < 80 && name.bytes().all(|b| b.is_ascii_graphic());
    crates.filter(named).map(str::to_owned).collect()
}

/// What the examples' features of our own crates bring into a program that is built beside them; not
/// into the one of a package, which is built alone.
fn beside() -> BTreeSet<String> {
    let words = ["tree", "--workspace", "--edges", "normal", "--prefix", "none", "--locked"];
    let tree = Command::new(env!("CARGO")).args(words).current_dir(root()).output().unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8_lossy(&tree.stdout).replace(" v", "-");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn every_crate_in_the_program_is_listed_as_it_is_pinned() {
    let sbom = sbom(TARGET);
    let (listed, pinned, mut found) = (listed(&sbom), pinned(), in_the_program());
    assert!(found.len() > 30, "{found:?}");
    if std::env::var_os("SPILLWAY_BIN").is_none() {
        let beside = beside();
        found.retain(|name| listed.contains_key(name) || !beside.contains(name));
    }
    let missing: Vec<_> = found.iter().filter(|name| !listed.contains_key(*name)).collect();
    assert!(missing.is_empty(), "in the program, and not listed: {missing:?}");
    for (name, sum) in &listed {
        assert_eq!(pinned.get(name), Some(sum), "{name}");
        assert!(sum.is_some() || name.starts_with("spillway-protocol-"), "{name}");
    }
    for name in ["spillway-tests", "tempfile", "rcgen", "proptest", "mysql_async", "protox"] {
        let there = listed.keys().any(|key| key.starts_with(&format!("{name}-")));
        assert!(!there, "{name} is no part of the program");
    }
}

#[test]
fn each_has_a_licence_and_a_place_in_the_graph() {
    let sbom = sbom(TARGET);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!((text(&sbom["bomFormat"]), text(&sbom["specVersion"])), ("CycloneDX", "1.5"));
    let program = &sbom["metadata"]["component"];
    assert_eq!((text(&program["name"]), text(&program["version"])), ("spillway", version));
    let mut refs = BTreeSet::from([text(&program["bom-ref"])]);
    for component in sbom["components"].as_array().unwrap() {
        let licence = text(&component["licenses"][0]["expression"]);
        assert!(!licence.contains("NOASSERTION") && !licence.contains('/'), "{component}");
        assert!(text(&component["purl"]).starts_with("pkg:cargo/"), "{component}");
        assert!(refs.insert(text(&component["bom-ref"])), "{component} is there twice");
    }
    let nodes = sbom["dependencies"].as_array().unwrap();
    let needs: BTreeMap<&str, Vec<&str>> = nodes
        .iter()
        .map(|node| (text(&node["ref"]), node["dependsOn"].as_array().unwrap()))
        .map(|(node, needs)| (node, needs.iter().map(text).collect()))
        .collect();
    // From the program everything is reached, and nothing else.
    let (mut reached, mut next) = (BTreeSet::new(), vec![text(&program["bom-ref"])]);
    while let Some(node) = next.pop() {
        if reached.insert(node) {
            next.extend(&needs[node]);
        }
    }
    assert_eq!(reached, refs);
}

#[test]
fn it_is_made_for_the_other_machines_as_well() {
    for target in ["aarch64-unknown-linux-gnu", "armv7-unknown-linux-gnueabihf"] {
        assert!(
            listed(&sbom(target)).keys().any(|name| name.starts_with("sled-0.34.")),
            "{target}"
        );
    }
}
