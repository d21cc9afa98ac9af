//! Every setting once, in words: what docs/configuration.md is made of.
//!
//! The parser decides what a setting takes; what stands here is checked against it: each default and
//! each example is read by it, each refused value is put to it and its answer goes into the page, and
//! a setting that only one of the two knows is a failure. `SPILLWAY_BLESS=1 cargo test -p spillway
//! --lib config::reference` writes the page anew.

mod around;
mod gateway;
mod lane;
mod page;
mod tests;
mod upstream;

/// A section of the file.
pub(super) struct Section {
    /// As in the file: `[limits]`, `[[lane]]`.
    header: &'static str,
    /// Its name while it is read; a section of no name of its own has its list's.
    name: &'static str,
    /// What it is for.
    about: &'static str,
    /// What the environment calls it; empty where nothing of it comes from there.
    variable: &'static str,
    /// The rest of a file in which it can be proven: `@` is where its settings stand.
    around: &'static str,
    keys: &'static [Key],
}

/// A setting.
pub(super) struct Key {
    name: &'static str,
    /// What it takes, and its unit.
    takes: &'static str,
    default: Default,
    about: &'static str,
    /// Values that are refused, as in the file; on further lines, what stands beside them.
    refused: &'static [&'static str],
}

/// What counts where nothing is said.
pub(super) enum Default {
    /// This value, as in the file.
    Is(&'static str),
    /// Nothing does: it has to be there, such as this.
    Needed(&'static str),
    /// What the words say; a value would be this.
    Words(&'static str, &'static str),
}

impl Default {
    /// A value that the setting takes.
    fn value(&self) -> &'static str {
        match self {
            Self::Is(value) | Self::Needed(value) | Self::Words(_, value) => value,
        }
    }
}

/// All sections, in the order of the page.
fn sections() -> impl Iterator<Item = &'static Section> {
    [gateway::SECTIONS, upstream::SECTIONS, lane::SECTIONS, around::SECTIONS].into_iter().flatten()
}
