//! Where access keys come from while the agent runs: files that the configuration names, or a
//! program.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::far;
use super::standing::SharedStanding;
use crate::clock::WallClock;
use crate::config::{self, Config, Credentials, Kept, Surroundings, Upstream};
use crate::credential_command::{self, Brought};
use crate::entropy;
use crate::upstream::{CredentialsSource, Key};

/// Least time between two runs of the program of which the first brought a key.
const RUNS_APART: Duration = Duration::from_secs(5);
/// The part of a key's life after which another one is asked for, drawn anew each time: the keys
/// of a fleet are not to be asked for in step.
const RENEW_FROM: f64 = 0.75;
const RENEW_SPAN: f64 = 0.1;

/// Where the configuration in force was read.
pub(super) struct Origin {
    pub(super) file: PathBuf,
    /// What was kept of it.
    pub(super) kept: Kept,
    /// Says whether what is in force is the file's.
    pub(super) standing: SharedStanding,
}

/// Reads the keys of `upstream` as at the start: those that the file names, and nothing else of it is
/// put in force. Where the file cannot be read, is not in force, or leads elsewhere, those that the
/// kept configuration refers to: what was edited and not taken brings no key.
pub(super) fn source(
    origin: Origin,
    upstream: &Upstream,
    clock: &Arc<dyn WallClock>,
) -> CredentialsSource {
    if let Some(words) = &upstream.access.command {
        return command(words, clock);
    }
    let running = upstream.clone();
    CredentialsSource::reading(upstream.access.files.clone(), move || origin.read(&running))
}

impl Origin {
    fn read(&self, running: &Upstream) -> Result<Vec<Credentials>, String> {
        let surroundings = Surroundings::of_process();
        // Not within the match, which would hold it while files are read.
        let of_file = self.standing.get().force.is_file();
        let (named, fault) = match of_file {
            true => match config::load(&self.file, &surroundings) {
                Ok((config, _)) => (keys_for(running, config), None),
                Err(error) => {
                    tracing::warn!(%error, "the configuration cannot be read again");
                    (None, Some(format!("the configuration cannot be read again: {error}")))
                }
            },
            false => (None, None),
        };
        let kept = || keys_for(running, self.kept.revive(&self.file, &surroundings)?.config);
        let none = || "the configuration in force names no access key any more".to_owned();
        named.or_else(kept).ok_or_else(|| fault.unwrap_or_else(none))
    }
}

/// The keys that `config` has for the same far end.
fn keys_for(running: &Upstream, config: Config) -> Option<Vec<Credentials>> {
    let upstream =
        config.upstream.filter(|upstream| far::place(upstream) == far::place(running))?;
    Some(upstream.access.keys).filter(|keys| !keys.is_empty())
}

/// Has the program bring a key, each time another one.
pub(super) fn command(words: &[String], clock: &Arc<dyn WallClock>) -> CredentialsSource {
    let rng = Arc::new(Mutex::new(StdRng::seed_from_u64(entropy::seed())));
    let (words, clock) = (Arc::new(words.to_vec()), clock.clone());
    CredentialsSource::bringing(RUNS_APART, move || {
        let (words, clock, rng) = (words.clone(), clock.clone(), rng.clone());
        Box::pin(async move {
            let run = credential_command::run(&words, credential_command::DEADLINE, &*clock).await;
            let brought =
                run.map_err(|error| format!("credential_command {}: {error}", words[0]))?;
            let share: f64 = rng.lock().unwrap_or_else(PoisonError::into_inner).random();
            Ok(vec![key(brought, RENEW_FROM + RENEW_SPAN * share)])
        })
    })
}

fn key(Brought { credentials, lasts }: Brought, share: f64) -> Key {
    let renew_in = lasts.map(|lasts| lasts.mul_f64(share).max(RUNS_APART));
    Key { credentials, lasts, renew_in }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use spillway_protocol::dial::{Carried, CertificateTime};
    use spillway_protocol::message::Message;
    use spillway_protocol::record::{RecordId, Topic};

    use super::*;
    use crate::app;
    use crate::app::standing::Force;
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
        let upstream = config.upstream.unwrap();
        let standing = SharedStanding::default();
        let origin = Origin { file, kept, standing: standing.clone() };
        let source = Some(source(origin, &upstream, &clock));
        let (time, carried) = (CertificateTime::default(), Carried::default());
        let far =
            app::far::Far { clock: &clock, time: &time, carried: &carried, standing: &standing };
        let upstream = far.connected(&upstream, source).unwrap();
        // It was read again each time, and then the secret is gone.
        for _ in 0..2 {
            let outcome = upstream.send(&message()).await;
            let refused = matches!(outcome, Outcome::Misconfigured { code: "credentials", .. });
            assert!(refused, "{outcome:?}");
        }
        std::fs::remove_file(&secret).unwrap();
        let outcome = upstream.send(&message()).await;
        assert!(matches!(outcome, Outcome::Misconfigured { .. }), "{outcome:?}");
        std::fs::write(&secret, "right\n").unwrap();
        // Unless it was seen before, the refusal has it read, and the record is to be sent again.
        let mut outcome = upstream.send(&message()).await;
        if matches!(outcome, Outcome::OtherKey { .. }) {
            outcome = upstream.send(&message()).await;
        }
        assert!(matches!(outcome, Outcome::Delivered { .. }), "{outcome:?}");
    }

    #[test]
    fn a_file_that_is_not_in_force_or_leads_elsewhere_brings_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = write(folder.path(), 1);
        std::fs::write(folder.path().join("secret"), "present").unwrap();
        let config::Loaded { config, kept, .. } =
            config::read(&file, &Surroundings::of_process()).unwrap();
        let running = config.upstream.unwrap();
        let standing = SharedStanding::default();
        let origin = Origin { file: file.clone(), kept, standing: standing.clone() };
        let ids = || -> Vec<String> {
            origin.read(&running).unwrap().into_iter().map(|key| key.id).collect()
        };
        let edit = |port| {
            write(folder.path(), port);
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, text.replace("\"ak\"", "\"edited\"")).unwrap();
        };
        edit(1);
        assert_eq!(ids(), ["edited"], "a key put right is used");
        edit(2);
        assert_eq!(ids(), ["ak"], "another far end's");
        edit(1);
        standing.get().force = Force::FellBack;
        assert_eq!(ids(), ["ak"], "not in force");
        std::fs::remove_file(folder.path().join("secret")).unwrap();
        assert!(origin.read(&running).unwrap_err().contains("no access key"));
    }
}
