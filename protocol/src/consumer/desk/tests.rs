use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::bundle::{Compress, Part, pack};
use crate::consumer::{AckFailure, Fault, FeedError};

const INVISIBLE: Duration = Duration::from_secs(60);

fn nature(invisible: Option<Duration>) -> Nature {
    Nature { receive_max: 16, ack_max: 4, invisible, receive_can_be_given_up: true }
}

fn options() -> Options {
    Options { unacked_max: 10, batch_max: 4, charges_max: 3, ..Options::default() }
}

fn desk(options: Options) -> Desk {
    Desk::new(options, nature(Some(INVISIBLE)), 7)
}

fn delivery(id: &str, key: Option<&str>, expires: Instant) -> Delivery {
    Delivery {
        message_id: id.to_owned(),
        order_key: key.map(str::to_owned),
        receipt: Receipt {
            handle: format!("h-{id}"),
            message_id: id.into(),
            expires: Some(expires),
        },
        ..Delivery::default()
    }
}

fn ids(job: &Job) -> Vec<&str> {
    job.deliveries.iter().map(|delivery| delivery.message_id.as_str()).collect()
}

fn done(desk: &mut Desk, job: Job, now: Instant) {
    let verdicts = vec![Verdict::Done; job.tickets.len()];
    desk.worked(job, verdicts, now);
}

/// Three messages, of which the first two have one order key.
fn three(desk: &mut Desk, now: Instant) {
    let until = now + INVISIBLE;
    desk.arrived(vec![
        delivery("a1", Some("a"), until),
        delivery("a2", Some("a"), until),
        delivery("b1", Some("b"), until),
    ]);
}

#[test]
fn in_ordered_mode_a_key_waits_for_its_earlier_message() {
    let now = Instant::now();
    let mut desk = desk(Options { ordered: true, ..options() });
    three(&mut desk, now);
    let job = desk.next_job(now).unwrap();
    assert_eq!(ids(&job), ["a1", "b1"]);
    assert_eq!(desk.next_job(now), None);
    desk.worked(job, vec![Verdict::failed("x"), Verdict::Done], now);
    assert_eq!(desk.next_job(now), None, "a1 rests, and a2 behind it");
    let later = now + Duration::from_secs(60);
    let job = desk.next_job(later).unwrap();
    assert_eq!(ids(&job), ["a1"]);
    done(&mut desk, job, later);
    assert_eq!(ids(&desk.next_job(later).unwrap()), ["a2"]);
}

#[test]
fn out_of_order_all_go_at_once_and_a_failure_is_given_back() {
    let now = Instant::now();
    let mut desk = desk(options());
    three(&mut desk, now);
    let job = desk.next_job(now).unwrap();
    assert_eq!(ids(&job), ["a1", "a2", "b1"]);
    desk.worked(job, vec![Verdict::Done, Verdict::failed("x")], now);
    // The third got no verdict: that is a failure too.
    let given_back = desk.next_given_back();
    assert_eq!((given_back.len(), desk.status.failed, desk.status.in_hand), (2, 2, 1));
    assert!(given_back.iter().all(|(_, wait)| *wait <= options().retry_initial));
}

#[test]
fn charges_outlast_redelivery_and_lead_to_parking_and_absence_is_free() {
    let now = Instant::now();
    let mut desk = desk(options());
    for round in 1..=3 {
        desk.arrived(vec![delivery("a", None, now + INVISIBLE)]);
        let job = desk.next_job(now).unwrap();
        desk.worked(job, vec![Verdict::away("restart")], now);
        let later = now + Duration::from_secs(round * 100);
        let job = desk.next_job(later).unwrap();
        assert_eq!(job.park, None, "round {round}");
        desk.worked(job, vec![Verdict::failed("bad")], later);
    }
    let job = desk.next_job(now + Duration::from_secs(900)).unwrap();
    assert_eq!(job.park.as_deref(), Some("bad"));
    // The store of parked messages may be away too.
    desk.worked(job, vec![Verdict::away("restart")], now);
    let later = now + Duration::from_secs(60);
    let job = desk.next_job(later).unwrap();
    assert_eq!(job.park.as_deref(), Some("bad"));
    done(&mut desk, job, later);
    assert_eq!((desk.status.parked, desk.status.failed, desk.status.done), (1, 3, 0));
    assert_eq!(desk.next_acks(later + Duration::from_secs(1)).len(), 1);
}

#[test]
fn an_unreadable_message_is_parked_without_a_trial() {
    let now = Instant::now();
    let mut desk = desk(options());
    let broken = Delivery {
        faults: vec![Fault::Unreadable("broken".into())],
        ..delivery("a", None, now + INVISIBLE)
    };
    desk.arrived(vec![delivery("b", None, now + INVISIBLE), broken]);
    assert_eq!(ids(&desk.next_job(now).unwrap()), ["b"]);
    assert_eq!(desk.next_job(now).unwrap().park.as_deref(), Some("broken"));
}

#[test]
fn while_the_database_is_away_one_delivery_tries_it() {
    let now = Instant::now();
    let mut desk = desk(Options { batch_max: 1, ..options() });
    three(&mut desk, now);
    let first = desk.next_job(now).unwrap();
    let second = desk.next_job(now).unwrap();
    desk.worked(first, vec![Verdict::away("restart")], now);
    assert_eq!((desk.room(now), desk.status.away_reason.as_deref()), (0, Some("restart")));
    let later = now + Duration::from_secs(60);
    assert_eq!(desk.next_job(later), None, "another is still out");
    desk.worked(second, vec![Verdict::away("restart")], now);
    let probe = desk.next_job(later).unwrap();
    assert_eq!(probe.tickets.len(), 1);
    assert_eq!((desk.next_job(later), desk.room(later)), (None, 0));
    done(&mut desk, probe, later);
    assert_eq!((desk.status.away_reason.as_deref(), desk.room(later)), (None, 7));
    assert!(desk.next_job(later).is_some() && desk.next_job(later).is_some());
}

#[test]
fn with_nothing_left_in_hand_one_message_is_received_to_try_it() {
    let now = Instant::now();
    let mut desk = Desk::new(options(), nature(None), 7);
    desk.arrived(vec![delivery("a", None, now + Duration::from_secs(40))]);
    let job = desk.next_job(now).unwrap();
    desk.worked(job, vec![Verdict::away("restart")], now);
    let later = now + Duration::from_secs(41);
    assert_eq!(desk.room(later), 0);
    desk.expire(later);
    assert_eq!((desk.room(now), desk.room(later)), (0, 1));
}

#[test]
fn what_has_expired_is_let_go_of_with_the_rest_of_its_key() {
    let now = Instant::now();
    let mut desk = Desk::new(Options { ordered: true, ..options() }, nature(None), 7);
    let soon = now + Duration::from_secs(1);
    desk.arrived(vec![delivery("a1", Some("a"), soon)]);
    desk.arrived(vec![
        delivery("a2", Some("a"), now + INVISIBLE),
        delivery("b1", Some("b"), now + INVISIBLE),
    ]);
    assert_eq!(desk.next_wake(now), Some(soon));
    desk.expire(soon);
    assert_eq!(ids(&desk.next_job(soon).unwrap()), ["b1"]);
    assert_eq!(desk.status.in_hand, 1);
}

#[test]
fn a_message_that_comes_again_while_in_hand_is_worked_on_once_and_acknowledged_twice() {
    let now = Instant::now();
    let mut desk = desk(options());
    desk.arrived(vec![delivery("a", None, now + INVISIBLE)]);
    let job = desk.next_job(now).unwrap();
    let mut again = delivery("a", None, now + INVISIBLE);
    again.receipt.handle = "h-again".into();
    desk.arrived(vec![again]);
    assert_eq!(desk.next_job(now), None);
    done(&mut desk, job, now);
    let acks = desk.next_acks(now + Duration::from_secs(1));
    assert_eq!(acks.len(), 2);
    desk.acked(acks, Ok(vec![]), now);
    assert_eq!((desk.is_empty(), desk.status.acked), (true, 2));
    // The same id with another body is another message.
    let other = Delivery { body: "x".into(), ..delivery("b", None, now) };
    desk.arrived(vec![delivery("b", None, now + INVISIBLE), other]);
    assert_eq!(desk.status.in_hand, 2);
}

#[test]
fn acknowledgements_wait_for_company_and_are_tried_again() {
    let now = Instant::now();
    let mut desk = desk(options());
    let all = ["a", "b", "c"].map(|id| delivery(id, None, now + INVISIBLE));
    desk.arrived(all.into());
    let job = desk.next_job(now).unwrap();
    done(&mut desk, job, now);
    assert_eq!(desk.next_acks(now), []);
    let due = now + options().ack_linger;
    assert_eq!(desk.next_wake(now), Some(due));
    let acks = desk.next_acks(due);
    assert_eq!(acks.len(), 3);
    let failure = |index: usize, again| AckFailure {
        receipt: acks[index].1.clone(),
        reason: "x".into(),
        again,
    };
    let failures = vec![failure(0, true), failure(1, false)];
    desk.acked(acks, Ok(failures), due);
    assert_eq!((desk.status.acked, desk.status.ack_lost, desk.status.in_hand), (1, 1, 1));
    let acks = desk.next_acks(due + Duration::from_secs(2));
    assert_eq!(acks.len(), 1);
    desk.acked(acks, Err(FeedError::Link("down".into())), due);
    assert_eq!(desk.status.in_hand, 1);
}

#[test]
fn receipts_are_renewed_at_half_time_and_none_counts_meanwhile() {
    let now = Instant::now();
    let mut desk = desk(options());
    desk.arrived(vec![delivery("a", None, now + INVISIBLE)]);
    let job = desk.next_job(now).unwrap();
    assert_eq!(desk.next_renewals(now), []);
    let half = now + INVISIBLE / 2;
    assert_eq!(desk.next_wake(now), Some(half));
    let (ticket, old) = desk.next_renewals(half).pop().unwrap();
    assert_eq!(desk.next_renewals(half), [], "it is under way");
    done(&mut desk, job, half);
    assert_eq!(desk.next_acks(half + INVISIBLE), []);
    let new = Receipt { handle: "new".into(), ..old.clone() };
    desk.renewed(ticket, &old, Ok(Some(new.clone())), half);
    assert_eq!(desk.next_acks(half + INVISIBLE), [(ticket, new)]);
}

#[test]
fn a_stop_finishes_what_can_be_finished_and_gives_back_the_rest() {
    let now = Instant::now();
    let mut desk = desk(Options { ordered: true, batch_max: 1, ..options() });
    three(&mut desk, now);
    let a1 = desk.next_job(now).unwrap();
    desk.worked(a1, vec![Verdict::failed("x")], now);
    let b1 = desk.next_job(now).unwrap();
    desk.stop(now);
    // a1 rests, and a2 must not go before it.
    assert_eq!((desk.room(now), desk.next_given_back().len()), (0, 2));
    done(&mut desk, b1, now);
    let acks = desk.next_acks(now);
    assert_eq!(acks.len(), 1, "at once, without company");
    desk.acked(acks, Ok(vec![]), now);
    assert!(desk.is_empty());
}

/// A bundle of so many records of one order key, under one receipt.
fn bundle(id: &str, count: u64, expires: Instant) -> Delivery {
    let part = |n| Part {
        id: format!("{id}{n}"),
        seq: n,
        clock_set: true,
        body: "x".into(),
        ..Part::default()
    };
    let parts: Vec<Part> = (1..=count).map(part).collect();
    let body = pack(&parts, Compress::Deflate).into();
    Delivery { body, packed: Some(count), ..delivery(id, Some("k"), expires) }
}

fn record_ids(job: &Job) -> Vec<&str> {
    job.deliveries.iter().map(Delivery::id).collect()
}

#[test]
fn a_bundle_is_acknowledged_once_when_its_last_record_is_done_or_parked() {
    let now = Instant::now();
    let mut desk = desk(Options { charges_max: 1, ..options() });
    desk.arrived(vec![bundle("a", 3, now + INVISIBLE)]);
    assert_eq!((desk.status.received, desk.status.in_hand, desk.room(now)), (1, 3, 7));
    let job = desk.next_job(now).unwrap();
    assert_eq!(record_ids(&job), ["a1", "a2", "a3"]);
    desk.worked(job, vec![Verdict::Done, Verdict::failed("bad"), Verdict::Done], now);
    let later = now + Duration::from_secs(1);
    assert_eq!((desk.next_acks(later), desk.status.in_hand), (vec![], 1));
    let job = desk.next_job(now).unwrap();
    assert_eq!((record_ids(&job), job.park.as_deref()), (vec!["a2"], Some("bad")));
    done(&mut desk, job, now);
    let acks = desk.next_acks(later);
    assert_eq!((acks.len(), desk.status.done, desk.status.parked), (1, 2, 1));
    desk.acked(acks, Ok(vec![]), later);
    assert!(desk.is_empty());
}

#[test]
fn a_failed_record_of_a_bundle_is_tried_again_without_giving_the_bundle_back() {
    let now = Instant::now();
    let mut desk = desk(options());
    desk.arrived(vec![bundle("a", 2, now + INVISIBLE)]);
    let job = desk.next_job(now).unwrap();
    desk.worked(job, vec![Verdict::failed("x"), Verdict::Done], now);
    assert_eq!(desk.next_given_back(), []);
    let later = now + Duration::from_secs(10);
    let job = desk.next_job(later).unwrap();
    assert_eq!(record_ids(&job), ["a1"]);
    done(&mut desk, job, later);
    assert_eq!(desk.next_acks(later + Duration::from_secs(1)).len(), 1);
}

#[test]
fn in_ordered_mode_a_bundles_records_go_one_after_the_other() {
    let now = Instant::now();
    let mut desk = desk(Options { ordered: true, ..options() });
    desk.arrived(vec![bundle("a", 2, now + INVISIBLE), delivery("b", Some("k"), now + INVISIBLE)]);
    for id in ["a1", "a2", "b"] {
        let job = desk.next_job(now).unwrap();
        assert_eq!(record_ids(&job), [id]);
        assert_eq!(desk.next_job(now), None);
        done(&mut desk, job, now);
    }
    assert_eq!(desk.next_acks(now + Duration::from_secs(1)).len(), 2);
}

#[test]
fn an_expired_bundle_that_comes_again_offers_only_what_is_not_done_and_keeps_its_charges() {
    let now = Instant::now();
    let mut desk = Desk::new(Options { charges_max: 2, ..options() }, nature(None), 7);
    let soon = now + Duration::from_secs(1);
    desk.arrived(vec![bundle("a", 3, soon)]);
    let job = desk.next_job(now).unwrap();
    desk.worked(job, vec![Verdict::Done, Verdict::failed("x"), Verdict::Done], now);
    desk.expire(soon);
    assert!(desk.is_empty());
    let later = now + INVISIBLE;
    desk.arrived(vec![bundle("a", 3, later + INVISIBLE)]);
    let job = desk.next_job(later).unwrap();
    assert_eq!(record_ids(&job), ["a2"]);
    desk.worked(job, vec![Verdict::failed("x")], later);
    let job = desk.next_job(later).unwrap();
    assert_eq!(job.park.as_deref(), Some("x"), "its second failure");
    done(&mut desk, job, later);
    assert_eq!(desk.next_acks(later + Duration::from_secs(1)).len(), 1);
}

#[test]
fn a_bundle_that_comes_again_while_a_handler_has_one_of_it_is_joined() {
    let now = Instant::now();
    let mut desk = Desk::new(Options { batch_max: 1, ..options() }, nature(None), 7);
    let soon = now + Duration::from_secs(1);
    desk.arrived(vec![bundle("a", 2, soon)]);
    let first = desk.next_job(now).unwrap();
    desk.expire(soon);
    assert_eq!((desk.status.in_hand, desk.next_job(soon)), (1, None));
    desk.arrived(vec![bundle("a", 2, now + INVISIBLE)]);
    let second = desk.next_job(soon).unwrap();
    assert_eq!((record_ids(&second), desk.next_job(soon)), (vec!["a2"], None));
    done(&mut desk, second, soon);
    assert_eq!(desk.next_acks(soon + Duration::from_secs(1)), []);
    done(&mut desk, first, soon);
    assert_eq!(desk.next_acks(soon + Duration::from_secs(1)).len(), 2, "both receipts");
}

#[test]
fn a_stop_lets_go_of_the_rest_of_a_bundle_when_the_one_at_work_is_done() {
    let now = Instant::now();
    let mut desk = desk(Options { ordered: true, batch_max: 1, ..options() });
    desk.arrived(vec![bundle("a", 2, now + INVISIBLE)]);
    let first = desk.next_job(now).unwrap();
    desk.worked(first, vec![Verdict::failed("x")], now);
    desk.stop(now);
    assert_eq!(desk.next_given_back().len(), 1, "once, not for each record");
    assert!(desk.is_empty());
}

#[test]
fn a_hostile_bundle_is_parked_without_a_trial() {
    let now = Instant::now();
    let mut desk = desk(options());
    let mut hostile = bundle("a", 2, now + INVISIBLE);
    hostile.body = hostile.body.slice(..10);
    desk.arrived(vec![hostile]);
    let job = desk.next_job(now).unwrap();
    assert!(job.park.as_deref().unwrap().contains("bundle"), "{job:?}");
    done(&mut desk, job, now);
    assert_eq!(desk.next_acks(now + Duration::from_secs(1)).len(), 1);
}

/// What may happen to a desk.
#[derive(Debug, Clone)]
enum Step {
    Arrive(u8),
    Begin,
    /// The oldest job ends; each of its deliveries fares as the numbers say.
    End(Vec<u8>),
    Pass(u16),
    Acks(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u8..4).prop_map(Step::Arrive),
        3 => Just(Step::Begin),
        3 => proptest::collection::vec(0u8..6, 4).prop_map(Step::End),
        1 => (1u16..5_000).prop_map(Step::Pass),
        2 => any::<bool>().prop_map(Step::Acks),
    ]
}

/// A desk, and what has become of each message by order key.
struct Model {
    desk: Desk,
    now: Instant,
    jobs: Vec<Job>,
    arrived: u32,
    /// By key: numbers that have arrived and are neither done nor parked.
    open: BTreeMap<String, Vec<u32>>,
    settled: Vec<String>,
    failures: BTreeMap<String, u32>,
}

impl Model {
    fn arrive(&mut self, key: u8) {
        if self.desk.room(self.now) == 0 {
            return;
        }
        self.arrived += 1;
        let key = format!("k{key}");
        let id = format!("{:05}", self.arrived);
        // No receipt expires in this model: a renewal always came in time.
        let mut delivery = delivery(&id, Some(&key), self.now);
        delivery.receipt.expires = None;
        self.open.entry(key).or_default().push(self.arrived);
        self.desk.arrived(vec![delivery]);
        assert!(self.desk.status.in_hand <= options().unacked_max);
    }

    fn begin(&mut self) {
        let Some(job) = self.desk.next_job(self.now) else { return };
        for delivery in &job.deliveries {
            let number: u32 = delivery.message_id.parse().unwrap();
            let open = &self.open[delivery.order_key.as_deref().unwrap()];
            assert_eq!(open.first(), Some(&number), "an earlier one of the key is open");
            let charged = self.failures.get(&delivery.message_id).copied().unwrap_or(0);
            assert_eq!(job.park.is_some(), charged >= options().charges_max);
        }
        self.jobs.push(job);
    }

    fn end(&mut self, fares: &[u8]) {
        if self.jobs.is_empty() {
            return;
        }
        let job = self.jobs.remove(0);
        let mut verdicts = Vec::new();
        for (delivery, fare) in job.deliveries.iter().zip(fares) {
            let id = delivery.message_id.clone();
            verdicts.push(match fare {
                0 if job.park.is_none() => {
                    *self.failures.entry(id).or_default() += 1;
                    Verdict::failed("x")
                }
                1 => Verdict::away("x"),
                _ => {
                    self.open.get_mut(delivery.order_key.as_deref().unwrap()).unwrap().remove(0);
                    self.settled.push(id);
                    Verdict::Done
                }
            });
        }
        self.desk.worked(job, verdicts, self.now);
    }

    fn acks(&mut self, answered: bool) {
        let acks = self.desk.next_acks(self.now);
        for (_, receipt) in &acks {
            assert!(self.settled.contains(&receipt.message_id), "acknowledged before it was done");
        }
        let result = match answered {
            true => Ok(vec![]),
            false => Err(FeedError::Link("down".into())),
        };
        self.desk.acked(acks, result, self.now);
    }
}

proptest! {
    #[test]
    fn whatever_happens_order_bounds_and_charges_are_kept_and_all_is_finished(
        steps in proptest::collection::vec(step(), 1..200)
    ) {
        let mut model = Model {
            desk: desk(Options { ordered: true, ..options() }),
            now: Instant::now(),
            jobs: Vec::new(),
            arrived: 0,
            open: BTreeMap::new(),
            settled: Vec::new(),
            failures: BTreeMap::new(),
        };
        for step in steps {
            match step {
                Step::Arrive(key) => model.arrive(key),
                Step::Begin => model.begin(),
                Step::End(fares) => model.end(&fares),
                Step::Pass(ms) => model.now += Duration::from_millis(ms.into()),
                Step::Acks(answered) => model.acks(answered),
            }
        }
        // In the end everything goes well.
        for _ in 0..1_000 {
            model.begin();
            model.end(&[2; 4]);
            model.acks(true);
            model.now = model.desk.next_wake(model.now).unwrap_or(model.now);
        }
        prop_assert!(model.desk.is_empty() && model.jobs.is_empty());
        prop_assert_eq!(model.settled.len(), model.arrived as usize);
        prop_assert_eq!(model.desk.status.acked, u64::from(model.arrived));
    }
}
