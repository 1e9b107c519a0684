//! The one failure a command ends with: what kind it is, the chain of causes, and what to do next.
//!
//! Must not print and must not know how a failure came about.

use std::fmt::Display;

use crate::untrusted::printable;

/// The kinds of failure that a caller can tell apart, each an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A step failed or AWS refused: 1.
    Failed,
    /// The command line, the configuration or the state file cannot be used as it is: 2.
    Usage,
    /// Something is not as recorded, or not as asked for: 3.
    Differs,
    /// Another run holds the stack's lock: 4.
    Locked,
    /// Stopped by Ctrl-C or SIGTERM: 130.
    Interrupted,
}

impl Kind {
    /// The process's exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Differs => 3,
            Self::Locked => 4,
            Self::Interrupted => 130,
        }
    }
}

/// Why a command ended without doing what it was asked. Printed once, by `main`.
#[derive(Debug)]
pub struct Failure {
    /// Decides the exit code.
    pub kind: Kind,
    /// The message and its causes; `None` where what was printed already says it (`status` that differs).
    pub error: Option<anyhow::Error>,
    /// Lines that go on after the message, such as the problems of a file.
    pub details: Vec<String>,
    /// Commands or edits that would help, in the order to try them.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: Kind, error: impl Into<anyhow::Error>) -> Self {
        Self {
            kind,
            error: Some(error.into()),
            details: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Something the user typed or wrote cannot be used: exit code 2.
    pub fn usage(message: impl Display) -> Self {
        Self::new(Kind::Usage, anyhow::anyhow!("{message}"))
    }

    /// The same for several things at once, a line each; there is at least one.
    pub fn all_of(problems: impl IntoIterator<Item = String>) -> Self {
        let mut problems = problems.into_iter();
        let mut failure = Self::usage(problems.next().unwrap_or_default());
        failure.details = problems.collect();
        failure
    }

    /// An exit code whose reason the command has already shown.
    pub fn silent(kind: Kind) -> Self {
        Self {
            kind,
            error: None,
            details: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// The same failure with one more hint.
    #[must_use]
    pub fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(Kind::Failed, error)
    }
}

/// An error and its causes on one line, safe to print.
pub fn on_one_line(error: &anyhow::Error) -> String {
    printable(&format!("{error:#}"))
}

/// Adds a hint to whatever went wrong.
pub trait Hint<T> {
    /// The same result; a failure carries `hint` as well.
    fn hint(self, hint: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> Hint<T> for Result<T, E> {
    fn hint(self, hint: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| error.into().hinted(hint))
    }
}
