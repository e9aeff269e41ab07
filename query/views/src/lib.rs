//! Searches and queries that people saved under a name.
//!
//! A view is what brings a page of the UI back as somebody left it. It is shared: whoever may ask may see, replace and remove
//! it. What it shows is asked anew each time.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use trivium_model::{Clock, ErrorKind, StateChange, StateError, StateRecord, StateStore, TenantId, UnixNanos};

/// The kind of our records.
const KIND: &str = "view";

/// Views of one tenant.
const VIEWS_MAX: usize = 1_000;

/// Characters of a name.
const NAME_CHARS_MAX: usize = 120;

/// Bytes of the parameters.
const QUERY_BYTES_MAX: usize = 16 * 1024;

/// What a view is a view of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Page {
    /// A search for log records.
    Logs,
    /// A search for traces.
    Traces,
    /// Queries in PromQL.
    Metrics,
    /// An SQL statement.
    Sql,
}

impl Page {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Logs, Self::Traces, Self::Metrics, Self::Sql];

    /// Its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Sql => "sql",
        }
    }
}

impl fmt::Display for Page {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for Page {
    type Err = ViewError;

    fn from_str(text: &str) -> Result<Self, ViewError> {
        let found = Self::ALL.into_iter().find(|page| page.as_str() == text);
        found.ok_or_else(|| {
            ViewError::Invalid(format!("{text:?} has no views: there are logs, traces, metrics and sql"))
        })
    }
}

/// A saved view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct View {
    /// What it is a view of.
    pub page: Page,
    /// What people call it.
    pub name: String,
    /// The parameters of the page as they stand in its address, without the question mark.
    pub query: String,
    /// When it was saved last, nanoseconds since 1970 as text.
    #[serde(serialize_with = "as_text")]
    pub updated_at: UnixNanos,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over by reference")]
fn as_text<S: serde::Serializer>(time: &UnixNanos, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&time.0)
}

/// Why a view was not saved, found or removed. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// What was sent is wrong.
    #[error("{0}")]
    Invalid(String),
    /// There is no such view.
    #[error("there is no view {name:?} of {page}")]
    NotFound {
        /// Of what.
        page: Page,
        /// What was asked for.
        name: String,
    },
    /// There is no room for another one.
    #[error("{VIEWS_MAX} views are saved, which is the limit; remove one that nobody needs")]
    Full,
    /// The store failed.
    #[error("the views could not be read or kept: {0}")]
    Store(#[from] StateError),
}

impl ViewError {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) => ErrorKind::InvalidArgument,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Full => ErrorKind::LimitExceeded,
            Self::Store(StateError::Store { kind, .. }) => *kind,
            Self::Store(StateError::Fenced { .. }) => ErrorKind::Unavailable,
        }
    }
}

/// A view as it is kept; what it is called is its key.
#[derive(Serialize, Deserialize)]
struct Kept {
    query: String,
    updated_at: i64,
}

/// The views of all tenants.
#[derive(Debug)]
pub struct Views {
    store: Arc<dyn StateStore>,
    clock: Arc<dyn Clock>,
    /// Held while a view is added, so that two at once do not exceed the limit.
    adding: tokio::sync::Mutex<()>,
}

impl Views {
    /// The views that are in a store.
    pub fn new(store: Arc<dyn StateStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, adding: tokio::sync::Mutex::new(()) }
    }

    /// The views of a page, or of all pages, by page and name.
    pub async fn list(&self, tenant: TenantId, page: Option<Page>) -> Result<Vec<View>, ViewError> {
        let prefix = page.map(|page| format!("{page}/")).unwrap_or_default();
        let records = self.store.list(tenant, KIND, &prefix).await?;
        let mut views: Vec<View> = records.iter().filter_map(understood).collect();
        views.sort_by(|left, right| (left.page, &left.name).cmp(&(right.page, &right.name)));
        Ok(views)
    }

    /// Saves a view, in place of one with the same name. Durable when this returns.
    pub async fn put(&self, tenant: TenantId, page: Page, name: &str, query: &str) -> Result<View, ViewError> {
        let name = checked_name(name)?;
        let query = checked_query(query)?;
        let key = format!("{page}/{name}");
        let _adding = self.adding.lock().await;
        let known = self.store.list(tenant, KIND, "").await?;
        if known.len() >= VIEWS_MAX && !known.iter().any(|record| record.key == key) {
            return Err(ViewError::Full);
        }
        let updated_at = self.clock.now();
        let kept = Kept { query: query.to_owned(), updated_at: updated_at.0 };
        let value = serde_json::to_vec(&kept)
            .map_err(|error| ViewError::Invalid(format!("the view {name:?} cannot be written: {error}")))?;
        self.store.apply(tenant, None, vec![StateChange::Put { kind: KIND.into(), key, value }]).await?;
        Ok(View { page, name: name.to_owned(), query: kept.query, updated_at })
    }

    /// Forgets a view.
    pub async fn remove(&self, tenant: TenantId, page: Page, name: &str) -> Result<(), ViewError> {
        let name = name.trim();
        let key = format!("{page}/{name}");
        let known = self.store.list(tenant, KIND, &key).await?;
        if !known.iter().any(|record| record.key == key) {
            return Err(ViewError::NotFound { page, name: name.chars().take(NAME_CHARS_MAX).collect() });
        }
        self.store.apply(tenant, None, vec![StateChange::Delete { kind: KIND.into(), key }]).await?;
        Ok(())
    }
}

fn understood(record: &StateRecord) -> Option<View> {
    let (page, name) = record.key.split_once('/')?;
    let page = page.parse().ok()?;
    let kept: Kept = serde_json::from_slice(&record.value)
        .inspect_err(|error| tracing::warn!(key = record.key, %error, "a saved view cannot be read"))
        .ok()?;
    Some(View { page, name: name.to_owned(), query: kept.query, updated_at: UnixNanos(kept.updated_at) })
}

fn checked_name(name: &str) -> Result<&str, ViewError> {
    let name = name.trim();
    let chars = name.chars().count();
    if chars == 0 || chars > NAME_CHARS_MAX {
        return Err(ViewError::Invalid(format!(
            "the name of a view has 1 to {NAME_CHARS_MAX} characters, this one has {chars}"
        )));
    }
    // A browser takes dots alone in a path for folders.
    if name.chars().any(char::is_control) || name.chars().all(|letter| letter == '.') {
        return Err(ViewError::Invalid(format!("{name:?} cannot be the name of a view")));
    }
    Ok(name)
}

fn checked_query(query: &str) -> Result<&str, ViewError> {
    let query = query.strip_prefix('?').unwrap_or(query);
    if query.len() > QUERY_BYTES_MAX {
        let bytes = query.len();
        return Err(ViewError::Invalid(format!("the view has {bytes} bytes, the limit is {QUERY_BYTES_MAX}")));
    }
    if query.chars().any(char::is_control) {
        return Err(ViewError::Invalid(
            "the query of a view is that of an address: encode what cannot be printed".into(),
        ));
    }
    Ok(query)
}

#[cfg(test)]
mod tests;
