//! JSON web tokens (RFC 7519), verified and never made.
//!
//! Three algorithms, their primitives from `ring`. What is around them is a split at two dots, two pieces of JSON and a few
//! comparisons, and those follow our clock and our bounds; the crates for it would bring a second crypto provider.

pub(crate) mod claims;
pub(crate) mod jwk;
pub(crate) mod keys;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};
use trivium_model::UnixNanos;

use jwk::{Algorithm, KeySet};

/// Bytes of a token.
pub(crate) const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// How far the issuer's clock may be from ours.
pub(crate) const LEEWAY: Duration = Duration::from_secs(60);

/// How long a token may live: one for ever could not be taken back.
const LIFETIME_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Why a token was refused. For our own log; a client learns only that it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the token has {0} bytes; at most {TOKEN_BYTES_MAX} are read")]
    TooLong(usize),
    #[error("the token is not three parts of JSON in base64")]
    Malformed,
    #[error("tokens signed with {0:?} are not taken; RS256, ES256 and EdDSA are")]
    Algorithm(String),
    #[error("the token has extensions that must be understood (crit)")]
    Critical,
    #[error("the token is of another type: {0:?}")]
    Type(String),
    #[error("the issuer has no key {0:?} for this algorithm")]
    UnknownKey(Option<String>),
    #[error("the signature is not by a key of the issuer")]
    Signature,
    #[error("the token is from {0:?}")]
    Issuer(String),
    #[error("the token is for somebody else")]
    Audience,
    #[error("the token has no time of expiry, or no time of ours")]
    NoExpiry,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the token lives too long")]
    TooLongLived,
    #[error("the nonce is not ours")]
    Nonce,
    #[error("the claim {0} is missing or of another form")]
    Claim(String),
    #[error("no claim gives a role")]
    NoRole,
    #[error("no claim gives a tenant that exists")]
    NoTenant,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// A token taken apart. Nothing in it is known to be true.
pub(crate) struct Unverified<'a> {
    header: Header,
    algorithm: Algorithm,
    signed: &'a str,
    signature: Vec<u8>,
    claims: Map<String, Value>,
}

/// What a token must be.
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) audience: &'a str,
    pub(crate) now: UnixNanos,
}

/// The claims of a token that was verified.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Claims {
    pub(crate) all: Map<String, Value>,
    pub(crate) expires: UnixNanos,
}

/// Whether a text has the form of a token, rather than of one of ours.
pub(crate) fn looks_like(text: &str) -> bool {
    text.starts_with("eyJ") && text.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl<'a> Unverified<'a> {
    pub(crate) fn parse(token: &'a str) -> Result<Self, Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::TooLong(token.len()));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Refusal::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Refusal::Malformed)?;
        let algorithm = Algorithm::parse(&header.alg).ok_or_else(|| Refusal::Algorithm(short(&header.alg)))?;
        if header.crit.is_some() {
            return Err(Refusal::Critical);
        }
        let is_known =
            |typ: &str| ["jwt", "at+jwt", "application/at+jwt"].iter().any(|known| typ.eq_ignore_ascii_case(known));
        if let Some(typ) = header.typ.as_deref().filter(|typ| !is_known(typ)) {
            return Err(Refusal::Type(short(typ)));
        }
        let claims = serde_json::from_slice(&decode(claims)?).map_err(|_| Refusal::Malformed)?;
        Ok(Self { algorithm, signed, signature: decode(signature)?, header, claims })
    }

    /// The issuer that it claims to be from, by which its keys are chosen.
    pub(crate) fn issuer(&self) -> &str {
        self.claims.get("iss").and_then(Value::as_str).unwrap_or_default()
    }

    /// Verifies it: the signature first, so that nothing is learned from a forged one.
    pub(crate) fn verify(self, keys: &KeySet, expected: &Expected<'_>) -> Result<Claims, Refusal> {
        let mut candidates = keys.candidates(self.header.kid.as_deref(), self.algorithm).peekable();
        if candidates.peek().is_none() {
            return Err(Refusal::UnknownKey(self.header.kid.as_deref().map(short)));
        }
        if !candidates.any(|key| key.verifies(self.signed.as_bytes(), &self.signature)) {
            // A token that names no key may be signed by one that we do not know yet.
            return Err(if self.header.kid.is_some() { Refusal::Signature } else { Refusal::UnknownKey(None) });
        }
        if self.issuer() != expected.issuer {
            return Err(Refusal::Issuer(short(self.issuer())));
        }
        check_audience(&self.claims, expected.audience)?;
        let expires = check_times(&self.claims, expected.now)?;
        Ok(Claims { all: self.claims, expires })
    }
}

/// What is told of a text that somebody else chose.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

fn check_audience(claims: &Map<String, Value>, audience: &str) -> Result<(), Refusal> {
    let is_ours = match claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(audience)),
        _ => false,
    };
    if is_ours { Ok(()) } else { Err(Refusal::Audience) }
}

/// Checks `exp`, `nbf` and `iat`, and answers when the token ends.
fn check_times(claims: &Map<String, Value>, now: UnixNanos) -> Result<UnixNanos, Refusal> {
    let expires = time(claims, "exp")?.ok_or(Refusal::NoExpiry)?;
    if now >= expires.after(LEEWAY) {
        return Err(Refusal::Expired);
    }
    if expires > now.after(LIFETIME_MAX) {
        return Err(Refusal::TooLongLived);
    }
    for name in ["nbf", "iat"] {
        if time(claims, name)?.is_some_and(|from| from > now.after(LEEWAY)) {
            return Err(Refusal::NotYet);
        }
    }
    Ok(expires)
}

/// A time in seconds, which may have decimals.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<UnixNanos>, Refusal> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| (0.0..9.0e9).contains(seconds));
    let seconds = seconds.ok_or_else(|| Refusal::Claim(name.to_owned()))?;
    Ok(Some(UnixNanos(0).after(Duration::from_secs_f64(seconds))))
}
