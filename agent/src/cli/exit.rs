//! Exit codes, those of sysexits.h.

use std::process::ExitCode;

use super::output;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// `status --check`, `queue verify`: something needs attention.
    Warning,
    /// `demo`: a promise was not kept.
    Failed,
    /// `status --check`: something is broken.
    Critical,
    /// The command line is wrong.
    Usage,
    /// Refused for good: the same again will not help.
    Refused,
    /// No agent answers.
    Unreachable,
    /// Refused for now: the same later may pass.
    TryAgain,
    /// This user may not.
    NotPermitted,
    /// The configuration is wrong.
    Configuration,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Warning | Self::Failed => 1,
            Self::Critical | Self::Usage => 2,
            Self::Refused => 65,
            Self::Unreachable => 69,
            Self::TryAgain => 75,
            Self::NotPermitted => 77,
            Self::Configuration => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why a command ended without doing what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How the process is to end.
    pub exit: Exit,
    /// What is wrong and what to do; may have several lines.
    pub message: String,
}

impl Failure {
    /// A failure.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Says it on standard error.
    pub fn report(&self) -> Exit {
        output::err(&format!("{}\n", self.message.trim_end()));
        self.exit
    }
}

/// Prints what a command has to say, or why it failed.
pub(super) fn finish(result: Result<String, Failure>) -> Exit {
    match result {
        Ok(text) => {
            output::out(&text);
            Exit::Done
        }
        Err(failure) => failure.report(),
    }
}
