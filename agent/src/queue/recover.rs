//! Opening a queue: what earlier runs left, whatever stopped them.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use spillway_protocol::message::StreamId;
use spillway_protocol::record::{IdOrigin, LaneName};
use tokio::sync::watch;

use super::api::{LaneOptions, OpenError, Options, Recovery};
use super::chain::{Sealed, Tail};
use super::cipher::KeyMissing;
use super::commit::Committer;
use super::dead::Dead;
use super::format;
use super::identity::StreamOf;
use super::ids::{Ids, Print, Unwritten};
use super::lane::{Lane, Shared};
use super::limits::Gate;
use super::lived::Lived;
use super::pack::Packer;
use super::quarantine;
use super::store::Store;
use super::store::anchor::Anchor;
use super::store::disk::{DiskStore, sync};
use crate::clock::WallClock;
use crate::logs::Repeated;

/// The parts of an opened queue.
pub(super) struct Parts {
    pub(super) lanes: Vec<Arc<Lane>>,
    pub(super) committers: Vec<Committer>,
    pub(super) dead: Arc<Dead>,
    pub(super) ids: Arc<Ids>,
    pub(super) gate: Arc<Gate>,
    pub(super) recovery: Recovery,
}

/// The stores of a queue: one a lane, and one for the dead letters.
pub(super) struct Stores {
    pub(super) lanes: Vec<Arc<dyn Store>>,
    pub(super) dead: Arc<dyn Store>,
}

/// Why opening failed.
pub(super) fn failed(options: &Options, source: io::Error, remedy: &'static str) -> OpenError {
    let path = options.data_dir.clone();
    match format::newer(&source, &path) {
        Some(newer) => OpenError::Newer { path, format: newer.version },
        None => OpenError::Io { path, source, remedy },
    }
}

/// The stores in the data folder, made if they are missing.
pub(super) fn stores(options: &Options, anchor: &Arc<Anchor>) -> Result<Stores, OpenError> {
    let lanes = options.data_dir.join("lanes");
    let quarantine = quarantine::folder(&options.data_dir);
    let open = |folder: &Path| -> Result<Arc<dyn Store>, OpenError> {
        match DiskStore::open(folder, &quarantine, anchor.clone()) {
            Ok(store) => Ok(Arc::new(store)),
            Err(source) => {
                let remedy = "let the agent's user write there, and see that the disk has room";
                Err(OpenError::Io { path: folder.to_owned(), source, remedy })
            }
        }
    };
    let of_lane = |lane: &LaneOptions| open(&lanes.join(lane.name.as_str()));
    let stores = Stores {
        lanes: options.lanes.iter().map(of_lane).collect::<Result<_, _>>()?,
        dead: open(&options.data_dir.join("dead"))?,
    };
    sync_names(options)?;
    quarantine::tidy(&quarantine, quarantine::KEEP_BYTES);
    Ok(stores)
}

/// Makes the names of all folders durable, and of what is in them. A run that was killed may have
/// made one and not come to that; everything below it would be gone after a power cut.
fn sync_names(options: &Options) -> Result<(), OpenError> {
    let data = &options.data_dir;
    let lanes = data.join("lanes");
    let mut folders = vec![data.clone(), data.join("dead")];
    folders.extend(options.lanes.iter().map(|lane| lanes.join(lane.name.as_str())));
    folders.push(lanes);
    for path in folders {
        sync(&path).map_err(|source| {
            let remedy = "let the agent's user read it, and see that the disk works";
            OpenError::Io { path, source, remedy }
        })?;
    }
    let parent = data.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent.map_or(Ok(()), sync) {
        // One that the agent may not even read was not made by it.
        Err(source) if source.kind() != io::ErrorKind::PermissionDenied => {
            let remedy = "see that the disk works";
            Err(OpenError::Io { path: data.clone(), source, remedy })
        }
        _ => Ok(()),
    }
}

/// Takes up what lies in `stores`.
pub(super) fn recover(
    stores: Stores,
    options: &Options,
    stream: StreamOf,
    clock: Arc<dyn WallClock>,
    changed: watch::Sender<u64>,
) -> io::Result<Parts> {
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut fork = || StdRng::seed_from_u64(rng.next_u64());
    let dead = Dead::recover(stores.dead, options, clock.now_ms(), fork())?;
    let dead = Arc::new(dead);
    let shared = Shared {
        gateway: options.gateway.clone(),
        stream: stream.id,
        dead: dead.clone(),
        keys: options.packing.keys.clone(),
        clock: clock.clone(),
        changed,
        tell: options.tell,
        keeps: options.keep.is_some(),
    };
    let ids = Arc::new(Ids::recover(stores.lanes.clone(), options.packing.keys.clone())?);
    let lanes = (stores.lanes.into_iter().zip(&options.lanes).enumerate())
        .map(|(index, (store, lane))| Lane::recover(lane, index, store, &shared).map(Arc::new))
        .collect::<io::Result<Vec<_>>>()?;
    for (lane, options) in lanes.iter().zip(&options.lanes).filter(|(_, o)| o.ttl.is_none()) {
        // Stale, it would be wrong once the lane has a `ttl` again.
        if let Err(error) = Lived::forget(lane.chain.store().as_ref()) {
            tracing::warn!(%error, lane = %options.name, "how old its records were is still noted");
        }
    }
    let mut unwritten = Vec::new();
    for lane in &lanes {
        bury_again(lane, &dead)?;
        ids.begin_at(lane.index, lane.chain.end());
        let of_lane = read_ids(lane, &ids, clock.now_ms())?;
        lane.keep_from(of_lane.keeps().unwrap_or(u64::MAX));
        unwritten.push(of_lane);
    }
    let waits = |lane: &Arc<Lane>| (lane.name.clone(), lane.accounts().waiting > 0);
    let gate = Gate::new(&options.limits, &lanes.iter().map(waits).collect::<Vec<_>>());
    let gate = Arc::new(gate);
    let committers = (lanes.iter().zip(unwritten))
        .map(|(lane, unwritten)| {
            let newest = lane.numbering().newest();
            let tail = Tail::new(
                lane.chain.clone(),
                packer(options, &lane.name),
                gate.segment_bytes(lane.index, options.segment_bytes),
                newest.stream,
                newest.base,
                fork(),
            );
            let (ids, clock, gate) = (ids.clone(), clock.clone(), gate.clone());
            Committer {
                lane: lane.clone(),
                lanes: lanes.clone(),
                tail,
                ids,
                clock,
                gate,
                unwritten,
                faults: Repeated::default(),
            }
        })
        .collect();
    let waiting = lanes.iter().map(|lane| lane.accounts().waiting).sum();
    let recovery = Recovery { waiting, fresh: stream.fresh, orphans: Vec::new() };
    Ok(Parts { lanes, committers, dead, ids, gate, recovery })
}

/// What is among the dead letters is not sent again, although the lane had not noted it yet.
pub(super) fn bury_again(lane: &Lane, dead: &Dead) -> io::Result<()> {
    let settled = |position: u64| lane.head().settled().contains(position);
    for (number, origin) in dead.origins() {
        let position = origin.position;
        if origin.lane != lane.name || position >= lane.chain.end() || settled(position) {
            continue;
        }
        let Some(letter) = dead.read(number)? else { continue };
        // Should the lane have begun anew since, another record stands there now.
        let stored = match lane.stored_at(position) {
            // Its key is not here: it is held anyway.
            Err(error) if KeyMissing::of(&error).is_some() => None,
            stored => stored?,
        };
        let same = match stored {
            Some((_, stored)) => letter.stored.record.id == stored.record.id,
            // It is damaged there, and not lost for all that.
            None => lane.numbering().number(position) == (StreamId(letter.stream), letter.seq),
        };
        if same {
            lane.recovered_dead(position, letter.died_ms);
        }
    }
    Ok(())
}

/// How a lane's packs are made.
fn packer(options: &Options, lane: &LaneName) -> Packer {
    let packing = &options.packing;
    Packer::new(packing.lz4.contains(lane), packing.keys.clone())
}

/// Reads the ids of segments that have no table: the newest after any stop, others after damage.
/// Returns those whose table could not be written.
fn read_ids(lane: &Lane, ids: &Ids, now_ms: u64) -> io::Result<Unwritten> {
    let mut unwritten = Unwritten::default();
    for (first, end) in lane.chain.spans() {
        if let Some(end) = ids.table_end(lane.index, first, end) {
            lane.chain.note_end(first, end);
            continue;
        }
        if end == first {
            continue;
        }
        match read_span(lane, ids, (first, end)) {
            Err(error) if KeyMissing::of(&error).is_some() => {
                tracing::warn!(%error, lane = %lane.name, from = first, to = end - 1, "the ids of these records are not known until they can be read");
                continue;
            }
            sealed => unwritten.push(sealed?),
        }
        match unwritten.write(ids, lane.index, now_ms) {
            Ok(()) => ids.replaced(lane.index, first, end),
            Err(error) => {
                tracing::warn!(%error, lane = %lane.name, "a table of ids could not be written; it is tried again");
            }
        }
    }
    Ok(unwritten)
}

fn read_span(lane: &Lane, ids: &Ids, (first, end): (u64, u64)) -> io::Result<Sealed> {
    let (mut rows, mut last) = (Vec::new(), None);
    for position in first..end {
        let Some((_, stored)) = lane.stored_at(position)? else {
            continue;
        };
        last = Some(position);
        if stored.record.id_origin == IdOrigin::App {
            rows.push((Print::of(&stored.record), position));
        }
    }
    let before = ids.begin(lane.index, &rows);
    ids.finish(lane.index, &rows, before, true);
    // Those that followed it may be gone.
    Ok(Sealed { first, end: last.map_or(end, |last| last + 1) })
}

/// The table of the segment that ended at `end` turned out to be damaged: it is made anew.
pub(super) fn read_ids_again(lane: &Lane, ids: &Ids, end: u64) -> io::Result<()> {
    let span = lane.chain.spans().into_iter().find(|(first, limit)| *first < end && end <= *limit);
    let Some((first, _)) = span else { return Ok(()) };
    match read_span(lane, ids, (first, end)) {
        // Nobody can say what was in it.
        Err(error) if KeyMissing::of(&error).is_some() => Ok(()),
        Err(error) => Err(error),
        // What is behind the last of them may be damaged: it is the same segment's table.
        Ok(_) => ids.seal(lane.index, first, end, lane.now_ms()),
    }
}

/// Lanes that have a folder but are not configured: their records stay, and are told of.
pub(super) fn orphans(options: &Options, anchor: &Arc<Anchor>) -> Vec<(String, u64)> {
    let Ok(folders) = fs::read_dir(options.data_dir.join("lanes")) else {
        return Vec::new();
    };
    let names = folders.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let known = |name: &String| options.lanes.iter().any(|lane| lane.name.as_str() == name);
    let waiting =
        |name: String| waiting_in(options, &name, anchor).filter(|n| *n > 0).map(|n| (name, n));
    names.filter(|name| !known(name)).filter_map(waiting).collect()
}

fn waiting_in(options: &Options, name: &str, anchor: &Arc<Anchor>) -> Option<u64> {
    LaneName::parse(name).ok()?;
    let folder = options.data_dir.join("lanes").join(name);
    let quarantine = quarantine::folder(&options.data_dir);
    let store = DiskStore::open(&folder, &quarantine, anchor.clone()).ok()?;
    super::lane::waiting_in(Arc::new(store), &options.packing.keys).ok()
}
