//! With which configuration the agent starts: that of its file, unless that cannot be used or was
//! not kept in time.

use std::path::Path;
use std::time::Duration;

use spillway_protocol::record::LaneName;
use tokio::time::Instant;

use super::accepted::{AcceptedFile, Stored, Trial};
use super::core::Before;
use super::standing::{Force, Standing};
use crate::clock::WallClock;
use crate::config::{
    self, Config, ConfigError, Fault, Kept, Lane, Loaded, Revived, STAND_IN, Surroundings, Warning,
};
use crate::queue;

/// See the module.
#[derive(Debug)]
pub struct Choice {
    pub(super) config: Config,
    pub(super) kept: Kept,
    pub(super) standing: Standing,
    /// What the data folder had.
    pub(super) former: Option<Stored>,
    /// Of a configuration on trial: what comes back.
    pub(super) before: Option<Before>,
    /// Goes on though parts of the configuration cannot be used.
    pub(super) resilient: bool,
    /// What should not stay so.
    pub warnings: Vec<Warning>,
}

impl Choice {
    /// From `file`; where that is refused and the start is `resilient`, from what was accepted last,
    /// else from what can be used of the file. Reads the disk.
    ///
    /// # Errors
    /// What is wrong with the file; where the start is resilient only if records are to be sealed and
    /// the key is not there.
    pub fn make(
        file: &Path,
        resilient: bool,
        surroundings: &Surroundings,
        clock: &dyn WallClock,
    ) -> Result<Self, ConfigError> {
        let choice = match config::read(file, surroundings) {
            Ok(loaded) => Self::of_file(file, loaded, surroundings, clock),
            Err(error) if resilient => Self::without(file, &error, surroundings).ok_or(error)?,
            Err(error) => return Err(error),
        };
        Ok(Self { resilient, ..choice })
    }

    /// What is in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    fn of_file(
        file: &Path,
        loaded: Loaded,
        surroundings: &Surroundings,
        clock: &dyn WallClock,
    ) -> Self {
        let former = former(&loaded.config.gateway.data_dir);
        let name = file.display().to_string();
        let fingerprint = loaded.kept.fingerprint();
        let before = || former.as_ref().filter(|former| former.accepted);
        let trial = former.as_ref().and_then(|former| former.trial.clone());
        let (force, back) = match trial.filter(|trial| trial.fingerprint == fingerprint) {
            Some(trial) => match trial.left(clock) {
                Some(left) => (Force::Trial(Instant::now() + left), false),
                None => (Force::FellBack, true),
            },
            None => {
                let refused = former.as_ref().and_then(|former| former.refused.as_ref());
                let back = refused == Some(&fingerprint);
                (if back { Force::FellBack } else { Force::File }, back)
            }
        };
        let revived = back.then(|| before()?.kept.revive(file, surroundings)).flatten();
        let (config, kept, faults, force) = match revived {
            Some(revived) => {
                let kept = before().map_or(loaded.kept, |former| former.kept.clone());
                (revived.config, kept, lines(&revived.faults), force)
            }
            None if back => (loaded.config, loaded.kept, Vec::new(), Force::File),
            None => (loaded.config, loaded.kept, Vec::new(), force),
        };
        let on_trial = matches!(force, Force::Trial(_));
        let before = on_trial.then(|| Before::revived(before()?, file, surroundings)).flatten();
        let force = if on_trial && before.is_none() {
            tracing::error!(
                "nothing can be tried: of what was in force before nothing can be used"
            );
            Force::File
        } else {
            force
        };
        let standing = Standing::of(&name, force, faults);
        let refused = back.then_some(fingerprint);
        Self {
            config,
            kept,
            standing,
            before,
            resilient: false,
            warnings: loaded.warnings,
            former: former.map(|mut former| {
                former.refused = refused.or(former.refused);
                former
            }),
        }
        .with_retired(file, surroundings)
    }

    fn without(file: &Path, error: &ConfigError, surroundings: &Surroundings) -> Option<Self> {
        let data_dir = config::data_dir(file, surroundings);
        let former = former(&data_dir);
        let kept = former.as_ref().map(|former| (former.accepted, former.kept.clone()));
        let seals = kept.as_ref().is_some_and(|(_, kept)| kept.seals());
        let revived = kept.and_then(|(accepted, kept)| {
            let revived = kept.revive(file, surroundings)?;
            let force = if accepted { Force::Accepted } else { unaccepted(&revived) };
            Some((revived, kept, force))
        });
        let (revived, kept, force) = match revived {
            Some(known) => known,
            // What was to be sealed is not written in the clear.
            None if seals => return None,
            None => {
                let found = config::salvage(file, surroundings)?;
                let force = unaccepted(&found);
                let kept = found.kept.clone();
                (found, kept, force)
            }
        };
        let Revived { mut config, faults, .. } = revived;
        config.gateway.data_dir = data_dir;
        if !matches!(force, Force::Accepted) {
            // What was kept of a salvaged one has no upstream.
            config.transport = config::transport(file, surroundings);
        }
        let news = |fault: &&Fault| error.faults.iter().all(|known| !same(known, fault));
        let more: Vec<Fault> = faults.iter().filter(news).cloned().collect();
        let faults = [lines(&error.faults), lines(&more)].concat();
        let standing = Standing::of(&file.display().to_string(), force, faults);
        let (before, resilient, warnings) = (None, true, Vec::new());
        let choice = Self { config, kept, standing, former, before, resilient, warnings };
        Some(choice.with_retired(file, surroundings))
    }

    /// Adds the lanes of former configurations.
    fn with_retired(mut self, file: &Path, surroundings: &Surroundings) -> Self {
        let Some(former) = &self.former else { return self };
        let transport = self.config.upstream.as_ref().map(|upstream| upstream.transport);
        let mut lanes = former.kept.lanes(file, surroundings);
        if let Some(name) =
            former.stand_in.as_ref().and_then(|name| LaneName::parse(name.as_str()).ok())
        {
            lanes.retain(|lane| lane.name != name);
            lanes.push(Lane { name, ..self.config.default_lane().clone() });
        }
        let present: Vec<Lane> = self.config.all_lanes().collect();
        lanes.retain(|lane| present.iter().all(|known| known.name != lane.name));
        let folder = self.config.gateway.data_dir.join("lanes");
        lanes.retain(|lane| folder.join(lane.name.as_str()).is_dir());
        let gone = lanes.into_iter().map(|lane| lane.retired(transport));
        self.config.retired.extend(gone);
        self
    }
}

impl Before {
    /// `None` where nothing of it can be used.
    fn revived(stored: &Stored, file: &Path, surroundings: &Surroundings) -> Option<Self> {
        let kept = stored.kept.clone();
        let Revived { config, faults, .. } = kept.revive(file, surroundings)?;
        Some(Self { config, kept, faults: lines(&faults) })
    }
}

impl Trial {
    /// What is left of the time; `None` where it is over, or nobody knows.
    fn left(&self, clock: &dyn WallClock) -> Option<Duration> {
        let now_ms = Some(clock.now_ms()).filter(|_| clock.is_set() && self.from_ms > 0)?;
        let within = (self.from_ms..self.until_ms).contains(&now_ms);
        within.then(|| Duration::from_millis(self.until_ms - now_ms))
    }
}

/// What was accepted last: it lies where the queue does, which may be beside a newer agent's.
fn former(data_dir: &Path) -> Option<Stored> {
    let standing = queue::standing(data_dir).ok().flatten();
    let beside = standing.map(|standing| standing.root).filter(|root| root != data_dir);
    let beside = beside.and_then(|root| AcceptedFile::new(&root).load());
    beside.or_else(|| AcceptedFile::new(data_dir).load())
}

/// What is in force where nothing was ever accepted.
fn unaccepted(found: &Revived) -> Force {
    let stands_in = |lane: &Lane| lane.name.as_str() == STAND_IN;
    match found.config.lanes.iter().all(stands_in) {
        true => Force::Nothing,
        false => Force::Salvaged,
    }
}

/// One fault, whether it was found in the file or in what was kept of it.
fn same(one: &Fault, other: &Fault) -> bool {
    (&one.key, &one.problem) == (&other.key, &other.problem)
}

fn lines(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}
