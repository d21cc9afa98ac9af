//! `POST /v1/reload`.

use serde::{Deserialize, Serialize};

/// What is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Back to the former configuration after so many ms, unless a record is delivered before or it
    /// is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_ms: Option<u64>,
    /// Keep the one that is on trial; nothing is read.
    #[serde(default)]
    pub keep: bool,
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// The file is in force; else what was in force before still is.
    pub taken: bool,
    /// What is wrong with it: place, key, problem, remedy.
    #[serde(default)]
    pub faults: Vec<String>,
    /// What should not stay so.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Sections and lanes that are other than before.
    #[serde(default)]
    pub changed: Vec<String>,
    /// Settings that are in force from the next start on.
    #[serde(default)]
    pub needs_restart: Vec<String>,
    /// Lanes in which records of a former configuration wait.
    #[serde(default)]
    pub retired: Vec<String>,
    /// It is on trial: seconds until the former one comes back.
    #[serde(default)]
    pub trial_left_s: Option<u64>,
}
