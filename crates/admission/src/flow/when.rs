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
    pub(crate) fn first_fit(&self, cost: i128, class: Priority, from: u64) -> u64 {
        let mut flow = *self;
        flow.advance(from);
        flow.lapse();
        if flow.stirred || flow.threshold > 0 || flow.rate == 0 {
            flow.walk_to_fit(cost, class)
        } else {
            flow.fill_to_fit(cost, class)
        }
    }

    /// Where nobody waits, has earned anything or owes, and nothing is kept for anybody, the level only
    /// rises: a division says when it is high enough.
    fn fill_to_fit(&self, cost: i128, class: Priority) -> u64 {
        if self.fit(cost, class) != Fit::Not {
            return self.at;
        }
        let overdraft = if class == Priority::Critical {
            self.overdraft
        } else {
            0
        };
        // What is larger than the bucket starts from a full one.
        let enough = cost.saturating_sub(overdraft).min(self.capacity);
        let (missing, rate) = (enough.saturating_sub(self.level), i128::from(self.rate));
        let nanos = missing.max(0).saturating_add(rate - 1) / rate;
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.at.saturating_add(nanos)
    }

    /// Piece by piece. Within one, what a class may spend never falls, so bisection finds the nanosecond
    /// exactly.
    pub(super) fn walk_to_fit(mut self, cost: i128, class: Priority) -> u64 {
        while self.fit(cost, class) == Fit::Not && self.at < u64::MAX {
            let span = self.steady_for();
            let fits_after = |nanos: u64| {
                let mut later = self;
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
                return self.at.saturating_add(fits);
            }
            self.drift(span);
            self.lapse();
        }
        self.at
    }
}
