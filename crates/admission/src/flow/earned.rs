//! What classes have earned of a bucket, borrowed and not: what a queue asks before somebody overtakes.

use tidegate_types::Priority;

use super::{Flow, is_guarded};

impl Flow {
    /// Whether what nobody has earned pays for the call alone.
    pub(crate) fn is_lent(&self, cost: i128, class: Priority) -> bool {
        let guarded = if is_guarded(class) { self.threshold } else { 0 };
        self.rate == 0 || cost <= self.unclaimed().min(self.level).saturating_sub(guarded)
    }

    /// Whether what its class has earned pays for the call alone. What nothing refills is not earned.
    pub(crate) fn has_earned(&self, cost: i128, class: Priority) -> bool {
        cost.min(self.capacity) <= self.claims[class.index()]
    }

    /// What its class has earned of what the call takes.
    pub(crate) fn earned(&self, cost: i128, class: Priority) -> i128 {
        let cost = cost.min(self.capacity);
        cost.min(self.claims[class.index()]).max(0)
    }

    /// What there would be if so much were taken.
    pub(crate) fn left_after(&self, cost: i128) -> i128 {
        self.level.saturating_sub(cost)
    }

    /// Whether a class owes to others what it has borrowed.
    pub(crate) fn is_borrowed_from(&self) -> bool {
        self.claims.iter().any(|it| *it < 0)
    }

    /// What the class has borrowed of others' earnings and not paid back, in quanta, once a call of this cost
    /// has started: see [`Self::charge`]. With none of a cost: what it owes now.
    pub(crate) fn owed_after(&self, cost: i128, class: Priority) -> i128 {
        let (claim, stock) = (self.claims[class.index()], self.unclaimed().max(0));
        let cost = cost.min(self.capacity);
        let borrows = self.level >= self.capacity && cost > claim.max(0).saturating_add(stock);
        let spent = if borrows { cost - stock } else { 0 };
        spent.saturating_sub(claim).max(0)
    }
}
