//! What a failed statement means for the records in it.

use mysql_async::{DriverError, Error};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A record's own: its values do not fit the table. Trying again does not help.
    #[error("the database refuses the values: {0}")]
    Record(String),
    /// Nobody's: two transactions were in each other's way. The same again, soon.
    #[error("the database asks for another try: {0}")]
    Again(String),
    /// The database is not there, or not as it should be (down, read-only, full, a missing table or
    /// permission): nothing can be written until it is, and no record is to blame.
    #[error("the database is away: {0}")]
    Away(String),
}

/// Deadlock; lock wait timeout; record changed since last read (MariaDB 11).
const AGAIN: [u16; 3] = [1213, 1205, 1020];
/// Errors of classes 22 and 23, and those that have a general class (HY000, 42000, 01000) but are
/// about values all the same.
const RECORD: [u16; 16] = [
    1048, // a column cannot be null
    1062, // duplicate (of another unique key than the identity, where statements differ)
    1136, // column count
    1153, // packet too large
    1264, // out of range
    1265, // data truncated
    1292, // truncated incorrect value
    1364, // no default value
    1366, // incorrect value
    1367, // illegal value found during parsing
    1406, // data too long
    1411, // incorrect value for function
    1416, // geometry
    3140, // invalid JSON (MySQL)
    3819, // check constraint (MySQL)
    4025, // check constraint (MariaDB)
];

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Server(server) => of_server(server.code, &server.state, text),
            Error::Driver(DriverError::PacketTooLarge) => Self::Record(text),
            _ => Self::Away(text),
        }
    }
}

/// Codes of a class that means values are trusted as such; a code that nobody knows is not charged
/// to a record.
fn of_server(code: u16, state: &str, text: String) -> Fault {
    if AGAIN.contains(&code) || state == "40001" {
        Fault::Again(text)
    } else if RECORD.contains(&code) || state.starts_with("22") || state.starts_with("23") {
        Fault::Record(text)
    } else {
        Fault::Away(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(code: u16, state: &str) -> Fault {
        of_server(code, state, String::new())
    }

    #[test]
    fn values_are_the_records_fault_and_everything_unknown_is_not() {
        for (code, state) in [(1406, "22001"), (1366, "22007"), (4025, "23000"), (1048, "23000")] {
            assert!(matches!(fault(code, state), Fault::Record(_)), "{code}");
        }
        // Too many connections, read-only, shutdown, no such table, no permission, full, unknown.
        for code in [1040, 1290, 1053, 1146, 1142, 1114, 1021, 9999] {
            assert!(matches!(fault(code, "HY000"), Fault::Away(_)), "{code}");
        }
        for (code, state) in [(1213, "40001"), (1205, "HY000")] {
            assert!(matches!(fault(code, state), Fault::Again(_)), "{code}");
        }
    }
}
