//! Logs on standard error, for a person or as JSON, and the once-a-minute rule for faults that
//! repeat.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

use tokio::time::Instant;
use tracing_subscriber::filter::EnvFilter;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a person; without a time of its own where the journal adds one.
    Human,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// What `SPILLWAY_LOG_FORMAT` says; anything but `json` is for a person.
    pub fn of_environment() -> Self {
        match std::env::var("SPILLWAY_LOG_FORMAT").as_deref() {
            Ok("json") => Self::Json,
            _ => Self::Human,
        }
    }
}

/// The level or filter cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no log level; write error, warn, info, debug or trace, or target=level")]
pub struct LevelError(String);

/// Sends the process's logs to standard error. `level` is a level or a filter such as
/// `info,spillway::drain=debug`; without it `RUST_LOG` counts, then `info`. A second call has no
/// effect.
pub fn start(format: Format, level: Option<&str>) -> Result<(), LevelError> {
    let of_environment = std::env::var("RUST_LOG").ok();
    let filter = filter(level.or(of_environment.as_deref()).unwrap_or("info"))?;
    let in_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !in_journal);
    // Only the first subscriber of a process counts; tests start several.
    let _ = match (format, in_journal) {
        (Format::Json, _) => builder.json().flatten_event(true).try_init(),
        (Format::Human, true) => builder.without_time().try_init(),
        (Format::Human, false) => builder.try_init(),
    };
    Ok(())
}

/// A word alone must be a level: the filter would take a misspelt one for a target and be silent.
fn filter(text: &str) -> Result<EnvFilter, LevelError> {
    let wrong = || LevelError(text.to_owned());
    let is_level = |part: &str| part.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    let mut words = text.split(',').map(str::trim);
    if !words.all(|part| part.contains(['=', '[']) || is_level(part)) {
        return Err(wrong());
    }
    EnvFilter::builder().parse(text).map_err(|_| wrong())
}

/// At most one line a minute for a fault that repeats, with the count of those left out.
#[derive(Debug, Default)]
pub struct Repeated {
    seen: HashMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    logged: Instant,
    suppressed: u64,
}

/// How long a fault stays quiet after it was logged.
const QUIET: Duration = Duration::from_secs(60);
/// Faults that are remembered; beyond it the one that was logged first is forgotten.
const REMEMBERED: usize = 256;

impl Repeated {
    /// Notes the fault `key` at `now`. `Some(n)`: log it, and say that `n` of the same were left
    /// out since the last time. `None`: leave it out.
    pub fn note(&mut self, key: &str, now: Instant) -> Option<u64> {
        if let Some(seen) = self.seen.get_mut(key) {
            if now.saturating_duration_since(seen.logged) < QUIET {
                seen.suppressed += 1;
                return None;
            }
            seen.logged = now;
            return Some(std::mem::take(&mut seen.suppressed));
        }
        self.make_room();
        let seen = Seen { logged: now, suppressed: 0 };
        self.seen.insert(key.to_owned(), seen);
        Some(0)
    }

    fn make_room(&mut self) {
        if self.seen.len() < REMEMBERED {
            return;
        }
        let oldest = self.seen.iter().min_by_key(|(_, seen)| seen.logged);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.seen.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_an_error_and_not_silence() {
        assert!(filter("info,spillway::drain=debug").is_ok());
        assert!(filter("DEBUG").is_ok());
        assert!(filter("inf").is_err() && filter("info,debg").is_err());
        assert!(filter("spillway=loud").is_err());
    }

    #[test]
    fn a_repeated_fault_is_logged_once_a_minute_with_its_count() {
        let mut repeated = Repeated::default();
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(repeated.note("refused", at(0)), Some(0));
        assert_eq!(repeated.note("refused", at(1)), None);
        assert_eq!(repeated.note("refused", at(59)), None);
        assert_eq!(repeated.note("refused", at(60)), Some(2));
        assert_eq!(repeated.note("refused", at(61)), None);
        assert_eq!(repeated.note("refused", at(500)), Some(1));
        assert_eq!(repeated.note("refused", at(900)), Some(0));
    }

    #[test]
    fn another_fault_is_not_kept_quiet() {
        let mut repeated = Repeated::default();
        let now = Instant::now();
        assert_eq!(repeated.note("a", now), Some(0));
        assert_eq!(repeated.note("b", now), Some(0));
    }

    #[test]
    fn ever_new_faults_do_not_grow_the_memory() {
        let mut repeated = Repeated::default();
        let start = Instant::now();
        for i in 0..10_000u64 {
            repeated.note(&format!("fault {i}"), start + Duration::from_millis(i));
        }
        assert_eq!(repeated.seen.len(), REMEMBERED);
        assert!(repeated.seen.contains_key("fault 9999"));
    }
}
