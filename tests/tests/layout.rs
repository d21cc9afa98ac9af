//! The shape of the product's code, as CONTRIBUTING.md has it: which module of the agent may know
//! which, how long a file may be, and names that say nothing.

use std::collections::BTreeSet;
use std::path::Path;

/// Longest file of the product, in lines; tests beside the code do not count.
const LINES_MAX: usize = 500;
/// Modules that decide nothing and know nothing: everybody may use them.
const LEAVES: [&str; 8] =
    ["attendance", "clock", "config", "allocator", "entropy", "logs", "open_files", "small_file"];
/// Names that could mean anything.
const EMPTY_NAMES: [&str; 4] = ["utils", "util", "common", "helpers"];

/// What a module may use beside itself and the leaves; those not named here have no rule.
fn allowed(module: &str) -> Option<&'static [&'static str]> {
    Some(match module {
        "attendance" | "clock" | "allocator" | "entropy" | "config" | "small_file" => &[],
        "open_files" => &[],
        "queue" | "upstream" | "link" | "network" | "budget" | "service" => &[],
        "mq_http" | "credential_command" => &[],
        "intake" => &["queue", "mq_http"],
        "broker" => &["mq_http"],
        "admin" => &["intake"],
        "pace" => &[],
        "drain" => &["queue", "link", "upstream", "pace", "budget"],
        "fleet" => &["link", "pace"],
        "plan" => &["fleet", "pace"],
        "control" => &["queue", "why"],
        "why" => &[],
        "own" => &["queue", "drain"],
        "degrade" => &["queue", "drain"],
        "centre" => &["queue", "drain", "link", "own"],
        _ => return None,
    })
}

/// A source file: its path below the crate's `src` and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// `queue` of `queue/head/keys.rs`.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// What stands before the tests at the file's end, or nothing of a file that is one.
    fn product(&self) -> &str {
        let is_tests =
            self.path.split('/').any(|part| part.trim_end_matches(".rs").ends_with("tests"));
        if is_tests {
            return "";
        }
        self.text.find("#[cfg(test)]\nmod ").map_or(&self.text, |at| &self.text[..at])
    }

    /// Modules of the crate that the product code names.
    fn uses(&self) -> BTreeSet<&str> {
        let code = self.product().lines().filter(|line| !line.trim_start().starts_with("//"));
        let named = code.flat_map(|line| line.split("crate::").skip(1));
        named.flat_map(first_names).collect()
    }
}

/// `a` of `a::b`, and `a` and `c` of `{a::b, c}`.
fn first_names(path: &str) -> Vec<&str> {
    let end =
        |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let Some(group) = path.strip_prefix('{') else { return vec![&path[..end(path)]] };
    let mut names = Vec::new();
    let mut depth = 0;
    for part in group.split(',') {
        let part = part.trim();
        if depth == 0 && !part.is_empty() {
            names.push(&part[..end(part)]);
        }
        depth += part.matches('{').count();
        depth = depth.saturating_sub(part.matches('}').count());
    }
    names
}

/// Every use that the rules do not allow.
fn strangers(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        let module = source.module();
        for used in source.uses() {
            let known = used == module || LEAVES.contains(&used);
            let rule = allowed(module).is_none_or(|allowed| allowed.contains(&used));
            let wiring = matches!(module, "app" | "cli" | "main" | "lib");
            if (!known && !rule) || (matches!(used, "app" | "cli") && !wiring) {
                faults.push(format!("{} uses {used}", source.path));
            }
        }
    }
    faults
}

/// Files that are too long, or whose name says nothing.
fn shapes(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        let lines = source.product().lines().count();
        if lines > LINES_MAX {
            faults.push(format!("{} has {lines} lines", source.path));
        }
        for part in source.path.split('/') {
            if EMPTY_NAMES.contains(&part.trim_end_matches(".rs")) {
                faults.push(format!("{}: {part} says nothing", source.path));
            }
        }
    }
    faults
}

/// All sources of a crate of the workspace.
fn sources(below: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(below);
    let (mut folders, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(&root).unwrap().display().to_string();
                sources.push(Source { path, text });
            }
        }
    }
    assert!(!sources.is_empty(), "nothing lies in {}", root.display());
    sources
}

#[test]
fn modules_of_the_agent_know_only_whom_they_may() {
    let sources = sources("agent/src");
    for module in [
        "intake",
        "drain",
        "queue",
        "upstream",
        "link",
        "network",
        "pace",
        "budget",
        "fleet",
        "plan",
        "control",
        "credential_command",
        "mq_http",
        "broker",
        "own",
        "centre",
        "why",
        "admin",
        "service",
    ] {
        let there = sources.iter().any(|source| source.module() == module);
        assert!(there, "the rule for {module} is about nothing");
    }
    assert_eq!(strangers(&sources), [""; 0]);
}

#[test]
fn files_are_short_and_named_for_what_they_hold() {
    for below in ["agent/src", "protocol/src", "examples"] {
        assert_eq!(shapes(&sources(below)), [""; 0], "{below}");
    }
}

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

#[test]
fn a_use_that_is_not_allowed_is_found() {
    let bad = [
        source("queue/lane.rs", "use crate::drain::Drain;"),
        source("queue/deep/lane.rs", "    let x = crate::upstream::Outcome::default();"),
        source("intake/mod.rs", "use crate::{clock, queue::{self, Queue}, link};"),
        source("control/mod.rs", "use crate::app::Agent;"),
        source("broker/mod.rs", "use crate::cli::Exit;"),
    ];
    let faults = [
        "queue/lane.rs uses drain",
        "queue/deep/lane.rs uses upstream",
        "intake/mod.rs uses link",
        "control/mod.rs uses app",
        "broker/mod.rs uses cli",
    ];
    assert_eq!(strangers(&bad), faults);
}

#[test]
fn what_is_allowed_passes_and_tests_and_comments_may_name_anybody() {
    let good = [
        source("drain/mod.rs", "use crate::queue::{Lease, Queue};\nuse crate::clock::WallClock;"),
        source("app/mod.rs", "use crate::{drain, intake, queue};"),
        source("cli/run.rs", "use crate::app::Agent;"),
        source(
            "queue/mod.rs",
            "/// Read by [`crate::drain`].\n#[cfg(test)]\nmod tests {\nuse crate::app;",
        ),
        source("queue/tests/model.rs", "use crate::drain::Drain;"),
    ];
    assert_eq!(strangers(&good), [""; 0]);
}

#[test]
fn a_long_file_and_a_name_that_says_nothing_are_found() {
    let long = "x\n".repeat(LINES_MAX + 1);
    let bad =
        [source("queue/lane.rs", &long), source("queue/helpers.rs", ""), source("common/a.rs", "")];
    assert_eq!(shapes(&bad).len(), 3);
    let tests = format!("x\n#[cfg(test)]\nmod tests {{\n{long}");
    assert_eq!(shapes(&[source("queue/lane.rs", &tests)]), [""; 0]);
}
