use std::fmt;

use trivium_model::{ErrorKind, StateError};

/// One finding about a definition file: where it is, what was found and what to do.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file as it was named by the caller.
    pub file: String,
    /// The line, from 1; 0 when it concerns the file as a whole.
    pub line: u64,
    /// What was found and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// Why a set of definition files was refused: nothing of it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// All problems that were found, in the order of files and lines.
    pub problems: Vec<Problem>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the SLO files were refused, nothing was changed")?;
        self.problems.iter().try_for_each(|problem| write!(formatter, "\n{problem}"))
    }
}

impl std::error::Error for LoadError {}

/// Why an SLO could not be measured, stored or answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The indicator could not be measured; its slices stay due.
    #[error("measuring the indicator of SLO {slo} failed: {message}")]
    Query {
        /// The SLO.
        slo: String,
        /// What can be done about it.
        kind: ErrorKind,
        /// What was attempted and found.
        message: String,
    },
    /// The store of slices failed or the lease has passed to another process.
    #[error("keeping the slices of SLO {slo} failed: {source}")]
    State {
        /// The SLO.
        slo: String,
        /// What the store said.
        source: StateError,
    },
    /// A stored record is not what was written.
    #[error("record {key} of SLO {slo} is damaged: {message}")]
    Corrupted {
        /// The SLO.
        slo: String,
        /// The record.
        key: String,
        /// What was found.
        message: String,
    },
    /// No SLO has this name.
    #[error("there is no SLO named {name:?}; GET /api/v1/slos lists them")]
    NotFound {
        /// The name asked for.
        name: String,
    },
    /// A question is larger than the product answers.
    #[error("{message}")]
    LimitExceeded {
        /// The limit and what to do.
        message: String,
    },
}

impl Error {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Query { kind, .. } => *kind,
            Self::State { source: StateError::Store { kind, .. }, .. } => *kind,
            Self::State { source: StateError::Fenced { .. }, .. } => ErrorKind::Unavailable,
            Self::Corrupted { .. } => ErrorKind::Corrupted,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::LimitExceeded { .. } => ErrorKind::LimitExceeded,
        }
    }
}
