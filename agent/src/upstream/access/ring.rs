//! Several access keys, of which one is in use: where RocketMQ refuses it, the next one is tried.
//! Pure.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Key;
use crate::config::Credentials;

/// A key that was refused is tried again after this time, should another one be refused.
const AGAIN: Duration = Duration::from_secs(60);

/// The keys of one upstream.
#[derive(Debug, Default)]
pub(super) struct Ring {
    slots: Vec<Slot>,
    current: usize,
    serials: u64,
    /// Counts how often all were refused, or others came: refusals from before say nothing now.
    round: u64,
    /// Why nothing is sent, from when all were refused until one is taken.
    refused: Option<String>,
    /// Why they could not be read the last time.
    fault: Option<String>,
}

#[derive(Debug)]
struct Slot {
    credentials: Arc<Credentials>,
    serial: u64,
    expires_at: Option<Instant>,
    renew_at: Option<Instant>,
    refusal: Option<Refusal>,
}

#[derive(Debug)]
struct Refusal {
    at: Instant,
    round: u64,
    words: String,
}

/// A key as it is used for one request.
#[derive(Debug, Clone)]
pub(in crate::upstream) struct Grip {
    pub(in crate::upstream) credentials: Arc<Credentials>,
    /// Another number is another key.
    pub(in crate::upstream) serial: u64,
    pub(super) round: u64,
    pub(super) taken_at: Instant,
}

/// What a refusal leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Another key is in use.
    Other,
    /// There is none that was not refused; why, for a person.
    Refused(String),
}

/// How access keys stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeysView {
    /// Number of the one in use, from 1; `None` where there is none.
    pub in_use: Option<usize>,
    /// How many there are.
    pub of: usize,
    /// Numbers of those that were refused when they were last tried.
    pub refused: Vec<usize>,
    /// How long the one in use lasts, where that is known.
    pub expires_in: Option<Duration>,
    /// Why they could not be read the last time.
    pub fault: Option<String>,
}

impl Ring {
    /// The key in use.
    pub(super) fn grip(&self, now: Instant) -> Option<Grip> {
        let Slot { credentials, serial, .. } = self.slots.get(self.current)?;
        let (credentials, round) = (credentials.clone(), self.round);
        Some(Grip { credentials, serial: *serial, round, taken_at: now })
    }

    /// All of them, each as if it were in use.
    pub(super) fn all(&self, now: Instant) -> Vec<Grip> {
        let grip = |slot: &Slot| Grip {
            credentials: slot.credentials.clone(),
            serial: slot.serial,
            round: self.round,
            taken_at: now,
        };
        self.slots.iter().map(grip).collect()
    }

    /// Whether the key is among them.
    pub(super) fn has(&self, grip: &Grip) -> bool {
        self.slots.iter().any(|slot| slot.serial == grip.serial)
    }

    /// Takes `keys` for those that were; the one in use stays so if it is among them. True if any
    /// of them is new.
    pub(super) fn replace(&mut self, keys: Vec<Key>, now: Instant) -> bool {
        let in_use = self.slots.get(self.current).map(|slot| slot.serial);
        let mut old = std::mem::take(&mut self.slots);
        let mut fresh = false;
        for key in keys {
            let known = old.iter().position(|slot| *slot.credentials == key.credentials);
            let (serial, refusal) = match known.map(|at| old.swap_remove(at)) {
                Some(slot) => (slot.serial, slot.refusal),
                None => {
                    fresh = true;
                    self.serials += 1;
                    (self.serials, None)
                }
            };
            let credentials = Arc::new(key.credentials);
            let after = |time: Option<Duration>| time.map(|time| now + time);
            let (expires_at, renew_at) = (after(key.lasts), after(key.renew_in));
            self.slots.push(Slot { credentials, serial, expires_at, renew_at, refusal });
        }
        if fresh {
            self.round += 1;
            self.refused = None;
        }
        let same = self.slots.iter().position(|slot| Some(slot.serial) == in_use);
        let untried = || self.slots.iter().position(|slot| slot.refusal.is_none());
        self.current = same.or_else(untried).unwrap_or(0);
        self.fault = None;
        fresh
    }

    /// Notes why keys could not be read; those that are there stay.
    pub(super) fn unread(&mut self, fault: String) {
        self.fault = Some(fault);
    }

    /// Puts the key in use.
    pub(super) fn choose(&mut self, grip: &Grip) {
        let at = self.slots.iter().position(|slot| slot.serial == grip.serial);
        self.current = at.unwrap_or(self.current);
    }

    /// RocketMQ took the key.
    pub(super) fn taken(&mut self, grip: &Grip) {
        let Some(at) = self.slots.iter().position(|slot| slot.serial == grip.serial) else {
            return;
        };
        self.slots[at].refusal = None;
        if self.refused.take().is_some() {
            self.current = at;
        }
    }

    /// RocketMQ refused the key, in these words.
    pub(super) fn refuse(&mut self, grip: &Grip, words: &str, now: Instant) -> After {
        let Some(at) = self.slots.iter().position(|slot| slot.serial == grip.serial) else {
            return After::Other;
        };
        if grip.round != self.round {
            let refused = self.refused.clone();
            return refused.map_or(After::Other, After::Refused);
        }
        let words = words.to_owned();
        self.slots[at].refusal = Some(Refusal { at: now, round: self.round, words });
        let next = (0..self.slots.len()).map(|step| (self.current + step) % self.slots.len());
        let next = next.into_iter().find(|other| !self.is_refused(*other, now));
        if let Some(next) = next {
            self.current = next;
            return After::Other;
        }
        self.current = (at + 1) % self.slots.len();
        self.round += 1;
        let reason = self.reason();
        self.refused = Some(reason.clone());
        After::Refused(reason)
    }

    fn is_refused(&self, slot: usize, now: Instant) -> bool {
        let refusal = self.slots[slot].refusal.as_ref();
        refusal.is_some_and(|refusal| refusal.round == self.round && now < refusal.at + AGAIN)
    }

    /// Which were refused, and with which words.
    fn reason(&self) -> String {
        let of = |(n, slot): (usize, &Slot)| {
            let words = slot.refusal.as_ref().map(|refusal| refusal.words.as_str());
            format!("{n} ({}): {}", slot.credentials.id, words.unwrap_or_default())
        };
        let refused = match &self.slots[..] {
            [one] => {
                let words = one.refusal.as_ref().map(|refusal| refusal.words.as_str());
                format!("{} (access key {})", words.unwrap_or_default(), one.credentials.id)
            }
            all => {
                let each: Vec<String> = (1..).zip(all).map(of).collect();
                format!("all {} access keys are refused: {}", all.len(), each.join("; "))
            }
        };
        let fault = self.fault.iter().map(|fault| format!("; {fault}"));
        std::iter::once(refused).chain(fault).collect()
    }

    /// Why they could not be read the last time.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// When the one in use should be renewed, where it ends by itself.
    pub(super) fn renew_at(&self) -> Option<Instant> {
        self.slots.get(self.current)?.renew_at
    }

    /// See [`KeysView`].
    pub(super) fn view(&self, now: Instant) -> KeysView {
        let numbered = || (1..).zip(&self.slots);
        let current = self.slots.get(self.current);
        let expires_at = current.and_then(|slot| slot.expires_at);
        KeysView {
            in_use: current.filter(|_| self.refused.is_none()).map(|_| self.current + 1),
            of: self.slots.len(),
            refused: numbered().filter(|(_, s)| s.refusal.is_some()).map(|(n, _)| n).collect(),
            expires_in: expires_at.map(|at| at.saturating_duration_since(now)),
            fault: self.fault.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::key;
    use super::*;

    fn ring(ids: &[&str]) -> (Ring, Instant) {
        let mut ring = Ring::default();
        let now = Instant::now();
        assert!(ring.replace(ids.iter().map(|id| key(id)).collect(), now));
        (ring, now)
    }

    fn in_use(ring: &Ring, now: Instant) -> String {
        ring.grip(now).unwrap().credentials.id.clone()
    }

    #[test]
    fn the_next_one_is_tried_and_stays_in_use() {
        let (mut ring, now) = ring(&["a", "b"]);
        let first = ring.grip(now).unwrap();
        assert_eq!(ring.refuse(&first, "no", now), After::Other);
        // What left with the first one before is refused later.
        assert_eq!(ring.refuse(&first, "no", now), After::Other);
        assert_eq!(in_use(&ring, now), "b");
        ring.taken(&ring.grip(now).unwrap());
        let view = ring.view(now);
        assert_eq!((view.in_use, view.of, view.refused), (Some(2), 2, vec![1]));
    }

    #[test]
    fn all_refused_is_told_with_their_ids_and_each_is_tried_again_next_time() {
        let (mut ring, now) = ring(&["a", "b"]);
        for round in 0..3 {
            let first = ring.grip(now).unwrap();
            assert_eq!(ring.refuse(&first, "no", now), After::Other);
            let second = ring.grip(now).unwrap();
            assert_ne!(first.serial, second.serial, "{round}");
            let After::Refused(reason) = ring.refuse(&second, "nor this", now) else { panic!() };
            assert!(reason.contains("1 (a): ") && reason.contains("2 (b): "), "{reason}");
            // An answer from before says nothing new.
            assert_eq!(ring.refuse(&first, "no", now), After::Refused(reason));
            assert_eq!(ring.view(now).in_use, None);
        }
        ring.taken(&ring.grip(now).unwrap());
        assert!(ring.view(now).in_use.is_some());
    }

    #[test]
    fn one_that_was_refused_long_ago_is_tried_before_all_are_given_up() {
        let (mut ring, now) = ring(&["a", "b"]);
        ring.refuse(&ring.grip(now).unwrap(), "no", now);
        let later = now + AGAIN;
        assert_eq!(ring.refuse(&ring.grip(later).unwrap(), "no", later), After::Other);
        assert_eq!(in_use(&ring, later), "a");
    }

    #[test]
    fn others_take_the_place_of_those_that_are_gone_and_the_one_in_use_stays() {
        let (mut ring, now) = ring(&["a", "b"]);
        let old = ring.grip(now).unwrap();
        ring.refuse(&old, "no", now);
        assert!(ring.replace(vec![key("c"), key("b")], now));
        assert_eq!(in_use(&ring, now), "b");
        assert_eq!(ring.refuse(&old, "no", now), After::Other);
        assert!(!ring.replace(vec![key("c"), key("b")], now));
        let b = ring.grip(now).unwrap();
        assert_eq!(ring.refuse(&b, "no", now), After::Other);
        assert_eq!(in_use(&ring, now), "c");
    }

    #[test]
    fn of_a_single_key_the_words_are_told_and_why_it_was_not_read_again() {
        let (mut ring, now) = ring(&["a"]);
        ring.unread("the file is gone".to_owned());
        let refused = ring.refuse(&ring.grip(now).unwrap(), "403 no", now);
        let expected = "403 no (access key a); the file is gone".to_owned();
        assert_eq!(refused, After::Refused(expected));
        assert!(ring.replace(vec![key("b")], now));
        assert_eq!((ring.view(now).fault, ring.view(now).in_use), (None, Some(1)));
    }
}
