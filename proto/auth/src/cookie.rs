//! The session cookie, and who may make a browser send it.

use http::header::{COOKIE, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri};

use crate::config::AuthConfig;
use crate::error::Error;
use crate::secret::Secret;

/// Bytes of cookies that are looked through.
const COOKIES_BYTES_MAX: usize = 8 * 1024;

/// The names of the cookies. Under TLS their prefix has the browser refuse them from another host or without TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    pub(crate) session: &'static str,
    pub(crate) oidc: &'static str,
    secure: bool,
}

impl Names {
    pub(crate) fn new(tls: bool) -> Self {
        let (session, oidc) = match tls {
            true => ("__Host-trivium_session", "__Host-trivium_oidc"),
            false => ("trivium_session", "trivium_oidc"),
        };
        Self { session, oidc, secure: tls }
    }

    /// A cookie that scripts cannot read. `Strict`: no request that another site makes carries it. `Lax` for the login by a
    /// provider, which sends the browser back from another site.
    pub(crate) fn set(&self, name: &str, value: &str, seconds: u64, same_site: &str) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}");
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    pub(crate) fn forget(&self, name: &str) -> Option<HeaderValue> {
        self.set(name, "", 0, "Strict")
    }
}

/// The value of a cookie.
pub(crate) fn find(headers: &HeaderMap, name: &str) -> Option<Secret> {
    let mut bytes = 0;
    for value in headers.get_all(COOKIE) {
        bytes += value.len();
        if bytes > COOKIES_BYTES_MAX {
            return None;
        }
        let pairs = value.to_str().unwrap_or_default().split(';').filter_map(|pair| pair.trim().split_once('='));
        for (found, value) in pairs {
            if found == name && !value.is_empty() {
                return Some(Secret::new(value));
            }
        }
    }
    None
}

/// Whether a method must change nothing.
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Refuses a request with the cookie that may change something unless the browser says that a page of ours made it.
pub(crate) fn check_same_site(parts: &Parts, config: &AuthConfig) -> Result<(), Error> {
    if is_safe(&parts.method) { Ok(()) } else { check_origin(parts, config, false) }
}

/// Refuses what a page of another site made. Who says nothing of where it comes from is no browser, and `lenient` decides.
pub(crate) fn check_origin(parts: &Parts, config: &AuthConfig, lenient: bool) -> Result<(), Error> {
    let text = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    let refused = |found: &str| {
        let advice = "send it from a page of this server, or with a token instead of the cookie";
        Err(Error::forbidden(format!("the request was made by a page of another site ({found}); {advice}")))
    };
    let origin = text(ORIGIN.as_str());
    match text("sec-fetch-site") {
        Some("same-origin") => {}
        // Somebody typed the address or chose a bookmark: no page has made it.
        Some("none") if origin.is_none() => {}
        Some(found) if !origin.is_some_and(|origin| config.origins.iter().any(|own| own == origin)) => {
            return refused(&format!("Sec-Fetch-Site: {}", short(found)));
        }
        Some(_) => return Ok(()),
        None if origin.is_none() && lenient => {}
        None if origin.is_none() => return refused("neither Origin nor Sec-Fetch-Site was sent"),
        None => {}
    }
    match origin {
        Some(origin) if !is_own(origin, parts, config) => refused(&format!("Origin: {}", short(origin))),
        _ => Ok(()),
    }
}

fn short(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(100).collect()
}

/// Whether an origin is the one that the request is addressed to, or one that was configured. Compared whole: `null`, a
/// longer name that begins or ends like ours, or the other scheme under TLS are others.
fn is_own(origin: &str, parts: &Parts, config: &AuthConfig) -> bool {
    if config.origins.iter().any(|own| own == origin) {
        return true;
    }
    let schemes: &[&str] = if config.tls { &["https://"] } else { &["http://", "https://"] };
    let authority = schemes.iter().find_map(|scheme| origin.strip_prefix(scheme));
    authority.is_some_and(|authority| host_of(parts).is_some_and(|host| host.eq_ignore_ascii_case(authority)))
}

/// What the request is addressed to: HTTP/2 has it in the URI.
fn host_of(parts: &Parts) -> Option<&str> {
    let in_header = parts.headers.get(HOST).and_then(|value| value.to_str().ok());
    parts.uri.authority().map(|authority| authority.as_str()).or(in_header)
}

/// Refuses a request to an open server under a name that is not ours: a page of another site whose name now resolves to
/// this machine would be answered as if it were ours.
pub(crate) fn check_host(parts: &Parts, config: &AuthConfig) -> Result<(), Error> {
    let Some(host) = host_of(parts) else { return Ok(()) };
    let parsed = host.parse::<Uri>().ok();
    let name = parsed.as_ref().and_then(Uri::host).unwrap_or(host).trim_matches(['[', ']']);
    let is_ours = config.any_host
        || name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || name.parse::<std::net::IpAddr>().is_ok()
        || config.hosts.iter().any(|own| own.eq_ignore_ascii_case(name));
    if is_ours {
        return Ok(());
    }
    let message = format!(
        "this server asks for no credentials and answers only to an address, localhost and its configured hosts, not to {:?}",
        short(name)
    );
    Err(Error::forbidden(message))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(method: Method, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri("/api/v1/auth/tokens");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    const HOST_HEADER: (&str, &str) = ("host", "app.example.com");

    /// Every row: the headers of the browser, and whether a request with the cookie that changes something passes.
    #[test]
    fn only_pages_of_ours_can_use_the_cookie() {
        let config = AuthConfig { tls: true, origins: vec!["https://proxy.example".into()], ..AuthConfig::default() };
        let matrix: &[(&[(&str, &str)], bool)] = &[
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://app.example.com")], true),
            (&[("origin", "https://app.example.com")], true),
            (&[("origin", "https://proxy.example")], true),
            (&[("origin", "https://proxy.example"), ("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "none"), ("origin", "https://evil.example")], false),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")], false),
            (&[("sec-fetch-site", "unknown")], false),
            (&[("origin", "null")], false),
            (&[("origin", "http://app.example.com")], false),
            (&[("origin", "https://app.evil.com")], false),
            (&[("origin", "https://app.example.com.evil.com")], false),
            (&[("origin", "https://evilapp.example.com")], false),
            (&[("origin", "https://app.example.com:8443")], false),
            (&[("origin", "https://app.example.com/")], false),
        ];
        for (headers, expected) in matrix {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                let parts = parts(method, &[&[HOST_HEADER], *headers].concat());
                assert_eq!(check_same_site(&parts, &config).is_ok(), *expected, "{headers:?}");
            }
            for method in [Method::GET, Method::HEAD] {
                assert!(check_same_site(&parts(method, headers), &config).is_ok(), "reading: {headers:?}");
            }
        }
    }

    #[test]
    fn an_open_server_does_not_answer_to_a_name_that_was_pointed_at_it() {
        let config = AuthConfig { hosts: vec!["trivium.internal".into()], ..AuthConfig::default() };
        for (host, expected) in [
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("trivium.internal:80", true),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
        ] {
            let parts = parts(Method::GET, &[("host", host)]);
            assert_eq!(check_host(&parts, &config).is_ok(), expected, "{host}");
        }
    }

    #[test]
    fn cookies_have_every_attribute_that_protects_them() {
        let names = Names::new(true);
        let set = names.set(names.session, "v", 60, "Strict").expect("a header");
        let expected = "__Host-trivium_session=v; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure";
        assert_eq!(set, expected);
        let names = Names::new(false);
        assert_eq!(names.session, "trivium_session");
        assert!(
            !names.set(names.session, "v", 60, "Strict").expect("a header").to_str().expect("text").contains("Secure")
        );
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let headers = |text: &str| HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(text).expect("a value"))]);
        let find = |text: &str| find(&headers(text), "trivium_session").map(|secret| secret.reveal().to_owned());
        assert_eq!(find("a=1; trivium_session=abc; b=2").as_deref(), Some("abc"));
        assert_eq!(find("xtrivium_session=abc; trivium_sessions=d"), None);
        assert_eq!(find("trivium_session="), None);
        assert_eq!(find(&format!("trivium_session=abc; x={}", "y".repeat(COOKIES_BYTES_MAX))), None);
    }
}
