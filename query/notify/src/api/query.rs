//! The parameters of `GET /alerts` and `GET /alerts/groups`.

use regex::Regex;
use trivium_model::UnixNanos;

use super::{AlertStatus, ApiError, fits, status_of};
use crate::alert::Alert;
use crate::engine::Core;
use crate::matcher::{Matcher, whole};

/// Filters of one request.
const FILTERS_MAX: usize = 100;

/// Which alerts are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertQuery {
    /// Those that nothing mutes.
    pub active: bool,
    /// Those that are silenced.
    pub silenced: bool,
    /// Those that are inhibited.
    pub inhibited: bool,
    /// Those that are not processed yet; there are none.
    pub unprocessed: bool,
    /// Groups that are muted.
    pub muted: bool,
    /// Matchers.
    pub filter: Vec<String>,
    /// A regular expression for the receiver.
    pub receiver: Option<String>,
}

impl Default for AlertQuery {
    fn default() -> Self {
        Self {
            active: true,
            silenced: true,
            inhibited: true,
            unprocessed: true,
            muted: true,
            filter: Vec::new(),
            receiver: None,
        }
    }
}

impl AlertQuery {
    /// Reads the pairs of a query string, already decoded.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, ApiError> {
        let mut query = Self::default();
        for (name, value) in pairs {
            let flag = || match value {
                "true" | "1" => Ok(true),
                "false" | "0" => Ok(false),
                _ => Err(ApiError::new(422, format!("{name} in query must be of type boolean: {value:?}"))),
            };
            match name {
                "active" => query.active = flag()?,
                "silenced" => query.silenced = flag()?,
                "inhibited" => query.inhibited = flag()?,
                "unprocessed" => query.unprocessed = flag()?,
                "muted" => query.muted = flag()?,
                "filter" => query.filter.push(value.to_owned()),
                "receiver" => query.receiver = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(query)
    }

    pub(super) fn compile(&self) -> Result<(Vec<Matcher>, Option<Regex>), ApiError> {
        let receiver = self.receiver.as_deref().map(whole).transpose();
        let receiver =
            receiver.map_err(|error| ApiError::new(400, format!("failed to parse receiver param: {error}")))?;
        Ok((filters(&self.filter)?, receiver))
    }

    /// The status of an alert that is asked for.
    pub(super) fn admit(
        &self,
        core: &Core,
        alert: &Alert,
        matchers: &[Matcher],
        now: UnixNanos,
    ) -> Option<AlertStatus> {
        if alert.is_resolved(now) || !fits(matchers, &alert.labels) {
            return None;
        }
        let status = status_of(core, &alert.labels, now);
        let is_refused = (!self.active && status.state == "active")
            || (!self.silenced && !status.silenced_by.is_empty())
            || (!self.inhibited && !status.inhibited_by.is_empty());
        (!is_refused).then_some(status)
    }
}

pub(super) fn filters(texts: &[String]) -> Result<Vec<Matcher>, ApiError> {
    if texts.len() > FILTERS_MAX {
        return Err(ApiError::new(400, format!("{} filters; at most {FILTERS_MAX} are taken", texts.len())));
    }
    texts.iter().map(|text| Matcher::parse(text).map_err(|error| ApiError::new(400, error.to_string()))).collect()
}
