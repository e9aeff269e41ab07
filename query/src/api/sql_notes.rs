//! What is said of an SQL answer beside its rows, in fields of HTTP: `trivium-partial` and `trivium-warnings`.
//!
//! Lines of JSON and Arrow streams have no place for it that every reader tolerates. Fields stand before the rows when the
//! answer is short enough to be complete before it is sent, and behind them, as trailers, when it is not.

use axum::http::header::{TE, TRAILER};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Version};

use super::sql_render::Ending;

const PARTIAL: HeaderName = HeaderName::from_static("trivium-partial");
const WARNINGS: HeaderName = HeaderName::from_static("trivium-warnings");

/// The row limit of an answer, told before the first row: a client that got as many knows that there may be more.
pub(super) const MAX_ROWS: HeaderName = HeaderName::from_static("trivium-max-rows");

/// Whether a client takes fields after the body.
pub(super) fn takes_trailers(request: &Parts) -> bool {
    let mut codings = request.headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    request.version == Version::HTTP_2
        || codings.any(|value| value.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers")))
}

/// Says that the notes come as trailers.
pub(super) fn announce(headers: &mut HeaderMap) {
    headers.insert(TRAILER, HeaderValue::from_static("trivium-partial, trivium-warnings"));
}

/// The notes as fields.
pub(super) fn insert(headers: &mut HeaderMap, ending: &Ending) {
    headers.insert(PARTIAL, HeaderValue::from_static(if ending.partial { "true" } else { "false" }));
    if let Ok(value) = HeaderValue::from_str(&ascii_json(&ending.warnings)) {
        headers.insert(WARNINGS, value);
    }
}

/// A JSON array in printable ASCII, which is what a field may consist of.
fn ascii_json(texts: &[String]) -> String {
    let json = serde_json::json!(texts).to_string();
    let mut ascii = String::with_capacity(json.len());
    let mut units = [0_u16; 2];
    for letter in json.chars() {
        if (' '..='~').contains(&letter) {
            ascii.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut units) {
            ascii.push_str(&format!("\\u{unit:04x}"));
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_in_any_script_are_printable_ascii() {
        let warnings = vec!["größer \u{1f600}\u{7f}\n\"x\"".to_owned(), "plain".to_owned()];
        let text = ascii_json(&warnings);
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&text).expect("JSON"), warnings);
    }
}
