//! Who a certificate says that its holder is, and until when it is valid.
//!
//! Certificates of clients are read only after rustls has verified them; nothing here decides about trust.

mod der;
mod revocation;

use rustls::pki_types::CertificateDer;

use self::der::{Element, elements};
pub(crate) use self::revocation::RevocationLists;

/// Names of one kind that are kept of a certificate, and bytes of all of its subject.
const NAMES_MAX: usize = 64;
const SUBJECT_BYTES_MAX: usize = 4 * 1024;

/// A client's certificate, verified against the configured CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The subject in the form of RFC 4514, such as `CN=collector,O=Shop`; what has no text form is `#` and hexadecimal.
    pub subject: String,
    /// The subject's common name, when it has exactly one.
    pub common_name: Option<String>,
    /// DNS names of the subject alternative name.
    pub dns_names: Vec<String>,
    /// URIs of the subject alternative name, such as a SPIFFE ID.
    pub uris: Vec<String>,
    /// SHA-256 of the whole certificate, in hexadecimal.
    pub fingerprint: String,
}

impl PeerCertificate {
    /// `None` when the certificate cannot be read.
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
        let (subject, common_name) = name(parsed.subject())?;
        Some(Self {
            subject,
            common_name,
            dns_names: parsed.valid_dns_names().take(NAMES_MAX).map(str::to_owned).collect(),
            uris: parsed.valid_uri_names().take(NAMES_MAX).map(str::to_owned).collect(),
            fingerprint: hexadecimal(ring::digest::digest(&ring::digest::SHA256, certificate).as_ref()),
        })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A distinguished name as text, the most specific part first, and its only common name.
fn name(content: &[u8]) -> Option<(String, Option<String>)> {
    if content.len() > SUBJECT_BYTES_MAX {
        return None;
    }
    let mut parts = Vec::new();
    let mut common_names = Vec::new();
    for set in elements(content) {
        let mut values = Vec::new();
        for pair in elements(set?.content) {
            let [kind, value]: [Element<'_>; 2] =
                elements(pair?.content).collect::<Option<Vec<_>>>()?.try_into().ok()?;
            let kind = der::kind(kind.content);
            let text = value.text();
            if let ("CN", Some(text)) = (&*kind, &text) {
                common_names.push(text.clone());
            }
            let value = text.map_or_else(|| format!("#{}", hexadecimal(value.content)), |text| escaped(&text));
            values.push(format!("{kind}={value}"));
        }
        parts.push(values.join("+"));
    }
    parts.reverse();
    let common_name = if common_names.len() == 1 { common_names.pop() } else { None };
    Some((parts.join(","), common_name))
}

/// As RFC 4514 has it, so that no value can be taken for another part of the name.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => text.extend(['\\', character]),
            ' ' if index == 0 || index == last => text.push_str("\\ "),
            '#' if index == 0 => text.push_str("\\#"),
            character if character.is_control() => {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    text.push_str(&format!("\\{byte:02x}"));
                }
            }
            character => text.push(character),
        }
    }
    text
}

/// The first and the last second of a certificate's validity, in Unix time.
pub(crate) fn validity(certificate: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let whole = elements(certificate).next()??;
    let signed = elements(whole.content).next()??;
    // The version, which is optional and the only one with its own tag; serial number, algorithm, issuer, validity.
    let mut fields = elements(signed.content).skip_while(|field| field.is_some_and(|field| field.tag == 0xa0));
    let validity = fields.nth(3)??;
    let mut times = elements(validity.content);
    Some((times.next()??.unix_seconds()?, times.next()??.unix_seconds()?))
}

#[cfg(test)]
mod tests;
