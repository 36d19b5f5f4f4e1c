//! How a level and its claims change where someone waits, claims or overdrew, or where a threshold is above it: piece by
//! piece, since refill is not just an addition then.

use tidegate_types::Priority;

use super::{Flow, SHARE_SCALE, Waiting, is_guarded, quanta};

impl Flow {
    /// Piece by piece: within one, every rate is constant. At most one piece ends at each of: the
    /// debt's end, the threshold, the capacity, each class's need, each class's patience.
    pub(super) fn advance_stirred(&mut self, now: u64) {
        loop {
            self.lapse();
            let left = now.saturating_sub(self.at);
            if left == 0 {
                return;
            }
            // The common case, without the divisions that find the end of a piece.
            let filled = self.level.saturating_add(quanta(left, self.rate));
            let plain = self.level >= 0
                && filled < self.threshold
                && self.overdrawn == 0
                && !self.waiting.iter().any(Waiting::is_on);
            let span = if plain {
                left
            } else {
                self.steady_for().min(left)
            };
            self.drift(span);
        }
    }

    /// Nanoseconds, at least one, for which every rate stays as it is.
    pub(super) fn steady_for(&self) -> u64 {
        let mut span = u64::MAX;
        let mut ends_when = |missing: i128, rate: u64| {
            if missing > 0 && rate > 0 {
                let rate = i128::from(rate);
                let nanos = missing / rate + i128::from(missing % rate > 0);
                span = span.min(u64::try_from(nanos).unwrap_or(u64::MAX));
            }
        };
        for mark in [-self.overdrawn, self.threshold, self.capacity] {
            ends_when(mark.saturating_sub(self.level), self.rate);
        }
        if self.overdrawn > 0 {
            ends_when(-self.unclaimed(), self.rate - self.earning());
        }
        for class in Priority::ALL {
            let (waiting, claim) = (self.waiting[class.index()], self.claims[class.index()]);
            if self.earns(*class) {
                ends_when(-claim, self.share(*class));
            }
            if waiting.is_on() {
                ends_when(i128::from(waiting.until.saturating_sub(self.at)), 1);
                if self.earns(*class) {
                    ends_when(waiting.need.saturating_sub(claim), self.share(*class));
                }
            }
        }
        span
    }

    /// What the class earns per nanosecond, in quanta.
    pub(super) const fn share(&self, class: Priority) -> u64 {
        self.rate / SHARE_SCALE * class.share_percent()
    }

    /// What all classes together earn per nanosecond now: less than the rate while `critical` pays
    /// back.
    fn earning(&self) -> u64 {
        let earning = Priority::ALL.iter().filter(|it| self.earns(**it));
        earning.map(|it| self.share(*it)).sum()
    }

    fn earns(&self, class: Priority) -> bool {
        let waiting = self.waiting[class.index()];
        let pays_back = class == Priority::Critical && self.overdrawn > 0;
        let wants = waiting.is_on() && self.claims[class.index()] < waiting.need;
        let in_debt = self.level.saturating_add(self.overdrawn) < 0;
        let guarded = is_guarded(class);
        if in_debt {
            false
        } else if self.level >= self.capacity {
            wants && guarded && self.threshold > 0
        } else {
            let owes = self.claims[class.index()] < 0;
            (wants && !pays_back) || owes || (guarded && self.level < self.threshold)
        }
    }

    /// Lets `span` nanoseconds pass in which every rate stays as it is now.
    pub(super) fn drift(&mut self, span: u64) {
        for class in Priority::ALL {
            if self.earns(*class) {
                let earned = quanta(span, self.share(*class));
                let claim = &mut self.claims[class.index()];
                *claim = claim.saturating_add(earned);
                self.stirred = true;
            }
        }
        let filled = self.level.saturating_add(quanta(span, self.rate));
        self.level = filled.min(self.capacity);
        self.at = self.at.saturating_add(span);
        self.pay_back();
    }

    /// Refill that nobody claims pays the overdraft back; a full bucket is not overdrawn.
    pub(super) fn pay_back(&mut self) {
        if self.overdrawn > 0 {
            let short = if self.level < self.capacity {
                (-self.unclaimed()).max(0)
            } else {
                0
            };
            self.overdrawn = self.overdrawn.min(short);
        }
    }

    /// Ends what has ended by now: patience, then claims.
    pub(super) fn lapse(&mut self) {
        let mut stirred = false;
        for class in Priority::ALL {
            let waiting = &mut self.waiting[class.index()];
            if waiting.until <= self.at {
                *waiting = Waiting::default();
            }
            let ends = if self.claims[class.index()] < 0 {
                self.level >= self.capacity
            } else {
                !waiting.is_on() && (!is_guarded(*class) || self.level >= self.threshold)
            };
            if ends {
                self.claims[class.index()] = 0;
            }
            stirred |= waiting.is_on() || self.claims[class.index()] != 0;
        }
        self.pay_back();
        self.stirred = stirred || self.overdrawn > 0;
    }
}
