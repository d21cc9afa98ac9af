//! A section while it is read: each value is asked for by name, so what nobody asked for is
//! unknown. Faults are noted and reading goes on, so that all of them are reported at once.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::fault::{Findings, Place};
use super::nearest::nearest;
use super::tree::{Node, Table, Value};

/// What a reading has found so far.
#[derive(Debug, Default)]
pub(super) struct Reading {
    findings: RefCell<Findings>,
    /// Settings that were asked for, as (section, name).
    known: RefCell<BTreeSet<(String, String)>>,
    /// Settings that nobody asked for, as (place, shown section, section, name).
    unknown: RefCell<Vec<(Place, String, String, String)>>,
    /// Values that nobody may see, by where they are in memory while they are read.
    secrets: RefCell<Vec<*const Node>>,
}

impl Reading {
    pub(super) fn fault(
        &self,
        place: &Place,
        key: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.findings.borrow_mut().fault(place, key, problem, remedy);
    }

    pub(super) fn warn(&self, place: &Place, key: &str, message: impl Into<String>) {
        self.findings.borrow_mut().warn(place, key, message);
    }

    /// Values that turned out to be secrets, to be compared with the tree that was read.
    pub(super) fn secrets(&self) -> Vec<*const Node> {
        self.secrets.borrow().clone()
    }

    /// Everything found, unknown settings included, and the settings there are.
    pub(super) fn finish(self) -> (Findings, BTreeSet<(String, String)>) {
        let known = self.known.into_inner();
        let mut findings = self.findings.into_inner();
        for (place, shown, section, name) in self.unknown.into_inner() {
            let key = join(&shown, &name);
            findings.fault(&place, &key, "is not known", remedy(&known, &section, &name));
        }
        (findings, known)
    }
}

/// The nearest name here, the section where the name belongs, or all names there are.
fn remedy(known: &BTreeSet<(String, String)>, section: &str, name: &str) -> String {
    let here: Vec<&str> =
        known.iter().filter(|(s, _)| s == section).map(|(_, n)| n.as_str()).collect();
    let elsewhere = known.iter().find(|(s, n)| n == name && !s.is_empty());
    match (nearest(name, &here), elsewhere) {
        (Some(close), _) => format!("did you mean {close:?}?"),
        (None, Some((home, _))) => format!("it belongs to [{home}]"),
        (None, None) => format!("known here: {}", here.join(", ")),
    }
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// One section.
pub(super) struct Section<'a> {
    reading: &'a Reading,
    table: &'a Table,
    place: Place,
    /// As in the file, such as `upstream` or `lane`.
    name: &'static str,
    /// As in messages, such as `lane.critical`.
    shown: String,
}

impl<'a> Section<'a> {
    pub(super) fn new(
        reading: &'a Reading,
        table: &'a Table,
        place: Place,
        name: &'static str,
        shown: impl Into<String>,
    ) -> Self {
        Self { reading, table, place, name, shown: shown.into() }
    }

    /// Where the section begins.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The setting's name in messages.
    pub(super) fn key(&self, name: &str) -> String {
        join(&self.shown, name)
    }

    /// The value of `name` as written; from now on the name is known.
    pub(super) fn node(&self, name: &str) -> Option<&'a Node> {
        let known = (self.name.to_owned(), name.to_owned());
        self.reading.known.borrow_mut().insert(known);
        self.table.get(name)
    }

    /// Where `name` stands, or else the section.
    pub(super) fn place_of(&self, name: &str) -> &Place {
        self.table.get(name).map_or(&self.place, |node| &node.place)
    }

    /// Notes that nobody may see this value, which is, or stands in, one of the section's.
    pub(super) fn hide(&self, node: &Node) {
        self.reading.secrets.borrow_mut().push(node);
    }

    /// Notes a fault of `name`.
    pub(super) fn fault(&self, name: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        self.reading.fault(self.place_of(name), &self.key(name), problem, remedy);
    }

    /// Notes a doubt about `name`.
    pub(super) fn warn(&self, name: &str, message: impl Into<String>) {
        self.reading.warn(self.place_of(name), &self.key(name), message);
    }

    /// A section within this one, absent or not a section: `None` (the latter a fault).
    pub(super) fn section(&self, name: &'static str) -> Option<Section<'a>> {
        let node = self.node(name)?;
        match &node.value {
            Value::Table(table) => {
                let place = node.place.clone();
                Some(Section::new(self.reading, table, place, name, self.key(name)))
            }
            other => {
                let problem = format!("is {}, not a section", other.kind());
                self.fault(name, problem, format!("write [{}]", self.key(name)));
                None
            }
        }
    }

    /// The sections in the list `name`; what is none is a fault.
    pub(super) fn sections(&self, name: &'static str, example: &str) -> Vec<Section<'a>> {
        let Some(node) = self.node(name) else {
            return Vec::new();
        };
        let Value::List(items) = &node.value else {
            let problem = format!("is {}, not a list", node.value.kind());
            self.fault(name, problem, format!("write for example {example}"));
            return Vec::new();
        };
        if items.is_empty() {
            self.fault(name, "is an empty list", format!("write for example {example}"));
        }
        let mut sections = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let shown = format!("{}[{index}]", self.key(name));
            match &item.value {
                Value::Table(table) => sections.push(Section::new(
                    self.reading,
                    table,
                    item.place.clone(),
                    name,
                    shown,
                )),
                other => {
                    let problem = format!("is {}, not a section in braces", other.kind());
                    let remedy = format!("write for example {example}");
                    self.reading.fault(&item.place, &shown, problem, remedy);
                }
            }
        }
        sections
    }

    /// The value of `name` if it is there and `read` takes it; else its fault is noted, with
    /// `example` as what would be right.
    pub(super) fn parsed<T>(
        &self,
        name: &str,
        example: &str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.node(name)?;
        read(&node.value)
            .map_err(|problem| self.fault(name, problem, format!("write for example {example}")))
            .ok()
    }

    /// A text that is not empty and that `parse` takes.
    pub(super) fn text<T>(
        &self,
        name: &str,
        example: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.parsed(name, example, |value| match value {
            Value::Text(text) | Value::Raw(text) if text.is_empty() => Err("is empty".to_owned()),
            Value::Text(text) | Value::Raw(text) => parse(text),
            other => Err(format!("is {}, not a text in quotes", other.kind())),
        })
    }

    /// A duration, size or share: a text that `parse` takes, never a bare number.
    pub(super) fn with_unit<T>(
        &self,
        name: &str,
        example: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.parsed(name, example, |value| match value {
            Value::Text(text) | Value::Raw(text) => parse(text),
            Value::Integer(_) => Err("is a number without its unit".to_owned()),
            other => Err(format!("is {}", other.kind())),
        })
    }

    /// A whole number from `least` up.
    pub(super) fn count(&self, name: &str, least: u32, example: &str) -> Option<u32> {
        self.parsed(name, example, |value| count(value, least))
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.parsed(name, "true", |value| match value {
            Value::Flag(flag) => Ok(*flag),
            Value::Raw(text) => text.parse().map_err(|_| "is neither true nor false".to_owned()),
            other => Err(format!("is {}, not true or false", other.kind())),
        })
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
        let words = words.join(" or ");
        let node = self.node(name)?;
        let found = match &node.value {
            Value::Text(text) | Value::Raw(text) => choices.iter().find(|(w, _)| w == text),
            _ => None,
        };
        if found.is_none() {
            self.fault(name, "is not one of its words", format!("write {words}"));
        }
        found.map(|(_, choice)| *choice)
    }

    /// Notes every setting that nobody asked for.
    pub(super) fn finish(self) {
        let known = self.reading.known.borrow();
        for (name, node) in &self.table.entries {
            if !known.contains(&(self.name.to_owned(), name.clone())) {
                let unknown =
                    (node.place.clone(), self.shown.clone(), self.name.to_owned(), name.clone());
                self.reading.unknown.borrow_mut().push(unknown);
            }
        }
    }
}

/// A whole number from `least` up, or what is wrong with it.
pub(super) fn count(value: &Value, least: u32) -> Result<u32, String> {
    let number = match value {
        Value::Integer(number) => Some(*number),
        Value::Raw(text) => text.parse().ok(),
        _ => None,
    };
    let number = number.ok_or_else(|| format!("is {}, not a whole number", value.kind()))?;
    match u32::try_from(number) {
        Ok(number) if number >= least => Ok(number),
        _ => Err(format!("is not a number from {least} to {}", u32::MAX)),
    }
}
