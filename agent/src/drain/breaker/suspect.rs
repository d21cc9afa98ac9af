//! Records that failed and are still in the queue.

use crate::drain::Mishap;

/// Tries of a record whose fate is unknown before it holds.
pub(super) const UNKNOWN_TRIES: u32 = 3;

/// A record that was refused, or whose fate is unknown, and is still in the queue.
#[derive(Debug)]
pub(super) struct Suspect {
    pub(super) code: String,
    pub(super) reason: String,
    pub(super) refusals: u32,
    pub(super) unknowns: u32,
    /// Highest number given out when it first failed.
    pub(super) at: u64,
    /// Another record had passed since, when it was last sent.
    pub(super) vouched: bool,
}

impl Suspect {
    pub(super) fn new(issued: u64) -> Self {
        Self {
            code: String::new(),
            reason: String::new(),
            refusals: 0,
            unknowns: 0,
            at: issued,
            vouched: false,
        }
    }

    /// Whether it does more than wait for its next try.
    pub(super) fn is_stuck(&self) -> bool {
        self.refusals > 0 || self.unknowns >= UNKNOWN_TRIES
    }

    pub(super) fn mishap(&self) -> Mishap {
        let tries = self.refusals.max(self.unknowns);
        Mishap { code: self.accepted_code(), reason: self.reason.clone(), tries }
    }

    pub(super) fn accepted_code(&self) -> String {
        match self.refusals {
            0 => "unknown".to_owned(),
            _ => self.code.clone(),
        }
    }
}

/// A broker's refusal of a record.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    /// The broker's code.
    pub code: &'a str,
    /// Its words.
    pub reason: &'a str,
    /// It can only mean the record itself.
    pub own: bool,
}

impl std::fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.reason)
    }
}

/// What becomes of a record that did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// To the dead letters.
    Bury,
    /// It stays; tried again with a growing wait after this many tries.
    Retry(u32),
    /// It stays; tried again with the next round of probes.
    Round,
}
