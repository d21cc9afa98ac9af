//! Takes out again what the configuration hides, wherever else it may stand.

use crate::config::HIDDEN;

/// What is shorter is a part of ordinary words.
const LEAST: usize = 4;

/// See the module.
pub(super) struct Scrubber(Vec<String>);

impl Scrubber {
    /// Of these texts, and as messages quote them.
    pub(super) fn new(hidden: &[String]) -> Self {
        let mut all: Vec<String> = hidden
            .iter()
            .flat_map(|text| [text.clone(), text.escape_debug().to_string()])
            .collect();
        all.retain(|text| text.chars().count() >= LEAST);
        // The longest first: one may be a part of another.
        all.sort_by_key(|text| std::cmp::Reverse(text.len()));
        all.dedup();
        Self(all)
    }

    pub(super) fn scrub(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, hidden| text.replace(hidden, HIDDEN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_hidden_everywhere_and_as_a_whole() {
        let hidden = ["pass", "password\"1", "a"].map(str::to_owned);
        let scrubber = Scrubber::new(&hidden);
        let text = "a password\"1 and \"password\\\"1\" pass by";
        assert_eq!(scrubber.scrub(text), "a (hidden) and \"(hidden)\" (hidden) by");
    }
}
