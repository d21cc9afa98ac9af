//! Which table, and which column gets what: a TOML file, such as `patient_records.toml`.

mod source;
mod statement;
mod time;

use std::collections::BTreeSet;

use mysql_async::Value;
use serde::Deserialize;
use spillway_protocol::consumer::Delivery;

use self::source::{Parts, Source};

pub(crate) use self::source::Unfit;
pub(crate) use self::time::date;

/// What is used unless a file is named.
pub(crate) const PATIENT_RECORDS: &str = include_str!("../../patient_records.toml");

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MappingError {
    /// It is no TOML, or has a key that nobody knows.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A table or column has a name that would need quoting rules.
    #[error("{0:?} cannot be a name; use letters, digits and _ (at most 64)")]
    Name(String),
    /// A column's `from`.
    #[error(
        "column {column}: from = {from:?} is not known; use id, key, tag, topic, order_key, \
         message_id, gateway, stream, lane, seq, flags, accepted, stored, body, body.FIELD or \
         property.NAME"
    )]
    Source {
        /// The column.
        column: String,
        /// What it says.
        from: String,
    },
    /// A column is there twice.
    #[error("column {0} is there twice")]
    Twice(String),
    /// `identity` names no column.
    #[error("identity names {0:?}, which is none of the columns")]
    Identity(String),
    /// No identity, or no columns.
    #[error("identity has to name the columns that make a row one record's")]
    NoIdentity,
}

/// As it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    table: String,
    identity: Vec<String>,
    #[serde(default)]
    keep: Keep,
    column: Vec<WrittenColumn>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenColumn {
    name: String,
    from: String,
    #[serde(default, rename = "as")]
    form: Form,
    #[serde(rename = "type")]
    sql_type: Option<String>,
}

/// What a second record of one identity does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Keep {
    /// Nothing: the first stays.
    #[default]
    First,
    /// It takes the row if it is newer: a state that changes.
    Latest,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    /// As it is.
    #[default]
    Plain,
    /// As a time of the database, in UTC.
    Time,
}

#[derive(Debug)]
struct Column {
    name: String,
    source: Source,
    form: Form,
    sql_type: String,
}

/// A table and its columns, proven.
#[derive(Debug)]
pub(crate) struct Mapping {
    table: String,
    identity: Vec<String>,
    keep: Keep,
    columns: Vec<Column>,
}

/// The values of one row, in the order of the statement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// What sorts rows in one statement, so that two transactions lock them in the same order.
    pub(crate) id: String,
    pub(crate) values: Vec<Value>,
}

impl Mapping {
    /// Reads a file's text.
    pub(crate) fn parse(text: &str) -> Result<Self, MappingError> {
        let written: Written = toml::from_str(text)?;
        name_fits(&written.table)?;
        let columns: Vec<Column> =
            written.column.into_iter().map(Column::parse).collect::<Result<_, _>>()?;
        let mut names = BTreeSet::new();
        for column in &columns {
            if !names.insert(&column.name) {
                return Err(MappingError::Twice(column.name.clone()));
            }
        }
        if let Some(name) = written.identity.iter().find(|name| !names.contains(name)) {
            return Err(MappingError::Identity(name.clone()));
        }
        if written.identity.is_empty() {
            return Err(MappingError::NoIdentity);
        }
        let Written { table, identity, keep, .. } = written;
        Ok(Self { table, identity, keep, columns })
    }

    /// The table's name.
    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// Columns whose collation decides whether two ids are one.
    pub(crate) fn identity(&self) -> &[String] {
        &self.identity
    }

    /// The row of a delivery.
    pub(crate) fn row(&self, delivery: &Delivery) -> Result<Row, Unfit> {
        let reads_json = self.columns.iter().any(|column| column.source.reads_json());
        let parts = Parts::of(delivery, reads_json)?;
        let mut values = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let value = column.source.value(&parts);
            let value = match column.form {
                Form::Plain => value,
                Form::Time => time::value(value).ok_or_else(|| Unfit::Time(column.name.clone()))?,
            };
            values.push(value);
        }
        if self.keep == Keep::Latest {
            values.extend(source::version(delivery));
        }
        Ok(Row { id: delivery.id().to_owned(), values })
    }
}

impl Column {
    fn parse(written: WrittenColumn) -> Result<Self, MappingError> {
        let WrittenColumn { name, from, form, sql_type } = written;
        name_fits(&name)?;
        let Some(source) = Source::parse(&from) else {
            return Err(MappingError::Source { column: name, from });
        };
        let sql_type = sql_type.unwrap_or_else(|| source.sql_type(form == Form::Time).to_owned());
        Ok(Self { name, source, form, sql_type })
    }
}

fn name_fits(name: &str) -> Result<(), MappingError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match (1..=64).contains(&name.len()) && name.chars().all(fits) {
        true => Ok(()),
        false => Err(MappingError::Name(name.to_owned())),
    }
}

#[cfg(test)]
mod tests;
