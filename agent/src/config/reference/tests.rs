//! What stands in the reference is what the parser does.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::fault::{Findings, Place};
use super::super::tests::Setup;
use super::super::{Config, load, tree};
use super::{Default, Key, Section, page, sections};

/// Settings that are sections of their own.
const SECTIONS_BELOW: [(&str, &str); 4] =
    [("listen", "http"), ("listen", "mq_http"), ("listen", "admin"), ("upstream", "tls")];

/// The section's file with these lines among its settings, in the place of those of their names.
fn file(section: &Section, lines: &str) -> String {
    let (before, after) = section.around.split_once("@\n").unwrap();
    let mut kept: Vec<&str> = before.lines().collect();
    let header = kept.iter().rposition(|line| line.starts_with('[')).unwrap();
    let own = kept.split_off(header + 1);
    let set = |line: &&str| lines.lines().any(|new| name(new) == name(line));
    kept.extend(own.into_iter().filter(|line| !set(line)));
    format!("{}\n{lines}\n{after}", kept.join("\n"))
}

/// The same without the setting.
fn without(section: &Section, key: &Key) -> String {
    let cleared = format!("{} = ", key.name);
    file(section, &cleared).replace(&format!("\n{cleared}\n"), "\n")
}

fn name(line: &str) -> &str {
    line.split(" = ").next().unwrap_or_default()
}

fn line(key: &Key, value: &str) -> String {
    let (first, beside) = value.split_once('\n').unwrap_or((value, ""));
    format!("{} = {first}\n{beside}", key.name)
}

/// The configuration, with the folder's name as examples have it.
#[track_caller]
fn good(text: &str) -> Config {
    Setup::in_etc(text)
        .load()
        .map(|(config, _)| config)
        .unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

/// What the parser says of the refused value.
#[track_caller]
fn words(section: &Section, key: &Key, value: &str) -> String {
    let text = file(section, &line(key, value));
    let setup = Setup::in_etc(&text);
    let folder = format!("{}/", setup.path("").display()).replace("//", "/");
    let faults = load(&setup.path("spillway.toml"), &setup.surroundings());
    let faults = faults.err().map(|error| error.faults).unwrap_or_default();
    let of_key = faults
        .iter()
        .find(|fault| fault.key == key.name || fault.key.ends_with(&format!(".{}", key.name)));
    let fault = of_key.unwrap_or_else(|| panic!("{} takes {value}: {faults:?}", key.name));
    fault.problem.replace(&folder, "/etc/spillway/")
}

fn each() -> impl Iterator<Item = (&'static Section, &'static Key)> {
    sections().flat_map(|section| section.keys.iter().map(move |key| (section, key)))
}

#[test]
fn every_setting_is_in_it_and_no_other() {
    let all: String = sections().map(|section| section.around.replace("@\n", "")).collect();
    let listed: BTreeSet<(String, String)> =
        each().map(|(section, key)| (section.name.to_owned(), key.name.to_owned())).collect();
    let mut known = BTreeSet::new();
    for section in sections() {
        let text = section.around.replace("@\n", "");
        let table = tree::parse(&Path::new("f").into(), &text, &mut Findings::default());
        let place = Place::File(Path::new("f").into());
        known.extend(load::prove(&table, place, &Setup::in_etc("").surroundings()).2);
    }
    let beside: Vec<_> = SECTIONS_BELOW.iter().collect();
    known.retain(|(section, name)| {
        !section.is_empty() && !beside.contains(&&(section.as_str(), name.as_str()))
    });
    assert!(all.contains("[[lane]]"));
    assert_eq!(listed, known);
}

#[test]
fn a_default_is_what_counts_where_nothing_is_said() {
    for (section, key) in each() {
        let without = without(section, key);
        match key.default {
            Default::Is(value) => {
                assert_eq!(good(&file(section, &line(key, value))), good(&without), "{}", key.name);
            }
            Default::Words(..) => drop(good(&without)),
            Default::Needed(_) => {
                let faults = Setup::in_etc(&without).faults();
                let named = format!("{}: is missing", key.name);
                assert!(faults.iter().any(|fault| fault.contains(&named)), "{named} in {faults:?}");
            }
        }
    }
}

#[test]
fn an_example_is_taken_and_as_well_from_the_environment() {
    for (section, key) in each() {
        let lines = line(key, key.default.value());
        let written = Setup::in_etc(&file(section, &lines)).good();
        let Some(variable) = page::variable(section, key) else { continue };
        let value = key.default.value().lines().next().unwrap();
        if value.starts_with('{') || value.contains("/etc/spillway/") {
            continue;
        }
        let variable = match section.name {
            "client" => variable.replace("CLIENT__NAME", "CLIENT__HIS"),
            _ => variable.replace("LANE__NAME", "LANE__MAIN"),
        };
        let beside = lines.split_once('\n').unwrap().1;
        let gone = file(section, &lines).replace(&lines, beside);
        let setup = Setup::in_etc(&gone).variable(&variable, value.trim_matches('"'));
        assert_eq!(setup.good(), written, "{variable}");
    }
}

#[test]
fn the_page_is_as_the_reference_makes_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = page::page(words);
    if std::env::var_os("SPILLWAY_BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let stale = "docs/configuration.md is stale: SPILLWAY_BLESS=1 cargo test -p spillway --lib config::reference";
    assert!(std::fs::read_to_string(&path).unwrap_or_default() == page, "{stale}");
}

/// The value as packaging/spillway.toml has it: `#name = value` is a default there.
#[test]
fn the_default_file_has_the_same_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/spillway.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let mut section = "";
    let mut compared = 0;
    for written in text.lines() {
        let header = written.trim_start_matches(['#', ' ']);
        if header.starts_with('[') && sections().any(|section| section.header == header) {
            section = header;
        }
        let setting = written.strip_prefix('#').and_then(|line| line.split_once(" = "));
        let Some((name, value)) = setting.filter(|(name, _)| !name.contains(' ')) else { continue };
        let (_, key) = each().find(|(s, key)| s.header == section && key.name == name).unwrap();
        let says = match key.default {
            Default::Is(default) => default == value,
            Default::Words(words, example) => !words.is_empty() && example == value,
            Default::Needed(_) => false,
        };
        assert!(says || name == "on_reject", "{section} {name} = {value}");
        compared += 1;
    }
    assert!(compared > 20, "{compared}");
}
