//! Pages as they are served: signed, each with a serial that changes when it does.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};
use spillway_protocol::control::{Page, Request, SealError, Sealer};

use super::source::{Source, SourceError};

/// Most requests of one page; it then fits into what a gateway reads.
pub(crate) const REQUESTS_MAX: usize = 200;

/// No page can be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// A page as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) body: Vec<u8>,
    /// In quotes, as the header has it.
    pub(crate) etag: String,
}

/// See the module.
pub(crate) struct Pages<S> {
    source: S,
    sealer: Sealer,
    started_ms: u64,
    /// Of gateways that were ever asked for something: what, and since when.
    served: Mutex<HashMap<String, (Vec<Request>, u64)>>,
}

impl<S: Source> Pages<S> {
    /// Serials begin at `started_ms`: so they are larger than those before a restart.
    pub(crate) fn new(source: S, sealer: Sealer, started_ms: u64) -> Self {
        Self { source, sealer, started_ms, served: Mutex::default() }
    }

    /// The page of a gateway at `now_ms`.
    pub(crate) async fn page(&self, gateway: &str, now_ms: u64) -> Result<Sealed, PageError> {
        let mut requests = self.source.requests(gateway).await?;
        requests.truncate(REQUESTS_MAX);
        let serial = self.serial(gateway, &requests, now_ms);
        let body = self.sealer.seal(&Page { gateway: gateway.to_owned(), serial, requests })?;
        let digest = Sha256::digest(&body);
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Ok(Sealed { body, etag: format!("\"{hex}\"") })
    }

    fn serial(&self, gateway: &str, requests: &[Request], now_ms: u64) -> u64 {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        match served.get_mut(gateway) {
            Some((known, serial)) => {
                if known != requests {
                    *known = requests.to_vec();
                    *serial = now_ms.max(*serial + 1);
                }
                *serial
            }
            // Whoever asks with a name of its own makes nothing grow here.
            None if requests.is_empty() => self.started_ms,
            None => {
                let serial = now_ms.max(self.started_ms + 1);
                served.insert(gateway.to_owned(), (requests.to_vec(), serial));
                serial
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    /// Requests of one gateway that the test changes.
    #[derive(Clone, Default)]
    struct Table(Arc<Mutex<Vec<Request>>>);

    impl Source for Table {
        fn requests<'a>(
            &'a self,
            gateway: &'a str,
        ) -> BoxFuture<'a, Result<Vec<Request>, SourceError>> {
            let found = match gateway {
                "gw-1" => self.0.lock().unwrap().clone(),
                _ => Vec::new(),
            };
            async move { Ok(found) }.boxed()
        }
    }

    fn request(nth: usize) -> Request {
        Request {
            id: format!("{nth:064}"),
            lane: "l".repeat(64),
            stream: "00c0ffee".into(),
            from: u64::MAX,
            to: u64::MAX,
        }
    }

    #[tokio::test]
    async fn a_page_changes_with_its_requests_and_only_then() {
        let table = Table::default();
        let sealer = Sealer::from_seed(&[1; 32]).unwrap();
        let key = sealer.public_key();
        let pages = Pages::new(table.clone(), sealer, 1000);
        let serial = |sealed: &Sealed| key.open(&sealed.body).unwrap().serial;
        let empty = pages.page("gw-1", 1500).await.unwrap();
        assert_eq!((serial(&empty), pages.page("gw-1", 1600).await.unwrap()), (1000, empty));

        table.0.lock().unwrap().push(request(1));
        let one = pages.page("gw-1", 2000).await.unwrap();
        assert_eq!((serial(&one), pages.page("gw-1", 2600).await.unwrap()), (2000, one.clone()));
        // The clock stands still: a later page is later all the same.
        table.0.lock().unwrap().push(request(2));
        let two = pages.page("gw-1", 2000).await.unwrap();
        assert!(serial(&two) > serial(&one) && two.etag != one.etag);
        table.0.lock().unwrap().clear();
        let none = pages.page("gw-1", 3000).await.unwrap();
        assert!(serial(&none) > serial(&two));
        assert_eq!(key.open(&none.body).unwrap().requests, []);
    }

    #[tokio::test]
    async fn more_requests_than_fit_wait_for_their_turn() {
        let table = Table::default();
        table.0.lock().unwrap().extend((0..1000).map(request));
        let sealer = Sealer::from_seed(&[1; 32]).unwrap();
        let key = sealer.public_key();
        let page = Pages::new(table, sealer, 1).page("gw-1", 2).await.unwrap();
        assert_eq!(key.open(&page.body).unwrap().requests.len(), REQUESTS_MAX);
    }
}
