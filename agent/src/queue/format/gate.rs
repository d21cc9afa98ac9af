//! What a folder's level does not allow is not done to it, or keeps it from being opened where that
//! is what was asked for secrecy's sake.

use super::{Feature, Level};
use crate::queue::api::{LaneOptions, OpenError, Options};

/// The options that a folder of `level` allows.
///
/// # Errors
/// A key is to seal its records, and its level knows none: writing them in the clear would be
/// worse than not starting.
pub(in crate::queue) fn allowed(options: &Options, level: Level) -> Result<Options, OpenError> {
    let mut options = options.clone();
    if options.packing.keys.seals() && !level.allows(Feature::Encryption) {
        return Err(OpenError::Uncommitted { path: options.data_dir, level: level.number() });
    }
    if !options.packing.lz4.is_empty() && !level.allows(Feature::Compression) {
        later(level, "compress");
        options.packing.lz4.clear();
    }
    let expires = |lane: &LaneOptions| lane.ttl.is_some();
    if options.lanes.iter().any(expires) && !level.allows(Feature::Expiry) {
        later(level, "ttl");
        options.lanes.iter_mut().for_each(|lane| lane.ttl = None);
    }
    Ok(options)
}

fn later(level: Level, setting: &str) {
    let level = level.number();
    tracing::warn!(
        level,
        setting,
        "the data folder's format does not know this setting, which has no effect until the format is committed (spillway upgrade --commit) and the agent was restarted"
    );
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::queue::Keys;
    use crate::queue::api::Ordering;
    use crate::queue::tests::options;

    fn asking() -> Options {
        let mut options = options(std::path::Path::new("/nowhere"), Ordering::None);
        options.lanes[0].ttl = Some(Duration::from_secs(1));
        options.packing.lz4 = options.lanes.iter().map(|lane| lane.name.clone()).collect();
        options
    }

    #[test]
    fn at_the_first_level_nothing_is_compressed_and_nothing_expires() {
        let first = allowed(&asking(), Level::One).unwrap();
        assert!(first.packing.lz4.is_empty() && first.lanes[0].ttl.is_none());
        let second = allowed(&asking(), Level::Two).unwrap();
        assert!(!second.packing.lz4.is_empty() && second.lanes[0].ttl.is_some());
    }

    #[test]
    fn records_that_are_to_be_sealed_are_never_written_in_the_clear() {
        let mut options = asking();
        options.packing.keys = Keys::new(Some(&[1; 32]), []);
        let refused = allowed(&options, Level::One).unwrap_err().to_string();
        assert!(refused.contains("spillway upgrade --commit"), "{refused}");
        assert!(allowed(&options, Level::Two).is_ok());
        // Only to read with.
        options.packing.keys = options.packing.keys.to_read();
        assert!(allowed(&options, Level::One).is_ok());
    }
}
