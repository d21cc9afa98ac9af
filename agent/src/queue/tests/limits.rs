//! Lanes at their bounds, on sled and a file system that says what the test wants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use super::*;
use crate::config::{Share, WhenFull};

const MIB: u64 = 1 << 20;

/// A file system of 1 GiB and a thousand inodes.
#[derive(Debug, Clone)]
struct Fake(Arc<Mutex<Room>>);

impl Fake {
    fn new() -> Self {
        let room = Room {
            total_bytes: 1 << 30,
            free_bytes: 1 << 30,
            total_inodes: 1000,
            free_inodes: 1000,
        };
        Self(Arc::new(Mutex::new(room)))
    }
}

impl Space for Fake {
    fn look(&self) -> Option<Room> {
        Some(*self.0.lock().unwrap())
    }
}

fn b() -> LaneName {
    LaneName::parse("b").unwrap()
}

fn lane(claim: Claim, priority: u32, when_full: WhenFull) -> LaneLimits {
    LaneLimits { claim, priority, when_full }
}

/// A queue with the lanes `a` and `b`, of which each record is a commit of its own.
struct Bench {
    queue: Option<Queue>,
    space: Fake,
    stored: BTreeMap<LaneName, Vec<u64>>,
    count: u32,
    folder: tempfile::TempDir,
    limits: [LaneLimits; 2],
    keep: Option<Keep>,
}

impl Bench {
    fn new(limits: [LaneLimits; 2]) -> Self {
        Self::keeping(limits, None)
    }

    fn keeping(limits: [LaneLimits; 2], keep: Option<Keep>) -> Self {
        let (folder, space) = (tempfile::tempdir().unwrap(), Fake::new());
        let queue = Self::open(folder.path(), &space, limits, keep);
        let queue = Some(queue);
        Self { queue, space, stored: BTreeMap::new(), count: 0, folder, limits, keep }
    }

    fn open(
        folder: &Path,
        space: &Fake,
        [of_a, of_b]: [LaneLimits; 2],
        keep: Option<Keep>,
    ) -> Queue {
        let limits = Limits {
            disk: Share::Percent(10),
            keep_free: Share::Bytes(100 * MIB),
            space: Some(Arc::new(space.clone())),
            lanes: BTreeMap::from([(a(), of_a), (b(), of_b)]),
            ..Limits::default()
        };
        let options = Options {
            limits,
            keep,
            segment_bytes: 4 * MIB,
            ..super::options(folder, Ordering::None)
        };
        Queue::open(options, Arc::new(SystemClock)).unwrap().0
    }

    fn reopen(&mut self) {
        self.queue().close();
        self.queue = None;
        self.queue = Some(Self::open(self.folder.path(), &self.space, self.limits, self.keep));
    }

    fn queue(&self) -> &Queue {
        self.queue.as_ref().unwrap()
    }

    /// The file system has so much free from now on.
    fn free_bytes(&self, bytes: u64) {
        self.space.0.lock().unwrap().free_bytes = bytes;
        self.queue().gate().forget_look();
    }

    fn free_inodes(&self, inodes: u64) {
        self.space.0.lock().unwrap().free_inodes = inodes;
        self.queue().gate().forget_look();
    }

    fn store(&mut self, lane: &LaneName, body_bytes: usize) -> Result<(), String> {
        self.count += 1;
        let record = record(&format!("r{}", self.count), &"x".repeat(body_bytes));
        let receipt = self.queue().submit(lane, record).wait();
        let receipt = receipt.map_err(|error| error.to_string())?;
        self.stored.entry(lane.clone()).or_default().push(receipt.seq);
        Ok(())
    }

    /// Stores records of 20 kB until one is refused; why.
    fn fill(&mut self, lane: &LaneName, most: usize) -> Option<String> {
        (0..most).find_map(|_| self.store(lane, 20_000).err())
    }

    fn drain(&self, lane: &LaneName) -> BTreeSet<u64> {
        let leases = self.queue().lease(lane, 100_000, usize::MAX);
        let seqs = leases.iter().map(|lease| lease.stamp.seq).collect();
        leases.into_iter().for_each(Lease::ack);
        (0..2).for_each(|_| self.queue().save().unwrap());
        seqs
    }

    fn accounts(&self, lane: &LaneName) -> Accounts {
        let accounts = self.queue().figures(lane).unwrap().accounts;
        assert!(accounts.balanced(), "{accounts:?}");
        accounts
    }

    fn limit(&self, lane: &LaneName) -> LaneLimit {
        self.queue().limit(lane).unwrap()
    }

    /// Numbers that are told to be given up, of this lane alone.
    fn told(&self, lane: &LaneName) -> BTreeSet<u64> {
        let untold = self.queue().untold();
        assert!(untold.iter().all(|range| range.lane == *lane && range.fate == Fate::Dropped));
        untold.iter().flat_map(|range| range.from..=range.to).collect()
    }

    fn seqs(&self, lane: &LaneName) -> BTreeSet<u64> {
        self.stored[lane].iter().copied().collect()
    }
}

const REJECT: WhenFull = WhenFull::Reject;
const DROP: WhenFull = WhenFull::DropOldest;

#[test]
fn a_lane_at_its_quota_is_refused_and_the_other_is_not_and_it_takes_more_when_it_is_drained() {
    let limits = [lane(Claim::Quota(2 * MIB, 1), 1, REJECT), lane(Claim::Weight(1), 1, REJECT)];
    let mut bench = Bench::new(limits);
    let refused = bench.fill(&a(), 1000).expect("it has a bound");
    assert!(refused.contains("lane a is full") && refused.contains("of 2.0 MiB, its quota"));
    assert_eq!(bench.fill(&b(), 120), None, "the other lane goes on");
    let (limit, stored) = (bench.limit(&a()), bench.stored[&a()].len() as u64);
    assert!(limit.used_bytes <= 2 * MIB && limit.used_bytes > 3 * MIB / 2, "{limit:?}");
    assert_eq!(limit.cap_bytes, Some(2 * MIB));
    assert!(limit.full.is_some_and(|full| full.contains("its quota")));
    assert_eq!((bench.accounts(&a()).accepted, bench.accounts(&a()).waiting), (stored, stored));
    // What was stored is known, also in a full lane.
    let again = bench.queue().submit(&a(), record("r1", &"x".repeat(20_000))).wait().unwrap();
    assert!(again.duplicate);
    assert_eq!(bench.drain(&a()), bench.seqs(&a()));
    bench.store(&a(), 20_000).unwrap();
    assert_eq!(bench.limit(&a()).full, None);
    bench.reopen();
    assert_eq!(bench.drain(&a()).len(), 1);
}

#[test]
fn of_many_at_once_those_before_the_first_that_does_not_fit_are_stored_and_none_behind_it() {
    for way in [REJECT, DROP] {
        let limits = [lane(Claim::Quota(MIB, 1), 1, way), lane(Claim::Weight(1), 1, REJECT)];
        let bench = Bench::new(limits);
        // Leased: a lane which drops has to do so behind it, and can once a segment there is closed.
        bench.queue().submit(&a(), record("first", "x")).wait().unwrap();
        let leased = bench.queue().lease(&a(), 1, usize::MAX);
        let submit =
            |n: usize| bench.queue().submit(&a(), record(&format!("r{n}"), &"x".repeat(5_000)));
        let tickets: Vec<Ticket> = (0..600).map(submit).collect();
        let again = bench.queue().submit(&a(), record("first", "x"));
        let answers: Vec<_> = tickets.into_iter().map(Ticket::wait).collect();
        let fitting = answers.iter().position(Result::is_err).unwrap_or(answers.len());
        match way {
            REJECT => assert!(fitting > 50 && fitting < 220, "{fitting}"),
            _ => assert!(fitting < 220 || bench.accounts(&a()).dropped > 0, "{fitting}"),
        }
        assert!(answers[fitting..].iter().all(Result::is_err), "{way:?}");
        let seqs = answers[..fitting].iter().map(|answer| answer.as_ref().unwrap().seq);
        assert!(seqs.eq(2..2 + fitting as u64));
        drop((again, leased));
        assert_eq!(bench.accounts(&a()).accepted, 1 + fitting as u64);
        assert!(bench.limit(&a()).used_bytes <= MIB);
    }
}

#[test]
fn lanes_without_a_quota_share_a_tenth_of_the_file_system() {
    let limits = [lane(Claim::Weight(1), 1, REJECT), lane(Claim::Weight(3), 1, REJECT)];
    let bench = Bench::new(limits);
    let tenth = (1 << 30) / 10;
    assert_eq!(bench.limit(&a()).cap_bytes, Some(tenth / 4));
    assert_eq!(bench.limit(&b()).cap_bytes, Some(tenth * 3 / 4));
    let none = Queue::open(
        options(bench.folder.path().join("x").as_path(), Ordering::None),
        Arc::new(SystemClock),
    );
    assert_eq!(none.unwrap().0.limit(&a()).unwrap().cap_bytes, None);
}

#[test]
fn a_record_larger_than_the_lanes_part_is_refused_for_good_and_in_nobodys_way() {
    for way in [REJECT, DROP] {
        let limits = [lane(Claim::Quota(MIB, 1), 1, way), lane(Claim::Weight(1), 1, REJECT)];
        let mut bench = Bench::new(limits);
        bench.store(&a(), 20_000).unwrap();
        let submit =
            |id: &str, bytes: usize| bench.queue().submit(&a(), record(id, &"x".repeat(bytes)));
        let tickets = [submit("p", 1000), submit("q", 2 << 20), submit("r", 1000)];
        let [before, refused, behind] = tickets.map(Ticket::wait);
        let Err(AppendError::TooLarge(why)) = refused else { panic!("{refused:?}") };
        assert!(why.starts_with("this takes 2.2 MiB and lane a may have 1.0 MiB, its quota"));
        assert_eq!((before.unwrap().seq, behind.unwrap().seq), (2, 3));
        assert_eq!((bench.accounts(&a()).waiting, bench.limit(&a()).full), (3, None));
    }
}

#[test]
fn a_letter_that_its_lane_will_not_take_stays_and_the_others_are_replayed() {
    let of_a = |quota| lane(Claim::Quota(quota, 1), 1, REJECT);
    let mut bench = Bench::new([of_a(8 * MIB), lane(Claim::Weight(1), 1, REJECT)]);
    for bytes in [1000, 300_000, 350_000, 1000] {
        bench.store(&a(), bytes).unwrap();
    }
    let leases = bench.queue().lease(&a(), 4, usize::MAX);
    leases.into_iter().for_each(|lease| lease.dead_letter("code", "reason").unwrap());
    bench.limits[0] = of_a(MIB / 4);
    bench.reopen();
    let all = DeadFilter::default();
    for (count, left) in [(2, 2), (0, 2)] {
        let replayed = bench.queue().dead_replay(&all, || false).unwrap();
        assert_eq!((replayed.count, replayed.left, replayed.broken_off), (count, left, None));
        assert!(
            replayed.left_for.unwrap().contains("takes 361.6 KiB and lane a may have 256.0 KiB")
        );
    }
    let accounts = bench.accounts(&a());
    assert_eq!((accounts.waiting, accounts.dead), (2, 2));
}

#[test]
fn a_lane_for_which_nothing_comes_any_more_takes_a_part_only_while_something_waits_there() {
    let folder = tempfile::tempdir().unwrap();
    let one = || lane(Claim::Weight(1), 1, REJECT);
    let retiring = || Options {
        limits: Limits {
            disk: Share::Bytes(4 * MIB),
            lanes: BTreeMap::from([(a(), one()), (b(), one())]),
            retired: [a()].into(),
            ..Limits::default()
        },
        ..options(folder.path(), Ordering::None)
    };
    let queue = Queue::open(retiring(), Arc::new(SystemClock)).unwrap().0;
    let caps = || [a(), b()].map(|lane| queue.limit(&lane).unwrap().cap_bytes);
    assert_eq!(caps(), [None, Some(4 * MIB)]);
    store(&queue, 0..1);
    queue.change(&retiring(), &retiring()).unwrap();
    assert_eq!(caps(), [Some(2 * MIB); 2]);
    // What has no room beside it is not refused for good: it will have some.
    let submit = |mib: usize| queue.submit(&b(), record("large", &"x".repeat(mib << 20)));
    let Err(AppendError::Full(why)) = submit(3).wait() else { panic!("it fits") };
    assert!(why.contains("may have 2.0 MiB"), "{why}");
    let Err(AppendError::TooLarge(why)) = submit(4).wait() else { panic!("it fits") };
    assert!(why.contains("may have 4.0 MiB"), "{why}");
    queue.lease(&a(), 1, usize::MAX).into_iter().for_each(Lease::ack);
    queue.change(&retiring(), &retiring()).unwrap();
    submit(3).wait().unwrap();
}

#[test]
fn a_record_that_needs_nearly_all_of_its_lanes_part_is_stored_once_the_lane_is_empty() {
    let limits = [lane(Claim::Quota(MIB, 1), 1, REJECT), lane(Claim::Weight(1), 1, REJECT)];
    let mut bench = Bench::new(limits);
    bench.store(&a(), 20_000).unwrap();
    let large = 900_000;
    assert!(bench.store(&a(), large).unwrap_err().contains("is full"));
    bench.drain(&a());
    assert_eq!(bench.store(&a(), large), Ok(()));
}

#[test]
fn a_full_lane_drops_its_oldest_and_tells_exactly_those() {
    let limits = [lane(Claim::Quota(2 * MIB, 1), 1, DROP), lane(Claim::Weight(1), 1, REJECT)];
    let mut bench = Bench::new(limits);
    for _ in 0..3 {
        assert_eq!(bench.fill(&a(), 150), None, "it always takes more");
        let accounts = bench.accounts(&a());
        assert!(bench.limit(&a()).used_bytes <= 2 * MIB);
        assert!(accounts.dropped > 0 && accounts.waiting > 50, "{accounts:?}");
        bench.reopen();
        assert_eq!(bench.accounts(&a()), accounts, "what was dropped stays so");
    }
    let (told, dropped) = (bench.told(&a()), bench.accounts(&a()).dropped);
    assert_eq!(told.len() as u64, dropped);
    let left = bench.drain(&a());
    assert!(left.is_disjoint(&told));
    assert_eq!(left.union(&told).copied().collect::<BTreeSet<_>>(), bench.seqs(&a()));
    assert!(told.iter().max() < left.iter().min(), "the oldest went");
}

#[test]
fn what_is_leased_is_not_dropped_and_no_more_is_dropped_for_it() {
    let limits = [lane(Claim::Quota(MIB, 1), 1, DROP), lane(Claim::Weight(1), 1, REJECT)];
    let mut bench = Bench::new(limits);
    assert_eq!(bench.fill(&a(), 20), None);
    let leased = bench.queue().lease(&a(), 1, usize::MAX);
    let refused = bench.fill(&a(), 1000).expect("the oldest segment cannot go");
    assert!(refused.contains("lane a is full"), "{refused}");
    let dropped = bench.accounts(&a()).dropped;
    assert!(bench.fill(&a(), 1).is_some());
    assert_eq!(bench.accounts(&a()).dropped, dropped, "in vain");
    assert!(dropped < 10, "{dropped}");
    leased.into_iter().for_each(Lease::ack);
    assert_eq!(bench.fill(&a(), 1), None);
}

#[test]
fn nothing_is_stored_where_the_file_system_is_left_to_others_and_intake_resumes() {
    let limits = [lane(Claim::Weight(1), 1, REJECT), lane(Claim::Own, 9, REJECT)];
    let mut bench = Bench::new(limits);
    assert_eq!(bench.fill(&a(), 10), None);
    bench.free_bytes(99 * MIB);
    let refused = bench.store(&a(), 100).unwrap_err();
    assert!(refused.contains("99.0 MiB are free, and 100.0 MiB are left to others"), "{refused}");
    assert!(bench.limit(&a()).full.is_some());
    let closed = bench.queue().closed(&[a()]).unwrap();
    assert!(closed.contains("100.0 MiB are left to others"), "{closed}");
    bench.store(&b(), 100).expect("the agent's own goes further");
    bench.free_bytes(49 * MIB);
    assert!(bench.store(&b(), 100).is_err());
    assert_eq!(bench.drain(&a()).len(), 10, "it drains all the same");
    bench.free_bytes(1 << 30);
    assert_eq!(bench.queue().closed(&[a()]), None);
    bench.store(&a(), 100).unwrap();
    // A tenth of the bytes is to stay free, and so of the inodes: only a new segment needs some.
    bench.free_inodes(90);
    bench.store(&a(), 100).unwrap();
    bench.reopen();
    let known = bench.queue().submit(&a(), record("r1", &"x".repeat(20_000))).wait().unwrap();
    assert!(known.duplicate && bench.limit(&a()).full.is_none());
    let refused = bench.store(&a(), 100).unwrap_err();
    assert!(refused.contains("90 inodes are free, 97 are left to others"), "{refused}");
    bench.free_inodes(106);
    bench.store(&a(), 100).unwrap();
}

#[test]
fn lanes_are_closed_when_each_of_them_is() {
    let both = [a(), b()];
    let quota = || Claim::Quota(MIB, 1);
    let mut bench = Bench::new([lane(quota(), 0, REJECT), lane(quota(), 1, REJECT)]);
    assert_eq!(bench.queue().closed(&both), None);
    assert!(bench.fill(&a(), 200).is_some(), "it is full");
    assert_eq!(bench.queue().closed(&both), None, "there is still the other");
    assert!(bench.fill(&b(), 200).is_some(), "it is full");
    let closed = bench.queue().closed(&both).unwrap();
    assert!(closed.contains("lane a is full"), "{closed}");
}

#[test]
fn a_full_disk_closes_the_lanes_that_nobody_tried_but_for_those_that_give_way() {
    for (other, is_closed) in [(REJECT, true), (DROP, false)] {
        let lanes = [lane(Claim::Weight(1), 0, REJECT), lane(Claim::Weight(1), 0, other)];
        let mut bench = Bench::new(lanes);
        bench.free_bytes(99 * MIB);
        assert!(bench.store(&a(), 100).is_err());
        assert_eq!(bench.queue().closed(&[a(), b()]).is_some(), is_closed, "{other:?}");
    }
}

#[test]
fn a_critical_lane_loses_nothing_while_a_bulk_lane_can_give() {
    let limits = [lane(Claim::Weight(1), 0, DROP), lane(Claim::Weight(1), 2, DROP)];
    let mut bench = Bench::new(limits);
    assert_eq!(bench.fill(&a(), 300), None);
    assert_eq!(bench.fill(&b(), 300), None);
    // 4 MiB too little: a segment of the bulk lane's.
    bench.free_bytes(96 * MIB);
    drop(bench.store(&a(), 100));
    assert_eq!(bench.accounts(&a()).dropped, 0);
    let dropped = bench.accounts(&b()).dropped;
    assert!(dropped > 100 && dropped < 300, "{dropped}");
    assert_eq!(bench.told(&b()).len() as u64, dropped);
    // Others took the space: the bulk lane's cannot make up for it, so nothing goes.
    bench.free_bytes(10 * MIB);
    assert!(bench.store(&a(), 100).is_err());
    assert_eq!((bench.accounts(&a()).dropped, bench.accounts(&b()).dropped), (0, dropped));
    // The bulk lane never takes from the critical one.
    bench.free_bytes(94 * MIB);
    assert!(bench.store(&b(), 100).is_err());
    assert_eq!(bench.accounts(&a()).dropped, 0);
}

#[test]
fn what_is_kept_for_a_resend_goes_before_anything_that_waits() {
    let limits = [lane(Claim::Weight(1), 1, DROP), lane(Claim::Weight(1), 1, REJECT)];
    let keep = Keep { bytes: u64::MAX, time_ms: u64::MAX };
    let mut bench = Bench::keeping(limits, Some(keep));
    assert_eq!(bench.fill(&a(), 300), None);
    bench.drain(&a());
    bench.reopen();
    let used_bytes = bench.limit(&a()).used_bytes;
    assert!(used_bytes < MIB, "what is only kept does not count, from the start on: {used_bytes}");
    assert_eq!(bench.fill(&a(), 300), None);
    let before = bench.queue().figures(&a()).unwrap().disk_bytes;
    bench.free_bytes(98 * MIB);
    drop(bench.store(&a(), 100));
    assert_eq!(bench.accounts(&a()).dropped, 0);
    let after = bench.queue().figures(&a()).unwrap().disk_bytes;
    assert!(after + 3 * MIB < before, "{before} {after}");
}

/// Waits until it is so: the keeper works on its own.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn with_dead(folder: &Path, dead: DeadLimits, keep_bytes: u64) -> Queue {
    let limits = Limits { dead, ..Limits::default() };
    let options = options(folder, Ordering::None);
    let options = Options { limits, dead_keep_bytes: keep_bytes, ..options };
    Queue::open(options, Arc::new(SystemClock)).unwrap().0
}

fn bury(queue: &Queue, count: usize) {
    for lease in queue.lease(&a(), count, usize::MAX) {
        lease.dead_letter("c", "r").unwrap();
    }
}

fn told_purged(queue: &Queue) -> u64 {
    let purged = |range: &GivenUp| range.fate == Fate::Purged;
    queue.untold().iter().filter(|range| purged(range)).map(|range| range.to - range.from + 1).sum()
}

#[test]
fn letters_that_are_too_old_are_purged_counted_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let dead = DeadLimits { keep_for: Some(Duration::from_secs(3600)), ..DeadLimits::default() };
    let queue = with_dead(folder.path(), dead, 1 << 20);
    super::store(&queue, 0..10);
    bury(&queue, 4);
    queue.save().unwrap();
    queue.dead().noted(queue.dead().end());
    queue.dead().expire(&SystemClock).unwrap();
    assert_eq!(super::accounts(&queue).dead, 4, "young");
    queue.close();
    drop(queue);
    let dead = DeadLimits { keep_for: Some(Duration::from_millis(1)), ..dead };
    let queue = with_dead(folder.path(), dead, 1 << 20);
    until("they have left", || super::accounts(&queue).dead == 0);
    let expected = Accounts { accepted: 10, waiting: 6, dropped: 4, ..Accounts::default() };
    assert_eq!((super::accounts(&queue), told_purged(&queue)), (expected, 4));
    let id = RecordId::parse("r0").unwrap();
    until("the lane knows", || matches!(queue.find_id(&id), Place::Dropped { seq: 1, .. }));
    queue.close();
    drop(queue);
    assert_eq!(super::accounts(&with_dead(folder.path(), dead, 1 << 20)), expected);
}

#[test]
fn full_dead_letters_lose_the_oldest_where_they_may_and_only_what_the_lanes_know_to_be_dead() {
    let folder = tempfile::tempdir().unwrap();
    let dead = DeadLimits { when_full: DROP, ..DeadLimits::default() };
    let queue = with_dead(folder.path(), dead, 3000);
    super::store(&queue, 0..100);
    for _ in 0..20 {
        bury(&queue, 4);
        let noted = queue.dead().end();
        queue.save().unwrap();
        queue.dead().noted(noted);
    }
    let accounts = super::accounts(&queue);
    assert!(accounts.dead >= 4 && accounts.dead < 16, "{accounts:?}");
    assert_eq!((accounts.dead + accounts.dropped, accounts.waiting), (80, 20));
    assert_eq!(told_purged(&queue), accounts.dropped);
    let letters = queue.dead_list(&DeadFilter::default());
    assert!(letters.iter().map(|letter| letter.stamp.seq).eq(81 - accounts.dead..81), "the newest");
}
