//! The statements of a table.

use super::{Keep, Mapping};

/// What decides which of two states is newer.
const VERSION: [(&str, &str); 3] = [
    ("sw_at", "BIGINT UNSIGNED NOT NULL"),
    ("sw_seq", "BIGINT UNSIGNED NOT NULL"),
    ("sw_origin", "VARCHAR(400) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"),
];
/// Of a row and the one that comes: whether the latter is newer. Of two origins an equal time counts
/// as newer, so that the answer stays the same once `sw_at` was assigned.
const NEWER: &str = "IF(`sw_origin` = VALUES(`sw_origin`), `sw_seq` < VALUES(`sw_seq`), \
                     `sw_at` <= VALUES(`sw_at`))";

impl Mapping {
    /// Whether a row that is there stays as it is.
    pub(crate) fn keeps_first(&self) -> bool {
        self.keep == Keep::First
    }

    /// Makes the table unless it is there.
    pub(crate) fn create(&self) -> String {
        let columns = self.columns.iter().map(|column| (&*column.name, &*column.sql_type));
        let version = (self.keep == Keep::Latest).then_some(VERSION).into_iter().flatten();
        let mut lines: Vec<String> =
            columns.chain(version).map(|(name, kind)| format!("`{name}` {kind}")).collect();
        lines.push(format!("UNIQUE KEY `identity` ({})", quoted(&self.identity)));
        let table = &self.table;
        format!(
            "CREATE TABLE IF NOT EXISTS `{table}` (\n  {}\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
            lines.join(",\n  ")
        )
    }

    /// Inserts `rows` rows; one whose identity is there changes nothing, or takes the row if it is
    /// newer. One statement, so that nobody comes between looking and writing.
    pub(crate) fn insert(&self, rows: usize) -> String {
        let columns = self.columns.iter().map(|column| column.name.clone());
        // In the order of `source::version`.
        let version = ["sw_origin", "sw_seq", "sw_at"].map(str::to_owned);
        let version = (self.keep == Keep::Latest).then_some(version).into_iter().flatten();
        let names: Vec<String> = columns.chain(version).collect();
        let row = format!("({})", vec!["?"; names.len()].join(", "));
        format!(
            "INSERT INTO `{}` ({}) VALUES {} ON DUPLICATE KEY UPDATE {}",
            self.table,
            quoted(&names),
            vec![row; rows].join(", "),
            self.updates()
        )
    }

    fn updates(&self) -> String {
        let first = &self.identity[0];
        if self.keep == Keep::First {
            return format!("`{first}` = `{first}`");
        }
        // Assigned from left to right, so what decides comes last.
        let data = self.columns.iter().map(|column| &*column.name);
        let data = data.filter(|name| !self.identity.iter().any(|identity| identity == name));
        let names = data.chain(VERSION.map(|(name, _)| name));
        let update = |name| format!("`{name}` = IF({NEWER}, VALUES(`{name}`), `{name}`)");
        names.map(update).collect::<Vec<_>>().join(", ")
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
