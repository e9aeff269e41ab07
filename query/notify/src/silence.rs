//! Silences: matchers that mute for a time.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

use trivium_model::UnixNanos;

use crate::labels::Labels;
use crate::matcher::{MATCHERS_MAX, MatchOperator, Matcher, Matchers};

/// How long an expired silence is kept to be looked at.
pub(crate) const RETENTION: Duration = Duration::from_secs(120 * 3600);

/// Silences at one time, expired ones included.
const SILENCES_MAX: usize = 10_000;

/// Bytes of one silence.
const SILENCE_BYTES_MAX: usize = 64 * 1024;

/// A silence, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Silence {
    pub(crate) id: String,
    pub(crate) matchers: Vec<SilenceMatcher>,
    pub(crate) starts_at: i64,
    pub(crate) ends_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) created_by: String,
    pub(crate) comment: String,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A matcher as it is kept and as the API has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SilenceMatcher {
    /// The label.
    pub name: String,
    /// With what to compare.
    pub value: String,
    /// Whether that is a regular expression.
    pub is_regex: bool,
    /// Whether it must fit, or must not.
    #[serde(default = "yes")]
    pub is_equal: bool,
}

fn yes() -> bool {
    true
}

/// Whether a silence mutes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SilenceState {
    /// It mutes.
    Active,
    /// It will.
    Pending,
    /// It did.
    Expired,
}

/// Why a silence could not be set or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SilenceError {
    #[error("silence not found")]
    NotFound,
    #[error("{0}")]
    Invalid(String),
}

impl Silence {
    pub(crate) fn state(&self, now: UnixNanos) -> SilenceState {
        if now.0 < self.starts_at {
            SilenceState::Pending
        } else if now.0 >= self.ends_at {
            SilenceState::Expired
        } else {
            SilenceState::Active
        }
    }

    fn compile(&self) -> Result<Matchers, SilenceError> {
        let invalid = |problem: String| SilenceError::Invalid(format!("silence invalid: {problem}"));
        if self.matchers.is_empty() {
            return Err(invalid("at least one matcher required".into()));
        }
        let size: usize = self.matchers.iter().map(|matcher| matcher.name.len() + matcher.value.len()).sum();
        if self.matchers.len() > MATCHERS_MAX || size + self.comment.len() + self.created_by.len() > SILENCE_BYTES_MAX {
            return Err(invalid(format!("more than {MATCHERS_MAX} matchers or {SILENCE_BYTES_MAX} bytes")));
        }
        let mut compiled = Vec::new();
        for (at, one) in self.matchers.iter().enumerate() {
            if one.name.is_empty() {
                return Err(invalid(format!("invalid label matcher {at}: invalid label name \"\"")));
            }
            let operator = MatchOperator::new(one.is_equal, one.is_regex);
            let matcher = Matcher::new(&one.name, operator, &one.value);
            compiled.push(matcher.map_err(|error| invalid(format!("invalid label matcher {at}: {error}")))?);
        }
        // As in Alertmanager, a negative matcher never counts as one that matches the empty text.
        if compiled.iter().all(|matcher| matcher.operator.is_equal() && matcher.matches_value("")) {
            return Err(invalid("at least one matcher must not match the empty string".into()));
        }
        Ok(Matchers(compiled))
    }
}

/// All silences, with their matchers ready.
#[derive(Debug, Default)]
pub(crate) struct Silences(BTreeMap<String, (Silence, Matchers)>);

impl Silences {
    /// Takes one as it was kept; one that cannot be read any more is left out.
    pub(crate) fn restore(&mut self, silence: Silence) {
        if let Ok(matchers) = silence.compile() {
            self.0.insert(silence.id.clone(), (silence, matchers));
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Silence> {
        self.0.get(id).map(|(silence, _)| silence)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Silence> {
        self.0.values().map(|(silence, _)| silence)
    }

    /// The silences that mute a label set now.
    pub(crate) fn muting(&self, labels: &Labels, now: UnixNanos) -> Vec<String> {
        let is_muting = |(silence, matchers): &&(Silence, Matchers)| {
            silence.state(now) == SilenceState::Active && matchers.matches(labels)
        };
        self.0.values().filter(is_muting).map(|(silence, _)| silence.id.clone()).collect()
    }

    /// Creates a silence, or changes the one with its ID. Says which silences changed, the one that holds now last.
    pub(crate) fn set(
        &mut self,
        mut new: Silence,
        now: UnixNanos,
        new_id: String,
    ) -> Result<Vec<Silence>, SilenceError> {
        let old = if new.id.is_empty() { None } else { Some(self.get(&new.id).ok_or(SilenceError::NotFound)?.clone()) };
        if old.is_none() && self.0.len() >= SILENCES_MAX {
            return Err(SilenceError::Invalid(format!("exceeded maximum number of silences: {SILENCES_MAX}")));
        }
        new.updated_at = now.0;
        if new.ends_at < new.starts_at {
            return Err(SilenceError::Invalid("silence invalid: end time must not be before start time".into()));
        }
        let mut changed = Vec::new();
        let can_change = old.as_ref().is_some_and(|old| can_update(old, &new, now));
        if !can_change {
            // Whole milliseconds, so that a client that sends it back has not changed it.
            new.starts_at = new.starts_at.max(now.0 - now.0.rem_euclid(1_000_000));
            new.id = new_id;
        }
        let matchers = new.compile()?;
        if let Some(mut old) = old
            && !can_change
            && old.state(now) != SilenceState::Expired
        {
            end(&mut old, now);
            if let Some(entry) = self.0.get_mut(&old.id) {
                entry.0 = old.clone();
            }
            changed.push(old);
        }
        self.0.insert(new.id.clone(), (new.clone(), matchers));
        changed.push(new);
        Ok(changed)
    }

    /// Ends a silence now.
    pub(crate) fn expire(&mut self, id: &str, now: UnixNanos) -> Result<Silence, SilenceError> {
        let (silence, _) = self.0.get_mut(id).ok_or(SilenceError::NotFound)?;
        if silence.state(now) == SilenceState::Expired {
            return Err(SilenceError::Invalid(format!("silence {id} already expired")));
        }
        end(silence, now);
        Ok(silence.clone())
    }

    /// Forgets those that ended long ago; says which.
    pub(crate) fn forget(&mut self, now: UnixNanos) -> Vec<String> {
        let oldest = now.before(RETENTION).0;
        self.0.extract_if(.., |_, (silence, _)| silence.ends_at < oldest).map(|(id, _)| id).collect()
    }
}

fn end(silence: &mut Silence, now: UnixNanos) {
    if silence.state(now) == SilenceState::Pending {
        silence.starts_at = now.0;
    }
    silence.ends_at = now.0;
    silence.updated_at = now.0;
}

/// Whether a silence can become another one and keep its ID.
fn can_update(old: &Silence, new: &Silence, now: UnixNanos) -> bool {
    if old.matchers != new.matchers {
        return false;
    }
    match old.state(now) {
        SilenceState::Active => new.starts_at == old.starts_at && new.ends_at >= now.0,
        SilenceState::Pending => new.starts_at >= now.0,
        SilenceState::Expired => false,
    }
}
