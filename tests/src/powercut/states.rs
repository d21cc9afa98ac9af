//! What a power cut could leave of a [`Disk`]: a choice of what is not durable, by a seed.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::disk::{self, Change, Disk, File, Kind, Names, Node, ROOT};

/// What becomes of bytes that are not durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// All are there.
    Kept,
    /// None is.
    Dropped,
    /// Each write is there or not.
    Each,
    /// Each write is there in part: so many bytes are written as a whole.
    Torn(u64),
    /// None is there, but the files have grown: zeros.
    Grown,
    /// Each write is there or not; where nothing is, a grown file has what an earlier one left
    /// on the disk.
    Stale,
}

/// What becomes of names that are not durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// All are as they were.
    All,
    /// None is.
    None,
    /// The first ones: a journal keeps their order.
    First,
    /// Each or not, but for those that follow from each other.
    Each,
}

const DATA: [Data; 7] = [
    Data::Kept,
    Data::Dropped,
    Data::Each,
    Data::Torn(512),
    Data::Torn(4096),
    Data::Grown,
    Data::Stale,
];
const NAMING: [Naming; 4] = [Naming::All, Naming::None, Naming::First, Naming::Each];
/// Least that is written as a whole.
const SECTOR_BYTES: u64 = 512;

/// One choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// Of bytes.
    pub data: Data,
    /// Of names.
    pub naming: Naming,
    /// Of all that these leave open.
    pub seed: u64,
}

impl Variant {
    /// Everything is as the program saw it.
    pub const WHOLE: Self = Self { data: Data::Kept, naming: Naming::All, seed: 0 };

    /// The choice that belongs to `seed`.
    pub fn of(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let data = *DATA.choose(&mut rng).unwrap_or(&Data::Dropped);
        let naming = *NAMING.choose(&mut rng).unwrap_or(&Naming::None);
        Self { data, naming, seed }
    }
}

/// Paths below the recorded folder; `None` is a folder.
pub type State = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What is found of `below` (a name in the recorded folder) after a power cut.
pub fn after_power_cut(disk: &Disk, below: &str, variant: Variant) -> State {
    let mut rng = StdRng::seed_from_u64(variant.seed);
    let names = surviving_names(disk, variant.naming, &mut rng);
    let mut state = State::new();
    if let Some(node) = names.get(&ROOT).and_then(|names| names.get(below)) {
        let mut choice = Choice { disk, names: &names, data: variant.data, rng };
        choice.collect(*node, Path::new(below), &mut state);
    }
    state
}

fn surviving_names(disk: &Disk, naming: Naming, rng: &mut StdRng) -> HashMap<Node, Names> {
    let mut names = disk.durable_names();
    let all = &disk.namings;
    let bias = *[0.2, 0.5, 0.9].choose(rng).unwrap_or(&0.5);
    let first = rng.random_range(0..=all.len());
    let mut kept = vec![false; all.len()];
    for nth in 0..all.len() {
        let may = (0..nth).all(|earlier| kept[earlier] || !all[nth].follows(&all[earlier]));
        kept[nth] = match naming {
            Naming::All => true,
            Naming::None => false,
            Naming::First => nth < first,
            Naming::Each => rng.random_bool(bias) && may,
        };
        if kept[nth] {
            all[nth].apply(&mut names);
        }
    }
    names
}

struct Choice<'a> {
    disk: &'a Disk,
    names: &'a HashMap<Node, Names>,
    data: Data,
    rng: StdRng,
}

impl Choice<'_> {
    fn collect(&mut self, node: Node, path: &Path, state: &mut State) {
        match self.disk.node(node) {
            Kind::File(file) => {
                state.insert(path.to_owned(), Some(self.content(file)));
            }
            Kind::Folder { .. } => {
                state.insert(path.to_owned(), None);
                let names = self.names;
                for (name, node) in names.get(&node).into_iter().flatten() {
                    self.collect(*node, &path.join(name), state);
                }
            }
        }
    }

    fn content(&mut self, file: &File) -> Vec<u8> {
        let mut content = file.durable.clone();
        let whole = |content: &mut Vec<u8>| {
            file.pending.iter().for_each(|(_, change)| disk::apply(change, content));
        };
        match self.data {
            Data::Kept => whole(&mut content),
            Data::Dropped => {}
            Data::Grown => {
                let mut grown = content.clone();
                whole(&mut grown);
                content.resize(content.len().max(grown.len()), 0);
            }
            Data::Each => self.pieces(file, SECTOR_BYTES, false, &mut content),
            Data::Torn(unit) => self.pieces(file, unit, true, &mut content),
            Data::Stale => {
                let durable = content.len();
                let mut grown = content.clone();
                whole(&mut grown);
                let filler = self.filler(grown.len().saturating_sub(durable));
                content.extend(filler);
                self.pieces(file, SECTOR_BYTES, false, &mut content);
            }
        }
        content
    }

    /// Applies some of the changes. What is written as a whole (`unit` bytes) has every write up
    /// to some moment and none after it.
    fn pieces(&mut self, file: &File, unit: u64, torn: bool, content: &mut Vec<u8>) {
        let bias = *[0.2, 0.5, 0.9].choose(&mut self.rng).unwrap_or(&0.5);
        let mut stopped = std::collections::HashSet::new();
        for (_, change) in &file.pending {
            let chosen = self.rng.random_bool(bias);
            let Change::Write { at, bytes } = change else {
                if chosen {
                    disk::apply(change, content);
                }
                continue;
            };
            let end = at + bytes.len() as u64;
            let tear = self.rng.random_range(at / unit..=end / unit);
            let pattern = self.rng.random_range(0..3);
            for nth in at / unit..end.div_ceil(unit) {
                let kept = match (torn, pattern) {
                    (false, _) => chosen,
                    (true, 0) => nth < tear,
                    (true, 1) => nth >= tear,
                    (true, _) => self.rng.random_bool(bias),
                };
                if !kept || stopped.contains(&nth) {
                    stopped.insert(nth);
                    continue;
                }
                let (from, to) = ((*at).max(nth * unit), end.min((nth + 1) * unit));
                let place = |n: u64| usize::try_from(n - at).unwrap();
                disk::write(content, from, &bytes[place(from)..place(to)]);
            }
        }
    }

    /// What another file has or had, as often as it takes.
    fn filler(&mut self, length: usize) -> Vec<u8> {
        const TRIES: usize = 20;
        for _ in 0..TRIES {
            let node = self.rng.random_range(0..self.disk.nodes());
            if let Kind::File(File { durable, .. }) = self.disk.node(node)
                && !durable.is_empty()
            {
                let mut filler = durable.repeat(length.div_ceil(durable.len()));
                filler.truncate(length);
                return filler;
            }
        }
        vec![0xA5; length]
    }
}

/// Writes `state` into `folder`, which is there and empty.
pub fn write(state: &State, folder: &Path) {
    for (path, content) in state {
        let path = folder.join(path);
        match content {
            None => fs::create_dir(path).unwrap(),
            Some(content) => write_sparse(&path, content),
        }
    }
}

/// Most of a new database is zero.
fn write_sparse(path: &Path, content: &[u8]) {
    use std::os::unix::fs::FileExt;
    const BLOCK: usize = 4096;
    let file = fs::File::create(path).unwrap();
    file.set_len(content.len() as u64).unwrap();
    for (nth, block) in content.chunks(BLOCK).enumerate() {
        if block != &[0; BLOCK][..block.len()] {
            file.write_all_at(block, (nth * BLOCK) as u64).unwrap();
        }
    }
}
