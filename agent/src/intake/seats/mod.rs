//! The places at a listener: no user takes all of them, and where they are full one who rests makes
//! room for another user (`table` decides).

mod pulse;
mod table;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spillway_protocol::local::{Code, Refusal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::pulse::{Pulse, Working};
use self::table::{Decision, Taken, decide};
use crate::logs::Repeated;

/// Most connections that are being told why they are turned away; others are just closed.
const TURNED_AWAY_MAX: usize = 64;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// Root, or the agent's own user.
    Own(u32),
    /// Another user of this machine.
    Other(u32),
    /// Nobody says.
    Unknown,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// This user has as many as one may.
    Share,
    /// All are taken, and all that could make room are at work.
    Full,
}

/// See the module. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Seats(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    max: usize,
    taken: Mutex<Rows>,
    /// What is logged; `None`: nothing is.
    faults: Option<Mutex<Repeated>>,
}

#[derive(Debug, Default)]
struct Rows {
    next: u64,
    rows: BTreeMap<u64, Row>,
}

#[derive(Debug)]
struct Row {
    user: User,
    pulse: Pulse,
    leave: CancellationToken,
}

/// A place, free again when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Seats,
    number: u64,
    /// What happens on the connection, told by whoever serves it.
    pub(crate) pulse: Pulse,
    /// Somebody else has the place: what is under way is finished, and no more begun.
    pub(crate) leave: CancellationToken,
}

impl Seats {
    /// So many. That they are short is logged, once a minute.
    pub(crate) fn new(max: usize) -> Self {
        Self::with(max, Some(Mutex::default()))
    }

    /// Some for those who get none, to be told so.
    pub(crate) fn for_turned_away(&self) -> Self {
        Self::with((self.0.max / 4).clamp(4, TURNED_AWAY_MAX), None)
    }

    fn with(max: usize, faults: Option<Mutex<Repeated>>) -> Self {
        Self(Arc::new(Inside { max, taken: Mutex::default(), faults }))
    }

    /// A place for a connection of `user`, which another one may lose by it.
    ///
    /// # Errors
    /// There is none for this user.
    pub(crate) fn take(&self, user: User) -> Result<Seat, Refusal> {
        let mut rows = self.rows();
        let decision = rows.decide(user, self.0.max);
        if let (Some(faults), true) = (&self.0.faults, decision != Decision::Admit) {
            tell(faults, decision, &rows, user);
        }
        match decision {
            Decision::Refuse(shortage) => return Err(refusal(shortage, user)),
            Decision::Replace(at) => rows.dismiss(at),
            Decision::Admit => {}
        }
        let (pulse, leave) = (Pulse::new(), CancellationToken::new());
        let number = rows.next;
        rows.next += 1;
        rows.rows.insert(number, Row { user, pulse: pulse.clone(), leave: leave.clone() });
        Ok(Seat { seats: self.clone(), number, pulse, leave })
    }

    /// Whether a user who has none would get none.
    pub(crate) fn is_full(&self) -> bool {
        // The kernel gives this number to nobody.
        let anybody = User::Other(u32::MAX);
        matches!(self.rows().decide(anybody, self.0.max), Decision::Refuse(_))
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says once a minute whose connections are too many.
fn tell(faults: &Mutex<Repeated>, decision: Decision, rows: &Rows, user: User) {
    let (key, what) = match decision {
        Decision::Refuse(Shortage::Share) => ("share", "more of this user are turned away"),
        Decision::Refuse(Shortage::Full) => ("full", "more are turned away"),
        _ => ("replaced", "idle ones make room for those of other users"),
    };
    let mut faults = faults.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(times_before) = faults.note(key, Instant::now()) {
        let whose = if key == "share" { user } else { rows.greatest() };
        let (uid, of_uid, open) = (whose.uid(), rows.held(whose), rows.rows.len());
        tracing::warn!(uid, of_uid, open, times_before, "too many connections: {what}");
    }
}

impl Rows {
    fn decide(&self, user: User, max: usize) -> Decision {
        let place = |row: &Row| Taken { user: row.user, idle_since: row.pulse.idle_since() };
        let taken: Vec<Taken> = self.rows.values().map(place).collect();
        decide(&taken, user, max)
    }

    /// Takes the place away from the one that is `at` there in the list.
    fn dismiss(&mut self, at: usize) {
        let number = self.rows.keys().nth(at).copied();
        if let Some(row) = number.and_then(|number| self.rows.remove(&number)) {
            row.leave.cancel();
        }
    }

    fn held(&self, user: User) -> usize {
        self.rows.values().filter(|row| row.user == user).count()
    }

    /// Who has most.
    fn greatest(&self) -> User {
        let users = self.rows.values().map(|row| row.user);
        users.max_by_key(|user| self.held(*user)).unwrap_or(User::Unknown)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.rows().rows.remove(&self.number);
    }
}

impl User {
    fn uid(self) -> Option<u32> {
        match self {
            Self::Own(uid) | Self::Other(uid) => Some(uid),
            Self::Unknown => None,
        }
    }
}

fn refusal(shortage: Shortage, user: User) -> Refusal {
    let message = match (shortage, user.uid()) {
        (Shortage::Share, Some(uid)) => format!(
            "uid {uid} has as many connections open as one user may; close some, or come back later"
        ),
        _ => "too many connections are open; close some, or come back later".to_owned(),
    };
    Refusal::new(Code::Overloaded, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: User = User::Other(1000);
    const B: User = User::Other(1001);

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let seats = Seats::new(4);
        let (one, two) = (seats.take(A).unwrap(), seats.take(A).unwrap());
        let refusal = seats.take(A).unwrap_err();
        assert!(refusal.message.contains("uid 1000"), "{refusal}");
        drop(one);
        assert!(seats.take(A).is_ok());
        drop(two);
    }

    #[test]
    fn who_is_replaced_is_told_and_takes_nothing_with_him() {
        let seats = Seats::new(8);
        let mut all: Vec<Seat> = (0..4).map(|_| seats.take(A).unwrap()).collect();
        all.extend((0..3).map(|_| seats.take(B).unwrap()));
        assert!(!seats.is_full());
        let third = seats.take(User::Other(1002)).unwrap();
        assert!(all[0].leave.is_cancelled() && !all[1].leave.is_cancelled());
        all.remove(0);
        assert_eq!(seats.rows().rows.len(), 7);
        for seat in all.iter().chain([&third]) {
            seat.pulse.work();
        }
        assert!(seats.is_full() && seats.take(User::Own(0)).is_ok());
    }
}
