//! What a queue asks of its pool: whether a call fits now, without a promise of when.

use tidegate_types::Monotonic;

use super::{Mask, Pool, deferral::bits, nanos};
use crate::{
    Ask, BucketIndex, Cleared,
    flow::{Fit, WAITING_GRACE},
};

impl Pool {
    /// Leave to take, where the call fits every bucket now. In the buckets of `kept`, which a call
    /// of a higher class is short of, it may take only what its own class has earned.
    pub(crate) fn fits(&mut self, ask: &Ask, kept: Mask, now: Monotonic) -> Option<Cleared> {
        let now = self.clock(now);
        self.sequence += 1;
        self.users.see(ask.user, now);
        let found = self.look(ask, now);
        if found.hold != 0 || !self.has_earned(ask, kept & found.enforced) {
            return None;
        }
        if found.watched | found.overdrawn == 0 && !self.is_penalised(ask, now) {
            return Some(self.cleared(ask, Vec::new()));
        }
        let penalties = self.penalties(ask, now);
        let paused = penalties.iter().any(|it| it.1.may_start() > now);
        let may = !paused || found.enforced == 0;
        may.then(|| self.clear_with_notes(ask, found, &penalties, now))
    }

    /// When it will fit if nobody spends until then, and its class goes on waiting. `None` where
    /// only the end of another call can tell.
    pub(crate) fn fits_at(&self, ask: &Ask, kept: Mask, now: Monotonic) -> Option<Monotonic> {
        let now = self.at(now);
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
        let start = self.paused_until(ask, now).unwrap_or(now);
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

    /// Until when a penalty keeps it from starting, if one does.
    pub(crate) fn paused_until(&self, ask: &Ask, now: u64) -> Option<u64> {
        let penalties = self.penalties(ask, now);
        let until = penalties.iter().map(|it| it.1.may_start()).max();
        until.filter(|it| *it > now)
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

    fn has_earned(&self, ask: &Ask, among: Mask) -> bool {
        bits(among).all(|at| {
            let bucket = &self.buckets[at];
            let cost = bucket.flow.cost(bucket.needed(&ask.need));
            bucket.flow.has_earned(cost, ask.priority)
        })
    }
}
