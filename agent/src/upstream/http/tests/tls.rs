//! TLS before the embedded broker, with authorities made for the test.

use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
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
    from_year: i32,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir, from_year: 2020 }
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Its certificates are good from `year` on; before, this machine's clock is behind.
    fn from_year(year: i32) -> Self {
        Self { from_year: year, ..Self::new() }
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(self.from_year, 1, 1);
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
    at(CertificateTime::default(), port, host, tls)
}

fn at(time: CertificateTime, port: u16, host: &str, tls: Tls) -> HttpUpstream {
    let mut settings = settings(port);
    settings.endpoints[0] = Endpoint { host: host.into(), port, tls: true };
    settings.tls = tls;
    let clock = Arc::new(SystemClock);
    HttpUpstream::with_time(&settings, clock, time, Carried::default()).unwrap()
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
async fn a_clock_that_is_behind_is_no_hindrance_once_a_later_time_is_known() {
    let (broker, authority) = (start_broker().await, Authority::from_year(2100));
    let (port, _) = terminate(authority.server("localhost", false), &broker).await;
    let trusting = trusting(&authority);
    let behind = over_tls(port, "localhost", trusting.clone());
    assert!(link_down(behind.send(&message("x")).await).contains("TLS"));
    let in_2101 = CertificateTime::since(131 * 365 * 86_400 + 33 * 86_400);
    let knowing = at(in_2101, port, "localhost", trusting);
    assert!(is_delivered(&knowing.send(&message("x")).await));
}

#[tokio::test]
async fn the_time_is_learned_from_a_server_that_proved_itself_and_from_no_other() {
    let (broker, authority) = (start_broker().await, Authority::new());
    let (port, _) = terminate(authority.server("localhost", false), &broker).await;
    let time = CertificateTime::since(1_767_225_600);
    let plain = settings(broker.address().port());
    let clock = Arc::new(SystemClock);
    let plain = HttpUpstream::with_time(&plain, clock, time.clone(), Carried::default()).unwrap();
    assert!(is_delivered(&plain.send(&message("x")).await));
    assert_eq!(time.floor_s(), 1_767_225_600);
    let proved = at(time.clone(), port, "localhost", trusting(&authority));
    assert!(is_delivered(&proved.send(&message("x")).await));
    assert!(SystemClock.now_ms() / 1_000 - time.floor_s() < 60);
}

#[tokio::test]
async fn a_plaintext_server_where_tls_is_expected_is_a_broken_link() {
    let (broker, authority) = (start_broker().await, Authority::new());
    let upstream = over_tls(broker.address().port(), "localhost", trusting(&authority));
    assert!(link_down(upstream.send(&message("x")).await).contains("TLS"));
}
