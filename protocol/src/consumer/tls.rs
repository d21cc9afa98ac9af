//! TLS for both transports: what is trusted, what is shown, and whose name is expected.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::Tls;

/// TLS cannot be set up as asked.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read or holds something else.
    #[error("{}: {reason}; a PEM file with {what} is needed that this user may read", path.display())]
    File {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The machine's store of authorities is empty or unreadable.
    #[error(
        "this machine has no certificate authorities ({0}); install them, or name the broker's"
    )]
    NoRoots(String),
    /// The name to expect is not one.
    #[error("the server name {0:?} is neither a host name nor an address")]
    ServerName(String),
    /// The parts do not fit each other.
    #[error("{0}; check that the client certificate and its key belong together")]
    Unusable(String),
}

impl TlsError {
    fn file(what: &'static str, path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::File { what, path: path.to_owned(), reason: reason.to_string() }
    }

    fn unusable(error: impl std::fmt::Display) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// The client's side of TLS.
pub(super) fn client_config(tls: &Tls) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::unusable)?
        .dangerous()
        .with_custom_certificate_verifier(verifier(tls, provider)?);
    match &tls.identity {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = certificates("a certificate", certificate)?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| TlsError::file("a private key, not encrypted,", key, error))?;
            builder.with_client_auth_cert(chain, key).map_err(TlsError::unusable)
        }
    }
}

/// For a plaintext endpoint: trusts nobody, and is never asked to.
pub(super) fn none() -> Result<ClientConfig, TlsError> {
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::unusable)?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

fn verifier(
    tls: &Tls,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(tls)?), provider)
        .build()
        .map_err(TlsError::unusable)?;
    let Some(name) = &tls.server_name else {
        return Ok(webpki);
    };
    let name =
        ServerName::try_from(name.clone()).map_err(|_| TlsError::ServerName(name.clone()))?;
    Ok(Arc::new(OtherName { webpki, name }))
}

fn roots(tls: &Tls) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    if let Some(path) = &tls.ca {
        for certificate in certificates("an authority", path)? {
            store.add(certificate).map_err(|e| TlsError::file("an authority", path, e))?;
        }
        return Ok(store);
    }
    let native = rustls_native_certs::load_native_certs();
    store.add_parsable_certificates(native.certs);
    if store.is_empty() {
        let reasons: Vec<String> = native.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::NoRoots(reasons.join(", ")));
    }
    Ok(store)
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(|error| TlsError::file(what, path, error))?;
    match certificates.is_empty() {
        true => Err(TlsError::file(what, path, "holds no certificate")),
        false => Ok(certificates),
    }
}

/// Verifies as rustls does, but against another name than the one that was dialled: for brokers
/// behind an address or a tunnel.
#[derive(Debug)]
struct OtherName {
    webpki: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for OtherName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.webpki.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
