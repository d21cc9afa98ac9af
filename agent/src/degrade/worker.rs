//! Measures and applies, once a tick.

use spillway_protocol::record::LaneName;
use tokio::time::Instant;

use super::Means;
use super::age::Ages;
use super::measure::cut;
use super::rule::{Force, Level};
use crate::config::{Action, Degrade, Pressure};

/// See the module.
pub(super) struct Worker {
    means: Means,
    /// Lanes with rules, those of the lowest priority first.
    lanes: Vec<(LaneName, Vec<Rule>)>,
}

struct Rule {
    rule: Degrade,
    force: Force,
    /// Where the rule is one of age.
    ages: Option<Ages>,
}

impl Worker {
    pub(super) fn new(means: Means, now: Instant) -> Self {
        let mut configured = means.lanes.clone();
        configured.retain(|lane| !lane.degrade.is_empty());
        configured.sort_by_key(|lane| std::cmp::Reverse(lane.priority));
        let rule = |lane: &LaneName, rule: Degrade| {
            let end = means.queue.front(lane, 0).end;
            let ages = match rule.when {
                Pressure::Backlog(age) => Some(Ages::new(age, end, means.clock.as_ref(), now)),
                Pressure::Disk(_) | Pressure::Budget(_) => None,
            };
            Rule { rule, force: Force::default(), ages }
        };
        let lanes = configured.into_iter().map(|lane| {
            let rules = lane.degrade.into_iter().map(|one| rule(&lane.name, one)).collect();
            (lane.name, rules)
        });
        Self { lanes: lanes.collect(), means }
    }

    /// Measures and applies. Reads the disk.
    pub(super) fn tick(&mut self, now: Instant) {
        let Self { means, lanes } = self;
        for (lane, rules) in lanes {
            for rule in rules.iter_mut() {
                rule.apply(means, lane, now);
            }
            let pauses = |rule: &&Rule| rule.rule.action == Action::Pause;
            let paused = rules.iter().filter(pauses).any(|rule| rule.force.since().is_some());
            means.drain.pause(lane, paused);
            let last = rules.iter().rfind(|rule| rule.force.since().is_some());
            means.board.show(lane, |shown| {
                shown.since = last.and_then(|rule| rule.force.since());
                shown.paused = paused;
                if let Some(last) = last {
                    shown.rule = last.rule.to_string();
                }
            });
        }
    }
}

impl Rule {
    fn apply(&mut self, means: &Means, lane: &LaneName, now: Instant) {
        let (level, below) = match self.rule.when {
            Pressure::Disk(percent) => disk(means, lane, percent),
            Pressure::Backlog(_) => self.backlog(means, lane, now),
            Pressure::Budget(percent) => (Level::of(means.drain.budget_used(), percent), 0),
        };
        let changed = self.force.update(level, now);
        if changed == Some(true) {
            tracing::warn!(%lane, rule = %self.rule, "the lane gives way");
        }
        let dropped = match self.rule.action {
            _ if self.force.since().is_none() => 0,
            Action::Pause => 0,
            Action::DropOldest => means.queue.drop_oldest(lane, below),
            // Again and again: what was leased the last time may have come back.
            Action::Thin(every) => means.queue.thin(lane, below, every),
        };
        means.board.show(lane, |shown| shown.dropped += dropped);
        let count = self.force.dropped(dropped, now);
        if count > 0 {
            tracing::warn!(%lane, rule = %self.rule, count, "waiting records were dropped by a rule of degrade");
        }
        if changed == Some(false) {
            tracing::info!(%lane, rule = %self.rule, "the lane gives way no longer");
        }
    }

    /// How old the oldest is, and before which position all are too old.
    fn backlog(&mut self, means: &Means, lane: &LaneName, now: Instant) -> (Level, u64) {
        let Some(ages) = &mut self.ages else { return (Level::Under, 0) };
        let queue = &means.queue;
        ages.note(queue.front(lane, 0).end, now);
        let (oldest, below) = (queue.oldest(lane), ages.too_old(queue, lane, now));
        let level = match oldest {
            oldest if oldest < below => Level::Over,
            oldest if ages.is_near(oldest, queue, lane, now) => Level::Near,
            _ => Level::Under,
        };
        (level, below)
    }
}

/// How full the disk is for the lane, and before which position its records are to go so that it is
/// no more.
fn disk(means: &Means, lane: &LaneName, percent: u32) -> (Level, u64) {
    let queue = &means.queue;
    let limit = queue.limit(lane).unwrap_or_default();
    let Some(allowed) = limit.allowed_bytes else { return (Level::Under, 0) };
    let used = limit.used_bytes;
    let level = Level::of(used as f64 / allowed.max(1) as f64, percent);
    // Down to where the rule is no longer in force.
    let goal = allowed / 1000 * u64::from(percent) * 9;
    let below = cut(&queue.segments(lane), queue.oldest(lane), used.saturating_sub(goal));
    (level, below)
}
