//! Which local clients are connected at this moment: the intake notes it, presence tells it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

/// What is known of one client's connections since the agent's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attendance {
    /// Connections that are open.
    pub open: u64,
    /// Connections that have ever been opened.
    pub visits: u64,
    /// Whether the last that ended did so as it should.
    pub orderly: bool,
}

/// The attendance of all clients, by name. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Register(Arc<watch::Sender<BTreeMap<String, Attendance>>>);

impl Register {
    /// All that have ever been there.
    pub fn watch(&self) -> watch::Receiver<BTreeMap<String, Attendance>> {
        self.0.subscribe()
    }

    /// A connection of the client of that name.
    pub fn visit(&self, name: &str) -> Visit {
        let visit = Visit { register: self.clone(), name: name.to_owned(), orderly: false };
        visit.note(|attendance| {
            attendance.open += 1;
            attendance.visits += 1;
        });
        visit
    }
}

/// An open connection. Dropped, it was cut off.
#[derive(Debug)]
pub struct Visit {
    register: Register,
    name: String,
    orderly: bool,
}

impl Visit {
    /// It ends as it should.
    pub fn close(mut self) {
        self.orderly = true;
    }

    fn note(&self, change: impl FnOnce(&mut Attendance)) {
        self.register.0.send_modify(|all| change(all.entry(self.name.clone()).or_default()));
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.note(|attendance| {
            attendance.open = attendance.open.saturating_sub(1);
            attendance.orderly = self.orderly;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_and_the_last_end_is_known() {
        let register = Register::default();
        let watch = register.watch();
        let lab = || watch.borrow().get("lab").copied();
        assert_eq!(lab(), None);
        let (one, two) = (register.visit("lab"), register.visit("lab"));
        assert_eq!(lab(), Some(Attendance { open: 2, visits: 2, orderly: false }));
        one.close();
        assert_eq!(lab(), Some(Attendance { open: 1, visits: 2, orderly: true }));
        drop(two);
        assert_eq!(lab(), Some(Attendance { open: 0, visits: 2, orderly: false }));
        assert_eq!(watch.borrow().len(), 1);
    }
}
