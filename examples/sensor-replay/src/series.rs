//! The series: one reading a row.

use std::path::{Path, PathBuf};

use spillway_protocol::record::Draft;

/// One reading.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// Line of the file's data, from 1.
    pub(crate) number: usize,
    pub(crate) date: String,
    pub(crate) temp: f64,
}

impl Row {
    /// The same in every run.
    pub(crate) fn id(&self, round: u32) -> String {
        match round {
            0 => format!("seattle-{}", self.number),
            _ => format!("seattle-{}-{round}", self.number),
        }
    }

    /// The row as a record.
    pub(crate) fn draft(&self, round: u32, order_key: Option<&str>) -> Draft {
        // Dates hold neither quotes nor backslashes: `parse` has seen to it.
        let body = format!(
            "{{\"row\":{},\"date\":\"{}\",\"temp\":{}}}",
            self.number, self.date, self.temp
        );
        Draft {
            id: Some(self.id(round)),
            key: Some(format!("row-{}", self.number)),
            tag: Some("temperature".to_owned()),
            order_key: order_key.map(str::to_owned),
            body: body.into(),
            ..Draft::default()
        }
    }
}

/// Why a series could not be read.
#[derive(Debug)]
pub(crate) enum SeriesError {
    Io(PathBuf, std::io::Error),
    Header(PathBuf, String),
    Row(PathBuf, usize, String),
}

impl std::fmt::Display for SeriesError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Header(path, found) => write!(
                f,
                "{}: begins with \"{found}\", not with the columns date,temp",
                path.display()
            ),
            Self::Row(path, line, found) => {
                write!(f, "{}, line {line}: \"{found}\" is no date and temperature", path.display())
            }
        }
    }
}

impl std::error::Error for SeriesError {}

/// Reads a series.
pub(crate) fn read(path: &Path) -> Result<Vec<Row>, SeriesError> {
    let text = std::fs::read_to_string(path).map_err(|e| SeriesError::Io(path.to_owned(), e))?;
    let mut lines = text.lines();
    let header = lines.next().unwrap_or("").trim_start_matches('\u{feff}');
    if header != "date,temp" {
        return Err(SeriesError::Header(path.to_owned(), header.to_owned()));
    }
    let rows = lines.filter(|line| !line.trim().is_empty()).enumerate();
    rows.map(|(at, line)| {
        parse(at + 1, line)
            .ok_or_else(|| SeriesError::Row(path.to_owned(), at + 2, line.to_owned()))
    })
    .collect()
}

fn parse(number: usize, line: &str) -> Option<Row> {
    let (date, temp) = line.split_once(',')?;
    let temp: f64 = temp.trim().parse().ok()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:-+. ".contains(c);
    (temp.is_finite() && date.chars().all(plain)).then(|| Row {
        number,
        date: date.to_owned(),
        temp,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_becomes_a_record_with_a_stable_id() {
        let row = parse(7, "2010/01/01 06:00,39.2").unwrap();
        let draft = row.draft(0, Some("seattle"));
        let body = r#"{"row":7,"date":"2010/01/01 06:00","temp":39.2}"#;
        assert_eq!(&draft.body[..], body.as_bytes());
        assert_eq!(draft.id.as_deref(), Some("seattle-7"));
        assert_eq!(row.id(2), "seattle-7-2");
        assert_eq!(draft.order_key.as_deref(), Some("seattle"));
    }

    #[test]
    fn what_is_no_row_is_refused() {
        for line in ["", "2010/01/01", "2010/01/01,warm", "2010\",1", "2010/01/01,inf"] {
            assert_eq!(parse(1, line), None, "{line}");
        }
    }
}
