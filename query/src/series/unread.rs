//! Parts that a question could not read.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use trivium_storage::Part;

use crate::error::Error;

/// Names the parts that a question could not read; its answer comes from the others. One broken part must not cost every panel
/// that looks at its time.
#[derive(Debug, Default)]
pub(crate) struct Unread(Mutex<BTreeSet<String>>);

impl Unread {
    /// What reading a part gave; `None` when it cannot be read, which is noted. What is no fault of the part stays an error.
    pub(super) fn unless_damaged<T>(&self, part: &Part, read: Result<T, Error>) -> Result<Option<T>, Error> {
        match read {
            Err(Error::Storage(error)) => {
                self.note(part, &error);
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    fn note(&self, part: &Part, error: &trivium_storage::Error) {
        let record = part.record();
        let warning = format!(
            "up to {} {} of the damaged part {} are missing; run `trivium verify`",
            record.rows,
            record.signal.table(),
            record.id
        );
        // Every selector of a query meets it.
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(warning) {
            tracing::error!(%error, part = %record.id, "a part cannot be read; answering from the others");
        }
    }

    /// Whether all parts could be read so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// A text for each part: what is missing, and what to do.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
