//! When a call will fit, by the law of [its bucket](super).

use tidegate_types::Priority;

use super::{Fit, Flow};

impl Flow {
    /// When what its class earns from `from` on pays for the call alone, at the earliest.
    pub(crate) fn first_earned(&self, cost: i128, class: Priority, from: u64) -> u64 {
        let missing = cost.min(self.capacity).saturating_sub(self.claim(class));
        let share = i128::from(self.share(class)).max(1);
        let nanos = missing.max(0).saturating_add(share - 1) / share;
        from.saturating_add(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The first nanosecond from `from` on at which a call fits, if nobody spends until then.
    /// Within a piece what a class may spend never falls, so bisection finds it exactly.
    pub(crate) fn first_fit(&self, cost: i128, class: Priority, from: u64) -> u64 {
        let mut flow = *self;
        flow.advance(from);
        flow.lapse();
        while flow.fit(cost, class) == Fit::Not && flow.at < u64::MAX {
            let span = flow.steady_for();
            let fits_after = |nanos: u64| {
                let mut later = flow;
                later.drift(nanos);
                later.fit(cost, class) != Fit::Not
            };
            // At the very end of the piece claims may lapse: that instant belongs to the next one.
            let (mut not_yet, mut fits) = (0, span - 1);
            if fits > 0 && fits_after(fits) {
                while fits - not_yet > 1 {
                    let middle = not_yet + (fits - not_yet) / 2;
                    *(if fits_after(middle) {
                        &mut fits
                    } else {
                        &mut not_yet
                    }) = middle;
                }
                return flow.at.saturating_add(fits);
            }
            flow.drift(span);
            flow.lapse();
        }
        flow.at
    }
}
