//! The files with certificates and keys that a configuration names. Renewed ones have the same names,
//! so that the configuration does not differ.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::config::Config;

/// What they hold, as digests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Certificates {
    pub(super) upstream: Digests,
    pub(super) centre: Digests,
}

/// One for each file; `None` of what cannot be read: whoever needs it says so.
type Digests = Vec<Option<Vec<u8>>>;

impl Certificates {
    /// As they are now. Reads the disk.
    pub(super) fn of(config: &Config) -> Self {
        let tls = config.upstream.as_ref().map(|upstream| &upstream.tls);
        let identity = tls.and_then(|tls| tls.identity.as_ref());
        let identity = identity.into_iter().flat_map(|(certificate, key)| [certificate, key]);
        let upstream = tls.and_then(|tls| tls.ca.as_ref()).into_iter().chain(identity);
        let centre = config.control.as_ref().and_then(|control| control.ca.as_ref());
        Self { upstream: digests(upstream), centre: digests(centre.into_iter()) }
    }

    /// Sections whose files hold something else than those of `former`.
    pub(super) fn renewed_since(&self, former: &Self) -> impl Iterator<Item = &'static str> {
        let sections = [
            ("upstream", self.upstream != former.upstream),
            ("control", self.centre != former.centre),
        ];
        sections.into_iter().filter(|(_, differ)| *differ).map(|(name, _)| name)
    }
}

fn digests<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Digests {
    files.map(|file| Some(Sha256::digest(std::fs::read(file).ok()?).to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::change::Plan;
    use crate::config::{self, Surroundings};
    use crate::drain::Way;

    #[test]
    fn a_renewed_certificate_under_the_same_name_begins_the_way_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (file, ca) = (folder.path().join("spillway.toml"), folder.path().join("ca.pem"));
        let text = format!(
            "gateway.id = \"gw\"\n[upstream]\nendpoint = \"https://mq.example:443\"\n\
             access_key_id = \"id\"\naccess_key_secret = \"secret\"\ntls.ca = {ca:?}\n\
             [[lane]]\nname = \"main\"\ntopic = \"t\"\n"
        );
        std::fs::write(&file, text).unwrap();
        std::fs::write(&ca, "old").unwrap();
        let config = config::read(&file, &Surroundings::of_process()).unwrap().config;
        let old = Certificates::of(&config);
        let same = Plan::between(&config, &config).renewing(&old, &Certificates::of(&config));
        assert!(!same.upstream && !same.drain && same.way == Way::Same);
        std::fs::write(&ca, "new").unwrap();
        let new = Certificates::of(&config);
        assert_eq!(new.renewed_since(&old).collect::<Vec<_>>(), ["upstream"]);
        let renewing = Plan::between(&config, &config).renewing(&old, &new);
        assert!(renewing.upstream && renewing.drain && renewing.way == Way::Repaired);
        assert!(!renewing.centre && !renewing.queue);
    }
}
