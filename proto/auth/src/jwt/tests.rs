use std::sync::Arc;

use futures::FutureExt;
use serde_json::{Value, json};
use trivium_model::{Clock, ManualClock};

use super::keys::{KeySource, Keys};
use super::testing::{Endpoint, Signer, encode, hmac_token};
use super::*;
use crate::fetch::{HttpClient, NoClient};

/// 2033-05-18.
const NOW: i64 = 2_000_000_000;

fn claims() -> Value {
    json!({"iss": "https://issuer", "aud": "trivium", "sub": "service", "iat": NOW, "nbf": NOW, "exp": NOW + 600})
}

fn with(field: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[field] = value.into();
    claims
}

fn verify_at(signer: &Signer, token: &str, seconds: i64) -> Result<Claims, Refusal> {
    let keys = KeySet::parse(signer.jwks().to_string().as_bytes()).expect("keys");
    let now = UnixNanos(seconds * 1_000_000_000);
    Unverified::parse(token)?.verify(&keys, &Expected { issuer: "https://issuer", audience: "trivium", now })
}

fn verify(signer: &Signer, token: &str) -> Result<Claims, Refusal> {
    verify_at(signer, token, NOW)
}

#[test]
fn the_three_algorithms_are_taken() {
    let signer = Signer::new();
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let verified = verify(&signer, &signer.token(algorithm, &claims())).expect(algorithm);
        assert_eq!(verified.all["sub"], "service");
        assert_eq!(verified.expires, UnixNanos((NOW + 600) * 1_000_000_000));
        let nameless = signer.sign(&json!({"alg": algorithm}), &claims());
        assert!(verify(&signer, &nameless).is_ok(), "{algorithm} without the name of a key");
        let many = signer.token(algorithm, &with("aud", json!(["other", "trivium"])));
        assert!(verify(&signer, &many).is_ok());
    }
}

#[test]
fn what_is_not_signed_by_the_issuer_is_refused() {
    let signer = Signer::new();
    let attacker = Signer::new();
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let token = signer.sign(&json!({"alg": none, "kid": "rsa"}), &claims());
        assert_eq!(verify(&signer, &token), Err(Refusal::Algorithm(none.into())), "{none}");
    }
    // The public key as the secret of an HMAC, in every form that it has.
    let jwks = signer.jwks().to_string();
    let (modulus, encoded) = (signer.modulus(), signer.jwks()["keys"][0]["n"].as_str().expect("text").to_owned());
    for secret in [modulus.as_slice(), encoded.as_bytes(), jwks.as_bytes(), b"a secret that must not be taken", b""] {
        for kid in ["rsa", "shared"] {
            for algorithm in ["HS256", "HS384", "HS512"] {
                let token = hmac_token(&json!({"alg": algorithm, "kid": kid}), &claims(), secret);
                assert_eq!(verify(&signer, &token), Err(Refusal::Algorithm(algorithm.into())));
            }
            // The header says RS256, the signature is the HMAC.
            let token = hmac_token(&json!({"alg": "RS256", "kid": "rsa"}), &claims(), secret);
            assert_eq!(verify(&signer, &token), Err(Refusal::Signature));
        }
    }
    for other in ["RS384", "PS256", "ES384", "ES256K"] {
        assert_eq!(
            verify(&signer, &signer.sign(&json!({"alg": other}), &claims())),
            Err(Refusal::Algorithm(other.into()))
        );
    }
    // Keys of the attacker's own, under the issuer's names and in the header.
    let embedded = json!({"alg": "ES256", "kid": "ec", "jwk": attacker.jwks()["keys"][1], "jku": "http://evil/", "x5u": "http://evil/"});
    for token in
        [attacker.token("ES256", &claims()), attacker.token("EdDSA", &claims()), attacker.sign(&embedded, &claims())]
    {
        assert_eq!(verify(&signer, &token), Err(Refusal::Signature));
    }
    let nameless = attacker.sign(&json!({"alg": "ES256"}), &claims());
    assert_eq!(verify(&signer, &nameless), Err(Refusal::UnknownKey(None)), "it may be by a key that is new");
}

#[test]
fn a_key_is_used_for_its_own_algorithm_under_its_own_name() {
    let signer = Signer::new();
    for (algorithm, kid) in [
        ("RS256", "ec"),
        ("ES256", "rsa"),
        ("EdDSA", "ec"),
        ("RS256", "shared"),
        ("RS256", "../../../../dev/null"),
        ("RS256", "rsa' OR '1'='1"),
        ("RS256", "http://evil/keys"),
        ("RS256", ""),
        ("RS256", "RSA"),
    ] {
        let token = signer.sign(&json!({"alg": algorithm, "kid": kid}), &claims());
        assert_eq!(verify(&signer, &token), Err(Refusal::UnknownKey(Some(kid.into()))), "{algorithm} {kid}");
    }
    let long = signer.sign(&json!({"alg": "RS256", "kid": "k".repeat(4_000)}), &claims());
    assert!(matches!(verify(&signer, &long), Err(Refusal::UnknownKey(_))));
}

#[test]
fn what_was_changed_is_refused() {
    let signer = Signer::new();
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let token = signer.token(algorithm, &claims());
        let parts: Vec<&str> = token.split('.').collect();
        let other = encode(with("sub", "admin").to_string());
        assert_eq!(verify(&signer, &format!("{}.{other}.{}", parts[0], parts[2])), Err(Refusal::Signature));
        for signature in ["", "AAAA", &encode([0; 64]), &encode([0; 256]), &encode([0xff; 64])] {
            assert_eq!(verify(&signer, &format!("{}.{}.{signature}", parts[0], parts[1])), Err(Refusal::Signature));
        }
    }
}

#[test]
fn times_issuer_and_audience_are_checked() {
    let signer = Signer::new();
    let at = |claims: Value| verify(&signer, &signer.token("EdDSA", &claims)).err();
    let without = |field: &str| {
        let mut claims = claims();
        claims.as_object_mut().expect("an object").remove(field);
        claims
    };
    for (claims, expected) in [
        (with("exp", NOW - 61), Refusal::Expired),
        (with("exp", NOW + 400 * 24 * 3_600), Refusal::TooLongLived),
        (with("exp", "soon"), Refusal::Claim("exp".into())),
        (with("exp", -1), Refusal::Claim("exp".into())),
        (with("exp", 1e300), Refusal::Claim("exp".into())),
        (with("exp", Value::Null), Refusal::Claim("exp".into())),
        (without("exp"), Refusal::NoExpiry),
        (with("nbf", NOW + 61), Refusal::NotYet),
        (with("iat", NOW + 61), Refusal::NotYet),
        (with("iss", "https://issuer/"), Refusal::Issuer("https://issuer/".into())),
        (without("iss"), Refusal::Issuer(String::new())),
        (with("aud", "trivium2"), Refusal::Audience),
        (with("aud", json!(["a", "b"])), Refusal::Audience),
        (with("aud", json!({"trivium": 1})), Refusal::Audience),
        (without("aud"), Refusal::Audience),
    ] {
        assert_eq!(at(claims.clone()), Some(expected), "{claims}");
    }
    assert_eq!(at(with("exp", NOW - 59)), None, "within what clocks may differ");
    let token = signer.token("EdDSA", &claims());
    assert!(verify_at(&signer, &token, NOW + 659).is_ok());
    assert_eq!(verify_at(&signer, &token, NOW + 660), Err(Refusal::Expired));
}

#[test]
fn what_is_no_token_is_refused_without_a_panic() {
    let signer = Signer::new();
    let token = signer.token("EdDSA", &claims());
    let (header, rest) = token.split_once('.').expect("three parts");
    let padded = format!("{header}=.{rest}");
    let twice = format!("{}.{rest}", encode(r#"{"alg":"none","alg":"EdDSA"}"#));
    let deep = format!("{}.{}.", encode(r#"{"alg":"EdDSA"}"#), encode("[".repeat(5_000)));
    let list = format!("{}.{}.", encode(r#"{"alg":"EdDSA"}"#), encode("[]"));
    for text in ["", ".", "..", "...", "a.b.c", "eyJ.eyJ.eyJ", &format!("{token}.x"), &padded, &twice, &deep, &list] {
        assert_eq!(verify(&signer, text), Err(Refusal::Malformed), "{text}");
    }
    let long = format!("{token}{}", "A".repeat(TOKEN_BYTES_MAX));
    assert_eq!(verify(&signer, &long), Err(Refusal::TooLong(long.len())));
    let critical = signer.sign(&json!({"alg": "EdDSA", "crit": ["b64"], "b64": false}), &claims());
    assert_eq!(verify(&signer, &critical), Err(Refusal::Critical));
    let typed = signer.sign(&json!({"alg": "EdDSA", "typ": "dpop+jwt"}), &claims());
    assert_eq!(verify(&signer, &typed), Err(Refusal::Type("dpop+jwt".into())));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[a-zA-Z0-9._=-]{0,200}", bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        drop(Unverified::parse(&text).err());
        let token = format!("{}.{}.{}", encode(&bytes), encode(&bytes), encode(&bytes));
        drop(Unverified::parse(&token).err());
        drop(KeySet::parse(&bytes).err());
    }
}

#[test]
fn a_key_set_is_bounded_and_weak_keys_are_no_keys() {
    let signer = Signer::new();
    let weak = json!({"keys": [{"kty": "RSA", "n": encode([0xff; 128]), "e": "AQAB"}]});
    let padded = json!({"keys": [{"kty": "RSA", "n": encode([&[0; 128][..], &[0xff; 128]].concat()), "e": "AQAB"}]});
    let short = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": encode([1; 31])}]});
    let encryption = json!({"keys": [{"kty": "RSA", "use": "enc", "n": encode(signer.modulus()), "e": "AQAB"}]});
    let other = json!({"keys": [{"kty": "RSA", "alg": "HS256", "n": encode(signer.modulus()), "e": "AQAB"}]});
    for set in [weak, padded, short, encryption, other, json!({"keys": []}), json!({})] {
        assert!(KeySet::parse(set.to_string().as_bytes()).is_err(), "{set}");
    }
    assert!(KeySet::parse(&vec![b' '; jwk::JWKS_BYTES_MAX + 1]).is_err());
}

/// Keys that an endpoint has, and a clock that stands still.
fn endpoint() -> (Arc<Endpoint>, Arc<ManualClock>, Arc<Keys>) {
    let (endpoint, clock) = (Arc::new(Endpoint::default()), Arc::new(ManualClock::new(UnixNanos(NOW * 1_000_000_000))));
    let keys = Keys::new(
        KeySource::Url("http://issuer/keys".into()),
        Arc::clone(&endpoint) as Arc<dyn HttpClient>,
        Arc::clone(&clock) as Arc<dyn Clock>,
    );
    (endpoint, clock, keys)
}

#[tokio::test]
async fn keys_are_fetched_seldom_renewed_when_they_change_and_kept_while_there_are_no_others() {
    let (endpoint, clock, keys) = endpoint();
    let current = async || keys.current(clock.now()).await;
    let renewed = async || keys.renewed(clock.now()).await.expect("keys");
    let down = current().await.expect_err("down");
    assert_eq!(down.retry_after(), Some(Duration::from_secs(30)), "what passes");
    assert!(current().await.is_err());
    assert_eq!(endpoint.asked(), 1, "not on every request");

    let (old, new) = (Signer::new(), Signer::new());
    endpoint.set(Some(old.jwks()));
    clock.advance(Duration::from_secs(30));
    let first = current().await.expect("keys");
    assert_eq!(renewed().await.retry_after, None, "read at this very moment");
    clock.advance(Duration::from_secs(1));
    for _ in 0..100 {
        current().await.expect("keys");
        // Tokens with made-up key IDs.
        assert_eq!(renewed().await.retry_after, Some(Duration::from_secs(29)));
    }
    assert_eq!(endpoint.asked(), 2);
    clock.advance(Duration::from_secs(29));
    let same = renewed().await;
    assert!(Arc::ptr_eq(&same.keys, &first) && same.retry_after.is_none(), "read again, and not to be tried again");

    endpoint.set(Some(new.jwks()));
    clock.advance(Duration::from_secs(30));
    assert_ne!(*renewed().await.keys, *first);
    endpoint.set(None);
    clock.advance(Duration::from_secs(23 * 3_600));
    assert!(current().await.is_ok(), "the issuer is down, its keys are still its keys");
    clock.advance(Duration::from_secs(3_600));
    assert!(current().await.is_err(), "not for ever");
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_waited_for_once() {
    let (endpoint, clock, keys) = endpoint();
    endpoint.set(Some(Signer::new().jwks()));
    keys.current(clock.now()).await.expect("keys");
    endpoint.set(None);
    clock.advance(Duration::from_secs(10 * 60));
    keys.current(clock.now()).await.expect("old keys, after an attempt");
    assert_eq!(endpoint.asked(), 2);
    endpoint.fall_silent();
    for _ in 0..3 {
        clock.advance(Duration::from_secs(30));
        let found = keys.current(clock.now()).now_or_never();
        assert!(found.is_some_and(|found| found.is_ok()), "at once");
        tokio::task::yield_now().await;
    }
    assert_eq!(endpoint.asked(), 3, "one attempt beside the requests, which still waits");
    // Nobody has asked for long: keys that were taken back meanwhile are not used without another attempt.
    clock.advance(Duration::from_secs(3_600));
    assert!(keys.current(clock.now()).now_or_never().is_none());
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_end_what_others_wait_for() {
    let (endpoint, clock, keys) = endpoint();
    endpoint.set(Some(Signer::new().jwks()));
    assert!(keys.current(clock.now()).now_or_never().is_none(), "it waits, and goes away");
    tokio::task::yield_now().await;
    assert!(keys.current(clock.now()).now_or_never().is_some_and(|found| found.is_ok()));
    assert_eq!(endpoint.asked(), 1);
}

#[tokio::test]
async fn a_file_is_read_when_somebody_asks_and_seldom_while_it_cannot_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.json");
    std::fs::write(&path, Signer::new().jwks().to_string()).expect("a file");
    let clock = Arc::new(ManualClock::new(UnixNanos(NOW * 1_000_000_000)));
    let keys = Keys::new(KeySource::File(path.clone()), Arc::new(NoClient), Arc::clone(&clock) as Arc<dyn Clock>);
    let first = keys.current(clock.now()).await.expect("keys");
    std::fs::write(&path, Signer::new().jwks().to_string()).expect("a file");
    clock.advance(Duration::from_secs(1));
    let second = keys.renewed(clock.now()).await.expect("keys");
    assert_ne!(*second.keys, *first);
    assert_eq!(second.retry_after, None);
    std::fs::remove_file(&path).expect("it is there");
    clock.advance(Duration::from_secs(1));
    let kept = keys.renewed(clock.now()).await.expect("the keys before");
    assert!(Arc::ptr_eq(&kept.keys, &second.keys));
    assert_eq!(kept.retry_after, Some(Duration::from_secs(30)));
}
