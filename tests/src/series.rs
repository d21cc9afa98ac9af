//! The hourly temperatures of Seattle, 8,759 rows, as the example `sensor-replay` sends them.
//!
//! The file comes from the Python package `vega_datasets`; `tests/run` fetches it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::gateway::built;
use crate::ledger::{Ledger, Sent};

/// How many rows there are.
pub const ROWS: u64 = 8759;

/// The series' file.
pub fn file() -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/series/seattle-temps.csv");
    assert!(file.is_file(), "{} is missing; tests/run fetches it", file.display());
    file
}

/// A row as `sensor-replay` makes it a record.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its number, from 1.
    pub number: u64,
    /// `2010/01/01 00:00`
    pub date: String,
    /// The record's body.
    pub body: String,
}

/// All rows.
pub fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(file()).unwrap();
    let row = |(number, line): (u64, &str)| {
        let (date, temp) = line.split_once(',').unwrap();
        // As numbers are written: 40.0 is 40.
        let temp: f64 = temp.parse().unwrap();
        let body = format!("{{\"row\":{number},\"date\":\"{date}\",\"temp\":{temp}}}");
        Row { number, date: date.to_owned(), body }
    };
    let rows: Vec<Row> = (1..).zip(text.lines().skip(1)).map(row).collect();
    assert_eq!(rows.len() as u64, ROWS);
    rows
}

/// Notes what [`replay`] sends to a lane that nobody else uses: row N is number N.
pub fn expect(ledger: &Ledger, lane: &str, order_key: Option<&str>) {
    for row in rows() {
        let id = format!("seattle-{}", row.number);
        let sent = Sent {
            key: Some(format!("row-{}", row.number)),
            tag: Some("temperature".to_owned()),
            order_key: order_key.map(str::to_owned),
            ..Sent::new(lane, row.body)
        };
        ledger.send(&id, sent);
        ledger.acknowledge(&id, row.number);
    }
}

/// Runs `sensor-replay` to its end; it has to say that every row was stored.
pub async fn replay(socket: &Path, options: &[&str]) {
    let mut app = tokio::process::Command::new(built("sensor-replay"));
    app.arg(file()).arg("--socket").arg(socket).args(options);
    let output = app.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("failed 0"), "{output:?}");
}
