//! Where a lane ended at times that are remembered, so that ages are told by the monotonic clock
//! and without reading a record. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// An age is measured in so many steps.
const STEPS: u32 = 16;

/// See the module.
#[derive(Debug, Clone)]
pub struct Marks {
    age: Duration,
    /// Moments, and where the lane ended then; the first is the newest that is `age` old.
    marks: VecDeque<(Instant, u64)>,
    /// The last look.
    seen: (Instant, u64),
}

impl Marks {
    /// Of a lane that ends at `end`, to tell ages up to `age`.
    pub fn new(age: Duration, end: u64, now: Instant) -> Self {
        Self { age, marks: [(now, end)].into(), seen: (now, end) }
    }

    /// The lane ends at `end` now.
    pub fn note(&mut self, end: u64, now: Instant) {
        // The last look may be long ago, and there need be none at each step.
        for look in [std::mem::replace(&mut self.seen, (now, end)), (now, end)] {
            let (at, known) = self.marks.back().copied().unwrap_or(look);
            if known != look.1 && now >= at + self.age / STEPS {
                self.marks.push_back(look);
            }
        }
        while self.marks.get(1).is_some_and(|(at, _)| now >= *at + self.age) {
            self.marks.pop_front();
        }
    }

    /// All from here on were accepted within `age`, to a step; 0 if that is all that came.
    pub fn younger_than(&self, age: Duration, now: Instant) -> u64 {
        let old = self.marks.iter().rev().find(|(at, _)| now >= *at + age);
        old.map_or(0, |(_, end)| *end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AGE: Duration = Duration::from_secs(16);

    proptest! {
        #[test]
        fn what_is_said_to_be_old_is_and_what_is_old_is_soon_said_to_be(
            steps in prop::collection::vec((0_u64..5, 1_u64..9_000), 1..300),
        ) {
            let mut now = Instant::now();
            let mut marks = Marks::new(AGE, 1, now);
            let (mut born, mut longest) = (Vec::new(), Duration::ZERO);
            for (come, ms) in steps {
                now += Duration::from_millis(ms);
                longest = longest.max(Duration::from_millis(ms));
                born.extend((0..come).map(|_| now));
                marks.note(born.len() as u64 + 1, now);
                prop_assert!(marks.marks.len() <= 2 * STEPS as usize + 3);
                for age in [AGE, AGE / 2] {
                    let young = marks.younger_than(age, now);
                    for (position, at) in (1..).zip(&born) {
                        prop_assert!(position >= young || now >= *at + age, "too young");
                        let late = now >= *at + age + AGE / STEPS + longest;
                        prop_assert!(position < young || !late, "old for long");
                    }
                }
            }
        }
    }
}
