//! A segment's folder by itself, such as one in `quarantine/`: whatever is whole in it, whether it was
//! settled or not.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use spillway_protocol::message::{Stamp, StreamId};
use spillway_protocol::record::{LaneName, Record};

use super::{Locked, lock_out};
use crate::queue::chain::{Found, Pack, pick};
use crate::queue::cipher::Keys;
use crate::queue::entry::{self, Letter, Stored};
use crate::queue::store::disk::open_sealed;
use crate::queue::store::{PackRef, SegmentId, SegmentReader};

/// Nothing in a segment says whose it is.
const NO_GATEWAY: &str = "";

/// Why a folder cannot be read as a segment.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// Its name is no segment's.
    #[error("{0}: is no segment; name a folder such as quarantine/LANE-seg-… or lanes/LANE/seg-…")]
    Name(PathBuf),
    /// The disk's.
    #[error("{path}: {source}; run this as a user who may read it")]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// See the module.
pub struct Segment {
    lane: String,
    id: SegmentId,
    reader: Arc<dyn SegmentReader>,
    packs: Vec<PackRef>,
    keys: Keys,
}

/// What was whole at one position.
#[derive(Debug, Clone)]
pub struct Content {
    /// Place in its lane, or the letter's number.
    pub position: u64,
    /// The record.
    pub record: Record,
    /// What is known of it.
    pub stamp: Stamp,
}

impl Segment {
    /// Reads where in the folder's file something is whole; `keys` open what is sealed.
    ///
    /// # Errors
    /// See [`SegmentError`].
    pub fn open(folder: &Path, keys: Keys) -> Result<Self, SegmentError> {
        let (lane, id) = named(folder).ok_or_else(|| SegmentError::Name(folder.to_owned()))?;
        let failed = |source| SegmentError::Io { path: folder.to_owned(), source };
        let reader = open_sealed(folder, id.nonce).map_err(failed)?;
        let packs = reader.scan().map_err(failed)?;
        Ok(Self { lane, id, reader, packs, keys })
    }

    /// Shows `visit` everything that is whole, in its order; ends with its first error. Returns
    /// where there is more, sealed with keys that are not here: first positions, those after the
    /// last, and the key.
    ///
    /// # Errors
    /// The disk's, or that of `visit`.
    pub fn walk<E: From<io::Error>>(
        &self,
        mut visit: impl FnMut(Content) -> Result<(), E>,
    ) -> Result<Vec<Locked>, E> {
        let mut locked = Vec::new();
        // The parts of a large entry begin at the same position.
        for same in self.packs.chunk_by(|one, other| one.first == other.first) {
            let first = same[0].first;
            let found = pick(self.reader.as_ref(), self.id, &self.packs, first, &self.keys)?;
            if let Found::Locked { key, until } = found {
                lock_out(&mut locked, ((first, until), key));
            }
            let Found::At(pack) = found else { continue };
            for position in pack.first..pack.end() {
                if let Some(content) = self.content(&pack, position) {
                    visit(content)?;
                }
            }
        }
        Ok(locked)
    }

    fn content(&self, pack: &Pack, position: u64) -> Option<Content> {
        let bytes = pack.entry(position)?;
        let own = |stored: Stored<Record>| {
            let lane = LaneName::parse(self.lane.as_str()).ok()?;
            let seq = position.saturating_sub(pack.base);
            let stamp = stored.stamp(NO_GATEWAY, (lane, pack.stream, seq));
            Some(Content { position, record: stored.record, stamp })
        };
        if self.lane == "dead"
            && let Ok(letter) = entry::decode::<Letter>(bytes)
        {
            let number = (letter.lane, StreamId(letter.stream), letter.seq);
            let stamp = letter.stored.stamp(NO_GATEWAY, number);
            return Some(Content { position, record: letter.stored.record, stamp });
        }
        match entry::decode_record(bytes).ok()? {
            (stored, None) => own(stored),
            (stored, Some(origin)) => {
                let number = (origin.lane, StreamId(origin.stream), origin.seq);
                let stamp = stored.stamp(NO_GATEWAY, number);
                Some(Content { position, record: stored.record, stamp })
            }
        }
    }
}

/// Lane and segment of `…/LANE-seg-FIRST-NONCE` or `…/LANE/seg-FIRST-NONCE`.
fn named(folder: &Path) -> Option<(String, SegmentId)> {
    let name = folder.file_name()?.to_str()?;
    let at = name.rfind("seg-")?;
    let id = SegmentId::parse(&name[at..])?;
    let lane = match name[..at].strip_suffix('-') {
        Some(lane) => lane,
        None => folder.parent()?.file_name()?.to_str()?,
    };
    Some((lane.to_owned(), id))
}
