//! A reader of level 1, frozen: what agents of that level can read of a data folder, written from
//! the layouts in the doc comments of then and with no code of the product. It must never learn
//! anything newer.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const PACK: &[u8; 8] = b"\xF1SPW\r\n\x1A\x01";
const HEADER_BYTES: usize = 56;
/// Fates of then: dead, purged, replayed, damaged, dropped, thinned (with a number).
const THINNED: u64 = 5;

/// Reads a whole data folder; returns how many entries of each chain are stored.
///
/// # Panics
/// If anything in it is not of level 1, or is damaged.
pub fn read(folder: &Path) -> BTreeMap<String, u64> {
    read_as(folder, Left::Whole)
}

/// The same where an agent was killed while it worked. Agents of level 1 pass over what it was
/// about to put in place, a state that was cut short where the other one is whole, and a pack that
/// was cut short behind all others.
///
/// # Panics
/// If anything else in it is not of level 1, or is damaged.
pub fn read_killed(folder: &Path) -> BTreeMap<String, u64> {
    read_as(folder, Left::Killed)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Whole,
    Killed,
}

impl Left {
    /// Whether this is the name of something that was not put in place yet, or was on its way out.
    fn is_half(self, name: &str) -> bool {
        let begins = ["tmp-", "dead-", "new-"].iter().any(|half| name.starts_with(half));
        self == Self::Killed && (begins || name.ends_with(".new"))
    }
}

fn read_as(folder: &Path, left: Left) -> BTreeMap<String, u64> {
    let mut chains = BTreeMap::new();
    for (name, path) in entries(folder) {
        match name.as_str() {
            "lock" => {}
            half if left.is_half(half) => {}
            "quarantine" => assert_eq!(entries(&path).len(), 0, "something was damaged"),
            "identity" => identity(&json(&path)),
            "lanes" => {
                let lanes = entries(&path).into_iter();
                chains.extend(lanes.map(|(name, path)| (name, chain(&path, left, lane_state))));
            }
            "dead" => drop(chains.insert(name, chain(&path, left, dead_state))),
            "clock" => assert_eq!(json(&path)["format"], 1),
            "requests" => assert_eq!(json(&path)["version"], 1),
            "budget" => budget(&fs::read_to_string(&path).unwrap()),
            "pace" => pace(&fs::read(&path).unwrap()),
            "session" => assert!(json(&path)["channel_id"].is_string()),
            "client-sessions" => assert!(json(&path).as_array().is_some()),
            // They look for it as little as for anything else that they do not know.
            "configuration" => assert_eq!(json(&path)["format"], 1),
            _ => panic!("agents of level 1 know no {name}"),
        }
    }
    chains
}

fn entries(folder: &Path) -> Vec<(String, std::path::PathBuf)> {
    let all = fs::read_dir(folder).unwrap().map(Result::unwrap);
    all.map(|entry| (entry.file_name().into_string().unwrap(), entry.path())).collect()
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn identity(value: &serde_json::Value) {
    assert_eq!(value["format"], 1, "refused: install the newer agent again");
    let (stream, host) = (value["stream"].as_str().unwrap(), value["host"].as_str().unwrap());
    let sum = crc32fast::hash(format!("1 {stream} {host}").as_bytes());
    assert_eq!(value["sum"], sum);
}

fn budget(text: &str) {
    let (line, sum) = text.split_once('\n').unwrap();
    assert_eq!(sum, format!("{:08x}\n", crc32fast::hash(line.as_bytes())));
    assert_eq!(serde_json::from_str::<serde_json::Value>(line).unwrap()["format"], 1);
}

fn pace(bytes: &[u8]) {
    assert_eq!((bytes.len(), &bytes[..8]), (48, &b"SWPC\x01\0\0\0"[..]));
    assert_eq!(crc32fast::hash(&bytes[..44]).to_le_bytes(), bytes[44..]);
}

fn chain(folder: &Path, left: Left, state: fn(&mut Reader)) -> u64 {
    let (mut stored, mut cut_slots) = (0, 0);
    for (name, path) in entries(folder) {
        if left.is_half(&name) {
        } else if name.starts_with("state-") {
            let whole = slot(&fs::read(&path).unwrap(), state);
            assert!(whole || left == Left::Killed, "{name} is damaged");
            cut_slots += u32::from(!whole);
        } else if name.starts_with("ids-") {
            let bytes = fs::read(&path).unwrap();
            assert_eq!(&bytes[..8], b"SPWIDS\0\x02", "{name}");
            assert_eq!(crc32fast::hash(&bytes[12..]).to_le_bytes(), bytes[8..12], "{name}");
            assert_eq!((bytes.len() - 36) % 32, 0, "{name}");
        } else {
            let (_, nonce) = name.strip_prefix("seg-").unwrap().split_once('-').unwrap();
            let nonce = u64::from_str_radix(nonce, 16).unwrap();
            stored += segment(&fs::read(path.join("db")).unwrap(), nonce, left);
        }
    }
    assert!(cut_slots < 2, "both states are damaged");
    stored
}

/// Whether its checksum holds. A slot that was never written is all zero.
fn slot(bytes: &[u8], state: fn(&mut Reader)) -> bool {
    if bytes.iter().all(|byte| *byte == 0) {
        return true;
    }
    let length = u32::from_le_bytes(bytes[16..20].try_into().unwrap()) as usize;
    let Some(content) = bytes.get(24..24 + length) else { return false };
    let mut sum = crc32fast::Hasher::new();
    sum.update(&bytes[8..20]);
    sum.update(content);
    if sum.finalize().to_le_bytes() != bytes[20..24] {
        return false;
    }
    assert_eq!(&bytes[..8], b"SPWSTAT\x01");
    let mut reader = Reader(content);
    assert_eq!(reader.byte(), 3, "the version of the state");
    state(&mut reader);
    assert_eq!(reader.0.len(), 0, "the state is longer than it was");
    true
}

fn lane_state(reader: &mut Reader) {
    reader.numbers(2); // end, watermark
    reader.list(|r| r.numbers(2)); // above
    reader.number(); // baseline
    reader.list(|r| r.numbers(2)); // streams
    reader.numbers(5); // tally
    reader.list(|r| r.numbers(2)); // lost
    reader.list(grave);
    reader.list(|r| r.numbers(4)); // thinned
}

fn dead_state(reader: &mut Reader) {
    reader.numbers(2); // end, watermark
    reader.list(|r| r.numbers(2)); // above
    reader.list(|r| {
        r.text();
        r.numbers(2);
    });
    reader.list(|r| {
        r.text();
        r.list(grave);
    });
}

fn grave(reader: &mut Reader) {
    let fate = reader.number();
    assert!(fate <= THINNED, "fate {fate} is unknown");
    reader.numbers(if fate == THINNED { 6 } else { 5 });
}

/// Every pack with the segment's nonce, whatever version it says.
fn segment(bytes: &[u8], nonce: u64, left: Left) -> u64 {
    let mut firsts = BTreeMap::new();
    let (mut at, mut cut_at) = (0, None);
    while at + HEADER_BYTES <= bytes.len() {
        let pack = &bytes[at..];
        if !pack.starts_with(PACK) || pack[16..24] != nonce.to_le_bytes() {
            at += 1;
            continue;
        }
        let Some((count, length)) = whole(pack) else {
            assert_eq!(left, Left::Killed, "a damaged pack");
            cut_at = Some(at);
            at += 1;
            continue;
        };
        assert_eq!(cut_at, None, "a damaged pack that is not the last one");
        assert_eq!(pack[8], 1, "the version of a pack");
        assert_eq!(pack[14..16], [0; 2]);
        if pack[9] == 0 {
            versions(&pack[HEADER_BYTES..length], count);
        }
        firsts.insert(pack[24..32].to_vec(), u64::from(count));
        at += length;
    }
    firsts.values().sum()
}

/// How many entries the pack that begins here has and how long it is, if its checksum holds.
fn whole(pack: &[u8]) -> Option<(u32, usize)> {
    let number = |at: usize| u32::from_le_bytes(pack[at..at + 4].try_into().unwrap());
    let length = HEADER_BYTES + number(36) as usize;
    let mut sum = crc32fast::Hasher::new();
    sum.update(&pack[..52]);
    sum.update(pack.get(HEADER_BYTES..length)?);
    (sum.finalize() == number(52)).then(|| (number(32), length))
}

/// Entries are records or letters (1), or copies (2).
fn versions(mut payload: &[u8], count: u32) {
    for _ in 0..count {
        let (length, rest) = payload.split_first_chunk().unwrap();
        let (entry, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        assert!([1, 2].contains(&entry[0]), "the version {} of an entry", entry[0]);
        payload = rest;
    }
    assert_eq!(payload.len(), 0);
}

/// Numbers in one byte, or behind a byte that says how many follow; lists and texts behind their
/// length.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().expect("the state is shorter than it was");
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> u64 {
        let following = match self.byte() {
            251 => 2,
            252 => 4,
            253 => 8,
            small => return small.into(),
        };
        (0..following).fold(0, |sum, nth| sum | u64::from(self.byte()) << (8 * nth))
    }

    fn numbers(&mut self, count: usize) {
        for _ in 0..count {
            self.number();
        }
    }

    fn list(&mut self, mut each: impl FnMut(&mut Self)) {
        (0..self.number()).for_each(|_| each(self));
    }

    fn text(&mut self) {
        for _ in 0..self.number() {
            self.byte();
        }
    }
}
