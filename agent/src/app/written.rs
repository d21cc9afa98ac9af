//! Small files that are written again and again: one that cannot be, as on a full disk, is told once when
//! that begins and once when it is over.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a file could not be written the last time.
#[derive(Debug, Default)]
pub(super) struct Written {
    failing: AtomicBool,
}

impl Written {
    /// Logs what became of a write of the file at `path`, if that is news.
    pub(super) fn tell(&self, path: &Path, done: &io::Result<()>) {
        let is_news = self.is_news(done.is_err());
        match done {
            Err(error) if is_news => {
                tracing::warn!(path = %path.display(), %error, "cannot be written; it is tried again");
            }
            Ok(()) if is_news => tracing::info!(path = %path.display(), "is written again"),
            _ => {}
        }
    }

    /// Whether the last one that was told of failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    fn is_news(&self, failing: bool) -> bool {
        self.failing.swap(failing, Ordering::Relaxed) != failing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_news_when_it_begins_and_when_it_is_over() {
        let written = Written::default();
        let told = [false, true, true, true, false, false, true].map(|now| written.is_news(now));
        assert_eq!(told, [false, true, false, false, true, false, true]);
    }
}
