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

/// The first rows as a ledger of a lane that nobody else uses: row N is number N.
pub fn expected(lane: &str, order_key: Option<&str>, rows: u64) -> Ledger {
    let text = std::fs::read_to_string(file()).unwrap();
    let ledger = Ledger::default();
    let lines = text.lines().skip(1).take(usize::try_from(rows).unwrap());
    for (row, line) in (1..).zip(lines) {
        let (date, temp) = line.split_once(',').unwrap();
        // As numbers are written: 40.0 is 40.
        let temp: f64 = temp.parse().unwrap();
        let body = format!("{{\"row\":{row},\"date\":\"{date}\",\"temp\":{temp}}}");
        let id = format!("seattle-{row}");
        let sent = Sent {
            key: Some(format!("row-{row}")),
            tag: Some("temperature".to_owned()),
            order_key: order_key.map(str::to_owned),
            ..Sent::new(lane, body)
        };
        ledger.send(&id, sent);
        ledger.acknowledge(&id, row);
    }
    assert_eq!(ledger.sent(lane), rows);
    ledger
}

/// Runs `sensor-replay` to its end; it has to say that every row was stored.
pub async fn replay(socket: &Path, options: &[&str]) {
    let mut app = tokio::process::Command::new(built("sensor-replay"));
    app.arg(file()).arg("--socket").arg(socket).args(options);
    let output = app.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("failed 0"), "{output:?}");
}
