//! Answers that succeed: whole when they are small, else written while they are sent.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use futures::stream;

use super::json::{write_notes, write_text};

/// Bytes that are written at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Warnings of a query, and infos of it.
const ANNOTATIONS_MAX: usize = 10;

const HEAD: &str = "{\"status\":\"success\",\"data\":";

/// What results cut by a limit are told by.
pub(super) const TRUNCATED: &str = "results truncated due to limit";

/// Members of the answer after its data.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    pub(super) warnings: Vec<String>,
    pub(super) infos: Vec<String>,
}

impl Notes {
    /// The warning that a limit cut the answer, if it did.
    pub(super) fn truncated(is_cut: bool) -> Self {
        Self { warnings: is_cut.then(|| TRUNCATED.to_owned()).into_iter().collect(), infos: Vec::new() }
    }

    /// With these warnings too.
    pub(super) fn with(mut self, warnings: Vec<String>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    /// What there is to tell of a query: at most ten texts of each kind, as in Prometheus.
    pub(super) fn of_query(warnings: Vec<String>, infos: Vec<String>) -> Self {
        Self { warnings: first_ten(warnings, "warning"), infos: first_ten(infos, "info") }
    }

    fn write(&self, output: &mut String) {
        write_notes(output, "warnings", &self.warnings);
        write_notes(output, "infos", &self.infos);
        output.push('}');
    }
}

fn first_ten(mut texts: Vec<String>, kind: &str) -> Vec<String> {
    let more = texts.len().saturating_sub(ANNOTATIONS_MAX);
    if more > 0 {
        texts.truncate(ANNOTATIONS_MAX);
        texts.push(format!("{more} more {kind} annotations omitted"));
    }
    texts
}

/// An answer whose data are this JSON.
pub(super) fn data(json: &str) -> Response {
    data_with(json, &Notes::default())
}

pub(super) fn data_with(json: &str, notes: &Notes) -> Response {
    let mut body = String::with_capacity(HEAD.len() + json.len() + 2);
    body.push_str(HEAD);
    body.push_str(json);
    notes.write(&mut body);
    response(Body::from(body))
}

/// An answer whose data are a list of items.
pub(super) fn list<T>(
    items: impl IntoIterator<Item = T, IntoIter: Send + 'static>,
    write: impl FnMut(&mut String, &T) + Send + 'static,
    notes: &Notes,
) -> Response {
    list_within(("[", "]"), items, write, notes)
}

/// A list of strings.
pub(super) fn texts(items: impl IntoIterator<Item = String, IntoIter: Send + 'static>, notes: &Notes) -> Response {
    list(items, |output, text: &String| write_text(output, text), notes)
}

/// An answer whose data hold a list of items: what stands before and after it is given with its brackets.
pub(super) fn list_within<T>(
    (before, after): (&str, &str),
    items: impl IntoIterator<Item = T, IntoIter: Send + 'static>,
    mut write: impl FnMut(&mut String, &T) + Send + 'static,
    notes: &Notes,
) -> Response {
    let mut end = after.to_owned();
    notes.write(&mut end);
    let mut tail = Some(end);
    let mut items = items.into_iter();
    let mut is_first = true;
    let mut fill = move |mut chunk: String| {
        while chunk.len() < CHUNK_BYTES {
            let Some(item) = items.next() else {
                chunk.push_str(&tail.take()?);
                return Some((chunk, true));
            };
            if !std::mem::take(&mut is_first) {
                chunk.push(',');
            }
            write(&mut chunk, &item);
        }
        Some((chunk, false))
    };
    let Some((first, is_whole)) = fill(format!("{HEAD}{before}")) else { return response(Body::empty()) };
    if is_whole {
        return response(Body::from(first));
    }
    let rest = std::iter::from_fn(move || fill(String::new()).map(|(chunk, _)| chunk));
    let chunks = std::iter::once(first).chain(rest).map(Ok::<_, Infallible>);
    response(Body::from_stream(stream::iter(chunks)))
}

fn response(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
