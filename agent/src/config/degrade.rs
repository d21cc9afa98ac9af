//! `degrade` of a lane: under which pressure it gives way, and how.

use std::fmt;
use std::time::Duration;

use super::fault::Place;
use super::section::{Reading, Section};
use super::unit::{duration, percent};
use super::{Action, Degrade, Lane, Order, Pressure};

const EXAMPLE: &str = "degrade = [{ when = \"backlog 6h\", do = \"thin\", keep = \"1 in 10\" }]";
/// A younger backlog is none.
const BACKLOG_LEAST: Duration = Duration::from_secs(1);

/// The rules as written.
pub(super) fn rules(lane: &Section<'_>, order: Order, has_budget: bool) -> Vec<Degrade> {
    let read = |section: Section<'_>| {
        let rule = rule(&section, order, has_budget);
        section.finish();
        rule
    };
    lane.sections("degrade", EXAMPLE).into_iter().filter_map(read).collect()
}

fn rule(section: &Section<'_>, order: Order, has_budget: bool) -> Option<Degrade> {
    for name in ["when", "do"].into_iter().filter(|name| section.node(name).is_none()) {
        section.fault(name, "is missing", format!("write for example {EXAMPLE}"));
    }
    let when = section.text("when", "\"backlog 6h\"", pressure);
    let words = [("pause", Word::Pause), ("thin", Word::Thin), ("drop-oldest", Word::DropOldest)];
    let word = section.choice("do", &words);
    let keep = section.text("keep", "\"1 in 10\"", one_in);
    let (when, word) = (when?, word?);
    for (name, problem, remedy) in nonsense(when, word, order, has_budget) {
        section.fault(name, problem, remedy);
    }
    let action = match word {
        Word::Pause => Action::Pause,
        Word::DropOldest => Action::DropOldest,
        Word::Thin => Action::Thin(keep.or_else(|| {
            if section.node("keep").is_none() {
                section.fault("keep", "is missing", "write for example keep = \"1 in 10\"");
            }
            None
        })?),
    };
    if word != Word::Thin && section.node("keep").is_some() {
        section.fault("keep", "belongs to do = \"thin\"", "leave it out");
    }
    Some(Degrade { when, action })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Pause,
    Thin,
    DropOldest,
}

type Nonsense = (&'static str, &'static str, &'static str);

/// What would not do what it says.
fn nonsense(when: Pressure, word: Word, order: Order, has_budget: bool) -> Vec<Nonsense> {
    let found = match (when, word) {
        (Pressure::Disk(_), Word::Pause) => {
            Some(("frees no disk, and what waits grows", "write \"drop-oldest\""))
        }
        (Pressure::Disk(_), Word::Thin) => Some((
            "frees no disk until what it keeps has left, since files go as a whole",
            "write \"drop-oldest\", or when = \"backlog 6h\"",
        )),
        (Pressure::Backlog(_), Word::Pause) => Some((
            "would never end: what waits only grows older",
            "write \"thin\" or \"drop-oldest\"",
        )),
        (Pressure::Budget(_), Word::Thin | Word::DropOldest) => {
            Some(("gives back no bytes that are used up", "write \"pause\""))
        }
        _ => None,
    };
    let action = found.map(|(problem, remedy)| ("do", problem, remedy));
    let unbudgeted = matches!(when, Pressure::Budget(_)) && !has_budget;
    let budget = unbudgeted.then_some((
        "when",
        "is a part of a budget, and there is none",
        "write [budget], or another pressure",
    ));
    let gaps = (word == Word::Thin && order != Order::None).then_some((
        "do",
        "leaves gaps in what is to stay in order",
        "write \"drop-oldest\", or order = \"none\"",
    ));
    [action, budget, gaps].into_iter().flatten().collect()
}

fn pressure(text: &str) -> Result<Pressure, String> {
    let (kind, amount) = text.trim().split_once(' ').unwrap_or((text, ""));
    let part = || match percent(amount)? {
        0 | 100 => Err(format!("{amount} is always or too late; 1% to 99% are not")),
        part => Ok(part),
    };
    match kind {
        "disk" => part().map(Pressure::Disk),
        "budget" => part().map(Pressure::Budget),
        "backlog" => match duration(amount)? {
            age if age < BACKLOG_LEAST => Err("is less than a second".to_owned()),
            age => Ok(Pressure::Backlog(age)),
        },
        _ => Err(format!("names {kind:?}, not disk, backlog or budget")),
    }
}

fn one_in(text: &str) -> Result<u32, String> {
    let every = text.trim().strip_prefix("1 in ").and_then(|every| every.trim().parse().ok());
    match every {
        Some(every @ 2..=1_000_000) => Ok(every),
        _ => Err("is not like \"1 in 10\", from 1 in 2 to 1 in 1000000".to_owned()),
    }
}

/// Lanes of lower priorities give way first: a lane may have rules only if all below it have, and
/// the first priority never has while there is another.
pub(super) fn check(lanes: &[(&Lane, &Place)], reading: &Reading) {
    let first = lanes.iter().map(|(lane, _)| lane.priority).min();
    for (lane, place) in lanes.iter().filter(|(lane, _)| !lane.degrade.is_empty()) {
        let below = || lanes.iter().filter(|(other, _)| other.priority > lane.priority);
        let key = format!("lane.{}.degrade", lane.name);
        if let Some((other, _)) = below().next().filter(|_| Some(lane.priority) == first) {
            let problem = format!(
                "would let the highest priority give way while lane {} has a lower one",
                other.name
            );
            reading.fault(place, &key, problem, "give the rules to lanes of lower priorities");
        } else if let Some((other, _)) = below().find(|(other, _)| other.degrade.is_empty()) {
            let problem =
                format!("would let it give way before lane {}, of a lower priority", other.name);
            reading.fault(place, &key, problem, format!("give lane {} rules, too", other.name));
        }
    }
}

impl fmt::Display for Degrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.when {
            Pressure::Disk(part) => write!(f, "disk {part}%: ")?,
            Pressure::Budget(part) => write!(f, "budget {part}%: ")?,
            Pressure::Backlog(age) => write!(f, "backlog {age:?}: ")?,
        }
        match self.action {
            Action::Pause => f.write_str("pause"),
            Action::Thin(every) => write!(f, "thin, keep 1 in {every}"),
            Action::DropOldest => f.write_str("drop-oldest"),
        }
    }
}
