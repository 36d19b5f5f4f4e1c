//! What a queue asks of its pool: whether a call fits now, without a promise of when.

use tidegate_types::{Monotonic, Priority};

use super::{Findings, Mask, Pool, deferral::bits, nanos};
use crate::{
    Ask, BucketIndex, Cleared, Subject,
    flow::{Fit, WAITING_GRACE},
    pacing::Pace,
};

/// What a class borrowed from a full bucket of what others had earned, as flow time in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Owed {
    pub(crate) now: u64,
    /// If a call started now.
    pub(crate) after: u64,
}

impl Pool {
    /// Leave to take, where the call fits every bucket now. In the buckets of `kept`, which a call
    /// of a higher class is short of, it may take only what its own class has earned.
    pub(crate) fn fits(&mut self, ask: &Ask, kept: Mask, now: Monotonic) -> Option<Cleared> {
        let (found, now) = self.has_room(ask, kept, now)?;
        if found.watched | found.overdrawn == 0 && !self.is_penalised(ask, now) {
            return Some(self.cleared(ask, Vec::new()));
        }
        let penalties = self.penalties(ask, now);
        let paused = self.paused_until(ask, now).is_some();
        let may = !paused || found.enforced == 0;
        may.then(|| self.clear_with_notes(ask, found, &penalties, now))
    }

    /// Leave to take of what nobody has earned: whoever waits for what its class earns is not delayed by that. Not
    /// in the buckets of `kept`.
    pub(crate) fn fits_lent(&mut self, ask: &Ask, kept: Mask, now: Monotonic) -> Option<Cleared> {
        let enforced = self.look(ask, self.at(now)).enforced;
        let lent = enforced & kept == 0
            && bits(enforced).all(|at| {
                let bucket = &self.buckets[at];
                let cost = bucket.flow.cost(bucket.needed(&ask.need));
                bucket.flow.is_lent(cost, ask.priority)
            });
        let cleared = if lent { self.fits(ask, 0, now) } else { None };
        cleared.map(|it| Cleared { lent: true, ..it })
    }

    /// The same as [`Self::fits`] for a call that a penalty holds back, where nobody else waits for what it takes.
    pub(crate) fn fits_unwanted(
        &mut self,
        ask: &Ask,
        kept: Mask,
        now: Monotonic,
    ) -> Option<Cleared> {
        let (found, now) = self.has_room(ask, kept, now)?;
        let penalties = self.penalties(ask, now);
        Some(self.clear_with_notes(ask, found, &penalties, now))
    }

    fn has_room(&mut self, ask: &Ask, kept: Mask, now: Monotonic) -> Option<(Findings, u64)> {
        let now = self.clock(now);
        self.sequence += 1;
        self.users.see(ask.user, now);
        let found = self.look(ask, now);
        let has = found.hold == 0 && self.has_earned(ask, kept & found.enforced);
        has.then_some((found, now))
    }

    /// When it will fit if nobody spends until then, and its class goes on waiting. `None` where
    /// only the end of another call can tell.
    pub(crate) fn fits_at(&self, ask: &Ask, kept: Mask, now: Monotonic) -> Option<Monotonic> {
        let now = self.at(now);
        let start = self.paused_until(ask, now).unwrap_or(now);
        self.fits_from(ask, kept, start, now)
    }

    /// The same as if no penalty held it back: that only has it go after everybody else.
    pub(crate) fn would_fit_at(&self, ask: &Ask, now: Monotonic) -> Option<Monotonic> {
        let now = self.at(now);
        self.fits_from(ask, 0, now, now)
    }

    fn fits_from(&self, ask: &Ask, kept: Mask, start: u64, now: u64) -> Option<Monotonic> {
        let mut enforced = 0;
        for (at, bucket) in self.buckets.iter().enumerate() {
            let tokens = bucket.needed(&ask.need);
            if tokens > 0 && !bucket.watches(ask.caller) {
                let cost = bucket.flow.cost(tokens);
                if !bucket.flow.refills() && bucket.flow.fit(cost, ask.priority) == Fit::Not {
                    return None;
                }
                enforced |= 1 << at;
            }
        }
        let mut gates = self.gates(ask, enforced);
        for gate in &mut gates {
            gate.flow.wait(gate.cost, ask.priority, u64::MAX);
        }
        let mut at = self.due(&gates, ask, start).at;
        for gate in gates
            .iter()
            .filter(|it| bits(kept).any(|bit| bit == it.index))
        {
            at = at.max(gate.flow.first_earned(gate.cost, ask.priority, now));
        }
        Some(Monotonic(at))
    }

    /// The enforced buckets that it does not fit now.
    pub(crate) fn short_of(&mut self, ask: &Ask, now: Monotonic) -> Mask {
        let now = self.clock(now);
        self.look(ask, now).hold
    }

    /// Whether a call that started now would leave what the classes of others have earned for them, in buckets where
    /// somebody has borrowed of that. What is short for another reason is short for all.
    pub(crate) fn leaves_earned(&mut self, ask: &Ask, others: &[Ask], now: Monotonic) -> bool {
        let now = self.clock(now);
        bits(self.look(ask, now).enforced).all(|at| {
            let bucket = &self.buckets[at];
            let cost = |it: &Ask| bucket.flow.cost(bucket.needed(&it.need));
            let of_others = others.iter().filter(|it| !bucket.watches(it.caller));
            let earned: i128 = of_others
                .map(|it| bucket.flow.earned(cost(it), it.priority))
                .sum();
            !bucket.flow.is_borrowed_from() || bucket.flow.left_after(cost(ask)) >= earned
        })
    }

    /// Until when a penalty keeps it from starting, if one does: only while somebody else waits, since what
    /// nobody else wants must not lie idle.
    pub(crate) fn paused_until(&self, ask: &Ask, now: u64) -> Option<u64> {
        let binds = |it: &&(Subject, Pace)| match it.0 {
            Subject::User => self.other_user_waits(ask.user, now),
            Subject::Class(class) => self.other_class_waits(class, now),
        };
        let penalties = self.penalties(ask, now);
        let until = penalties.iter().filter(binds).map(|it| it.1.may_start());
        until.max().filter(|it| *it > now)
    }

    /// The bucket that no wait could ever make admit it, if there is one.
    pub(crate) fn never_fits(&self, ask: &Ask) -> Option<BucketIndex> {
        let enforced = self.buckets.iter().map(|it| !it.watches(ask.caller));
        let enforced = enforced.enumerate().filter(|it| it.1);
        self.first_never(ask, enforced.fold(0, |mask, (at, _)| mask | 1 << at))
    }

    /// Its class waits for it: it earns its share, and whoever takes more than twice its own while
    /// others wait is penalised.
    pub(crate) fn waits(&mut self, ask: &Ask, now: Monotonic) {
        let now = self.clock(now);
        let enforced = self.look(ask, now).enforced;
        self.note_waiting(ask, enforced, now.saturating_add(nanos(WAITING_GRACE)));
    }

    /// What its class owes to others, now and if the call started now, as flow time in nanoseconds: until that is
    /// paid back, nothing is earned for those who wait.
    pub(crate) fn owed_flow(&mut self, ask: &Ask, now: Monotonic) -> Owed {
        let now = self.clock(now);
        let mut owed = Owed::default();
        for bucket in &mut self.buckets {
            let tokens = bucket.needed(&ask.need);
            if tokens > 0 && bucket.refills() && !bucket.watches(ask.caller) {
                bucket.flow.advance(now);
                let (flow, class) = (&bucket.flow, ask.priority);
                let nanos = |owed: i128| {
                    let tokens = u64::try_from(flow.tokens(owed)).unwrap_or(u64::MAX);
                    bucket.flow_nanos(tokens)
                };
                owed.now = owed.now.max(nanos(flow.owed_after(0, class)));
                let after = flow.owed_after(flow.cost(tokens), class);
                owed.after = owed.after.max(nanos(after));
            }
        }
        owed
    }

    /// What calls like this one may overdraw at most, as flow time in nanoseconds.
    pub(crate) fn overdraft_flow(&self, ask: &Ask) -> u64 {
        if ask.priority != Priority::Critical {
            return 0;
        }
        let overdrafts = self.measuring(ask.caller);
        let overdrafts = overdrafts.map(|it| it.flow.overdraft_nanos());
        overdrafts.max().unwrap_or(0)
    }

    fn has_earned(&self, ask: &Ask, among: Mask) -> bool {
        bits(among).all(|at| {
            let bucket = &self.buckets[at];
            let cost = bucket.flow.cost(bucket.needed(&ask.need));
            bucket.flow.has_earned(cost, ask.priority)
        })
    }
}
