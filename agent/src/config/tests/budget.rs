//! `[budget]`.

use super::{SMALL, Setup};

fn faults(budget: &str) -> Vec<String> {
    Setup::new(&format!("[budget]\n{budget}{SMALL}")).faults()
}

#[test]
fn it_is_read_with_its_default_and_absent_means_none() {
    assert_eq!(Setup::new(SMALL).good().budget, None);
    let text = format!("[budget]\nbytes_per_day = \"20 MiB\"\n{SMALL}");
    let budget = Setup::new(&text).good().budget.unwrap();
    assert_eq!((budget.bytes_per_day, budget.reserve_percent), (20 << 20, 25));
    let text = format!("[budget]\nbytes_per_day = \"64 KiB\"\nreserve = \"0%\"\n{SMALL}");
    let budget = Setup::new(&text).good().budget.unwrap();
    assert_eq!((budget.bytes_per_day, budget.reserve_percent), (65_536, 0));
}

#[test]
fn nonsense_is_refused_with_what_would_be_right() {
    assert_eq!(
        faults("reserve = \"30%\"\n"),
        ["spillway.toml:1: budget.bytes_per_day: is missing; write for example bytes_per_day = \
             \"20 MiB\""]
    );
    assert_eq!(
        faults("bytes_per_day = 20\nreserve = \"100%\"\n"),
        [
            "spillway.toml:2: budget.bytes_per_day: is a number without its unit; write for \
             example \"20 MiB\"",
            "spillway.toml:3: budget.reserve: leaves nothing to the other lanes; write for \
             example \"25%\"",
        ]
    );
    assert_eq!(
        faults("bytes_per_day = \"63 KiB\"\nreserve = \"101%\"\n"),
        [
            "spillway.toml:2: budget.bytes_per_day: is less than the 64 KiB that a few \
             connections cost; write for example \"20 MiB\"",
            "spillway.toml:3: budget.reserve: is not a whole percentage from 0% to 100%; write \
             for example \"25%\"",
        ]
    );
    assert_eq!(
        faults("bytes_per_day = \"1 MiB\"\nper_month = \"1 GiB\"\n"),
        ["spillway.toml:3: budget.per_month: is not known; known here: bytes_per_day, reserve"]
    );
}

#[test]
fn a_reserve_for_nobody_is_pointed_out() {
    let budget = "[budget]\nbytes_per_day = \"1 MiB\"\nreserve = \"10%\"\n";
    let warned = |text: &str| {
        let warnings = Setup::new(text).warnings();
        warnings.iter().any(|warning| warning.contains("budget.reserve: is for nobody"))
    };
    assert!(warned(&format!("{budget}{SMALL}")));
    let two = "priority = 2\ndefault = true\n[[lane]]\nname = \"first\"\ntopic = \"t\"\n";
    assert!(!warned(&format!("{budget}{SMALL}{two}")));
}
