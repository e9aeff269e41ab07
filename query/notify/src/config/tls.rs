//! `tls_config`: whom to trust, and what to show in return.

use std::path::Path;

use serde::Deserialize;

use super::value::{Secret, SecretSource};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenTls {
    ca: Option<Secret>,
    ca_file: Option<String>,
    cert: Option<Secret>,
    cert_file: Option<String>,
    key: Option<Secret>,
    key_file: Option<String>,
    server_name: String,
    insecure_skip_verify: bool,
    min_version: String,
    max_version: String,
}

/// Whom to trust, and who we are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct TlsSettings {
    /// Certificates to trust in place of the system's.
    pub(crate) ca: Option<SecretSource>,
    /// Our certificate with its chain, and its key.
    pub(crate) identity: Option<(SecretSource, SecretSource)>,
    pub(crate) server_name: Option<String>,
    pub(crate) insecure_skip_verify: bool,
    pub(crate) versions: TlsVersions,
}

/// Which versions of TLS are spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum TlsVersions {
    #[default]
    Both,
    Only12,
    Only13,
}

impl WrittenTls {
    pub(super) fn settle(self, folder: &Path) -> Result<TlsSettings, String> {
        let choose = |name: &str, inline, file| {
            SecretSource::choose(name, inline, file, folder).map_err(|problem| format!("tls_config: {problem}"))
        };
        let ca = choose("ca", self.ca, self.ca_file)?;
        let identity = match (choose("cert", self.cert, self.cert_file)?, choose("key", self.key, self.key_file)?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err("tls_config: a certificate without its key; give key_file too".into()),
            (None, Some(_)) => return Err("tls_config: a key without its certificate; give cert_file too".into()),
        };
        Ok(TlsSettings {
            ca,
            identity,
            server_name: Some(self.server_name).filter(|name| !name.is_empty()),
            insecure_skip_verify: self.insecure_skip_verify,
            versions: versions(&self.min_version, &self.max_version)?,
        })
    }
}

/// What is older than TLS 1.2 is never spoken, whatever `min_version` allows.
fn versions(min: &str, max: &str) -> Result<TlsVersions, String> {
    match (min, max) {
        ("" | "TLS10" | "TLS11" | "TLS12", "" | "TLS13") => Ok(TlsVersions::Both),
        ("" | "TLS10" | "TLS11" | "TLS12", "TLS12") => Ok(TlsVersions::Only12),
        ("TLS13", "" | "TLS13") => Ok(TlsVersions::Only13),
        _ => {
            let expected = "TLS12 and TLS13 are spoken, and the least must not be above the greatest";
            Err(format!("tls_config: min_version {min:?}, max_version {max:?}: {expected}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn versions_have_an_order() {
        let cases = [
            ("", "", Some(TlsVersions::Both)),
            ("TLS10", "TLS13", Some(TlsVersions::Both)),
            ("TLS12", "TLS12", Some(TlsVersions::Only12)),
            ("TLS13", "", Some(TlsVersions::Only13)),
            ("TLS13", "TLS12", None),
            ("", "TLS11", None),
            ("SSL3", "", None),
        ];
        for (min, max, expected) in cases {
            assert_eq!(versions(min, max).ok(), expected, "{min:?} to {max:?}");
        }
    }

    #[test]
    fn a_certificate_comes_with_its_key() {
        let file = |name: &str| Some(name.to_owned());
        let half = WrittenTls { cert_file: file("c.pem"), ..WrittenTls::default() };
        assert!(half.settle(Path::new("/etc")).unwrap_err().contains("give key_file too"));
        let both = WrittenTls { cert_file: file("c.pem"), key_file: file("/k.pem"), ..WrittenTls::default() };
        let path = |path: &str| SecretSource::File(PathBuf::from(path));
        assert_eq!(both.settle(Path::new("/etc")).unwrap().identity, Some((path("/etc/c.pem"), path("/k.pem"))));
        let twice = WrittenTls { ca: Some(Secret("x".into())), ca_file: file("ca.pem"), ..WrittenTls::default() };
        assert!(twice.settle(Path::new("/etc")).unwrap_err().contains("at most one of ca & ca_file"));
    }
}
