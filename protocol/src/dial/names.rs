//! Names and what they mean: asked anew for every connection, and remembered only to look for a
//! route to them.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::vec;

use futures::FutureExt;
use futures::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

/// The machine's resolver. Clones share what is remembered.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    known: Arc<Mutex<BTreeMap<String, Vec<IpAddr>>>>,
    /// How often an address has led nowhere: the next connection begins with another one.
    turns: Arc<AtomicUsize>,
}

impl Names {
    /// The last connection led nowhere, or broke.
    pub(super) fn turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// What all names meant when they were last asked.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().flatten().copied().collect()
    }

    /// Remembers what `host` means.
    pub(super) fn note(&self, host: &str, addresses: Vec<IpAddr>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(host.to_owned(), addresses);
    }

    async fn ask(self, host: String) -> io::Result<vec::IntoIter<SocketAddr>> {
        let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
        let mut addresses: Vec<SocketAddr> = found.collect();
        self.note(&host, addresses.iter().map(SocketAddr::ip).collect());
        let turns = self.turns.load(Ordering::Relaxed);
        let first = turns.checked_rem(addresses.len()).unwrap_or_default();
        addresses.rotate_left(first);
        Ok(addresses.into_iter())
    }
}

impl Service<Name> for Names {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        self.clone().ask(name.as_str().to_owned()).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_remembered_and_after_a_failure_another_address_is_first() {
        let names = Names::default();
        let ask = async || names.clone().ask("localhost".to_owned()).await.unwrap();
        let before: Vec<SocketAddr> = ask().await.collect();
        assert!(before.iter().all(|address| address.ip().is_loopback()), "{before:?}");
        assert_eq!(names.addresses().len(), before.len());
        names.turn();
        let after: Vec<SocketAddr> = ask().await.collect();
        assert_eq!(after[0], before[1 % before.len()]);
        assert_eq!(after.len(), before.len());
    }
}
