//! Faults on request, so that tests and `demo` see what a real broker and a real link do on a bad
//! day. A [`Plan`] is set at the start, through [`Faults::set`], or by `POST /_faults` as JSON:
//!
//! ```json
//! {"latency_ms": 200, "rules": [{"kind": "throttle", "count": 5, "retry_after_s": 2},
//!                               {"kind": "lost_reply", "probability": 0.1}]}
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// All faults in force.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// Wait before every request is looked at.
    pub latency_ms: u64,
    /// Rules in their order; the first that applies to a request and trips decides.
    pub rules: Vec<Rule>,
    /// How much it can serve; without a limit if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
}

/// A broker that can serve only so much: what is published is stored as it comes and answered when
/// its turn has come, one after the other. What would wait too long is refused with 400
/// QpsLimitExceeded, which costs a tenth of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// Publishes per second.
    pub per_s: f64,
    /// Longest wait.
    pub queue_ms: u64,
}

/// Of a refusal, in publishes: as in the fleet's simulation.
const REFUSAL_WORK: f64 = 0.1;
/// A rate of next to nothing serves one publish in this time.
const LONGEST: Duration = Duration::from_secs(3600);

/// One fault, and which requests it hits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What goes wrong.
    pub kind: Kind,
    /// Which operation.
    #[serde(default)]
    pub on: Operation,
    /// Only this topic.
    #[serde(default)]
    pub topic: Option<String>,
    /// Only publishes whose KEYS begin so.
    #[serde(default)]
    pub key_prefix: Option<String>,
    /// Chance that a matching request is hit, 0 to 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// How many more requests are hit; without end if absent.
    #[serde(default)]
    pub count: Option<u64>,
    /// `Retry-After` of a throttle or server error.
    #[serde(default)]
    pub retry_after_s: Option<u64>,
}

impl Rule {
    /// A rule that hits every publish with `kind`.
    pub fn always(kind: Kind) -> Self {
        Self {
            kind,
            on: Operation::Publish,
            topic: None,
            key_prefix: None,
            probability: always(),
            count: None,
            retry_after_s: None,
        }
    }

    /// A rule that hits the next `count` publishes with `kind`.
    pub fn times(kind: Kind, count: u64) -> Self {
        Self { count: Some(count), ..Self::always(kind) }
    }
}

fn always() -> f64 {
    1.0
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// 400 QpsLimitExceeded.
    Throttle,
    /// 500 InternalError, or 503 where `retry_after_s` is given.
    ServerError,
    /// The operation is done, then the connection is cut without an answer.
    LostReply,
    /// The connection is cut before anything is done.
    Cut,
    /// 403 SignatureDoesNotMatch.
    RefuseSignature,
    /// 404 TopicNotExist.
    TopicMissing,
    /// 400 MalformedXML.
    RefuseRecord,
    /// Stored, but answered with the MD5 of something else.
    WrongMd5,
    /// Answered as stored, but dropped: what a broker must never do.
    Lose,
}

/// An operation of the API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// POST.
    #[default]
    Publish,
    /// GET.
    Consume,
    /// DELETE.
    Ack,
}

/// A request, as far as rules look at it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) operation: Operation,
    pub(super) topic: &'a str,
    pub(super) key: &'a str,
}

/// The switch of a broker's faults; clones are the same switch.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    plan: Plan,
    rng: StdRng,
    /// When everything that was published is served.
    free_at: Option<Instant>,
    refused: u64,
}

impl Faults {
    pub(super) fn new(plan: Plan, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            plan,
            rng: StdRng::seed_from_u64(seed),
            free_at: None,
            refused: 0,
        })))
    }

    /// Puts `plan` in force, instead of what was.
    pub fn set(&self, plan: Plan) {
        self.state().plan = plan;
    }

    /// Puts `rules` in force, without latency.
    pub fn set_rules(&self, rules: impl Into<Vec<Rule>>) {
        self.set(Plan { rules: rules.into(), ..Plan::default() });
    }

    /// Ends all faults.
    pub fn clear(&self) {
        self.set(Plan::default());
    }

    /// What is in force, with the counts that are left.
    pub fn plan(&self) -> Plan {
        self.state().plan.clone()
    }

    /// Publishes refused so far because of [`Plan::capacity`].
    pub fn refused(&self) -> u64 {
        self.state().refused
    }

    pub(super) fn latency(&self) -> Duration {
        Duration::from_millis(self.state().plan.latency_ms)
    }

    /// The fault that hits `request`, if one does; counts it.
    pub(super) fn trip(&self, request: Request<'_>) -> Option<Rule> {
        let State { plan, rng, .. } = &mut *self.state();
        let rule = plan.rules.iter_mut().find(|rule| {
            rule.applies(request)
                && (rule.probability >= 1.0 || rng.random::<f64>() < rule.probability)
        })?;
        if let Some(left) = &mut rule.count {
            *left -= 1;
        }
        Some(rule.clone())
    }

    /// A publish comes: when it is served, or nothing if the queue before it is too long.
    pub(super) fn serve(&self, now: Instant) -> Option<Instant> {
        let State { plan, free_at, refused, .. } = &mut *self.state();
        let Some(Capacity { per_s, queue_ms }) = plan.capacity else {
            return Some(now);
        };
        let free = free_at.map_or(now, |at| at.max(now));
        let fits = free <= now + Duration::from_millis(queue_ms);
        let work = if fits { 1.0 } else { REFUSAL_WORK };
        let after =
            free + Duration::try_from_secs_f64(work / per_s).map_or(LONGEST, |s| s.min(LONGEST));
        *free_at = Some(after);
        *refused += u64::from(!fits);
        fits.then_some(after)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rule {
    fn applies(&self, request: Request<'_>) -> bool {
        let prefix = self.key_prefix.as_deref();
        self.on == request.operation
            && self.count != Some(0)
            && self.topic.as_deref().is_none_or(|topic| topic == request.topic)
            && prefix.is_none_or(|prefix| request.key.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request<'_> =
        Request { operation: Operation::Publish, topic: "t", key: "bad-1" };

    #[test]
    fn rules_hit_what_they_name_and_run_out() {
        let faults = Faults::new(Plan::default(), 1);
        assert_eq!(faults.trip(REQUEST), None);
        faults.set_rules([Rule {
            topic: Some("t".into()),
            key_prefix: Some("bad-".into()),
            ..Rule::times(Kind::Cut, 2)
        }]);
        assert_eq!(faults.trip(Request { key: "good", ..REQUEST }), None);
        assert_eq!(faults.trip(Request { topic: "u", ..REQUEST }), None);
        assert_eq!(faults.trip(Request { operation: Operation::Ack, ..REQUEST }), None);
        let hits = (0..5).filter(|_| faults.trip(REQUEST).is_some()).count();
        assert_eq!((hits, faults.plan().rules[0].count), (2, Some(0)));
    }

    #[test]
    fn chance_is_the_seeds() {
        let half = Rule { probability: 0.5, ..Rule::always(Kind::Lose) };
        let hits = |seed| -> Vec<bool> {
            let faults = Faults::new(Plan { rules: vec![half.clone()], ..Plan::default() }, seed);
            (0..200).map(|_| faults.trip(REQUEST).is_some()).collect()
        };
        assert_eq!(hits(7), hits(7));
        assert_ne!(hits(7), hits(8));
        let count = hits(7).iter().filter(|hit| **hit).count();
        assert!((60..140).contains(&count), "{count}");
    }

    #[test]
    fn a_capacity_serves_one_after_the_other_and_refuses_what_would_wait_too_long() {
        let capacity = Some(Capacity { per_s: 10.0, queue_ms: 250 });
        let faults = Faults::new(Plan { capacity, ..Plan::default() }, 1);
        let (now, ms) = (Instant::now(), Duration::from_millis);
        let served: Vec<_> = (0..4).map(|_| faults.serve(now).map(|at| at - now)).collect();
        assert_eq!(served, [Some(ms(100)), Some(ms(200)), Some(ms(300)), None]);
        assert_eq!(faults.serve(now + ms(310)), Some(now + ms(410)), "a refusal costs 10 ms");
        faults.clear();
        assert_eq!(faults.serve(now), Some(now));
    }

    #[test]
    fn a_plan_is_read_from_json_and_unknown_words_are_refused() {
        let json = r#"{"latency_ms": 5, "rules": [{"kind": "throttle", "retry_after_s": 2}]}"#;
        let plan: Plan = serde_json::from_str(json).unwrap();
        let rule = Rule { retry_after_s: Some(2), ..Rule::always(Kind::Throttle) };
        assert_eq!(plan, Plan { latency_ms: 5, rules: vec![rule], capacity: None });
        for bad in [r#"{"latency": 5}"#, r#"{"rules": [{"kind": "nap"}]}"#, r#"{"rules": [{}]}"#] {
            assert!(serde_json::from_str::<Plan>(bad).is_err(), "{bad}");
        }
    }
}
