//! What is accepted cannot be written down: nothing is tried, and the rest is written later.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::app::accepted::{AcceptedFile, Stored};
use crate::control::reload::{Reloaded, Wish};

/// An agent whose file of what was accepted cannot be replaced, and that file.
async fn stuck(folder: &Path) -> (Agent, PathBuf) {
    configure(folder, &["main"]);
    let agent = start(folder, Arc::new(Clock::default())).await;
    let file = folder.join("data/configuration");
    fs::rename(&file, folder.join("aside")).unwrap();
    fs::create_dir(&file).unwrap();
    (agent, file)
}

async fn reload(agent: &Agent, confirm_ms: Option<u64>) -> Reloaded {
    agent.reloader.reload(Wish { confirm_ms, ..Wish::default() }).await.unwrap()
}

fn stored(folder: &Path) -> Option<Stored> {
    AcceptedFile::new(&folder.join("data")).load()
}

#[test]
fn a_trial_whose_mark_cannot_be_written_does_not_begin() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (agent, file) = stuck(folder.path()).await;
        configure(folder.path(), &["main", "new"]);
        let refused = reload(&agent, Some(600_000)).await;
        assert!(!refused.taken && refused.trial_left_s.is_none(), "{refused:?}");
        assert!(refused.faults[0].contains("nothing is tried: "), "{refused:?}");
        assert!(refused.faults[0].contains(file.to_str().unwrap()), "{refused:?}");
        assert_eq!(agent.status().lanes.len(), 1, "what was in force is");
        fs::remove_dir(&file).unwrap();
        let tried = reload(&agent, Some(600_000)).await;
        assert!(tried.taken && tried.trial_left_s.is_some(), "{tried:?}");
        assert!(stored(folder.path()).unwrap().trial.is_some());
        agent.stop().await;
    });
}

#[test]
fn a_change_that_cannot_be_written_down_is_in_force_with_a_warning_and_written_later() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (agent, file) = stuck(folder.path()).await;
        configure(folder.path(), &["main", "new"]);
        let taken = reload(&agent, None).await;
        assert!(taken.taken && taken.faults.is_empty(), "{taken:?}");
        let warning = taken.warnings.last().unwrap();
        assert!(warning.contains("configuration cannot be written: "), "{taken:?}");
        assert_eq!(agent.status().lanes.len(), 2);
        fs::remove_dir(&file).unwrap();
        tokio::time::pause();
        while stored(folder.path()).is_none() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        tokio::time::resume();
        let stored = stored(folder.path()).unwrap();
        let file = folder.path().join("spillway.toml");
        let lanes = stored.kept.lanes(&file, &Surroundings::of_process());
        assert!(stored.accepted && lanes.iter().any(|lane| lane.name.as_str() == "new"));
        agent.stop().await;
    });
}
