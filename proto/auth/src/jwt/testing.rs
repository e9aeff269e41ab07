//! An issuer of tokens, honest or not.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::StatusCode;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

use crate::fetch::{HttpClient, OutgoingAnswer, OutgoingRequest};

/// Answers with the keys that it was told last, and counts. Without keys it is down.
#[derive(Debug, Default)]
pub(crate) struct Endpoint {
    keys: Mutex<Option<Value>>,
    /// It takes requests and does not answer.
    is_silent: AtomicBool,
    asked: AtomicUsize,
}

impl Endpoint {
    pub(crate) fn set(&self, keys: Option<Value>) {
        *self.keys.lock().expect("no test panicked") = keys;
    }

    pub(crate) fn fall_silent(&self) {
        self.is_silent.store(true, Ordering::SeqCst);
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl HttpClient for Endpoint {
    async fn fetch(&self, _: OutgoingRequest) -> Result<OutgoingAnswer, String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.is_silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let keys = self.keys.lock().expect("no test panicked").clone().ok_or("down")?;
        Ok(OutgoingAnswer { status: StatusCode::OK, body: Bytes::from(keys.to_string()) })
    }
}

pub(crate) struct Signer {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let text: String = include_str!("../../testdata/rsa.pk8.base64").split_whitespace().collect();
        let rsa = RsaKeyPair::from_pkcs8(&STANDARD.decode(text).expect("base64")).expect("a key made for tests");
        let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let p256 = EcdsaKeyPair::generate_pkcs8(curve, &random).expect("a key");
        let p256 = EcdsaKeyPair::from_pkcs8(curve, p256.as_ref(), &random).expect("a key");
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
        let ed25519 = Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).expect("a key");
        Self { rsa, p256, ed25519 }
    }

    pub(crate) fn modulus(&self) -> Vec<u8> {
        PublicKeyComponents::<Vec<u8>>::from(self.rsa.public()).n
    }

    /// The public keys, `rsa`, `ec` and `ed` by name.
    pub(crate) fn jwks(&self) -> Value {
        let rsa = PublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
        let point = self.p256.public_key().as_ref();
        json!({"keys": [
            {"kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256", "n": encode(&rsa.n), "e": encode(&rsa.e)},
            {"kty": "EC", "kid": "ec", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])},
            {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": encode(self.ed25519.public_key().as_ref())},
            {"kty": "oct", "kid": "shared", "k": encode("a secret that must not be taken")},
        ]})
    }

    /// A token with the signature that its header promises, as far as it promises one.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let message = signed.as_bytes();
        let random = SystemRandom::new();
        let signature = match header["alg"].as_str() {
            Some("RS256") => {
                let mut signature = vec![0; self.rsa.public().modulus_len()];
                self.rsa.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("a signature");
                signature
            }
            Some("ES256") => self.p256.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Some("EdDSA") => self.ed25519.sign(message).as_ref().to_vec(),
            _ => Vec::new(),
        };
        format!("{signed}.{}", encode(signature))
    }

    /// A token of the algorithm, with the name of its key.
    pub(crate) fn token(&self, algorithm: &str, claims: &Value) -> String {
        let key = match algorithm {
            "RS256" => "rsa",
            "ES256" => "ec",
            _ => "ed",
        };
        self.sign(&json!({"alg": algorithm, "kid": key, "typ": "JWT"}), claims)
    }
}

/// A token "signed" by a secret.
pub(crate) fn hmac_token(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", encode(tag))
}
