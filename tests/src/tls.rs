//! A TLS server before another one on this machine, with a certificate that is good in chosen years.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// See the module. Dropped, it takes no more connections.
#[derive(Debug)]
pub struct TlsFront {
    port: u16,
    folder: TempDir,
    task: JoinHandle<()>,
}

impl TlsFront {
    /// Leads to `port` of 127.0.0.1; its certificate, and that of the authority in
    /// [`TlsFront::authority`], are good from the first day of the first year to the last of the last.
    pub async fn start(port: u16, years: RangeInclusive<i32>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (authority, config) = issue(years);
        std::fs::write(folder.path().join("ca.pem"), authority).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, port, acceptor.clone()));
            }
        });
        Self { port: own, folder, task }
    }

    /// `https://address` of its near end.
    pub fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The PEM file of the authority.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The authority as PEM, and a server of 127.0.0.1 under it.
fn issue(years: RangeInclusive<i32>) -> (String, ServerConfig) {
    let good = |names: Vec<String>| {
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(*years.start(), 1, 1);
        params.not_after = date_time_ymd(*years.end(), 12, 31);
        params
    };
    let mut params = good(vec![]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = good(vec!["127.0.0.1".to_owned()]).signed_by(&key, &ca).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (ca.pem(), config)
}

async fn carry(near: TcpStream, port: u16, acceptor: TlsAcceptor) {
    // Who does not trust the certificate hangs up.
    let Ok(mut near) = acceptor.accept(near).await else { return };
    let Ok(mut far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    let _ = copy_bidirectional(&mut near, &mut far).await;
}
