//! What holds at every moment, what the far side is told, and what is owed in the end.

use std::collections::BTreeSet;
use std::time::Duration;

use spillway_protocol::message::StreamId;

use super::World;
use crate::queue::tests::model::machine::{LANES, TOTAL_BYTES, lane_of};
use crate::queue::{Fate, GivenUp, Run};

impl World {
    pub(super) fn tell(&mut self, heard: bool) {
        let lanes = self.parts().lanes.clone();
        let of_lanes: Vec<GivenUp> = lanes.iter().flat_map(|lane| lane.untold()).collect();
        let of_letters = self.parts().dead.untold();
        let known: BTreeSet<_> = self.given_up.union(&self.perhaps).copied().collect();
        for range in of_lanes.iter().chain(&of_letters) {
            assert_eq!(range.stream, StreamId(1));
            let lane = lane_of(&range.lane);
            let numbers = (range.from..=range.to).filter(|seq| match range.fate {
                Fate::Thinned(every) => !seq.is_multiple_of(u64::from(every)),
                // What goes where it was thinned before is told as one range.
                Fate::Dropped | Fate::Expired => known.contains(&(lane, range.fate, *seq)),
                _ => true,
            });
            let count = numbers.clone().count() as u64;
            let may_be_thinned = matches!(range.fate, Fate::Dropped | Fate::Expired);
            assert!(may_be_thinned || count == range.count());
            self.told.extend(numbers.map(|seq| (lane, range.fate, seq)));
        }
        assert!(self.told.is_subset(&known), "{:?} {known:?}", self.told);
        if heard {
            let of = |range: &GivenUp| lanes[lane_of(&range.lane)].told(&range.grave());
            of_lanes.iter().for_each(of);
            let letters = of_letters.iter().map(|range| (&range.lane, range.grave()));
            // What failed is told again.
            drop(self.parts().dead.told(letters));
        }
    }

    pub(super) fn check(&self) {
        let mut here = 0;
        for lane in &self.parts().lanes {
            let accounts = lane.accounts();
            assert!(accounts.balanced(), "{accounts:?}");
            assert_eq!(accounts.damaged, 0, "{accounts:?}");
            here += accounts.waiting + accounts.dead;
        }
        assert!(here >= self.owed.len() as u64, "{here} of {:?}", self.owed);
    }

    /// Delivers everything that is left: then nothing is owed any more.
    pub(in crate::queue::tests::model) fn finish(mut self) {
        self.faults.clear();
        self.capacity = TOTAL_BYTES / 2;
        // Letters go back as far as the quota has room.
        for _ in 0..1000 {
            (0..LANES.len()).for_each(|lane| self.empty(lane));
            (0..2).for_each(|_| assert!(self.save()));
            if self.letters().unwrap().is_empty() {
                break;
            }
            self.replay();
        }
        assert_eq!(self.owed, BTreeSet::new(), "acknowledged and lost");
        for lane in &self.parts().lanes {
            let accounts = lane.accounts();
            assert!(accounts.balanced() && accounts.waiting == 0, "{accounts:?}");
        }
        self.tell(true);
        assert!(self.given_up.is_subset(&self.told), "what was given up was told");
        self.tell(true);
        let untold = self.parts().lanes.iter().any(|lane| !lane.untold().is_empty());
        assert!(!untold && self.parts().dead.untold().is_empty());
    }

    fn empty(&mut self, lane: usize) {
        self.turn = lane;
        for _ in 0..100_000 {
            self.now += Duration::from_secs(2);
            let run = Run { records: 9, bytes: 9_000 };
            let leases = self.lane().lease(0, 100, 1 << 20, run, self.now).unwrap();
            if leases.is_empty() && self.lane().accounts().waiting == 0 {
                return;
            }
            for lease in leases {
                self.see_order(&lease);
                self.owed.remove(lease.record.id.as_str());
                lease.ack();
            }
        }
        panic!("{} is never empty", LANES[lane]);
    }
}
