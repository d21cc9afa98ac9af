//! TLS for both transports: what is trusted, what is shown, and whose name is expected.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme,
    WantsVerifier,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::CertificateTime;

/// Whom to trust and what to show. The default trusts the machine's authorities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the only authorities to trust.
    pub ca: Option<PathBuf>,
    /// PEM files of the client's certificate chain and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the server has to prove, where it is not the endpoint's host.
    pub server_name: Option<String>,
}

/// TLS cannot be set up as asked.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be used.
    #[error("{}: {reason}; a PEM file is needed that this user may read", path.display())]
    File {
        /// What it should hold: `ca`, `certificate` or `key`.
        part: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is nobody to trust.
    #[error(
        "no certificate authority found on this machine ({0}); install ca-certificates, or name the authority to trust"
    )]
    NoRoots(String),
    /// The name to expect is none.
    #[error("{0:?} is neither a host name nor an address")]
    ServerName(String),
    /// The parts do not fit each other.
    #[error("{0}; check that certificate and key belong together, and the authority")]
    Unusable(String),
}

impl TlsError {
    /// The part of [`Tls`] to change: `ca`, `certificate`, `key` or `server_name`.
    pub fn part(&self) -> &'static str {
        match self {
            Self::File { part, .. } => part,
            Self::NoRoots(_) => "ca",
            Self::ServerName(_) => "server_name",
            Self::Unusable(_) => "certificate",
        }
    }
}

/// The client's side of TLS: system roots or only the given authority, a client certificate if one
/// is given, and the name that the server has to prove. Certificates have to be good at `time`.
///
/// # Errors
/// See [`TlsError`].
pub fn client_config(tls: &Tls, time: &CertificateTime) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(tls, Arc::clone(&provider), time)?;
    let builder = versions(provider, time)?.dangerous().with_custom_certificate_verifier(verifier);
    match &tls.identity {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = certificates("certificate", certificate)?;
            builder.with_client_auth_cert(chain, private_key(key)?).map_err(unusable)
        }
    }
}

/// For a plaintext endpoint: trusts nobody, and is never asked to.
///
/// # Errors
/// See [`TlsError`].
pub fn no_tls() -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    Ok(versions(provider, &CertificateTime::default())?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

fn versions(
    provider: Arc<CryptoProvider>,
    time: &CertificateTime,
) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsError> {
    ClientConfig::builder_with_details(provider, Arc::new(time.clone()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)
}

fn verifier(
    tls: &Tls,
    provider: Arc<CryptoProvider>,
    time: &CertificateTime,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(tls)?), provider)
        .build()
        .map_err(|error| TlsError::Unusable(error.to_string()))?;
    let name = tls.server_name.as_ref().map(|name| {
        ServerName::try_from(name.clone()).map_err(|_| TlsError::ServerName(name.clone()))
    });
    Ok(Arc::new(Verifier { webpki, name: name.transpose()?, time: time.clone() }))
}

fn unusable(error: rustls::Error) -> TlsError {
    TlsError::Unusable(error.to_string())
}

fn roots(tls: &Tls) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    if let Some(path) = &tls.ca {
        for certificate in certificates("ca", path)? {
            store.add(certificate).map_err(|e| fault("ca", path, e))?;
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

fn certificates(part: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = std::fs::read(path).map_err(|e| fault(part, path, e))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|e| fault(part, path, e))?;
    if certificates.is_empty() {
        return Err(fault(part, path, "holds no certificate"));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = std::fs::read(path).map_err(|e| fault("key", path, e))?;
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| fault("key", path, "holds no private key that is not encrypted"))
}

fn fault(part: &'static str, path: &Path, reason: impl std::fmt::Display) -> TlsError {
    TlsError::File { part, path: path.to_owned(), reason: reason.to_string() }
}

/// Verifies as rustls does, but where another name is expected than the one that was dialled (for
/// brokers behind an address or a tunnel) against that name; and notes whom it found good.
#[derive(Debug)]
struct Verifier {
    webpki: Arc<dyn ServerCertVerifier>,
    name: Option<ServerName<'static>>,
    time: CertificateTime,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let name = self.name.as_ref().unwrap_or(dialled);
        let verified =
            self.webpki.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)?;
        self.time.note(&self.webpki, name, end_entity, intermediates);
        Ok(verified)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tls: &Tls) -> String {
        let error = client_config(tls, &CertificateTime::default()).unwrap_err();
        format!("{}: {error}", error.part())
    }

    #[test]
    fn an_error_names_part_and_file() {
        let dir = tempfile::tempdir().unwrap();
        let absent = Tls { ca: Some(dir.path().join("absent.pem")), ..Tls::default() };
        let text = message(&absent);
        assert!(text.contains("absent.pem") && text.starts_with("ca: "), "{text}");
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "no certificate here").unwrap();
        let text = message(&Tls { ca: Some(empty), ..Tls::default() });
        assert!(text.contains("holds no certificate"), "{text}");
    }

    #[test]
    fn a_key_that_does_not_fit_its_certificate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            let (certificate, key) =
                (dir.path().join(name), dir.path().join(format!("{name}.key")));
            std::fs::write(&certificate, made.cert.pem()).unwrap();
            std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            (certificate, key)
        };
        let (one, two) = (made("one"), made("two"));
        let tls =
            |identity| Tls { ca: Some(one.0.clone()), identity: Some(identity), ..Tls::default() };
        assert!(client_config(&tls(one.clone()), &CertificateTime::default()).is_ok());
        let text = message(&tls((one.0.clone(), two.1)));
        assert!(text.contains("belong together"), "{text}");
        let text = message(&tls((one.0.clone(), one.0.clone())));
        assert!(text.contains("private key"), "{text}");
    }

    #[test]
    fn a_server_name_that_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        let made = rcgen::generate_simple_self_signed(["one".to_owned()]).unwrap();
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let tls = Tls { ca: Some(ca), server_name: Some("a b".into()), ..Tls::default() };
        let made = client_config(&tls, &CertificateTime::default());
        assert!(matches!(made, Err(TlsError::ServerName(_))));
    }
}
