//! A bucket that refills continuously, exact to a millionth of a token.

use std::time::Duration;

use tidegate_types::Timestamp;

/// Millionths: the unit levels are held in.
const MICRO: i128 = 1_000_000;
/// `limit per minute × nanoseconds / this` is the refill in millionths.
const NANOS_PER_MICRO_MINUTE: u128 = 60_000;

/// Holds `burst_seconds` of a limit per minute; may be in debt (rule 2).
#[derive(Clone, Debug)]
pub struct Bucket {
    per_minute: u64,
    capacity: i128,
    level: i128,
    /// Refill too small for a millionth, kept so that nothing is lost over many small steps.
    residue: u128,
    at: Timestamp,
}

impl Bucket {
    /// A full bucket. A limit so small that the burst is less than one unit still holds one.
    #[must_use]
    pub fn full(per_minute: u64, burst_seconds: u32, now: Timestamp) -> Self {
        let burst = i128::from(per_minute) * i128::from(burst_seconds) * MICRO / 60;
        let capacity = burst.max(MICRO);
        Self {
            per_minute,
            capacity,
            level: capacity,
            residue: 0,
            at: now,
        }
    }

    /// Brings it to `now`. Time that runs backwards refills nothing.
    pub fn refill(&mut self, now: Timestamp) {
        let passed = now.since(self.at).as_nanos();
        if passed == 0 {
            return;
        }
        self.at = now;
        let gained = passed * u128::from(self.per_minute) + self.residue;
        self.residue = gained % NANOS_PER_MICRO_MINUTE;
        let micro = i128::try_from(gained / NANOS_PER_MICRO_MINUTE).unwrap_or(i128::MAX);
        self.level = self.level.saturating_add(micro).min(self.capacity);
        if self.level == self.capacity {
            self.residue = 0;
        }
    }

    /// How long until `need` is met: zero if it is now. A need above the capacity is met by a full
    /// bucket. As of the last refill.
    #[must_use]
    pub fn wait(&self, need: u64) -> Duration {
        let need = (i128::from(need) * MICRO).min(self.capacity);
        self.until(need)
    }

    /// How long until it is full.
    #[must_use]
    pub fn until_full(&self) -> Duration {
        self.until(self.capacity)
    }

    /// How long until it is out of debt.
    #[must_use]
    pub fn until_out_of_debt(&self) -> Duration {
        self.until(0)
    }

    /// Takes `amount`, into debt where it must.
    pub fn take(&mut self, amount: u64) {
        self.level -= i128::from(amount) * MICRO;
    }

    /// Gives back `amount`, no further than full.
    pub fn give_back(&mut self, amount: u64) {
        self.level = (self.level + i128::from(amount) * MICRO).min(self.capacity);
    }

    /// Whole units left; 0 in debt.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        u64::try_from(self.level / MICRO).unwrap_or(0)
    }

    /// Units owed, rounded up; 0 out of debt.
    #[must_use]
    pub fn debt(&self) -> u64 {
        u64::try_from((-self.level + MICRO - 1) / MICRO).unwrap_or(0)
    }

    /// The limit per minute.
    #[must_use]
    pub const fn per_minute(&self) -> u64 {
        self.per_minute
    }

    /// True if less of this bucket is left, in proportion, than of `other`.
    #[must_use]
    pub fn is_emptier_than(&self, other: &Self) -> bool {
        self.level * other.capacity < other.level * self.capacity
    }

    fn until(&self, level: i128) -> Duration {
        let Ok(missing) = u128::try_from(level - self.level) else {
            return Duration::ZERO;
        };
        let wanted = (missing * NANOS_PER_MICRO_MINUTE).saturating_sub(self.residue);
        let nanos = wanted.div_ceil(u128::from(self.per_minute));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
