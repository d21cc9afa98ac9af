//! TLS before the embedded broker, with authorities made for the test.

use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;

/// An authority, and the files that a gateway is given.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn identity(&self, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = self.issue(name);
        let paths = (self.dir.path().join("client.pem"), self.dir.path().join("client.key"));
        std::fs::write(&paths.0, certificate.pem()).unwrap();
        std::fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }

    fn server(&self, name: &str, asks_client: bool) -> ServerConfig {
        let (certificate, key) = self.issue(name);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match asks_client {
            true => builder.with_client_cert_verifier(verifier.build().unwrap()),
            false => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        builder.with_single_cert(vec![certificate.der().clone()], key).unwrap()
    }
}

/// Takes TLS off in front of `broker`; says the port and counts connections.
async fn terminate(server: ServerConfig, broker: &Broker) -> (u16, Arc<AtomicUsize>) {
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (target, count) = (broker.address(), Arc::new(AtomicUsize::new(0)));
    tokio::spawn({
        let count = Arc::clone(&count);
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut near = acceptor.accept(stream).await?;
                    let mut far = TcpStream::connect(target).await?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        }
    });
    (port, count)
}

fn over_tls(port: u16, host: &str, tls: Tls) -> HttpUpstream {
    let mut settings = settings(port);
    settings.endpoints[0] = Endpoint { host: host.into(), port, tls: true };
    settings.tls = tls;
    HttpUpstream::new(&settings, Arc::new(SystemClock)).unwrap()
}

fn trusting(authority: &Authority) -> Tls {
    Tls { ca: Some(authority.ca()), ..Tls::default() }
}

fn link_down(outcome: Outcome) -> String {
    match outcome {
        Outcome::LinkDown { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_trusted_server_is_sent_to_over_one_kept_connection() {
    let (broker, authority) = (start_broker().await, Authority::new());
    let (port, count) = terminate(authority.server("localhost", false), &broker).await;
    let upstream = over_tls(port, "localhost", trusting(&authority));
    for _ in 0..20 {
        assert!(is_delivered(&upstream.send(&message("x")).await));
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
    upstream.probe().await.unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_server_of_another_authority_or_name_is_not_sent_to() {
    let (broker, authority) = (start_broker().await, Authority::new());
    let (port, _) = terminate(authority.server("mq.example", false), &broker).await;
    let stranger = over_tls(port, "localhost", trusting(&Authority::new()));
    let reason = link_down(stranger.send(&message("x")).await);
    assert!(reason.contains("upstream.tls.ca"), "{reason}");
    let reason = stranger.probe().await.unwrap_err();
    assert!(reason.contains("upstream.tls.ca"), "{reason}");
    let other_name = over_tls(port, "localhost", trusting(&authority));
    assert!(link_down(other_name.send(&message("x")).await).contains("TLS"));
    let named = Tls { server_name: Some("mq.example".into()), ..trusting(&authority) };
    assert!(is_delivered(&over_tls(port, "localhost", named).send(&message("x")).await));
    assert_eq!(broker.messages(Some("MQ_INST_1"), TOPIC).len(), 1);
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_its_lack_is_a_broken_link() {
    let (broker, authority) = (start_broker().await, Authority::new());
    let (port, _) = terminate(authority.server("localhost", true), &broker).await;
    let identity = Some(authority.identity("gw-1"));
    let shown = Tls { identity, ..trusting(&authority) };
    assert!(is_delivered(&over_tls(port, "localhost", shown).send(&message("x")).await));
    let bare = over_tls(port, "localhost", trusting(&authority));
    let reason = link_down(bare.send(&message("x")).await);
    assert!(reason.contains("upstream.tls.certificate"), "{reason}");
}

#[tokio::test]
async fn a_plaintext_server_where_tls_is_expected_is_a_broken_link() {
    let (broker, authority) = (start_broker().await, Authority::new());
    let upstream = over_tls(broker.address().port(), "localhost", trusting(&authority));
    assert!(link_down(upstream.send(&message("x")).await).contains("TLS"));
}
