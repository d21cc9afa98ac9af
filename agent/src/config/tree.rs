//! The configuration as it is written: values with the place of each, before any of it is judged.

use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Findings, Place};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A value as written.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    /// Text of an environment variable, which may mean a number or a flag.
    Raw(String),
    Integer(i128),
    Flag(bool),
    List(Vec<Node>),
    Table(Table),
    /// What no setting takes: floats, dates. Holds the kind's name.
    Other(&'static str),
}

impl Value {
    /// The kind, for an error message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Raw(_) => "a text",
            Self::Integer(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a section",
            Self::Other(kind) => kind,
        }
    }
}

/// Names and values in the order written. Tables are small, so looking through them is fine.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub(super) entries: Vec<(String, Node)>,
}

impl Table {
    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        self.entries.iter().find(|(n, _)| n == name).map(|(_, node)| node)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|(n, _)| n == name).map(|(_, node)| node)
    }

    /// Takes out what is under `name`.
    pub(super) fn remove(&mut self, name: &str) {
        self.entries.retain(|(n, _)| n != name);
    }

    /// Puts `node` under `name`, in place of what was there.
    pub(super) fn set(&mut self, name: &str, node: Node) {
        match self.get_mut(name) {
            Some(old) => *old = node,
            None => self.entries.push((name.to_owned(), node)),
        }
    }
}

/// Reads one file's text. Faults of syntax go to `findings`, all of them.
pub(super) fn parse(file: &Arc<Path>, text: &str, findings: &mut Findings) -> Table {
    let (table, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::of(text);
    for error in errors {
        let offset = error.span().map_or(text.len(), |span| span.start);
        findings.faults.push(Fault {
            place: Place::Line(file.clone(), lines.number(offset)),
            key: String::new(),
            problem: format!("is not TOML: {}", error.message().trim_end()),
            remedy: format!("look at column {}", lines.column(text, offset)),
        });
    }
    Source { file, lines }.table(table.get_ref())
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(ends).collect())
    }

    /// Number of the line that holds `offset`, from 1.
    fn number(&self, offset: usize) -> usize {
        self.0.partition_point(|&start| start <= offset)
    }

    fn column(&self, text: &str, offset: usize) -> usize {
        let start = self.0[self.number(offset) - 1];
        text.get(start..offset).map_or(1, |part| part.chars().count() + 1)
    }
}

struct Source<'a> {
    file: &'a Arc<Path>,
    lines: Lines,
}

impl Source<'_> {
    fn table(&self, table: &DeTable<'_>) -> Table {
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| {
                let node = self.node(key.span().start, value.get_ref());
                (key.span().start, (key.get_ref().to_string(), node))
            })
            .collect();
        entries.sort_by_key(|(at, _)| *at);
        Table { entries: entries.into_iter().map(|(_, entry)| entry).collect() }
    }

    fn node(&self, offset: usize, value: &DeValue<'_>) -> Node {
        Node {
            place: Place::Line(self.file.clone(), self.lines.number(offset)),
            value: self.value(value),
        }
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                .map_or(Value::Other("a number beyond all bounds"), Value::Integer),
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Array(items) => {
                let item = |item: &toml::Spanned<DeValue<'_>>| {
                    self.node(item.span().start, item.get_ref())
                };
                Value::List(items.iter().map(item).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
            DeValue::Float(_) => Value::Other("a number with a decimal point"),
            DeValue::Datetime(_) => Value::Other("a date"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Table, Vec<String>) {
        let mut findings = Findings::default();
        let table = parse(&Path::new("f").into(), text, &mut findings);
        let faults = findings.faults.iter().map(Fault::to_string).collect();
        (table, faults)
    }

    fn line(node: &Node) -> usize {
        match node.place {
            Place::Line(_, line) => line,
            _ => 0,
        }
    }

    #[test]
    fn sections_keys_and_elements_know_their_lines() {
        let (table, faults) = read("# x\n[a]\nb = 1\n\n[[lane]]\nn = 'x'\n[[lane]]\nn = 'y'\n");
        assert_eq!(faults, Vec::<String>::new());
        let a = table.get("a").unwrap();
        assert_eq!(line(a), 2);
        let Value::Table(inner) = &a.value else { panic!() };
        assert_eq!(line(inner.get("b").unwrap()), 3);
        let Value::List(lanes) = &table.get("lane").unwrap().value else { panic!() };
        assert_eq!(lanes.iter().map(line).collect::<Vec<_>>(), [5, 7]);
    }

    #[test]
    fn every_fault_of_syntax_is_reported_with_its_line() {
        let (_, faults) = read("a = \nb = 1\nb = 2\nc = \"open\nd = 1\n");
        assert_eq!(faults.len(), 3, "{faults:#?}");
        for (fault, start) in faults.iter().zip(["f:1: ", "f:3: ", "f:4: "]) {
            assert!(fault.starts_with(start), "{fault}");
        }
    }
}
