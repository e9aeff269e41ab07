//! Keys, as JWKS (RFC 7517) has them, and signatures by them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

/// Bytes of a key set, and keys in it.
pub(crate) const JWKS_BYTES_MAX: usize = 256 * 1024;
const KEYS_MAX: usize = 64;

/// Bytes of a key ID. It is compared, and nothing else.
const KEY_ID_BYTES_MAX: usize = 256;

/// How a token may be signed. Everything else is refused: `none`, which is no signature, and HMAC, with which our copy of a
/// public key would be the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PublicKey {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A key by which signatures are verified. It knows its algorithm: the token does not choose it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    id: Option<String>,
    key: PublicKey,
}

/// The keys of an issuer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeySet(Vec<Key>);

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a key set. Keys that are for something else, or of a kind that we do not take, are left out; a set in which
    /// none is left is an error.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > JWKS_BYTES_MAX {
            return Err(format!("the key set has {} bytes; at most {JWKS_BYTES_MAX} are read", bytes.len()));
        }
        let jwks: Jwks = serde_json::from_slice(bytes).map_err(|error| format!("not a JWKS: {error}"))?;
        let keys: Vec<Key> = jwks.keys.into_iter().take(KEYS_MAX).filter_map(Key::of).collect();
        if keys.is_empty() {
            return Err("the key set has no key for RS256 (2048 to 8192 bits), ES256 or EdDSA (Ed25519)".into());
        }
        Ok(Self(keys))
    }

    /// The keys that may have made a signature: those with this ID, or, when the token names none, all of the algorithm.
    pub(super) fn candidates<'a>(&'a self, id: Option<&'a str>, algorithm: Algorithm) -> impl Iterator<Item = &'a Key> {
        let named = move |key: &&Key| id.is_none_or(|id| key.id.as_deref() == Some(id));
        self.0.iter().filter(move |key| key.algorithm() == algorithm).filter(named)
    }
}

impl Key {
    fn of(jwk: Jwk) -> Option<Self> {
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig")
            || jwk.kid.as_ref().is_some_and(|id| id.len() > KEY_ID_BYTES_MAX)
        {
            return None;
        }
        let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => rsa(&jwk)?,
            ("EC", Some("P-256")) => p256(&jwk)?,
            ("OKP", Some("Ed25519")) => PublicKey::Ed25519(decode(&jwk.x, 32..=32)?),
            // Symmetric keys too: there is no algorithm for them.
            _ => return None,
        };
        let key = Self { id: jwk.kid, key };
        let declared = jwk.alg.as_deref().map(Algorithm::parse);
        (declared.is_none_or(|declared| declared == Some(key.algorithm()))).then_some(key)
    }

    fn algorithm(&self) -> Algorithm {
        match self.key {
            PublicKey::Rsa { .. } => Algorithm::Rs256,
            PublicKey::P256(_) => Algorithm::Es256,
            PublicKey::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Whether this key made the signature.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match &self.key {
            PublicKey::Rsa { modulus, exponent } => RsaPublicKeyComponents { n: modulus, e: exponent }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
            PublicKey::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            PublicKey::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
        };
        verified.is_ok()
    }
}

fn rsa(jwk: &Jwk) -> Option<PublicKey> {
    let (modulus, exponent) = (decode(&jwk.n, 256..=1025)?, decode(&jwk.e, 1..=8)?);
    let strip = |bytes: Vec<u8>| bytes.iter().position(|byte| *byte != 0).map(|at| bytes[at..].to_vec());
    let (modulus, exponent) = (strip(modulus)?, strip(exponent)?);
    (modulus.len() >= 256).then_some(PublicKey::Rsa { modulus, exponent })
}

fn p256(jwk: &Jwk) -> Option<PublicKey> {
    let mut point = vec![4];
    point.extend(decode(&jwk.x, 32..=32)?);
    point.extend(decode(&jwk.y, 32..=32)?);
    Some(PublicKey::P256(point))
}

fn decode(field: &Option<String>, length: std::ops::RangeInclusive<usize>) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(field.as_deref()?).ok()?;
    length.contains(&bytes.len()).then_some(bytes)
}
