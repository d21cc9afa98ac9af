//! Files over files, the environment over all.

use std::path::Path;

use super::super::fault::Findings;
use super::super::tree::{Node, Table, Value, parse};
use super::super::{environment, merge};

fn merged(files: &[&str], variables: &[(&str, &str)]) -> (Table, Vec<String>) {
    let mut findings = Findings::default();
    let mut base = Table::default();
    for (i, text) in files.iter().enumerate() {
        let name = format!("f{i}");
        let table = parse(&Path::new(&name).into(), text, &mut findings);
        merge::file(&mut base, table, &mut findings);
    }
    let variables = variables.iter().map(|(n, v)| (n.to_string(), v.to_string()));
    environment::apply(&mut base, &variables.collect(), &mut findings);
    (base, findings.faults.iter().map(ToString::to_string).collect())
}

/// The value at a path such as `lane.0.topic`.
fn at<'t>(table: &'t Table, path: &str) -> Option<&'t Node> {
    let Some((first, rest)) = path.split_once('.') else {
        return table.get(path);
    };
    let (inner, rest) = match &table.get(first)?.value {
        Value::List(items) => {
            let (index, rest) = rest.split_once('.')?;
            (&items.get(index.parse::<usize>().ok()?)?.value, rest)
        }
        value => (value, rest),
    };
    match inner {
        Value::Table(inner) => at(inner, rest),
        _ => None,
    }
}

fn text<'t>(table: &'t Table, path: &str) -> &'t str {
    match at(table, path).map(|node| &node.value) {
        Some(Value::Text(text) | Value::Raw(text)) => text,
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn later_files_replace_values_and_keep_the_rest() {
    let (table, faults) = merged(&["[drain]\na='1'\nb='2'", "[drain]\nb='3'"], &[]);
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!((text(&table, "drain.a"), text(&table, "drain.b")), ("1", "3"));
    assert_eq!(at(&table, "drain.b").unwrap().place.to_string(), "f1:2");
}

#[test]
fn lanes_merge_by_name_and_new_ones_are_added() {
    let first = "[[lane]]\nname='a'\ntopic='x'\n[[lane]]\nname='b'\ntopic='y'";
    let (table, faults) =
        merged(&[first, "[[lane]]\nname='b'\ntopic='z'\n[[lane]]\nname='c'"], &[]);
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!((text(&table, "lane.0.topic"), text(&table, "lane.1.topic")), ("x", "z"));
    assert_eq!(text(&table, "lane.2.name"), "c");
}

#[test]
fn one_name_twice_in_one_file_is_a_fault() {
    let (_, faults) = merged(&["[[lane]]\nname='a'\n[[lane]]\nname='a'"], &[]);
    assert_eq!(
        faults,
        ["f0:3: lane.a: is the name of two lanes, the first at f0:1; \
          give one of them another name, or make them one"]
    );
}

#[test]
fn a_secrets_source_is_replaced_whole() {
    let over = [("SPILLWAY__U__S__FILE", "f")];
    let (table, _) = merged(&["[u]\ns={env='A'}\nt={env='A'}", "[u]\nt={credential='c'}"], &over);
    assert_eq!((text(&table, "u.s.file"), text(&table, "u.t.credential")), ("f", "c"));
    assert!(at(&table, "u.s.env").is_none() && at(&table, "u.t.env").is_none());
}

#[test]
fn the_environment_reaches_any_scalar_lanes_by_name() {
    let variables = [
        ("SPILLWAY__UPSTREAM__TLS__CA", "/ca"),
        ("SPILLWAY__LANE__WARD_A__TOPIC", "t2"),
        ("SPILLWAY_LOG_FORMAT", "json"),
    ];
    let (table, faults) = merged(&["[[lane]]\nname='ward-a'\ntopic='t'"], &variables);
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!((text(&table, "upstream.tls.ca"), text(&table, "lane.0.topic")), ("/ca", "t2"));
    let (_, faults) = merged(&["[[lane]]\nname='a'"], &[("SPILLWAY__LANE__B__TOPIC", "t")]);
    assert!(faults[0].starts_with("environment variable SPILLWAY__LANE__B__TOPIC: lane: "));
}

#[test]
fn routes_of_later_files_come_behind() {
    let (first, second) = ("[[route]]\nlane='a'", "[[route]]\nlane='b'");
    let (table, faults) = merged(&[first, second], &[]);
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!((text(&table, "route.0.lane"), text(&table, "route.1.lane")), ("a", "b"));
}
