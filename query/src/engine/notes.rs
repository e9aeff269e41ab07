use std::sync::{Mutex, PoisonError};

/// Notes of one answer, beyond which they are only counted.
const NOTES_MAX: usize = 8;

/// What a client should know about an answer besides its rows. Scans write it while the query is planned and run.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    partial: bool,
    warnings: Vec<String>,
    more: usize,
}

impl Notes {
    /// The answer is whole, but something was not as it should be.
    pub(crate) fn warn(&self, warning: String) {
        self.add(warning, false);
    }

    /// Rows are missing from the answer.
    pub(crate) fn missing(&self, warning: String) {
        self.add(warning, true);
    }

    fn add(&self, warning: String, partial: bool) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.partial |= partial;
        if state.warnings.contains(&warning) {
            return;
        }
        if state.warnings.len() < NOTES_MAX {
            state.warnings.push(warning);
        } else {
            state.more += 1;
        }
    }

    /// Whether rows are missing, and all warnings.
    pub(super) fn read(&self) -> (bool, Vec<String>) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut warnings = state.warnings.clone();
        if state.more > 0 {
            warnings.push(format!("and {} more", state.more));
        }
        (state.partial, warnings)
    }
}
