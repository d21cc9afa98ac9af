//! The configured credentials, read again while the agent runs.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{self, Kept, Surroundings};
use crate::upstream::CredentialsSource;

/// Reads the credentials that the configuration at `file` names, as at the start; nothing else of
/// it is put in force. Where it cannot be read, those that `kept` refers to.
pub(super) fn source(file: PathBuf, kept: Kept) -> CredentialsSource {
    Arc::new(move || {
        let surroundings = Surroundings::of_process();
        let config = match config::load(&file, &surroundings) {
            Ok((config, _)) => config,
            Err(error) => {
                tracing::warn!(%error, "the configuration cannot be read again");
                kept.revive(&file, &surroundings)?.config
            }
        };
        config.upstream?.credentials
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use spillway_protocol::dial::{Carried, CertificateTime};
    use spillway_protocol::message::Message;
    use spillway_protocol::record::{RecordId, Topic};

    use super::*;
    use crate::app;
    use crate::broker::{Broker, BrokerOptions};
    use crate::clock::{SystemClock, WallClock};
    use crate::config::Secret;
    use crate::upstream::Outcome;

    fn message() -> Message {
        Message {
            topic: Topic::parse("ward").unwrap(),
            tag: None,
            id: RecordId::parse("id-1").unwrap(),
            key: "key-1".into(),
            order_key: None,
            properties: vec![],
            body: "x".into(),
        }
    }

    fn write(folder: &Path, port: u16) -> PathBuf {
        let (file, secret) = (folder.join("spillway.toml"), folder.join("secret"));
        let text = format!(
            "[gateway]\nid = \"gw\"\n[upstream]\nendpoint = \"http://127.0.0.1:{port}\"\n\
             access_key_id = \"ak\"\naccess_key_secret = {{ file = {secret:?} }}\n\
             [[lane]]\nname = \"main\"\ntopic = \"ward\"\n"
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    #[tokio::test]
    async fn a_secret_put_right_on_this_machine_is_used_without_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let keys = vec![("ak".to_owned(), Secret::new("right"))];
        let options = BrokerOptions::new("127.0.0.1:0".parse().unwrap(), keys);
        let broker = Broker::start(options).await.unwrap();
        let file = write(folder.path(), broker.address().port());
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "wrong\n").unwrap();
        let config::Loaded { config, kept, .. } =
            config::read(&file, &Surroundings::of_process()).unwrap();
        let clock: Arc<dyn WallClock> = Arc::new(SystemClock);
        let source = Some(source(file, kept));
        let (time, carried) = (CertificateTime::default(), Carried::default());
        let far = app::far::Far { clock: &clock, time: &time, carried: &carried };
        let upstream = far.connected(&config.upstream.unwrap(), source).unwrap();
        // The second one has read the wrong secret again, and then the secret is gone.
        for _ in 0..2 {
            let outcome = upstream.send(&message()).await;
            let refused = matches!(outcome, Outcome::Misconfigured { code: "credentials", .. });
            assert!(refused, "{outcome:?}");
        }
        std::fs::remove_file(&secret).unwrap();
        let outcome = upstream.send(&message()).await;
        assert!(matches!(outcome, Outcome::Misconfigured { .. }), "{outcome:?}");
        std::fs::write(&secret, "right\n").unwrap();
        let outcome = upstream.send(&message()).await;
        assert!(matches!(outcome, Outcome::Delivered { .. }), "{outcome:?}");
    }
}
