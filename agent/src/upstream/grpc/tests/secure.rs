//! TLS: own authority, client certificate, and what is refused.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::*;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for `name` and its key, in PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Serves `name`; asks for a client certificate of this authority.
    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let (certificate, key) = self.issue(name);
        let chain = rustls_pki_types::CertificateDer::from_pem_slice(certificate.as_bytes());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(
                vec![chain.unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Configuration that trusts `trusted` and shows a certificate issued by `issuer`.
fn config(dir: &TempDir, port: u16, trusted: &Authority, issuer: &Authority) -> config::Upstream {
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (certificate, key) = issuer.issue("gw-1");
    let mut config = configured(vec![endpoint(port, true)]);
    config.tls = config::Tls {
        ca: Some(file("ca.pem", &trusted.0.pem())),
        identity: Some((file("client.pem", &certificate), file("client.key", &key))),
        server_name: None,
    };
    config
}

#[tokio::test]
async fn an_own_authority_and_a_client_certificate_let_records_through() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let fake = Fake::start_tls(authority.acceptor("127.0.0.1")).await;
    let config = config(&dir, fake.port, &authority, &authority);
    assert!(is_delivered(&upstream(&config).send(&message()).await));
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused_with_the_reason() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let fake = Fake::start_tls(authority.acceptor("127.0.0.1")).await;
    let upstream = upstream(&config(&dir, fake.port, &Authority::new(), &authority));
    let outcome = upstream.send(&message()).await;
    let Outcome::LinkDown { reason } = &outcome else {
        panic!("{outcome:?}");
    };
    assert!(reason.contains("TLS") && reason.contains("certificate"), "{reason}");
    assert!(upstream.probe().await.is_err());
    assert!(fake.seen().messages.is_empty());
}

#[tokio::test]
async fn a_server_of_another_name_is_refused_unless_that_name_is_configured() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let fake = Fake::start_tls(authority.acceptor("mq.example")).await;
    let mut config = config(&dir, fake.port, &authority, &authority);
    assert!(is_link_down(&upstream(&config).send(&message()).await));
    config.tls.server_name = Some("mq.example".into());
    assert!(is_delivered(&upstream(&config).send(&message()).await));
}

#[tokio::test]
async fn a_refused_client_certificate_is_a_link_that_is_down_with_the_reason() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let fake = Fake::start_tls(authority.acceptor("127.0.0.1")).await;
    let stranger = upstream(&config(&dir, fake.port, &authority, &Authority::new()));
    let outcome = stranger.send(&message()).await;
    let Outcome::LinkDown { reason } = &outcome else {
        panic!("{outcome:?}");
    };
    assert!(reason.contains("alert"), "{reason}");
    assert!(stranger.probe().await.is_err());
}
