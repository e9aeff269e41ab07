//! `GET /api/v1/openapi.json`: the description of our API, from which clients such as the web UI make their types.

use std::sync::Arc;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::state::QueryState;

/// Written by hand. The tests here hold it to the routes, those of the web UI to what the server answers.
const DESCRIPTION: &str = include_str!("openapi.json");

pub(super) fn routes() -> Router<Arc<QueryState>> {
    Router::new().route("/api/v1/openapi.json", get(describe))
}

async fn describe() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], DESCRIPTION)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use regex::Regex;
    use serde_json::Value;

    use super::*;

    fn description() -> Value {
        serde_json::from_str(DESCRIPTION).expect("the description is JSON")
    }

    /// `GET /api/v1/logs` for each operation below `/api/v1` that is described.
    fn described() -> BTreeSet<String> {
        let description = description();
        let paths = description["paths"].as_object().expect("paths");
        let ours = paths.iter().filter(|(path, _)| path.starts_with("/api/v1/"));
        let operations = |(path, item): (&String, &Value)| {
            let methods = item.as_object().expect("operations").keys();
            methods.map(|method| format!("{} {path}", method.to_uppercase())).collect::<Vec<_>>()
        };
        ours.flat_map(operations).collect()
    }

    /// The same for each route that stands in the source.
    fn routed(folder: &Path, found: &mut BTreeSet<String>) {
        let route = Regex::new(r#"^\s*"(/api/v1/[^"]+)",\s*([^\n]+)"#).expect("a pattern");
        let method = Regex::new(r"\b(get|post|put|patch|delete)\(").expect("a pattern");
        for entry in fs::read_dir(folder).expect("the folder of this file") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                routed(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("source code");
                for captures in text.split(".route(").skip(1).filter_map(|piece| route.captures(piece)) {
                    let path = captures[1].replace("{*", "{");
                    let methods = method.captures_iter(captures.get(2).map_or("", |rest| rest.as_str()));
                    found.extend(methods.map(|name| format!("{} {path}", name[1].to_uppercase())));
                }
            }
        }
    }

    #[test]
    fn every_route_is_described_and_everything_described_is_a_route() {
        let mut found = BTreeSet::new();
        routed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api"), &mut found);
        assert!(found.len() > 15, "the routes were not found");
        let (login, ours) = described().into_iter().partition::<BTreeSet<_>, _>(|name| name.contains(" /api/v1/auth/"));
        assert_eq!(ours, found);
        // Of the routes of `trivium-auth` those that a page needs.
        let mut others = BTreeSet::new();
        routed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/auth/src/api"), &mut others);
        assert!(login.is_subset(&others), "described are {login:?}, there are {others:?}");
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_says_what_it_answers() {
        let description = description();
        let text = DESCRIPTION;
        for reference in text.split("\"#/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(description.pointer(&format!("/{reference}")).is_some(), "{reference} is not there");
        }
        let mut names = BTreeSet::new();
        for (path, item) in description["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("operations") {
                let name = operation["operationId"].as_str().unwrap_or_default();
                assert!(!name.is_empty() && names.insert(name.to_owned()), "{method} {path}: {name:?}");
                assert!(operation["summary"].is_string(), "{method} {path} says nothing");
                let responses = operation["responses"].as_object().expect("responses");
                assert!(responses.contains_key("default"), "{method} {path} never fails?");
            }
        }
    }
}
