//! A TLS server before another one on this machine that lets in only who brings a certificate of its
//! authority, and both that can be renewed while it runs.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_rustls::TlsAcceptor;

/// An authority, with a certificate for the server and one for its client.
pub struct Issue {
    authority: String,
    certificate: String,
    key: String,
    client: CertificateDer<'static>,
    server: Arc<ServerConfig>,
}

/// See the module. Dropped, it takes no more connections.
#[derive(Debug)]
pub struct MutualTlsFront {
    port: u16,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    server: Arc<ServerConfig>,
    /// The certificates of those that were let in, in their order.
    came: Vec<CertificateDer<'static>>,
    /// What carries each connection.
    carrying: Vec<AbortHandle>,
}

impl Issue {
    /// Unlike any before.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let signed = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            (params.signed_by(&key, &ca).unwrap(), key)
        };
        let ((server, server_key), (client, key)) = (signed("127.0.0.1"), signed("gateway"));
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![server.der().clone()],
                PrivateKeyDer::try_from(server_key.serialize_der()).unwrap(),
            );
        Self {
            authority: ca.pem(),
            certificate: client.pem(),
            key: key.serialize_pem(),
            client: client.der().clone(),
            server: Arc::new(config.unwrap()),
        }
    }

    /// Writes `ca.pem` and the client's `gateway.pem` there.
    pub fn write_certificates(&self, folder: &Path) {
        std::fs::write(folder.join("ca.pem"), &self.authority).unwrap();
        std::fs::write(folder.join("gateway.pem"), &self.certificate).unwrap();
    }

    /// Writes the client's `gateway.key` there.
    pub fn write_key(&self, folder: &Path) {
        std::fs::write(folder.join("gateway.key"), &self.key).unwrap();
    }
}

impl Default for Issue {
    fn default() -> Self {
        Self::new()
    }
}

impl MutualTlsFront {
    /// Leads to `port` of 127.0.0.1.
    pub async fn start(port: u16, issue: &Issue) -> Self {
        let shared =
            Shared { server: issue.server.clone(), came: Vec::new(), carrying: Vec::new() };
        let shared = Arc::new(Mutex::new(shared));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let known = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let carrying = tokio::spawn(carry(near, port, known.clone())).abort_handle();
                known.lock().unwrap().carrying.push(carrying);
            }
        });
        Self { port: own, shared, task }
    }

    /// `https://address` of its near end.
    pub fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Ends all connections; those who connect from now on meet `issue`'s.
    pub fn renew(&self, issue: &Issue) {
        let mut shared = self.shared.lock().unwrap();
        shared.server = issue.server.clone();
        shared.carrying.drain(..).for_each(|carrying| carrying.abort());
    }

    /// Connections so far that came as the client of `issue`, and all.
    pub fn came(&self, issue: &Issue) -> (usize, usize) {
        let shared = self.shared.lock().unwrap();
        (shared.came.iter().filter(|came| **came == issue.client).count(), shared.came.len())
    }
}

impl Drop for MutualTlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(near: TcpStream, port: u16, shared: Arc<Mutex<Shared>>) {
    let acceptor = TlsAcceptor::from(shared.lock().unwrap().server.clone());
    // Who does not trust the certificate hangs up, and who brings none of its authority is sent away.
    let Ok(mut near) = acceptor.accept(near).await else { return };
    let client = near.get_ref().1.peer_certificates().and_then(|all| all.first());
    let client = client.expect("somebody came in without a certificate").clone().into_owned();
    shared.lock().unwrap().came.push(client);
    let Ok(mut far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    let _ = copy_bidirectional(&mut near, &mut far).await;
}
