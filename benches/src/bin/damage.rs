//! Copies of a full segment that are damaged in every way, and what a queue makes of each: only
//! packs whose bytes were touched may be lost, and every record that is lost is counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Parser;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use spillway_benches::figure::{number, table};
use spillway_benches::load::Until;
use spillway_benches::packs::{Pack, files, packs};
use spillway_benches::record::{Bodies, encoded_bytes};
use spillway_benches::{Error, folder, machine, queue};

/// Outstanding while it is filled: about a pack of 1 KiB bodies.
const OUTSTANDING: usize = 64;
/// Leased at once.
const LEASES: usize = 4096;

/// What damaged copies of a segment lose.
#[derive(Debug, Parser)]
struct Args {
    /// Copies in all
    #[arg(long, default_value_t = 1000)]
    copies: usize,
    /// What the segment holds, in KiB as it is encoded
    #[arg(long, default_value_t = 7 * 1024)]
    segment_kib: u64,
    /// Seed of where the damage is
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder; may lie in memory
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Only shows that it works
    #[arg(long)]
    smoke: bool,
}

/// Bytes that are set to zero, or flips.
const KINDS: [(&str, Kind); 6] = [
    ("one bit flipped", Kind::Flips(1)),
    ("three bits flipped", Kind::Flips(3)),
    ("512 bytes of zeroes", Kind::Zeroes(512)),
    ("4 KiB of zeroes", Kind::Zeroes(4096)),
    ("64 KiB of zeroes", Kind::Zeroes(65_536)),
    ("cut off anywhere", Kind::Cut),
];

#[derive(Debug, Clone, Copy)]
enum Kind {
    Flips(usize),
    Zeroes(usize),
    Cut,
}

impl Kind {
    fn damage(self, bytes: &mut Vec<u8>, random: &mut StdRng) {
        match self {
            Self::Flips(count) => (0..count).for_each(|_| {
                let at = random.random_range(0..bytes.len());
                bytes[at] ^= 1 << random.random_range(0..8);
            }),
            Self::Zeroes(count) => {
                let from = random.random_range(0..bytes.len().saturating_sub(count).max(1));
                bytes.iter_mut().skip(from).take(count).for_each(|byte| *byte = 0);
            }
            Self::Cut => bytes.truncate(random.random_range(0..bytes.len())),
        }
    }
}

/// What was seen of one kind.
#[derive(Debug, Default)]
struct Seen {
    copies: u64,
    touched_packs: u64,
    lost: u64,
    lost_elsewhere: u64,
    uncounted: u64,
    wrong: u64,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    spillway::allocator::tune();
    let mut args = Args::parse();
    if args.smoke {
        args = Args { copies: 2 * KINDS.len(), segment_kib: 256, ..args };
    }
    let folder = folder::folder(args.dir.as_deref())?;
    machine::describe(folder.path());
    let whole = Whole::make(folder.path(), args.segment_kib << 10).await?;
    println!(
        "{} copies of a segment of {} packs with {} records, 1 KiB bodies.\n",
        args.copies,
        whole.packs.len(),
        number(whole.records.len() as f64, 0)
    );
    let mut random = StdRng::seed_from_u64(args.seed);
    let mut seen: Vec<Seen> = KINDS.iter().map(|_| Seen::default()).collect();
    for nth in 0..args.copies {
        let kind = nth % KINDS.len();
        whole.try_copy(&folder.path().join("c"), KINDS[kind].1, &mut random, &mut seen[kind])?;
    }
    let row = |((name, _), seen): (&(&str, Kind), &Seen)| {
        let figures = [
            seen.copies,
            seen.touched_packs,
            seen.lost,
            seen.lost_elsewhere,
            seen.uncounted,
            seen.wrong,
        ];
        let cells = figures.map(|figure| number(figure as f64, 0));
        [vec![(*name).to_owned()], cells.to_vec()].concat()
    };
    let rows: Vec<_> = KINDS.iter().zip(&seen).map(row).collect();
    let head = [
        "damage",
        "copies",
        "packs touched",
        "records lost in them",
        "lost elsewhere",
        "lost and not counted",
        "records that are wrong",
    ];
    table(&head, &rows);
    Ok(())
}

/// A queue of one segment, undamaged.
struct Whole {
    folder: PathBuf,
    /// Of the folder.
    segment: PathBuf,
    bytes: Vec<u8>,
    packs: Vec<Pack>,
    records: BTreeMap<u64, Bytes>,
}

impl Whole {
    async fn make(parent: &Path, segment_bytes: u64) -> Result<Self, Error> {
        let folder = parent.join("w");
        let queue = queue::open(&folder)?;
        let mut bodies = Bodies::new(1024);
        // Two tasks submit so many each.
        let records = segment_bytes / encoded_bytes(bodies.next_draft())? as u64 / 2;
        queue::load(&queue, &bodies, OUTSTANDING, Until::Records(records)).await?;
        queue.0.close();
        let files = files(&folder.join("queue/lanes/lane-0"))?;
        let [file] = &files[..] else { return Err("more than one segment".into()) };
        let bytes = fs::read(file)?;
        let (packs, segment) = (packs(&bytes)?, file.strip_prefix(&folder)?.to_owned());
        let mut whole = Self { folder, segment, bytes, packs, records: BTreeMap::new() };
        let (records, _) = whole.read(&parent.join("c"), &whole.bytes)?;
        whole.records = records;
        Ok(whole)
    }

    /// What a queue gives out whose segment holds `bytes`, and how many records it says are damaged.
    fn read(&self, copy: &Path, bytes: &[u8]) -> Result<(BTreeMap<u64, Bytes>, u64), Error> {
        copy_all(&self.folder, copy)?;
        fs::write(copy.join(&self.segment), bytes)?;
        let (queue, lane) = queue::open(copy)?;
        let mut records = BTreeMap::new();
        loop {
            let leases = queue.lease(&lane, LEASES, usize::MAX);
            if leases.is_empty() {
                break;
            }
            for lease in leases {
                records.insert(lease.position, lease.record.body.clone());
                lease.ack();
            }
        }
        let accounts = queue.accounts(&lane).ok_or("the lane is gone")?;
        queue.close();
        fs::remove_dir_all(copy)?;
        match accounts.balanced() && accounts.waiting == 0 {
            true => Ok((records, accounts.damaged)),
            false => Err(format!("the accounts do not add up: {accounts:?}").into()),
        }
    }

    fn try_copy(
        &self,
        copy: &Path,
        kind: Kind,
        random: &mut StdRng,
        seen: &mut Seen,
    ) -> Result<(), Error> {
        let mut bytes = self.bytes.clone();
        kind.damage(&mut bytes, random);
        let (records, counted) = self.read(copy, &bytes)?;
        let is_touched =
            |pack: &&Pack| bytes.get(pack.bytes.clone()) != self.bytes.get(pack.bytes.clone());
        let touched: Vec<&Pack> = self.packs.iter().filter(is_touched).collect();
        let lost = self.records.keys().filter(|position| !records.contains_key(position));
        let (within, elsewhere): (Vec<&u64>, Vec<&u64>) =
            lost.partition(|position| touched.iter().any(|pack| pack.positions.contains(position)));
        let all = (within.len() + elsewhere.len()) as u64;
        let is_wrong = |(position, body): &(&u64, &Bytes)| self.records.get(position) != Some(body);
        seen.copies += 1;
        seen.touched_packs += touched.len() as u64;
        seen.lost += within.len() as u64;
        seen.lost_elsewhere += elsewhere.len() as u64;
        seen.uncounted += all.abs_diff(counted);
        seen.wrong += records.iter().filter(is_wrong).count() as u64;
        Ok(())
    }
}

fn copy_all(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_all(&entry.path(), &to)?,
            false => drop(fs::copy(entry.path(), to)?),
        }
    }
    Ok(())
}
