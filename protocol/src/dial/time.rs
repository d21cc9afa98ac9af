//! The time by which certificates are judged. A gateway without a battery boots in 1970, where no
//! certificate is valid yet; so the newest time ever learned counts where the wall clock is behind.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::ServerCertVerifier;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Times that are learned closer than this are one.
const STEP_S: u64 = 3_600;

/// The later of the wall clock and the newest time that is known to have been. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct CertificateTime(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    floor_s: AtomicU64,
    /// The last time that was looked at, taken or not: looking costs a signature check.
    looked_s: AtomicU64,
    witness: Mutex<Option<Witness>>,
}

/// A server's certificate that was found good.
#[derive(Debug)]
struct Witness {
    verifier: Arc<dyn ServerCertVerifier>,
    name: ServerName<'static>,
    certificate: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
}

impl CertificateTime {
    /// It is `floor_s` at least, in seconds since 1970.
    pub fn since(floor_s: u64) -> Self {
        let time = Self::default();
        time.0.floor_s.store(floor_s, Ordering::Relaxed);
        time
    }

    /// The newest time that is known to have been, in seconds since 1970.
    pub fn floor_s(&self) -> u64 {
        self.0.floor_s.load(Ordering::Relaxed)
    }

    /// Takes in the time that a server told over TLS, in seconds since 1970, if that server's own
    /// certificate is good at it: a wrong clock over there must not make all others expire here.
    pub fn learn(&self, told_s: u64) {
        let looked_s = self.0.looked_s.load(Ordering::Relaxed);
        if told_s < self.floor_s().saturating_add(STEP_S) || told_s.abs_diff(looked_s) < STEP_S {
            return;
        }
        self.0.looked_s.store(told_s, Ordering::Relaxed);
        let witness = self.0.witness.lock().unwrap_or_else(PoisonError::into_inner);
        if witness.as_ref().is_some_and(|witness| witness.is_good_at(told_s)) {
            self.0.floor_s.fetch_max(told_s, Ordering::Relaxed);
        }
    }

    /// A server has proved who it is.
    pub(super) fn note(
        &self,
        verifier: &Arc<dyn ServerCertVerifier>,
        name: &ServerName<'_>,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
    ) {
        let witness = Witness {
            verifier: Arc::clone(verifier),
            name: name.to_owned(),
            certificate: certificate.clone().into_owned(),
            chain: chain.iter().map(|link| link.clone().into_owned()).collect(),
        };
        *self.0.witness.lock().unwrap_or_else(PoisonError::into_inner) = Some(witness);
    }
}

impl Witness {
    fn is_good_at(&self, time_s: u64) -> bool {
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(time_s));
        let Self { verifier, name, certificate, chain } = self;
        verifier.verify_server_cert(certificate, chain, name, &[], time).is_ok()
    }
}

impl TimeProvider for CertificateTime {
    fn current_time(&self) -> Option<UnixTime> {
        let wall_s = UnixTime::now().as_secs();
        let time_s = wall_s.max(self.floor_s());
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(time_s)))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd,
    };
    use rustls::client::WebPkiServerVerifier;
    use rustls::{RootCertStore, crypto::ring};

    use super::*;

    const YEAR_S: u64 = 365 * 86_400;
    /// 2026-01-01.
    const NOW_S: u64 = 1_767_225_600;

    /// Times at which a server of ours, good from 2025 to 2027, has proved who it is.
    fn proved() -> CertificateTime {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::new(vec!["mq.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier: Arc<dyn ServerCertVerifier> = verifier.build().unwrap();
        let time = CertificateTime::since(NOW_S - YEAR_S);
        let name = ServerName::try_from("mq.example").unwrap();
        time.note(&verifier, &name, leaf.der(), &[]);
        time
    }

    #[test]
    fn a_told_time_counts_if_the_servers_certificate_is_good_at_it() {
        let time = proved();
        time.learn(NOW_S);
        assert_eq!(time.floor_s(), NOW_S);
        time.learn(NOW_S - 2 * STEP_S);
        assert_eq!(time.floor_s(), NOW_S, "it never goes back");
        time.learn(NOW_S + 70 * YEAR_S);
        assert_eq!(time.floor_s(), NOW_S, "a wrong clock over there");
        time.learn(NOW_S + STEP_S);
        assert_eq!(time.floor_s(), NOW_S + STEP_S, "and the right one after it");
    }

    #[test]
    fn without_a_server_that_proved_itself_nothing_is_learned() {
        let time = CertificateTime::since(NOW_S);
        time.learn(NOW_S + YEAR_S);
        assert_eq!(time.floor_s(), NOW_S);
    }

    #[test]
    fn certificates_are_judged_by_the_later_of_wall_clock_and_floor() {
        let wall_s = UnixTime::now().as_secs();
        let ahead = CertificateTime::since(wall_s + YEAR_S).current_time().unwrap();
        assert_eq!(ahead.as_secs(), wall_s + YEAR_S);
        let behind = CertificateTime::since(NOW_S - YEAR_S).current_time().unwrap();
        assert!(behind.as_secs() >= wall_s);
    }
}
