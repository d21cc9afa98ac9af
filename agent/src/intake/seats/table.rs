//! Whether whoever comes gets a place, and whose. Pure.

use std::cmp::Reverse;

use tokio::time::Instant;

use super::{Shortage, User};

/// A place that is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub(super) user: User,
    /// Since when nothing is under way; `None` while something is.
    pub(super) idle_since: Option<Instant>,
}

/// What becomes of one who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Admit,
    /// In the place of that one.
    Replace(usize),
    Refuse(Shortage),
}

/// The most that one user has, so that he can never shut out the others.
fn share(max: usize) -> usize {
    max.div_ceil(2)
}

/// What only root and the agent's own user get, so that they can always look.
fn kept(max: usize) -> usize {
    max.div_ceil(16)
}

/// Of `max` places those are taken.
pub(super) fn decide(taken: &[Taken], user: User, max: usize) -> Decision {
    let held = |of: User| taken.iter().filter(|place| place.user == of).count();
    let mine = held(user);
    let limited = matches!(user, User::Other(_));
    if limited && mine >= share(max) {
        return Decision::Refuse(Shortage::Share);
    }
    let others = taken.iter().filter(|place| !matches!(place.user, User::Own(_))).count();
    // In that case a place of the agent's own user would be none for this one.
    let rest_is_kept = limited && others >= max.saturating_sub(kept(max));
    if taken.len() < max && !rest_is_kept {
        return Decision::Admit;
    }
    // With one more or less they would take it from each other in turn.
    let has_more = |of: User| matches!(user, User::Own(_)) || held(of) > mine + 1;
    let may_go =
        |of: User| of != user && has_more(of) && !(rest_is_kept && matches!(of, User::Own(_)));
    let idle = taken.iter().enumerate().filter_map(|(at, place)| {
        let since = place.idle_since.filter(|_| may_go(place.user))?;
        Some(((held(place.user), Reverse(since)), at))
    });
    match idle.max() {
        Some((_, at)) => Decision::Replace(at),
        None => Decision::Refuse(Shortage::Full),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const A: User = User::Other(1000);
    const B: User = User::Other(1001);
    const C: User = User::Other(1002);
    const ROOT: User = User::Own(0);

    /// Places of one user, of which the last has been idle for the longest.
    fn idle(user: User, count: u64) -> Vec<Taken> {
        let now = Instant::now() + Duration::from_secs(1000);
        let since = |age| Some(now - Duration::from_secs(age));
        (1..=count).map(|age| Taken { user, idle_since: since(age) }).collect()
    }

    fn busy(user: User, count: usize) -> Vec<Taken> {
        vec![Taken { user, idle_since: None }; count]
    }

    #[test]
    fn one_user_has_half_and_the_others_have_the_rest() {
        for many in [busy(A, 8), idle(A, 8)] {
            assert_eq!(decide(&many, A, 16), Decision::Refuse(Shortage::Share));
            assert_eq!(decide(&many, B, 16), Decision::Admit);
        }
        assert_eq!(decide(&busy(A, 7), A, 16), Decision::Admit);
    }

    #[test]
    fn some_are_kept_for_root_and_the_agents_own_user() {
        let taken = [busy(A, 8), busy(B, 7)].concat();
        assert_eq!(decide(&taken, C, 16), Decision::Refuse(Shortage::Full));
        assert_eq!(decide(&taken, ROOT, 16), Decision::Admit);
        let full = [taken, busy(ROOT, 1)].concat();
        assert_eq!(decide(&full, ROOT, 16), Decision::Refuse(Shortage::Full));
        // What root has is not what the others may have.
        let taken = [busy(A, 5), busy(ROOT, 9)].concat();
        assert_eq!(decide(&taken, B, 16), Decision::Admit);
    }

    #[test]
    fn root_is_bound_by_the_number_of_places_alone_and_makes_room_for_others() {
        assert_eq!(decide(&idle(ROOT, 15), ROOT, 16), Decision::Admit);
        assert_eq!(decide(&idle(ROOT, 16), ROOT, 16), Decision::Refuse(Shortage::Full));
        assert_eq!(decide(&idle(ROOT, 16), A, 16), Decision::Replace(15));
    }

    #[test]
    fn who_has_most_loses_the_one_that_has_been_idle_for_the_longest() {
        let taken = [idle(B, 6), idle(A, 8), busy(A, 1)].concat();
        assert_eq!(decide(&taken, C, 16), Decision::Replace(13));
        let taken = [idle(B, 7), busy(A, 8)].concat();
        assert_eq!(decide(&taken, C, 16), Decision::Replace(6));
        assert_eq!(decide(&[taken, busy(ROOT, 1)].concat(), ROOT, 16), Decision::Replace(6));
    }

    #[test]
    fn nobody_loses_one_to_a_user_who_has_as_many_nor_to_himself() {
        let taken = [idle(A, 8), idle(B, 7)].concat();
        assert_eq!(decide(&taken, B, 16), Decision::Refuse(Shortage::Full));
        let taken = [idle(A, 7), idle(B, 5), idle(C, 3)].concat();
        assert_eq!(decide(&taken, B, 16), Decision::Replace(6));
        assert_eq!(decide(&taken, A, 16), Decision::Refuse(Shortage::Full));
    }

    #[test]
    fn what_root_has_is_left_to_it_while_only_what_is_kept_is_free() {
        let taken = [busy(A, 8), busy(B, 7), idle(ROOT, 1)].concat();
        assert_eq!(decide(&taken, C, 16), Decision::Refuse(Shortage::Full));
    }

    #[test]
    fn those_whom_nobody_knows_have_all_places_and_are_not_replaced() {
        assert_eq!(decide(&idle(User::Unknown, 15), User::Unknown, 16), Decision::Admit);
        let refused = Decision::Refuse(Shortage::Full);
        assert_eq!(decide(&idle(User::Unknown, 16), User::Unknown, 16), refused);
    }
}
