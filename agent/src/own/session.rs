//! Sessions, and those that are open on disk, so that the next life of the agent can report their
//! end.

use std::fs::{self, File};
use std::io;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use spillway_protocol::message::Flags;
use spillway_protocol::presence::{Event, EventType};
use spillway_protocol::record::Topic;
use tokio_util::sync::CancellationToken;

use super::post::{Letter, Number, Post};
use crate::queue::Level;
use crate::small_file;

/// A time during which the link was up, or a local client connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    /// Where its events go.
    pub(super) topic: Topic,
    pub(super) client_id: String,
    pub(super) channel_id: String,
    pub(super) client_ip: String,
    /// When it began, ms since 1970.
    pub(super) connected_ms: u64,
}

impl Session {
    /// Stores an event of it; `None` if told to stop before the disk took it.
    pub(super) async fn tell(
        &self,
        post: &Post,
        event_type: EventType,
        time: u64,
        stop: &CancellationToken,
    ) -> Option<Number> {
        let event = Event {
            event_type,
            client_id: self.client_id.clone(),
            channel_id: self.channel_id.clone(),
            client_ip: self.client_ip.clone(),
            time,
        };
        let (topic, tag) = (self.topic.clone(), event_type.tag().ok());
        let body = event.to_json().ok()?;
        post.send_surely(&Letter { id: None, topic, tag, flags: Flags::NONE, body }, stop).await
    }
}

/// Version of the file from [`Level::Two`] on; at the first level it had none.
const FORMAT: u32 = 2;

/// A file that is there while something is open; its time of change is the last at which that was
/// known to live.
#[derive(Debug)]
pub(super) struct SessionFile<T> {
    path: PathBuf,
    level: Level,
    open: PhantomData<T>,
}

/// What it holds.
#[derive(Serialize, Deserialize)]
struct Stored<T> {
    format: u32,
    open: T,
}

impl<T: Serialize + DeserializeOwned> SessionFile<T> {
    /// The file at `path` of a folder of this level.
    pub(super) fn new(path: PathBuf, level: Level) -> Self {
        let newer = |bytes: &[u8]| small_file::larger(bytes, "format", FORMAT.into());
        Self { path: small_file::place(path, newer), level, open: PhantomData }
    }

    /// What was not closed, and when it was last known to live, ms since 1970. What cannot be read
    /// is nothing: its channel expires at the far side.
    pub(super) fn load(&self) -> Option<(T, u64)> {
        let text = fs::read(&self.path).ok()?;
        let versioned = serde_json::from_slice::<Stored<T>>(&text).map(|stored| stored.open);
        let open: T = match versioned.or_else(|_| serde_json::from_slice(&text)) {
            Ok(open) => open,
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "the last session cannot be read");
                return None;
            }
        };
        let alive = fs::metadata(&self.path).and_then(|found| found.modified()).ok();
        let alive = alive.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let alive_ms = alive.map_or(0, |at| u64::try_from(at.as_millis()).unwrap_or(0));
        Some((open, alive_ms))
    }

    /// Notes what is open; durable when this returns.
    pub(super) fn open(&self, open: &T, now_ms: u64) -> io::Result<()> {
        let text = match self.level {
            Level::One => serde_json::to_vec(open)?,
            Level::Two => serde_json::to_vec(&Stored { format: FORMAT, open })?,
        };
        small_file::replace(&self.path, &text, Some(time(now_ms)))
    }

    /// It lives at this time. Not synced: after a power cut an earlier time counts.
    pub(super) fn alive(&self, now_ms: u64) -> io::Result<()> {
        File::open(&self.path)?.set_modified(time(now_ms))
    }

    /// Its end has been told.
    pub(super) fn close(&self) -> io::Result<()> {
        small_file::remove(&self.path)
    }
}

fn time(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn file(folder: &Path) -> SessionFile<Session> {
        SessionFile::new(folder.join("session"), Level::NEWEST)
    }

    fn session() -> Session {
        Session {
            topic: Topic::parse("status").unwrap(),
            client_id: "GID_g@@@gw".into(),
            channel_id: "c".into(),
            client_ip: "10.0.0.7".into(),
            connected_ms: 1_700_000_000_123,
        }
    }

    #[test]
    fn an_open_session_is_found_with_the_last_time_it_lived() {
        let folder = tempfile::tempdir().unwrap();
        let kept = file(folder.path());
        assert_eq!(kept.load(), None);
        kept.open(&session(), 1_700_000_000_123).unwrap();
        assert_eq!(kept.load(), Some((session(), 1_700_000_000_123)));
        kept.alive(1_700_000_060_456).unwrap();
        assert_eq!(file(folder.path()).load(), Some((session(), 1_700_000_060_456)));
        kept.close().unwrap();
        kept.close().unwrap();
        assert_eq!(kept.load(), None);
    }

    #[test]
    fn golden_bytes_of_both_levels_and_a_newer_one_that_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session");
        let bare = r#"{"topic":"status","client_id":"GID_g@@@gw","channel_id":"c","client_ip":"10.0.0.7","connected_ms":1700000000123}"#;
        for (level, golden) in [
            (Level::One, bare.to_owned()),
            (Level::Two, format!(r#"{{"format":2,"open":{bare}}}"#)),
        ] {
            SessionFile::new(path.clone(), level).open(&session(), 5).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), golden);
            assert_eq!(file(folder.path()).load(), Some((session(), 5)));
            let sessions = SessionFile::new(folder.path().join("client-sessions"), level);
            sessions.open(&vec![session()], 5).unwrap();
            assert_eq!(sessions.load(), Some((vec![session()], 5)));
        }
        fs::write(&path, r#"{"format":3}"#).unwrap();
        let kept = file(folder.path());
        assert_eq!(kept.load(), None);
        kept.open(&session(), 5).unwrap();
        assert_eq!(fs::read(&path).unwrap(), br#"{"format":3}"#);
        assert_eq!(file(folder.path()).load(), Some((session(), 5)));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_no_session() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("session"), "{").unwrap();
        assert_eq!(file(folder.path()).load(), None);
    }
}
