//! `packaging/spillway.toml` says what the code does.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::fault::{Findings, Place};
use super::super::{load, tree};
use super::{SMALL, Setup};

fn default_file() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/spillway.toml");
    std::fs::read_to_string(path).unwrap()
}

/// Whether a commented line is a setting: a name and `=`, or a section's header.
fn is_setting(rest: &str) -> bool {
    let name = rest.split(" = ").next().unwrap_or("");
    let word = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    rest.starts_with('[') || (rest.contains(" = ") && !name.is_empty() && word(name))
}

/// The file with the comment signs `prefix` taken from its settings.
fn uncommented(text: &str, prefixes: &[&str]) -> String {
    let line = |line: &str| {
        let rest = prefixes.iter().find_map(|prefix| line.strip_prefix(prefix));
        rest.filter(|rest| is_setting(rest)).unwrap_or(line).to_owned()
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn as_shipped_it_is_the_defaults() {
    let small = Setup::new(&SMALL.replace("\"t\"", "\"spillway\"")).good();
    assert_eq!(Setup::new(&default_file()).good(), small);
}

#[test]
fn each_commented_default_is_the_codes_default() {
    let explicit = uncommented(&default_file(), &["#"]);
    assert!(explicit.contains("\nbytes_per_second = "), "nothing was uncommented");
    assert_eq!(Setup::new(&explicit).good(), Setup::new(&default_file()).good());
}

#[test]
fn its_examples_are_valid_and_every_setting_is_in_it() {
    let all = uncommented(&default_file(), &["# ", "#"]);
    let setup = Setup::in_etc(&all);
    setup.good();

    let text = std::fs::read_to_string(setup.path("spillway.toml")).unwrap();
    let table = tree::parse(&Path::new("f").into(), &text, &mut Findings::default());
    let place = Place::File(Path::new("f").into());
    let (_, _, known) = load::prove(&table, place, &setup.surroundings());
    let left_out: BTreeSet<&str> = known
        .iter()
        .map(|(_, name)| name.as_str())
        .filter(|name| {
            let forms = [format!("{name} = "), format!("[{name}]"), format!(".{name}]")];
            !forms.iter().any(|form| text.contains(form))
        })
        .collect();
    // `namespace` is instance_id's other name.
    let expected = ["namespace"];
    assert_eq!(left_out, expected.into());
}
