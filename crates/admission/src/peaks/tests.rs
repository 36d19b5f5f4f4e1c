use proptest::prelude::*;

use super::*;

proptest! {
    /// Never lower than it was, and exact while few enough are told apart.
    #[test]
    fn the_highest_level_since_is_never_forgotten(
        levels in prop::collection::vec(0_i128..50, 1..60), since in 0_u64..60,
    ) {
        let mut peaks = Peaks::default();
        for (sequence, level) in (1..).zip(&levels) {
            peaks.note(*level, sequence);
        }
        let after = levels.iter().skip(usize::try_from(since).unwrap());
        let truth = after.max().copied();
        prop_assert!(peaks.since(since) >= truth);
        // How many distinct peaks a perfect memory would hold.
        let mut descending: Vec<i128> = Vec::new();
        for level in &levels {
            descending.retain(|it| it > level);
            descending.push(*level);
        }
        if descending.len() <= PEAKS_MAX && levels.len() <= PEAKS_MAX {
            prop_assert_eq!(peaks.since(since), truth);
        }
    }

    /// What is given back to one call counts as having been there for the others.
    #[test]
    fn raised_levels_stay_in_order_and_within_the_capacity(
        levels in prop::collection::vec(0_i128..50, 1..8), since in 0_u64..8, by in 0_i128..80,
    ) {
        let mut peaks = Peaks::default();
        for (sequence, level) in (1..).zip(&levels) {
            peaks.note(*level, sequence);
        }
        let before = peaks.since(since);
        peaks.raise(since, by, 50);
        prop_assert_eq!(peaks.since(since), before.map(|it| (it + by).min(50)));
        prop_assert!(peaks.0.iter().is_sorted_by(|a, b| a.level > b.level && a.sequence < b.sequence));
    }
}
