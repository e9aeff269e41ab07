//! Lists of certificates that a CA has revoked, checked before any handshake depends on them.
//!
//! rustls checks a list when a client shows a certificate: one that its CA did not sign, or an old one, would shut everybody
//! out, or let somebody in again, only then.

use std::cmp::Reverse;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateRevocationListDer, SignatureVerificationAlgorithm, TrustAnchor};
use webpki::BorrowedCertRevocationList;

use super::der::{Element, elements, first};
use super::name;

/// Lists in one file.
const LISTS_MAX: usize = 256;

/// The lists of one file, the newest first: rustls asks the first one that speaks about a certificate, and no other.
#[derive(Debug)]
pub(crate) struct RevocationLists(Vec<RevocationList>);

/// One list, with what is known of it.
#[derive(Debug)]
struct RevocationList {
    der: CertificateRevocationListDer<'static>,
    issuer: Vec<u8>,
    /// When it was made, and when the next one is due, in Unix seconds.
    this_update: i64,
    next_update: i64,
}

/// What of a list is of interest before any certificate is looked up in it.
struct Parts<'a> {
    signed: Signed<'a>,
    issuer: &'a [u8],
    this_update: i64,
    next_update: i64,
}

/// What the signature of a list is about, and the signature.
struct Signed<'a> {
    message: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl RevocationLists {
    /// Reads PEM. The error says what is wrong with the file.
    pub(crate) fn read(
        pem: &[u8],
        anchors: &[TrustAnchor<'_>],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Result<Self, String> {
        let ders: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).take(LISTS_MAX + 1).collect();
        let ders = ders.map_err(|error| format!("is not valid PEM: {error}"))?;
        match ders.len() {
            0 => return Err("has no revocation list in PEM (-----BEGIN X509 CRL-----)".into()),
            count if count > LISTS_MAX => return Err(format!("has more than {LISTS_MAX} revocation lists")),
            _ => {}
        }
        let lists = ders.into_iter().map(|der| RevocationList::read(der, anchors, algorithms));
        let mut lists = lists.collect::<Result<Vec<_>, _>>()?;
        // An operator who appends the new list of a CA to the old one must not leave the old one in force. Times are in whole
        // seconds: of two made within one, the sort keeps the one that comes later in the file before the other.
        lists.reverse();
        lists.sort_by_key(|list| Reverse(list.this_update));
        Ok(Self(lists))
    }

    /// Whether one of these is from before the list of the same issuer that is in use: it may not know of somebody who is
    /// kept out by now. The error says of which issuer.
    pub(crate) fn check_newer(&self, used: &Self) -> Result<(), String> {
        for list in &self.0 {
            let newest_used = used.0.iter().filter(|other| other.issuer == list.issuer).map(|other| other.this_update);
            let newest = self.0.iter().filter(|other| other.issuer == list.issuer).map(|other| other.this_update).max();
            if newest < newest_used.max() {
                return Err(format!("has a revocation list of {} that is older than the one in use", list.issuer()));
            }
        }
        Ok(())
    }

    /// When the first of them is out of date.
    pub(crate) fn next_update(&self) -> i64 {
        self.0.iter().map(|list| list.next_update).min().unwrap_or_default()
    }

    /// Names of CAs without a list: nothing is known of what they issued, and it is refused.
    pub(crate) fn missing(&self, anchors: &[TrustAnchor<'_>]) -> Vec<String> {
        let without = anchors.iter().filter(|anchor| !self.0.iter().any(|list| *list.issuer == *anchor.subject));
        without.map(|anchor| readable(&anchor.subject)).collect()
    }

    /// In the order in which they are to be asked.
    pub(crate) fn to_ders(&self) -> Vec<CertificateRevocationListDer<'static>> {
        self.0.iter().map(|list| list.der.clone()).collect()
    }
}

impl RevocationList {
    fn read(
        der: CertificateRevocationListDer<'static>,
        anchors: &[TrustAnchor<'_>],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Result<Self, String> {
        BorrowedCertRevocationList::from_der(&der)
            .map_err(|error| format!("has a revocation list that cannot be used: {error:?}"))?;
        let Parts { signed, issuer, this_update, next_update } =
            Parts::of(&der).ok_or_else(|| "has a revocation list that cannot be read".to_owned())?;
        let issuer = issuer.to_vec();
        let mut issuers = anchors.iter().filter(|anchor| *anchor.subject == *issuer).peekable();
        // A list of an intermediate CA is checked once a client shows that CA's certificate.
        if issuers.peek().is_some() && !issuers.any(|anchor| signed.is_by(anchor, algorithms)) {
            return Err(format!("has a revocation list that its issuer {} did not sign", readable(&issuer)));
        }
        Ok(Self { der, issuer, this_update, next_update })
    }

    fn issuer(&self) -> String {
        readable(&self.issuer)
    }
}

fn readable(issuer: &[u8]) -> String {
    name(issuer).map_or_else(|| "an issuer without a readable name".into(), |(name, _)| name)
}

impl<'a> Parts<'a> {
    fn of(list: &'a [u8]) -> Option<Self> {
        let whole = elements(list).next()??;
        let (message, rest) = first(whole.content)?;
        let [algorithm, signature]: [Element<'_>; 2] = elements(rest).collect::<Option<Vec<_>>>()?.try_into().ok()?;
        let body = elements(message).next()??;
        // The version, which is the only integer; algorithm, issuer, this update, next update.
        let mut fields = elements(body.content).skip_while(|field| field.is_some_and(|field| field.tag == 0x02));
        let issuer = fields.nth(1)??.content;
        let (this_update, next_update) = (fields.next()??.unix_seconds()?, fields.next()??.unix_seconds()?);
        let signed = Signed { message, algorithm: algorithm.content, signature: bits(&signature)? };
        Some(Self { signed, issuer, this_update, next_update })
    }
}

/// A string of bits that are whole bytes.
fn bits<'a>(element: &Element<'a>) -> Option<&'a [u8]> {
    match element.content.split_first() {
        Some((0, bits)) if element.tag == 0x03 => Some(bits),
        _ => None,
    }
}

impl Signed<'_> {
    fn is_by(&self, anchor: &TrustAnchor<'_>, algorithms: &[&dyn SignatureVerificationAlgorithm]) -> bool {
        let mut key = elements(&anchor.subject_public_key_info);
        let (Some(Some(kind)), Some(Some(key))) = (key.next(), key.next()) else { return false };
        let Some(key) = bits(&key) else { return false };
        algorithms.iter().any(|algorithm| {
            algorithm.public_key_alg_id().as_ref() == kind.content
                && algorithm.signature_alg_id().as_ref() == self.algorithm
                && algorithm.verify_signature(key, self.message, self.signature).is_ok()
        })
    }
}
