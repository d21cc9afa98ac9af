//! Where the requests come from.

use std::io;
use std::path::PathBuf;

use futures::FutureExt;
use futures::future::BoxFuture;
use spillway_protocol::control::Request;

/// A table of requests, such as the gaps that an auditor found.
///
/// An implementation gives the same request the same id each time it is asked, and another one
/// when it gives up waiting and asks once more: see [`super::gaps`].
pub(crate) trait Source: Send + Sync + 'static {
    /// What the gateway is asked for at present, the most urgent first.
    fn requests<'a>(&'a self, gateway: &'a str)
    -> BoxFuture<'a, Result<Vec<Request>, SourceError>>;
}

/// The requests cannot be had at present: gateways ask again later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("{path}: {error}; let the user that runs central-control read it", path = .0.display(), error = .1)]
    File(PathBuf, io::Error),
    #[error("the tables cannot be read: {0}")]
    Database(central_store::Fault),
    #[error("{path}: {error}; write a list of requests, as the README has it", path = .0.display(), error = .1)]
    Form(PathBuf, serde_json::Error),
}

/// A folder with a file `GATEWAY.json` for each gateway that is asked for something: a list of
/// requests. A file is changed by putting another in its place (`mv`), so that none is read half.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The folder, which has to be there.
    pub(crate) fn open(path: PathBuf) -> Result<Self, SourceError> {
        match std::fs::read_dir(&path) {
            Ok(_) => Ok(Self(path)),
            Err(error) => Err(SourceError::File(path, error)),
        }
    }

    async fn read(&self, gateway: &str) -> Result<Vec<Request>, SourceError> {
        // An id may hold a slash; no file's name does.
        if gateway.contains('/') || gateway.starts_with('.') {
            return Ok(Vec::new());
        }
        let path = self.0.join(format!("{gateway}.json"));
        match tokio::fs::read(&path).await {
            Ok(text) => {
                serde_json::from_slice(&text).map_err(|error| SourceError::Form(path, error))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(SourceError::File(path, error)),
        }
    }
}

impl Source for Folder {
    fn requests<'a>(
        &'a self,
        gateway: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Request>, SourceError>> {
        self.read(gateway).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"[{"id":"r-1","lane":"main","stream":"00c0ffee","from":1,"to":2}]"#;

    #[tokio::test]
    async fn a_gateways_file_is_its_requests_and_none_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let source = Folder::open(folder.path().to_owned()).unwrap();
        std::fs::write(folder.path().join("gw-1.json"), ONE).unwrap();
        assert_eq!(source.requests("gw-1").await.unwrap()[0].id, "r-1");
        assert_eq!(source.requests("gw-2").await.unwrap(), []);
        std::fs::write(folder.path().join("gw-1.json"), "[{").unwrap();
        assert!(matches!(source.requests("gw-1").await, Err(SourceError::Form(..))));
    }

    #[tokio::test]
    async fn no_gateways_id_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(folder.path().join("gw.json"), ONE).unwrap();
        let source = Folder::open(inner).unwrap();
        for id in ["../gw", "/../gw", "..", ".hidden"] {
            assert_eq!(source.requests(id).await.unwrap(), [], "{id}");
        }
    }
}
