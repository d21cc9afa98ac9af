//! Which local clients are connected at this moment: the intake notes it, presence tells it.

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

/// The attendance of all clients, by name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Register {
    names: Arc<[String]>,
    all: Arc<watch::Sender<Vec<Attendance>>>,
}

impl Register {
    /// Nobody of these is there yet.
    pub fn new(names: Vec<String>) -> Self {
        let nobody = vec![Attendance::default(); names.len()];
        Self { names: names.into(), all: Arc::new(watch::Sender::new(nobody)) }
    }

    /// Whose attendance is kept, in this order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// All of them, in the order of the names.
    pub fn watch(&self) -> watch::Receiver<Vec<Attendance>> {
        self.all.subscribe()
    }

    /// A connection of the client of that name, if its attendance is kept.
    pub fn visit(&self, name: &str) -> Option<Visit> {
        let seat = self.names.iter().position(|other| other == name)?;
        let visit = Visit { register: self.clone(), seat, orderly: false };
        visit.note(|attendance| {
            attendance.open += 1;
            attendance.visits += 1;
        });
        Some(visit)
    }
}

/// An open connection. Dropped, it was cut off.
#[derive(Debug)]
pub struct Visit {
    register: Register,
    seat: usize,
    orderly: bool,
}

impl Visit {
    /// It ends as it should.
    pub fn close(mut self) {
        self.orderly = true;
    }

    fn note(&self, change: impl FnOnce(&mut Attendance)) {
        self.register.all.send_modify(|all| {
            if let Some(attendance) = all.get_mut(self.seat) {
                change(attendance);
            }
        });
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
        let register = Register::new(vec!["his".into(), "lab".into()]);
        let watch = register.watch();
        assert!(register.visit("other").is_none());
        let (one, two) = (register.visit("lab").unwrap(), register.visit("lab").unwrap());
        let expected = Attendance { open: 2, visits: 2, orderly: false };
        assert_eq!(*watch.borrow(), [Attendance::default(), expected]);
        one.close();
        assert_eq!(watch.borrow()[1], Attendance { open: 1, visits: 2, orderly: true });
        drop(two);
        assert_eq!(watch.borrow()[1], Attendance { open: 0, visits: 2, orderly: false });
    }
}
