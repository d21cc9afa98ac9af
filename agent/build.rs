//! Notes when the program was built: no certificate of a server that is in use is older. Builds that
//! are to come out the same set `SOURCE_DATE_EPOCH`.

use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let set = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse::<u64>().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    println!("cargo:rustc-env=SPILLWAY_BUILT_S={}", set.unwrap_or(now));
}
