use proptest::prelude::*;

use super::*;
use crate::UserSlot;

/// By the definition, one call after the other.
fn latest(calls: &[Spot], class: Priority) -> Option<Monotonic> {
    let mut before = 0;
    let latest = calls.iter().map(|it| {
        before += u128::from(it.size);
        i128::from(it.deadline.0) - span(before, class)
    });
    let at = latest.min()?.max(0);
    Some(Monotonic(u64::try_from(at).unwrap()))
}

proptest! {
    /// Whatever comes and goes, in whatever order: the oldest, how many, and when the first would be late.
    #[test]
    fn nobody_is_late_before_it_is_said(
        steps in prop::collection::vec((any::<bool>(), 0..2_000_u64, 1..1_000_000_u64, 0..u64::MAX / 2), 1..1_500),
    ) {
        let class = Priority::Low;
        let mut ages = Ages::new(class);
        let mut plain: Vec<Spot> = Vec::new();
        for (number, (leaves, since, size, deadline)) in steps.into_iter().enumerate() {
            if leaves && !plain.is_empty() {
                let gone = plain.remove(usize::try_from(since).unwrap() % plain.len());
                prop_assert!(ages.remove(gone.age()));
                prop_assert!(!ages.remove(gone.age()));
            } else {
                let spot = Spot {
                    user: UserSlot::NONE,
                    since: Monotonic(since),
                    ticket: Ticket(number as u64 + 1),
                    size,
                    urgent: false,
                    deadline: Monotonic(deadline),
                };
                let at = plain.partition_point(|it| it.age() < spot.age());
                plain.insert(at, spot);
                ages.insert(spot);
            }
            prop_assert_eq!(ages.len(), plain.len());
            prop_assert_eq!(ages.oldest(), plain.first());
            prop_assert_eq!(ages.latest(), latest(&plain, class));
        }
    }
}
