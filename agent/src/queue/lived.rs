//! How long a lane's records have really waited, restarts, sleep and power-off included, for its
//! `ttl`. Kept in the lane's folder as `lived`, which is written when the machine or the clock on
//! the wall begins anew, and not while nothing happens.
//!
//! File: magic 8, CRC-32 of the rest 4, the [`Course`] with its version.

mod course;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spillway_protocol::codec;

use super::store::Store;
use super::timeline::Accepted;
use crate::clock::WallClock;
use course::{Course, Moment};

const NAME: &str = "lived";
const MAGIC: [u8; 8] = *b"SPWLIVE\x01";
const VERSION: u8 = 1;
const CRC_BYTES: usize = 4;
/// Where the clock on the wall is never set, a power-off costs at most this much of the age of what
/// waits.
const SAVE_EVERY_MS: i64 = 3_600_000;

/// See the module.
pub(super) struct Lived {
    store: Arc<dyn Store>,
    clock: Arc<dyn WallClock>,
    inner: Mutex<Inner>,
}

struct Inner {
    course: Course,
    /// The file does not have it.
    unsaved: bool,
    /// Lived time when it was saved.
    saved_ms: i64,
}

impl Lived {
    /// Of the lane in `store`, which ends at `end`.
    pub(super) fn recover(
        store: Arc<dyn Store>,
        end: u64,
        clock: Arc<dyn WallClock>,
    ) -> io::Result<Self> {
        let now = moment(clock.as_ref());
        let (course, unsaved) = match load(store.as_ref())? {
            Some(mut course) => {
                let unsaved = course.resume(now);
                (course, unsaved)
            }
            None => (Course::begin(end, now), true),
        };
        let saved_ms = course.lived_ms();
        Ok(Self { store, clock, inner: Mutex::new(Inner { course, unsaved, saved_ms }) })
    }

    /// The lane has no `ttl` any more: what is known would be wrong once it has one again.
    pub(super) fn forget(store: &dyn Store) -> io::Result<()> {
        match store.files(NAME)?.iter().any(|name| name == NAME) {
            true => store.remove_file(NAME),
            false => Ok(()),
        }
    }

    /// Records from the position `from` on are about to be stored; all below `settled` is settled.
    ///
    /// # Errors
    /// The disk's; it is tried again.
    pub(super) fn note(&self, from: u64, settled: u64) -> io::Result<()> {
        let mut inner = self.inner();
        let changed = inner.course.note(from, settled, moment(self.clock.as_ref()));
        let old = inner.course.lived_ms() - inner.saved_ms >= SAVE_EVERY_MS;
        inner.unsaved |= changed || old;
        self.save(&mut inner)
    }

    /// Looks at the clocks, and saves what is new.
    ///
    /// # Errors
    /// The disk's; it is tried again.
    pub(super) fn look(&self) -> io::Result<()> {
        let mut inner = self.inner();
        inner.unsaved |= inner.course.look(moment(self.clock.as_ref())).1;
        self.save(&mut inner)
    }

    /// How long ago, in ms, the record at `position` was accepted.
    pub(super) fn age_ms(&self, position: u64, accepted: Accepted) -> u64 {
        let mut inner = self.inner();
        inner.unsaved |= inner.course.look(moment(self.clock.as_ref())).1;
        inner.course.age_ms(position, accepted)
    }

    fn save(&self, inner: &mut Inner) -> io::Result<()> {
        if inner.unsaved {
            self.store.save_file(NAME, &render(&inner.course)?)?;
            (inner.unsaved, inner.saved_ms) = (false, inner.course.lived_ms());
        }
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn moment(clock: &dyn WallClock) -> Moment {
    Moment { uptime: clock.uptime(), wall_ms: clock.now_ms() }
}

fn render(course: &Course) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    codec::encode_into(VERSION, course, &mut body).map_err(io::Error::other)?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend(crc32fast::hash(&body).to_le_bytes());
    bytes.extend(body);
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Option<Course> {
    let (crc, body) = bytes.strip_prefix(&MAGIC)?.split_at_checked(CRC_BYTES)?;
    let whole = crc == crc32fast::hash(body).to_le_bytes();
    let course = whole.then(|| codec::decode(VERSION, body).ok()).flatten()?;
    Some(course.0)
}

/// Whether these are the bytes of such a file that something happened to.
pub(super) fn is_damaged(bytes: &[u8]) -> bool {
    parse(bytes).is_none()
}

/// Reads any bytes, for fuzzing.
pub(super) fn fuzz(bytes: &[u8]) {
    if let Ok((course, _)) = codec::decode::<Course>(VERSION, bytes) {
        let again = render(&course).ok().and_then(|bytes| parse(&bytes));
        assert_eq!(again, Some(course));
    }
    drop(parse(bytes));
}

fn load(store: &dyn Store) -> io::Result<Option<Course>> {
    let bytes = match store.load_file(NAME) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A bad sector is damage like any other.
        Err(error) if error.raw_os_error() == Some(libc::EIO) => Vec::new(),
        bytes => bytes?,
    };
    let course = parse(&bytes);
    if course.is_none() {
        tracing::warn!(file = NAME, "how old a lane's records are is damaged and begun anew");
    }
    Ok(course)
}
