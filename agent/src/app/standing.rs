//! How the configuration stands: for `status`, and for whoever asks why.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spillway_protocol::local::status::Configuration;
use tokio::time::Instant;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    /// The main file.
    pub(super) file: String,
    pub(super) force: Force,
    /// What is wrong with the file, or with what is in force of it: place, key, problem, remedy.
    pub(super) faults: Vec<String>,
    /// Settings of the file that are in force from the next start on.
    pub(super) needs_restart: Vec<String>,
}

/// What is in force.
#[derive(Debug, Clone, Default)]
pub(super) enum Force {
    /// The file.
    #[default]
    File,
    /// The file, but for what cannot be used of it.
    Partly,
    /// The file, until then.
    Trial(Instant),
    /// What was in force before the file that is there now, which was refused.
    Former,
    /// The same, since the file was not kept in time.
    FellBack,
    /// The last that was accepted before the start.
    Accepted,
    /// What can be used of the file; nothing is sent.
    Salvaged,
    /// Nothing of a file: records are taken in and wait.
    Nothing,
}

/// Known to all who have a clone.
#[derive(Clone, Default)]
pub(super) struct SharedStanding(Arc<Mutex<Standing>>);

impl SharedStanding {
    pub(super) fn get(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Force {
    /// What the file said when it was last taken is in force, at least in part.
    pub(super) fn is_file(&self) -> bool {
        matches!(self, Self::File | Self::Partly | Self::Trial(_))
    }
}

impl Standing {
    pub(super) fn of(file: &str, force: Force, faults: Vec<String>) -> Self {
        Self { file: file.to_owned(), force, faults, needs_restart: Vec::new() }
    }

    /// `configuration` of `GET /v1/status`.
    pub(super) fn status(&self) -> Configuration {
        Configuration {
            file: self.file.clone(),
            state: self.state(),
            faults: self.faults.clone(),
            needs_restart: self.needs_restart.clone(),
            trial_left_s: self.trial_left_s(),
        }
    }

    fn trial_left_s(&self) -> Option<u64> {
        match self.force {
            Force::Trial(until) => {
                Some(until.saturating_duration_since(Instant::now()).as_secs_f64().ceil() as u64)
            }
            _ => None,
        }
    }

    /// In words; `in force` where nothing is to be done.
    pub(super) fn state(&self) -> String {
        let words = match self.force {
            Force::File => "in force".to_owned(),
            Force::Trial(_) => format!(
                "on trial: the former comes back in {} s unless a record is delivered before, or spillway reload --keep comes",
                self.trial_left_s().unwrap_or_default()
            ),
            Force::Partly => "in force but for what cannot be used".to_owned(),
            Force::Former => "refused, the former is in force".to_owned(),
            Force::FellBack => {
                "not kept in time, the former is in force; spillway reload takes it again".to_owned()
            }
            Force::Accepted => "refused, the last that was accepted is in force".to_owned(),
            Force::Salvaged => {
                "refused, and none was accepted before: what can be used of it takes records in, nothing is sent".to_owned()
            }
            Force::Nothing => {
                "refused, and none was accepted before: records are taken in on the lane default, nothing is sent".to_owned()
            }
        };
        let restart = match self.needs_restart.as_slice() {
            [] => String::new(),
            names => format!("; needs a restart: {}", names.join(", ")),
        };
        let more = match self.faults.len() {
            0 | 1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        let fault = self.faults.first().map(|fault| format!(": {fault}{more}"));
        format!("{words}{restart}{}", fault.unwrap_or_default())
    }
}
