//! Several access keys, of which one is in use: where RocketMQ refuses it, the next one is tried.
//! Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use spillway_protocol::record::Topic;
use tokio::time::Instant;

use super::Key;
use crate::config::Credentials;

/// A key that was refused is tried again after this time, should another one be refused.
const AGAIN: Duration = Duration::from_secs(60);
/// What a topic was refused is forgotten after this time without another refusal.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Refusals of topics remembered at most; beyond it the memory begins anew.
const DENIALS: usize = 1000;

/// The keys of one upstream.
#[derive(Debug, Default)]
pub(super) struct Ring {
    slots: Vec<Slot>,
    current: usize,
    serials: u64,
    /// Counts how often all were refused, or others came: refusals from before say nothing now.
    round: u64,
    /// Whom which key was refused since a record of the topic was last taken, by the key's serial: some
    /// brokers refuse one forbidden topic with the words they have for a wrong key.
    denials: BTreeMap<(Topic, u64), Denial>,
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
    /// When the last request left that RocketMQ took with it.
    good_at: Option<Instant>,
}

#[derive(Debug)]
struct Refusal {
    at: Instant,
    round: u64,
    words: String,
    by: Topic,
    /// It was tried once more after that.
    firm: bool,
}

#[derive(Debug)]
struct Denial {
    first: Instant,
    last: Instant,
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
            let (serial, refusal, good_at) = match known.map(|at| old.swap_remove(at)) {
                Some(slot) => (slot.serial, slot.refusal, slot.good_at),
                None => {
                    fresh = true;
                    self.serials += 1;
                    (self.serials, None, None)
                }
            };
            let credentials = Arc::new(key.credentials);
            let after = |time: Option<Duration>| time.map(|time| now + time);
            let (expires_at, renew_at) = (after(key.lasts), after(key.renew_in));
            self.slots.push(Slot { credentials, serial, expires_at, renew_at, refusal, good_at });
        }
        if fresh {
            self.round += 1;
            self.refused = None;
            self.denials.clear();
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

    /// RocketMQ took the key for `topic`.
    pub(super) fn taken(&mut self, grip: &Grip, topic: &Topic) {
        if !self.denials.is_empty() {
            self.denials.retain(|(of, _), _| of != topic);
        }
        let Some(at) = self.slots.iter().position(|slot| slot.serial == grip.serial) else {
            return;
        };
        let slot = &mut self.slots[at];
        slot.refusal = None;
        slot.good_at = slot.good_at.max(Some(grip.taken_at));
        if self.refused.take().is_some() {
            self.current = at;
        }
    }

    /// RocketMQ refused the key for `topic`, in these words.
    pub(super) fn refuse(
        &mut self,
        grip: &Grip,
        topic: &Topic,
        words: &str,
        now: Instant,
    ) -> After {
        let Some(at) = self.slots.iter().position(|slot| slot.serial == grip.serial) else {
            return After::Other;
        };
        let first = self.denied(topic, grip.serial, now);
        let slot = &mut self.slots[at];
        if slot.good_at > Some(first) {
            // Others were let in with it meanwhile: it is the topic's trouble, and theirs the key.
            return After::Refused(format!("{words} (access key {})", slot.credentials.id));
        }
        if grip.round != self.round {
            let refused = self.refused.clone();
            return refused.map_or(After::Other, After::Refused);
        }
        let before = slot.refusal.take().filter(|before| before.round == self.round);
        let firm = before.is_some_and(|before| before.firm || grip.taken_at > before.at);
        let (words, by) = (words.to_owned(), topic.clone());
        slot.refusal = Some(Refusal { at: now, round: self.round, words, by, firm });
        let next = (0..self.slots.len()).map(|step| (self.current + step) % self.slots.len());
        let next = next.into_iter().find(|other| !self.is_refused(*other, topic, now));
        if let Some(next) = next {
            self.current = next;
            return After::Other;
        }
        let good = (0..self.slots.len()).filter(|slot| self.slots[*slot].good_at.is_some());
        let last = good.max_by_key(|slot| self.slots[*slot].good_at);
        self.current = last.unwrap_or((at + 1) % self.slots.len());
        self.round += 1;
        let reason = self.reason();
        self.refused = Some(reason.clone());
        After::Refused(reason)
    }

    /// When the key was refused first for `topic`, of which a record is refused now.
    fn denied(&mut self, topic: &Topic, serial: u64, now: Instant) -> Instant {
        if self.denials.len() >= DENIALS {
            self.denials.clear();
        }
        let denial = self.denials.entry((topic.clone(), serial));
        let denial = denial.or_insert(Denial { first: now, last: now });
        if now > denial.last + FORGOTTEN {
            denial.first = now;
        }
        denial.last = now;
        denial.first
    }

    /// What was good, and was refused once for another topic, is worth another try.
    fn is_refused(&self, slot: usize, topic: &Topic, now: Instant) -> bool {
        let Slot { refusal: Some(refusal), good_at, .. } = &self.slots[slot] else { return false };
        let valid = refusal.round == self.round && now < refusal.at + AGAIN;
        valid && (refusal.firm || refusal.by == *topic || good_at.is_none())
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

    fn topic() -> Topic {
        Topic::parse("ward").unwrap()
    }

    fn in_use(ring: &Ring, now: Instant) -> String {
        ring.grip(now).unwrap().credentials.id.clone()
    }

    #[test]
    fn the_next_one_is_tried_and_stays_in_use() {
        let (mut ring, now) = ring(&["a", "b"]);
        let first = ring.grip(now).unwrap();
        assert_eq!(ring.refuse(&first, &topic(), "no", now), After::Other);
        // What left with the first one before is refused later.
        assert_eq!(ring.refuse(&first, &topic(), "no", now), After::Other);
        assert_eq!(in_use(&ring, now), "b");
        ring.taken(&ring.grip(now).unwrap(), &topic());
        let view = ring.view(now);
        assert_eq!((view.in_use, view.of, view.refused), (Some(2), 2, vec![1]));
    }

    #[test]
    fn all_refused_is_told_with_their_ids_and_each_is_tried_again_next_time() {
        let (mut ring, now) = ring(&["a", "b"]);
        for round in 0..3 {
            let first = ring.grip(now).unwrap();
            assert_eq!(ring.refuse(&first, &topic(), "no", now), After::Other);
            let second = ring.grip(now).unwrap();
            assert_ne!(first.serial, second.serial, "{round}");
            let After::Refused(reason) = ring.refuse(&second, &topic(), "nor this", now) else {
                panic!()
            };
            assert!(reason.contains("1 (a): ") && reason.contains("2 (b): "), "{reason}");
            // An answer from before says nothing new.
            assert_eq!(ring.refuse(&first, &topic(), "no", now), After::Refused(reason));
            assert_eq!(ring.view(now).in_use, None);
        }
        ring.taken(&ring.grip(now).unwrap(), &topic());
        assert!(ring.view(now).in_use.is_some());
    }

    #[test]
    fn one_that_was_refused_long_ago_is_tried_before_all_are_given_up() {
        let (mut ring, now) = ring(&["a", "b"]);
        ring.refuse(&ring.grip(now).unwrap(), &topic(), "no", now);
        let later = now + AGAIN;
        assert_eq!(ring.refuse(&ring.grip(later).unwrap(), &topic(), "no", later), After::Other);
        assert_eq!(in_use(&ring, later), "a");
    }

    #[test]
    fn others_take_the_place_of_those_that_are_gone_and_the_one_in_use_stays() {
        let (mut ring, now) = ring(&["a", "b"]);
        let old = ring.grip(now).unwrap();
        ring.refuse(&old, &topic(), "no", now);
        assert!(ring.replace(vec![key("c"), key("b")], now));
        assert_eq!(in_use(&ring, now), "b");
        assert_eq!(ring.refuse(&old, &topic(), "no", now), After::Other);
        assert!(!ring.replace(vec![key("c"), key("b")], now));
        let b = ring.grip(now).unwrap();
        assert_eq!(ring.refuse(&b, &topic(), "no", now), After::Other);
        assert_eq!(in_use(&ring, now), "c");
    }

    #[test]
    fn of_a_single_key_the_words_are_told_and_why_it_was_not_read_again() {
        let (mut ring, now) = ring(&["a"]);
        ring.unread("the file is gone".to_owned());
        let refused = ring.refuse(&ring.grip(now).unwrap(), &topic(), "403 no", now);
        let expected = "403 no (access key a); the file is gone".to_owned();
        assert_eq!(refused, After::Refused(expected));
        assert!(ring.replace(vec![key("b")], now));
        assert_eq!((ring.view(now).fault, ring.view(now).in_use), (None, Some(1)));
    }
    #[test]
    fn a_forbidden_topic_takes_the_good_key_from_nobody() {
        let (mut ring, start) = ring(&["good", "revoked"]);
        let (fine, forbidden) = (topic(), Topic::parse("forbidden").unwrap());
        ring.taken(&ring.grip(start).unwrap(), &fine);
        let at = |s: u64| start + Duration::from_secs(s);
        assert_eq!(ring.refuse(&ring.grip(at(1)).unwrap(), &forbidden, "no", at(1)), After::Other);
        assert_eq!(in_use(&ring, at(1)), "revoked");
        // It is the other topic's that comes with the next key: the first one is good for it.
        assert_eq!(ring.refuse(&ring.grip(at(2)).unwrap(), &fine, "no", at(2)), After::Other);
        assert_eq!(in_use(&ring, at(2)), "good");
        ring.taken(&ring.grip(at(3)).unwrap(), &fine);
        for minute in 1..5 {
            let now = at(60 * minute);
            let refused = ring.refuse(&ring.grip(now).unwrap(), &forbidden, "no", now);
            assert_eq!(refused, After::Refused("no (access key good)".into()));
            let view = ring.view(now);
            assert_eq!((view.in_use, in_use(&ring, now)), (Some(1), "good".into()));
            ring.taken(&ring.grip(now).unwrap(), &fine);
        }
    }

    #[test]
    fn the_key_that_was_good_last_is_tried_first_where_all_were_refused() {
        let (mut ring, start) = ring(&["a", "b", "c"]);
        let b = ring.all(start)[1].clone();
        ring.taken(&b, &topic());
        let now = start + Duration::from_secs(1);
        for _ in 0..2 {
            assert_eq!(ring.refuse(&ring.grip(now).unwrap(), &topic(), "no", now), After::Other);
        }
        let last = ring.refuse(&ring.grip(now).unwrap(), &topic(), "no", now);
        assert!(matches!(last, After::Refused(_)));
        assert_eq!(in_use(&ring, now), "b");
    }

    #[test]
    fn topics_that_are_all_refused_do_not_hand_the_keys_to_and_fro() {
        let (mut ring, start) = ring(&["a", "b"]);
        ring.all(start).iter().for_each(|grip| ring.taken(grip, &topic()));
        let topics = [topic(), Topic::parse("other").unwrap()];
        let mut now = start;
        let refused = (0..6).position(|nth| {
            now += Duration::from_secs(1);
            let grip = ring.grip(now).unwrap();
            ring.refuse(&grip, &topics[nth % 2], "no", now) != After::Other
        });
        assert_eq!(refused, Some(3));
        assert_eq!(ring.view(now).in_use, None);
    }
}
