//! TLS as `tls_config` says. Files are read for each connection: certificates are exchanged while we run.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::config::{SecretSource, TlsSettings, TlsVersions};

/// A configuration of TLS with the provider named: nothing is installed for the whole process.
pub(super) async fn client(settings: &TlsSettings) -> Result<ClientConfig, String> {
    let builder = trusting(settings).await?;
    let Some((certificate, key)) = &settings.identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(certificate).await?;
    // What is wrong with a key is not shown: it may be the key.
    let parsed = PrivateKeyDer::from_pem_slice(&key.bytes().await?);
    let parsed = parsed.map_err(|_| format!("tls_config: {} has no private key in PEM", key.name()))?;
    builder.with_client_auth_cert(chain, parsed).map_err(|error| {
        format!("tls_config: {} and {} do not make a client certificate: {error}", certificate.name(), key.name())
    })
}

async fn trusting(settings: &TlsSettings) -> Result<rustls::ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let versions: &[&rustls::SupportedProtocolVersion] = match settings.versions {
        TlsVersions::Both => &[&rustls::version::TLS12, &rustls::version::TLS13],
        TlsVersions::Only12 => &[&rustls::version::TLS12],
        TlsVersions::Only13 => &[&rustls::version::TLS13],
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(versions).map_err(|error| error.to_string())?;
    if settings.insecure_skip_verify {
        return Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAll(provider))));
    }
    let mut roots = rustls::RootCertStore::empty();
    match &settings.ca {
        Some(source) => {
            for certificate in certificates(source).await? {
                roots.add(certificate).map_err(|error| format!("tls_config: {}: {error}", source.name()))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(builder.with_root_certificates(roots))
}

pub(super) async fn certificates(source: &SecretSource) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |problem: &dyn std::fmt::Display| {
        format!("tls_config: cannot read certificates from {}: {problem}", source.name())
    };
    let pem = source.bytes().await.map_err(|problem| format!("tls_config: {problem}"))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(failed(&"there is none in PEM")),
        Ok(found) => Ok(found),
        Err(error) => Err(failed(&error)),
    }
}

/// What `insecure_skip_verify` asks for.
#[derive(Debug)]
struct TrustAll(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
