//! What the app was promised against what the broker has.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::app::Promised;
use crate::broker::Stored;

/// The comparison, in numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Audit {
    promised: usize,
    arrived: usize,
    lost: usize,
    doubled: usize,
    disordered: usize,
    foreign: usize,
}

impl Audit {
    /// Compares.
    pub(super) fn of(promised: &[Promised], stored: &[Arc<Stored>]) -> Self {
        let mut audit = Self { promised: promised.len(), arrived: stored.len(), ..Self::default() };
        let bodies: HashMap<&str, &str> =
            promised.iter().map(|p| (p.id.as_str(), p.body.as_str())).collect();
        let mut seen = HashSet::new();
        let mut last: HashMap<&str, usize> = HashMap::new();
        for message in stored {
            let id = message.key.as_deref().unwrap_or_default();
            if bodies.get(id) != Some(&message.body.as_str()) {
                audit.foreign += 1;
            } else if !seen.insert(id) {
                audit.doubled += 1;
            } else if let Some((sensor, nth)) = id.rsplit_once('-') {
                let nth = nth.parse().unwrap_or(usize::MAX);
                let before = last.insert(sensor, nth);
                audit.disordered += usize::from(before.is_some_and(|before| before > nth));
            }
        }
        audit.lost = bodies.keys().filter(|id| !seen.contains(*id)).count();
        audit
    }

    /// Whether every promise was kept.
    pub(super) fn passed(&self) -> bool {
        let wrong = self.lost + self.doubled + self.disordered + self.foreign;
        self.promised > 0 && wrong == 0
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The audit: what the app was promised against what the broker has")?;
        for (what, number) in [
            ("acknowledged to the app", self.promised),
            ("at the broker", self.arrived),
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("out of order", self.disordered),
            ("altered or unknown", self.foreign),
        ] {
            writeln!(f, "  {what:<24}{number:>6}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promised(id: &str) -> Promised {
        Promised { id: id.into(), body: format!("body of {id}") }
    }

    fn stored(id: &str, body: &str) -> Arc<Stored> {
        Arc::new(Stored {
            offset: 0,
            message_id: String::new(),
            publish_ms: 0,
            key: Some(id.into()),
            order_key: None,
            tag: None,
            properties: Vec::new(),
            start_deliver_ms: None,
            body: body.into(),
        })
    }

    fn audit(ids: &[&str]) -> Audit {
        let all = [promised("a-0"), promised("a-1"), promised("b-0")];
        let stored: Vec<_> = ids.iter().map(|id| stored(id, &format!("body of {id}"))).collect();
        Audit::of(&all, &stored)
    }

    #[test]
    fn all_once_and_in_order_passes() {
        assert!(audit(&["a-0", "b-0", "a-1"]).passed());
    }

    #[test]
    fn a_lost_doubled_disordered_or_foreign_reading_fails() {
        assert_eq!(audit(&["a-0", "b-0"]).lost, 1);
        assert_eq!(audit(&["a-0", "a-0", "a-1", "b-0"]).doubled, 1);
        assert_eq!(audit(&["a-1", "a-0", "b-0"]).disordered, 1);
        assert_eq!(audit(&["a-0", "a-1", "b-0", "c-0"]).foreign, 1);
        let altered = Audit::of(&[promised("a-0")], &[stored("a-0", "other")]);
        assert_eq!((altered.foreign, altered.lost), (1, 1));
        assert!(!Audit::of(&[], &[]).passed(), "nothing promised proves nothing");
    }
}
