//! What durable intake is compared with: appending groups to a plain file, one write and one
//! fdatasync for each.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Error;
use crate::figure::Run;

/// Appends groups of `group` records of `record_bytes` to a new file in `folder` for `time`.
///
/// # Errors
/// Those of the disk.
pub fn append(
    folder: &Path,
    group: usize,
    record_bytes: usize,
    time: Duration,
) -> Result<Run, Error> {
    let path = folder.join("raw");
    let mut file = File::create(&path)?;
    let bytes = vec![b'r'; group * record_bytes];
    let mut run = Run::default();
    let begun = Instant::now();
    while run.took < time {
        let group_begun = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        run.waits.push(group_begun.elapsed());
        run.records += group as u64;
        run.took = begun.elapsed();
    }
    std::fs::remove_file(path)?;
    Ok(run)
}
