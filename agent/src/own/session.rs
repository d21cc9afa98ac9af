//! The open session on disk, so that the next life of the agent can report its end.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use spillway_protocol::record::Topic;

use crate::small_file;

/// A time during which the link was up.
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

/// The file `session` in the data folder. It is there while a session is open; its time of change
/// is the last at which the session was known to live.
#[derive(Debug, Clone)]
pub(super) struct SessionFile(PathBuf);

impl SessionFile {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self(data_dir.join("session"))
    }

    /// The session that was not closed, and when it was last known to live, ms since 1970. One
    /// that cannot be read is none: its channel expires at the far side.
    pub(super) fn load(&self) -> Option<(Session, u64)> {
        let text = fs::read(&self.0).ok()?;
        let session: Session = match serde_json::from_slice(&text) {
            Ok(session) => session,
            Err(error) => {
                tracing::warn!(path = %self.0.display(), %error, "the last session cannot be read");
                return None;
            }
        };
        let alive = fs::metadata(&self.0).and_then(|found| found.modified()).ok();
        let alive = alive.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let alive_ms = alive.map_or(0, |at| u64::try_from(at.as_millis()).unwrap_or(0));
        let alive_ms = alive_ms.max(session.connected_ms);
        Some((session, alive_ms))
    }

    /// Notes that the session is open; durable when this returns.
    pub(super) fn open(&self, session: &Session) -> io::Result<()> {
        let content = serde_json::to_vec(session)?;
        small_file::replace(&self.0, &content, Some(time(session.connected_ms)))
    }

    /// It lives at this time. Not synced: after a power cut an earlier time counts.
    pub(super) fn alive(&self, now_ms: u64) -> io::Result<()> {
        File::open(&self.0)?.set_modified(time(now_ms))
    }

    /// Its end has been told.
    pub(super) fn close(&self) -> io::Result<()> {
        small_file::remove(&self.0)
    }
}

fn time(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let file = SessionFile::new(folder.path());
        assert_eq!(file.load(), None);
        file.open(&session()).unwrap();
        assert_eq!(file.load(), Some((session(), 1_700_000_000_123)));
        file.alive(1_700_000_060_456).unwrap();
        assert_eq!(SessionFile::new(folder.path()).load(), Some((session(), 1_700_000_060_456)));
        // A clock that was set back.
        file.alive(1000).unwrap();
        assert_eq!(file.load(), Some((session(), 1_700_000_000_123)));
        file.close().unwrap();
        file.close().unwrap();
        assert_eq!(file.load(), None);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_no_session() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("session"), "{").unwrap();
        assert_eq!(SessionFile::new(folder.path()).load(), None);
    }
}
