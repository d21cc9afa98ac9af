//! What of a change concerns the link. Pure.

use super::way::Way;

/// A change of the way to the far end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// There is a way that there was not before: asking the far end is worth it now.
    Came {
        /// The way that was there before is gone, and connections with it.
        other: bool,
    },
    /// No way is left; why.
    Gone(String),
}

/// What to tell after `before` has become `after`.
pub(super) fn between(before: &Way, after: &Way) -> Option<Event> {
    match (before, after) {
        (Way::Through(before), Way::Through(after)) if before == after => None,
        (Way::Through(before), Way::Through(after)) => {
            Some(Event::Came { other: !before.is_subset(after) })
        }
        (Way::None(_), Way::Through(_)) => Some(Event::Came { other: true }),
        (Way::None(_), Way::None(_)) => None,
        (Way::Through(_), Way::None(reason)) => Some(Event::Gone(reason.clone())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::network::way::Path;

    fn through(devices: &[u32]) -> Way {
        let paths = devices.iter().map(|device| Path { device: *device, source: None });
        Way::Through(paths.collect::<BTreeSet<_>>())
    }

    #[test]
    fn only_what_concerns_the_way_is_told() {
        let none = |reason: &str| Way::None(reason.to_owned());
        let came = |other| Some(Event::Came { other });
        for (before, after, event) in [
            (through(&[1]), through(&[1]), None),
            (through(&[1]), through(&[1, 2]), came(false)),
            (through(&[1, 2]), through(&[1]), came(true)),
            (through(&[1]), through(&[2]), came(true)),
            (none("a"), through(&[1]), came(true)),
            (none("a"), none("b"), None),
            (through(&[1]), none("b"), Some(Event::Gone("b".to_owned()))),
        ] {
            assert_eq!(between(&before, &after), event, "{before:?} -> {after:?}");
        }
    }
}
