//! The web UI as a router: assets by path, the index page for every page of the app.
//!
//! What `npm run build` made is in the binary (`build.rs` lists it); without it the placeholder page is.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
    VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// A file of the UI.
#[derive(Clone, Copy)]
struct Asset {
    name: &'static str,
    bytes: &'static [u8],
    /// The same, compressed.
    brotli: Option<&'static [u8]>,
}

/// What Vite made; empty without it.
const BUILT: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

const PLACEHOLDER: &[Asset] = &[
    Asset { name: "index.html", bytes: include_bytes!("../placeholder/index.html"), brotli: None },
    Asset { name: "app.js", bytes: include_bytes!("../placeholder/app.js"), brotli: None },
    Asset { name: "app.css", bytes: include_bytes!("../placeholder/app.css"), brotli: None },
];

/// Everything from telemetry is text to the page; should a string ever be taken for markup, this forbids it to run.
const POLICY: &str =
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The pages of the app: a name alone, or with more after it. A path that is not here stays a 404, and `/metrics` stays
/// the server's.
const PAGES: &[&str] = &[
    "story",
    "trace",
    "traces",
    "logs",
    "service",
    "services",
    "alerts",
    "backtest",
    "diagnosis",
    "slos",
    "promql",
    "sql",
    "status",
    "account",
];

/// The UI's routes.
pub fn router() -> Router {
    let assets = assets();
    let index = move |headers: HeaderMap| async move { find(assets, "index.html", &headers) };
    let mut router = Router::new().route("/", get(index));
    for page in PAGES {
        router = router.route(&format!("/{page}"), get(index)).route(&format!("/{page}/{{*rest}}"), get(index));
    }
    for asset in assets.iter().filter(|asset| !asset.name.contains('/') && asset.name != "index.html") {
        let one = move |headers: HeaderMap| async move { find(assets, asset.name, &headers) };
        router = router.route(&format!("/{}", asset.name), get(one));
    }
    let hashed = move |Path(name): Path<String>, headers: HeaderMap| async move {
        find(assets, &format!("assets/{name}"), &headers)
    };
    router.route("/assets/{*name}", get(hashed))
}

/// The templates of all paths of [`router`]. Everybody may load them: there are no data in them.
pub fn paths() -> Vec<String> {
    let pages = PAGES.iter().flat_map(|page| [format!("/{page}"), format!("/{page}/{{*rest}}")]);
    let files = assets().iter().filter(|asset| !asset.name.contains('/') && asset.name != "index.html");
    let files = files.map(|asset| format!("/{}", asset.name));
    ["/", "/assets/{*name}"].map(str::to_owned).into_iter().chain(pages).chain(files).collect()
}

/// What a person is shown at a path that nothing serves: the way to the page, when there is but a slash too many, or the app,
/// which says that there is no such page.
pub fn stray(uri: &Uri, headers: &HeaderMap) -> Response {
    if let Some(page) = without_slash(uri) {
        return (StatusCode::PERMANENT_REDIRECT, [(LOCATION, page)]).into_response();
    }
    let mut response = find(assets(), "index.html", headers);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// The address of a page that was asked for with a slash at its end.
fn without_slash(uri: &Uri) -> Option<HeaderValue> {
    let path = uri.path().strip_suffix('/')?;
    PAGES.contains(&path.strip_prefix('/')?).then_some(())?;
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    HeaderValue::from_bytes(format!("{path}{query}").as_bytes()).ok()
}

fn assets() -> &'static [Asset] {
    if BUILT.is_empty() { PLACEHOLDER } else { BUILT }
}

fn find(assets: &'static [Asset], name: &str, headers: &HeaderMap) -> Response {
    assets
        .iter()
        .find(|asset| asset.name == name)
        .map_or_else(|| StatusCode::NOT_FOUND.into_response(), |asset| answer(asset, headers))
}

fn answer(asset: &Asset, request: &HeaderMap) -> Response {
    let accepts = request.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let accepts_brotli = accepts.split(',').any(|coding| coding.trim() == "br");
    let brotli = asset.brotli.filter(|_| accepts_brotli);
    // The names of built assets have the hash of what is in them.
    let caching = if asset.name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut response = Response::new(Body::from(brotli.unwrap_or(asset.bytes)));
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, content_type(asset.name)),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, caching),
        (VARY, "accept-encoding"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if brotli.is_some() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
    }
    response
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASSETS: &[Asset] = &[
        Asset { name: "index.html", bytes: b"index", brotli: None },
        Asset { name: "assets/a-1f.js", bytes: b"script", brotli: Some(b"small") },
    ];

    fn header<'a>(response: &'a Response, name: &str) -> &'a str {
        response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    #[test]
    fn hashed_assets_are_kept_for_ever_and_the_index_never() {
        let index = find(ASSETS, "index.html", &HeaderMap::new());
        assert_eq!(header(&index, "cache-control"), "no-cache");
        assert!(header(&index, "content-security-policy").starts_with("default-src 'self';"));
        let script = find(ASSETS, "assets/a-1f.js", &HeaderMap::new());
        assert!(header(&script, "cache-control").contains("immutable"));
        assert_eq!(header(&script, "content-type"), "text/javascript; charset=utf-8");
    }

    #[test]
    fn who_takes_brotli_gets_it_and_others_do_not() {
        let plain = find(ASSETS, "assets/a-1f.js", &HeaderMap::new());
        assert_eq!(header(&plain, "content-encoding"), "");
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("gzip, br"))]);
        assert_eq!(header(&find(ASSETS, "assets/a-1f.js", &headers), "content-encoding"), "br");
    }

    #[test]
    fn what_is_not_there_is_not_found_and_the_policy_allows_nothing_inline() {
        assert_eq!(find(ASSETS, "assets/../index.html", &HeaderMap::new()).status(), StatusCode::NOT_FOUND);
        assert!(!POLICY.contains("unsafe"));
        drop(router());
    }

    #[test]
    fn a_slash_too_many_leads_to_the_page_and_everything_else_to_the_app_that_knows_no_such_page() {
        let stray = |uri: &str| stray(&uri.parse().expect("an address"), &HeaderMap::new());
        for (uri, page) in
            [("/alerts/", "/alerts"), ("/logs/?query=a%20b&start=now-1h", "/logs?query=a%20b&start=now-1h")]
        {
            let response = stray(uri);
            assert_eq!((response.status(), header(&response, "location")), (StatusCode::PERMANENT_REDIRECT, page));
        }
        assert_eq!(stray("/alerts/?query=ü").status(), StatusCode::PERMANENT_REDIRECT, "not every browser encodes it");
        for uri in ["/nowhere", "/nowhere/", "/alerts//", "//evil.example/", "//alerts/", "/"] {
            let response = stray(uri);
            assert_eq!((response.status(), header(&response, "location")), (StatusCode::NOT_FOUND, ""), "{uri}");
            assert_eq!(header(&response, "content-type"), "text/html; charset=utf-8", "{uri}");
            assert_eq!(header(&response, "content-security-policy"), POLICY, "{uri}");
        }
    }

    #[test]
    fn every_path_is_listed_once() {
        let paths = paths();
        let unique: std::collections::BTreeSet<&String> = paths.iter().collect();
        assert_eq!(unique.len(), paths.len());
        for path in ["/", "/logs", "/logs/{*rest}", "/assets/{*name}"] {
            assert!(paths.iter().any(|known| known == path), "{path}");
        }
        // A router refuses what it has already: each of them is in it.
        for path in &paths {
            let twice = || router().route(path, get(|| async {}));
            assert!(std::panic::catch_unwind(twice).is_err(), "{path} is not in the router");
        }
    }

    #[test]
    fn the_placeholder_is_whole() {
        for name in ["index.html", "app.js", "app.css"] {
            assert!(PLACEHOLDER.iter().any(|asset| asset.name == name && !asset.bytes.is_empty()), "{name}");
        }
    }
}
