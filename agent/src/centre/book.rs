//! What of the centre's page is done: kept in the data folder, so that each request is done once.
//!
//! It is as small as the page: requests that have left the page are forgotten, and the page's
//! serial sees to it that an old page does not bring them back.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spillway_protocol::control::{Page, Request, State, Unsent};

use crate::queue::Resent;
use crate::small_file;

const VERSION: u8 = 1;
/// Ranges after which an answer is due although its request is not done: below 64 KiB.
const UNSENT_MAX: usize = 500;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// A page that is older than one that was seen.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "it has the serial {0}, and one with {1} was seen before; if the centre's clock was wrong \
     then, remove the file requests from [gateway] data_dir while the agent is stopped"
)]
pub(super) struct Old(u64, u64);

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Book {
    version: u8,
    /// Of the newest page.
    serial: u64,
    /// The day that `sent_today` is of, in days since 1970.
    day: u64,
    sent_today: u64,
    /// By id, those of the page that were begun.
    requests: BTreeMap<String, Progress>,
}

/// How far a request is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The first number that was not looked at; `None` once all were.
    next: Option<u64>,
    /// How many of its records are sent again.
    pub(super) sent: u64,
    /// Numbers that are not, and were not answered yet; sorted.
    pub(super) unsent: Vec<Unsent>,
}

impl Default for Book {
    fn default() -> Self {
        Self { version: VERSION, serial: 0, day: 0, sent_today: 0, requests: BTreeMap::new() }
    }
}

impl Book {
    /// Turns to a page. Says whether that is to be saved.
    pub(super) fn turn(&mut self, page: &Page) -> Result<bool, Old> {
        if page.serial < self.serial {
            return Err(Old(page.serial, self.serial));
        }
        let newer = page.serial > self.serial;
        self.serial = page.serial;
        self.requests.retain(|id, _| page.requests.iter().any(|request| request.id == *id));
        Ok(newer)
    }

    /// The day that records were last sent again on, in days since 1970.
    pub(super) fn day(&self) -> u64 {
        self.day
    }

    /// The first request of the page that is not done and answered.
    pub(super) fn open<'p>(&self, page: &'p Page) -> Option<&'p Request> {
        self.open_all(page).next()
    }

    /// All that are not.
    pub(super) fn open_all<'p>(&self, page: &'p Page) -> impl Iterator<Item = &'p Request> {
        page.requests.iter().filter(|request| {
            self.requests.get(&request.id).is_none_or(|progress| !progress.is_settled())
        })
    }

    /// How many records may still be sent on this day.
    pub(super) fn left_today(&self, now_ms: u64, per_day: u64) -> u64 {
        let sent = if self.day == now_ms / DAY_MS { self.sent_today } else { 0 };
        per_day.saturating_sub(sent)
    }

    /// The next numbers of a request of which at most `most` exist. `newest` is the last one that
    /// was given: behind it there is nothing to look for. `None` if it asks for no number.
    pub(super) fn part(&self, request: &Request, newest: u64, most: u64) -> Option<(u64, u64)> {
        if request.from == 0 || request.from > request.to {
            return None;
        }
        let begun = self.requests.get(&request.id).and_then(|progress| progress.next);
        let from = begun.unwrap_or(request.from).max(request.from);
        let last = from.saturating_add(most.max(1) - 1);
        let to = if last >= newest { request.to } else { last.min(request.to) };
        (from <= request.to).then_some((from, to))
    }

    /// Numbers of a request up to `to` were looked at.
    pub(super) fn note(&mut self, request: &Request, to: u64, resent: &Resent, now_ms: u64) {
        let count = |ranges: &[(u64, u64)]| ranges.iter().map(|(from, to)| to - from + 1).sum();
        let sent: u64 = count(&resent.sent);
        if self.day != now_ms / DAY_MS {
            (self.day, self.sent_today) = (now_ms / DAY_MS, 0);
        }
        self.sent_today = self.sent_today.saturating_add(sent);
        let progress = self.requests.entry(request.id.clone()).or_default();
        progress.next = (to < request.to).then(|| to + 1);
        progress.sent = progress.sent.saturating_add(sent);
        unsent(resent).into_iter().for_each(|unsent| progress.add(unsent));
    }

    /// It asks for no number.
    pub(super) fn refuse(&mut self, request: &Request) {
        let progress = self.requests.entry(request.id.clone()).or_default();
        progress.next = None;
        let (from, to) = (request.from, request.to);
        progress.unsent = vec![Unsent { from, to, state: State::Invalid }];
    }

    /// How far it is.
    pub(super) fn progress(&self, request: &Request) -> Option<&Progress> {
        self.requests.get(&request.id)
    }

    /// What was not sent is answered.
    pub(super) fn answered(&mut self, request: &Request) {
        if let Some(progress) = self.requests.get_mut(&request.id) {
            progress.unsent.clear();
        }
    }
}

impl Progress {
    /// Whether all its numbers were looked at.
    pub(super) fn is_done(&self) -> bool {
        self.next.is_none()
    }

    /// Whether there is nothing left to do or to tell.
    fn is_settled(&self) -> bool {
        self.is_done() && self.unsent.is_empty()
    }

    /// Whether what was not sent is to be told now.
    pub(super) fn wants_answer(&self) -> bool {
        self.unsent.len() >= UNSENT_MAX || (self.is_done() && !self.unsent.is_empty())
    }

    fn add(&mut self, unsent: Unsent) {
        match self.unsent.last_mut() {
            Some(last)
                if last.state == unsent.state && last.to.checked_add(1) == Some(unsent.from) =>
            {
                last.to = unsent.to;
            }
            _ => self.unsent.push(unsent),
        }
    }
}

/// What was not sent, by number.
fn unsent(resent: &Resent) -> Vec<Unsent> {
    let states = [
        (&resent.expired, State::Expired),
        (&resent.unknown, State::NeverExisted),
        (&resent.waiting, State::Waiting),
        (&resent.dead, State::Dead),
        (&resent.dropped, State::Dropped),
    ];
    let of = |(ranges, state): (&Vec<(u64, u64)>, State)| {
        let range = move |(from, to): &(u64, u64)| Unsent { from: *from, to: *to, state };
        ranges.iter().map(range).collect::<Vec<_>>()
    };
    let mut all: Vec<Unsent> = states.into_iter().flat_map(of).collect();
    all.sort_unstable_by_key(|unsent| unsent.from);
    all
}

/// The file `requests` in the data folder.
#[derive(Debug, Clone)]
pub(super) struct BookFile(PathBuf);

impl BookFile {
    pub(super) fn new(data_dir: &Path) -> Self {
        let newer = |bytes: &[u8]| small_file::larger(bytes, "version", VERSION.into());
        Self(small_file::place(data_dir.join("requests"), newer))
    }

    /// What it says; an empty one where there is none, or none that can be read: then what is on
    /// the page is done once more.
    pub(super) fn load(&self) -> Book {
        let path = self.0.display();
        let text = match fs::read(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Book::default(),
            Err(error) => {
                tracing::warn!(%path, %error, "what the centre asked for is done once more");
                return Book::default();
            }
        };
        match serde_json::from_slice::<Book>(&text) {
            Ok(book) if book.version == VERSION => book,
            Ok(Book { version, .. }) => {
                tracing::warn!(%path, version, "is of another version and begun anew");
                Book::default()
            }
            Err(error) => {
                tracing::warn!(%path, %error, "cannot be read and is begun anew");
                Book::default()
            }
        }
    }

    /// Writes it; durable when this returns.
    pub(super) fn save(&self, book: &Book) -> io::Result<()> {
        small_file::replace(&self.0, &serde_json::to_vec(book)?, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON_MS: u64 = 20_000 * DAY_MS + DAY_MS / 2;

    fn request(id: &str, from: u64, to: u64) -> Request {
        Request { id: id.into(), lane: "main".into(), stream: "00c0ffee".into(), from, to }
    }

    fn page(serial: u64, requests: &[Request]) -> Page {
        Page { gateway: "gw".into(), serial, requests: requests.to_vec() }
    }

    fn sent(from: u64, to: u64) -> Resent {
        Resent { sent: vec![(from, to)], ..Resent::default() }
    }

    #[test]
    fn requests_are_done_in_their_order_each_once_and_in_parts() {
        let (a, b) = (request("a", 5, 40), request("b", 1, 1));
        let page = page(1, &[a.clone(), b.clone(), a.clone()]);
        let mut book = Book::default();
        book.turn(&page).unwrap();
        let mut parts = Vec::new();
        while let Some(open) = book.open(&page) {
            let (from, to) = book.part(open, 100, 16).unwrap();
            parts.push((open.id.clone(), from, to));
            let open = open.clone();
            book.note(&open, to, &sent(from, to), NOON_MS);
        }
        let all = [("a", 5, 20), ("a", 21, 36), ("a", 37, 40), ("b", 1, 1)];
        assert_eq!(parts, all.map(|(id, from, to)| (id.to_owned(), from, to)));
        assert_eq!(book.progress(&a).unwrap().sent, 36);
        book.turn(&page).unwrap();
        assert_eq!(book.open(&page), None);
    }

    #[test]
    fn an_old_page_does_nothing_and_what_left_the_page_is_forgotten() {
        let mut book = Book::default();
        let first = page(10, &[request("a", 1, 1)]);
        book.turn(&first).unwrap();
        book.note(&first.requests[0], 1, &sent(1, 1), NOON_MS);
        let second = page(11, &[]);
        book.turn(&second).unwrap();
        assert!(book.requests.is_empty());
        assert_eq!(book.turn(&first), Err(Old(10, 11)));
        assert_eq!(book.turn(&second), Ok(false));
    }

    #[test]
    fn a_day_has_its_bound_and_the_next_day_its_own() {
        let mut book = Book::default();
        let a = request("a", 1, 100);
        assert_eq!(book.left_today(NOON_MS, 50), 50);
        book.note(&a, 30, &sent(1, 30), NOON_MS);
        assert_eq!(book.left_today(NOON_MS + 1000, 50), 20);
        assert_eq!(book.left_today(NOON_MS + DAY_MS, 50), 50);
        // A clock that was set back, or had been wrong: another day as well.
        assert_eq!(book.left_today(NOON_MS - DAY_MS, 50), 50);
        book.note(&a, 60, &sent(31, 60), NOON_MS);
        assert_eq!(book.left_today(NOON_MS, 50), 0);
    }

    #[test]
    fn what_is_beyond_the_newest_number_is_one_part_however_large() {
        let book = Book::default();
        let all = request("a", 1, u64::MAX);
        assert_eq!(book.part(&all, 100, 16), Some((1, 16)));
        assert_eq!(book.part(&all, 10, 16), Some((1, u64::MAX)));
        assert_eq!(book.part(&request("b", u64::MAX, u64::MAX), 10, 16).unwrap().0, u64::MAX);
        for (from, to) in [(0, 5), (6, 5)] {
            assert_eq!(book.part(&request("c", from, to), 10, 16), None);
        }
    }

    #[test]
    fn the_answer_is_joined_over_parts_and_due_at_the_end_or_when_it_is_long() {
        let mut book = Book::default();
        let a = request("a", 1, 3000);
        let expired = |from, to| Resent { expired: vec![(from, to)], ..Resent::default() };
        book.note(&a, 10, &expired(1, 10), NOON_MS);
        book.note(&a, 20, &expired(11, 20), NOON_MS);
        let progress = book.progress(&a).unwrap();
        assert_eq!(progress.unsent, [Unsent { from: 1, to: 20, state: State::Expired }]);
        assert!(!progress.wants_answer());
        for from in (22..).step_by(2).take(UNSENT_MAX) {
            book.note(&a, from, &expired(from, from), NOON_MS);
        }
        assert!(book.progress(&a).unwrap().wants_answer());
        book.answered(&a);
        let mixed = Resent {
            unknown: vec![(2500, 3000)],
            dead: vec![(2100, 2100)],
            waiting: vec![(2200, 2300)],
            ..Resent::default()
        };
        book.note(&a, 3000, &mixed, NOON_MS);
        let progress = book.progress(&a).unwrap();
        let states: Vec<State> = progress.unsent.iter().map(|unsent| unsent.state).collect();
        assert_eq!(states, [State::Dead, State::Waiting, State::NeverExisted]);
        assert!(progress.is_done() && progress.wants_answer());
        let page = page(1, std::slice::from_ref(&a));
        assert_eq!(book.open(&page), Some(&a), "it is not answered yet");
        book.answered(&a);
        assert_eq!(book.open(&page), None);
    }

    #[test]
    fn it_outlives_the_agent_and_its_form_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = BookFile::new(folder.path());
        assert_eq!(file.load(), Book::default());
        let mut book = Book::default();
        book.turn(&page(7, &[request("a", 1, 9)])).unwrap();
        let resent = Resent { expired: vec![(2, 3)], ..sent(1, 1) };
        book.note(&request("a", 1, 9), 3, &resent, NOON_MS);
        file.save(&book).unwrap();
        assert_eq!(BookFile::new(folder.path()).load(), book);
        let text = fs::read_to_string(folder.path().join("requests")).unwrap();
        assert_eq!(
            text,
            r#"{"version":1,"serial":7,"day":20000,"sent_today":1,"requests":{"a":{"next":4,"sent":1,"unsent":[{"from":2,"to":3,"state":"expired"}]}}}"#
        );
        for broken in ["{", &text.replace("\"version\":1", "\"version\":9")] {
            fs::write(folder.path().join("requests"), broken).unwrap();
            assert_eq!(file.load(), Book::default());
        }
    }
}
