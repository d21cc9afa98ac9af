//! The data folder of each earlier level, as the last build before the next one wrote it
//! (`tests/golden/`, each file compressed by gzip), and what was put into it.

use std::fs;
use std::path::Path;

use spillway::queue::{LaneOptions, Ordering};
use spillway_protocol::record::{Draft, LaneName};

/// The host that wrote it.
pub const HOST: &str = "golden-host";
/// A gzip header without a name, and the checksum and length at its end.
const GZIP: (usize, usize) = (10, 8);

/// Unpacks the folder of level 1 into `to`, which is made.
///
/// # Panics
/// If it cannot.
pub fn level_1(to: &Path) {
    unpack(&Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/format-1"), to);
}

fn unpack(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            unpack(&path, &to.join(name));
        } else if let Some(name) = name.strip_suffix(".gz") {
            let packed = fs::read(&path).unwrap();
            let deflated = &packed[GZIP.0..packed.len() - GZIP.1];
            let bytes = miniz_oxide::inflate::decompress_to_vec(deflated).unwrap();
            fs::write(to.join(name), bytes).unwrap();
        }
    }
}

/// A lane's name.
pub fn lane(name: &str) -> LaneName {
    LaneName::parse(name).unwrap()
}

/// Its lanes.
pub fn lanes() -> Vec<LaneOptions> {
    let lanes =
        [("critical", Ordering::None), ("bulk", Ordering::Key), ("_resend", Ordering::None)];
    lanes.map(|(name, ordering)| LaneOptions { name: lane(name), ordering, ttl: None }).into()
}

/// Record `n` of a lane: those of `critical` have ids of their app, and the 20th is larger than a
/// pack; those of `bulk` have order keys.
pub fn draft(lane: &str, n: u64) -> Draft {
    let app = lane == "critical";
    let digits = if app && n == 20 { 15_000 } else { 70 };
    let text = "0123456789".repeat(digits);
    let body = format!("{{\"lane\":\"{lane}\",\"n\":{n},\"value\":\"{text}\"}}");
    Draft {
        id: app.then(|| format!("c-{n}")),
        order_key: (!app).then(|| format!("k-{}", n % 3)),
        properties: [("site".to_owned(), "north".to_owned())].into(),
        body: body.into_bytes().into(),
        ..Draft::default()
    }
}

/// Of each lane, the numbers that wait and the record under each. The 14th of `critical` died and
/// was replayed; those in `_resend` are copies of `critical`'s.
pub fn waiting() -> Vec<(&'static str, Vec<(u64, u64)>)> {
    let same = |n: u64| (n, n);
    let critical = (15..=60).map(same).chain([(61, 14)]).collect();
    let bulk = (4..=9).chain(12..=30).map(same).collect();
    vec![("critical", critical), ("bulk", bulk), ("_resend", (1..=3).map(same).collect())]
}
