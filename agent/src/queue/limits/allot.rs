//! What of the disk is each lane's. Pure.
//!
//! The parts are bounds, not reservations, and they are hard: one lane's backlog never takes what is
//! another's. Those of users' lanes together are never more than the disk that all may have.

use super::Claim;

/// Part of a lane of the agent's own: between these, a quarter of what the others have.
const OWN_LEAST_BYTES: u64 = 1 << 20;
const OWN_MOST_BYTES: u64 = 16 << 20;

/// The bound of each lane, in the order of `claims`, where all may have `disk` bytes.
///
/// A lane has its quota, and the others share by weight what the quotas leave. Where that is less
/// than half of what weight alone would give them, the quotas shrink in proportion.
pub(super) fn caps(disk: u64, claims: &[Claim]) -> Vec<u64> {
    let sum = |of: fn(&Claim) -> u64| claims.iter().map(of).map(u128::from).sum::<u128>();
    let weights = sum(|claim| weight(claim) + quota_weight(claim));
    let (sharing, quotas) = (sum(weight), sum(quota));
    let least = u128::from(disk / 2) * sharing / weights.max(1);
    let most = disk - u64::try_from(least).unwrap_or(disk);
    let for_quotas = u64::try_from(quotas).unwrap_or(u64::MAX).min(most);
    let rest = disk - for_quotas;
    let cap = |claim: &Claim| match *claim {
        Claim::Weight(_) => part(rest, weight(claim), sharing),
        Claim::Quota(bytes, _) => part(for_quotas, bytes, quotas).min(bytes),
        Claim::Own => (disk / 4).clamp(OWN_LEAST_BYTES, OWN_MOST_BYTES),
    };
    claims.iter().map(cap).collect()
}

/// Of `whole`, `of` parts out of `all`.
fn part(whole: u64, of: u64, all: u128) -> u64 {
    let part = u128::from(whole) * u128::from(of) / all.max(1);
    u64::try_from(part).unwrap_or(u64::MAX)
}

fn weight(claim: &Claim) -> u64 {
    if let Claim::Weight(weight) = claim { u64::from(*weight) } else { 0 }
}

fn quota_weight(claim: &Claim) -> u64 {
    if let Claim::Quota(_, weight) = claim { u64::from(*weight) } else { 0 }
}

fn quota(claim: &Claim) -> u64 {
    if let Claim::Quota(bytes, _) = claim { *bytes } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Claim::{Own, Quota, Weight};
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn lanes_share_by_weight_what_the_quotas_leave() {
        assert_eq!(caps(100, &[Weight(1), Weight(3)]), [25, 75]);
        assert_eq!(caps(100, &[Quota(20, 1), Weight(1), Weight(3)]), [20, 20, 60]);
        assert_eq!(caps(100, &[Quota(20, 1)]), [20]);
        assert_eq!(caps(u64::MAX, &[Quota(20, 1), Weight(1)]), [20, u64::MAX - 20]);
    }

    #[test]
    fn quotas_that_are_too_large_shrink_and_leave_the_others_something() {
        assert_eq!(caps(100, &[Quota(1000, 1), Weight(1)]), [75, 25]);
        assert_eq!(caps(100, &[Quota(300, 1), Quota(100, 1)]), [75, 25]);
    }

    #[test]
    fn lanes_of_the_agents_own_have_a_small_part_beside_the_others() {
        assert_eq!(caps(100 * MIB, &[Weight(1), Own]), [100 * MIB, 16 * MIB]);
        assert_eq!(caps(8 * MIB, &[Weight(1), Own]), [8 * MIB, 2 * MIB]);
        assert_eq!(caps(0, &[Weight(1), Own]), [0, MIB]);
    }

    fn claim() -> impl Strategy<Value = Claim> {
        prop_oneof![
            (1u32..100).prop_map(Weight),
            (prop_oneof![0..1u64 << 34, Just(u64::MAX)], 1u32..100).prop_map(|(q, w)| Quota(q, w)),
            Just(Own),
        ]
    }

    proptest! {
        #[test]
        fn the_parts_of_users_lanes_are_never_more_than_the_disk_nor_than_a_quota(
            disk in prop_oneof![0..1u64 << 34, Just(u64::MAX)],
            claims in prop::collection::vec(claim(), 1..8),
        ) {
            let caps = caps(disk, &claims);
            let users = claims.iter().zip(&caps).filter(|(c, _)| !matches!(c, Own));
            let sum: u128 = users.map(|(_, cap)| u128::from(*cap)).sum();
            prop_assert!(sum <= u128::from(disk), "{caps:?}");
            for (claim, cap) in claims.iter().zip(&caps) {
                let Quota(bytes, _) = claim else { continue };
                prop_assert!(cap <= bytes, "{caps:?}");
            }
            let sharing = claims.iter().zip(&caps).filter(|(c, _)| matches!(c, Weight(_)));
            prop_assert!(disk < 1 << 20 || sharing.clone().all(|(_, cap)| *cap > 0), "{caps:?}");
        }
    }
}
