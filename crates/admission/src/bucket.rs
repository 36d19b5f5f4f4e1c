//! One bucket of a pool: its figures, its level, and what is out of it.

use tidegate_types::{Caller, Mode, Priority};

use crate::{
    BucketSpec, Need, Owner, Resource,
    decision::Charge,
    flow::{Fit, Flow},
    mirror::Mirror,
    peaks::Peaks,
};

/// Binary places of [`Bucket::flow_per_token`].
const FLOW_PLACES: u32 = 16;

/// When things happened, by sequence number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) taken: u64,
    pub(crate) topped_up: u64,
    pub(crate) now: u64,
}

/// As in its flow, what each call reads stands together, and what it writes is the first cache line.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct Bucket {
    /// Taken and neither settled nor released, in the resource.
    pub(crate) held: u64,
    /// Where what a call takes of it stands in [`Need::by_place`].
    place: u8,
    /// Whether it only watches the callers of this index.
    watches: [bool; 2],
    pub(crate) flow: Flow,
    /// Nanoseconds of refill in one token, in fixed point; saturates at three days a token.
    flow_per_token: u64,
    /// What the provider says of it; `None` where it is no provider's.
    pub(crate) mirror: Option<Box<Mirror>>,
    pub(crate) spec: BucketSpec,
    /// Calls of an earlier sequence number have taken nothing from it.
    born: u64,
    /// All that settlement ever added, in the resource.
    pub(crate) debt_total: u64,
    peaks: Peaks,
}

impl Bucket {
    pub(crate) fn full(spec: BucketSpec, now: u64, born: u64) -> Self {
        Self {
            held: 0,
            place: spec.resource.place(),
            watches: watches(&spec),
            flow: Flow::full(&spec, now),
            flow_per_token: flow_per_token(&spec),
            mirror: mirror(&spec),
            spec,
            born,
            debt_total: 0,
            peaks: Peaks::default(),
        }
    }

    /// A full bucket of which no provider says anything, whoever owns it.
    pub(crate) fn unheard(spec: BucketSpec, now: u64, born: u64) -> Self {
        Self {
            mirror: None,
            ..Self::full(spec, now, born)
        }
    }

    /// From now on it is no longer configured: its place is kept for the next new one.
    pub(crate) const fn retire(&mut self) {
        self.place = Resource::NOWHERE;
    }

    #[inline]
    pub(crate) const fn is_retired(&self) -> bool {
        self.place == Resource::NOWHERE
    }

    /// What a call takes of it. Zero where it takes nothing.
    #[inline]
    pub(crate) fn needed(&self, need: &Need) -> u64 {
        self.needed_of(&need.by_place())
    }

    /// The same, where the need's places are known.
    #[inline]
    pub(crate) fn needed_of(&self, need: &[u64; Resource::PLACES]) -> u64 {
        need[usize::from(self.place) % Resource::PLACES]
    }

    /// Whether no wait could ever admit so much.
    pub(crate) fn never_fits(&self, tokens: u64) -> bool {
        self.spec.resource.is_hard() && tokens > self.spec.capacity
    }

    /// Whether it has so much for the class now, and nothing is to be said about it: neither time nor
    /// anybody else has a part in it.
    #[inline]
    pub(crate) fn has_plainly(&self, tokens: u64, class: Priority) -> bool {
        // What is larger than a hard capacity is more than any level.
        self.flow.has_plainly(self.flow.cost(tokens), class)
    }

    /// Whether it is one of those that time fills.
    #[inline]
    pub(crate) fn refills(&self) -> bool {
        !self.is_retired() && self.flow.refills()
    }

    #[inline]
    pub(crate) const fn watches(&self, caller: Caller) -> bool {
        match caller {
            Caller::Keyless => self.watches[0],
            Caller::Asking => self.watches[1],
        }
    }

    /// How long the refill takes for so many tokens, in nanoseconds, rounded down.
    #[inline]
    pub(crate) fn flow_nanos(&self, tokens: u64) -> u64 {
        let nanos = (u128::from(tokens) * u128::from(self.flow_per_token)) >> FLOW_PLACES;
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    /// Takes what it [has plainly](Self::has_plainly).
    #[inline]
    pub(crate) fn charge_plainly(&mut self, tokens: u64, (sequence, now): (u64, u64)) {
        self.note_peak(sequence);
        self.flow.charge_plainly(tokens);
        self.held = self.held.saturating_add(tokens);
        if let Some(mirror) = &mut self.mirror {
            mirror.note_sent(sequence, tokens, now);
        }
    }

    /// Takes what a check has allowed, or what a watched bucket lets pass. Answers how many tokens that
    /// were, and how many of them came from what the class had earned: two registers, since a pair that
    /// is read from memory right after it was written waits for all writes before it.
    pub(crate) fn charge(
        &mut self,
        tokens: u64,
        class: Priority,
        (caller, lent): (Caller, bool),
        (sequence, now): (u64, u64),
    ) -> (u64, u64) {
        let tokens = self.within_floor(tokens, caller);
        self.note_peak(sequence);
        let earned = if lent {
            self.flow.lend(tokens);
            0
        } else {
            self.earned(tokens, class)
        };
        self.held = self.held.saturating_add(tokens);
        if let Some(mirror) = &mut self.mirror {
            mirror.note_sent(sequence, tokens, now);
        }
        (tokens, earned)
    }

    #[inline]
    fn earned(&mut self, tokens: u64, class: Priority) -> u64 {
        let fit = match class {
            Priority::Critical => self.flow.fit(self.flow.cost(tokens), class),
            Priority::Low | Priority::Medium | Priority::High => Fit::Fits,
        };
        self.flow.charge(tokens, class, fit)
    }

    /// Takes more for a call that already runs.
    pub(crate) fn top_up(
        &mut self,
        charge: &mut Charge,
        tokens: u64,
        caller: Caller,
        order: Order,
    ) {
        if !self.knows(order.taken) || !self.flow.refills() {
            return;
        }
        // What has overflowed since the last time is lost to the earlier part, not to the new one.
        let room = self.flow.tokens(self.room(order.topped_up));
        let room = u64::try_from(room).unwrap_or(u64::MAX);
        let added = self.debit(tokens, caller, order.now);
        self.held = self.held.saturating_add(added);
        if let Some(mirror) = &mut self.mirror {
            mirror.note_corrected(0, added);
        }
        charge.tokens = charge.tokens.saturating_add(added);
        charge.refundable = charge.refundable.min(room).saturating_add(added);
    }

    /// Takes without asking. Answers what was taken.
    pub(crate) fn debit(&mut self, tokens: u64, caller: Caller, sequence: u64) -> u64 {
        let tokens = self.within_floor(tokens, caller);
        if tokens > 0 {
            self.note_peak(sequence);
            self.flow.debit(tokens);
            self.debt_total = self.debt_total.saturating_add(tokens);
        }
        tokens
    }

    /// Whether a call of that sequence number could take from it.
    pub(crate) const fn knows(&self, taken: u64) -> bool {
        !self.is_retired() && self.born <= taken
    }

    /// Ends what a call held, given what it really used.
    pub(crate) fn settle(
        &mut self,
        charge: Charge,
        used: u64,
        (class, caller): (Priority, Caller),
        order: Order,
    ) {
        if !self.knows(order.taken) {
            return;
        }
        self.held = self.held.saturating_sub(charge.tokens);
        let used = self.still_open(charge.tokens, used, order.taken);
        if used > charge.tokens {
            self.debit(used - charge.tokens, caller, order.now);
        } else if used < charge.tokens {
            let unused = charge.tokens - used;
            let asked = self.flow.cost(unused);
            let given = self.flow.cost(unused.min(charge.refundable));
            let given = given.min(self.room(order.topped_up));
            let earned = charge.earned.saturating_sub(used);
            self.flow.refund(given, earned, class);
            self.peaks.raise(order.taken, asked, self.flow.capacity());
        }
        if self.held == 0 {
            self.peaks.clear();
        }
    }

    /// What a call's end has to correct to. Nothing is left to correct where a provider's word has
    /// counted the call already: to count it twice would spend the difference twice.
    fn still_open(&mut self, charged: u64, used: u64, taken: u64) -> u64 {
        match &mut self.mirror {
            Some(mirror) if mirror.has_counted(taken, self.spec.resource) => charged,
            Some(mirror) => {
                mirror.note_corrected(charged, used);
                used
            }
            None => used,
        }
    }

    /// The same bucket under new figures, by configuration.
    pub(crate) fn reconfigure(&mut self, spec: &BucketSpec, sequence: u64) {
        let learned = self.mirror.as_ref();
        if learned.is_some_and(|it| it.is_configured_as(spec) && spec.owner == self.spec.owner) {
            // What the provider says of its figures stands above them.
            self.spec.enforcement = spec.enforcement;
            self.watches = watches(spec);
            return;
        }
        self.mirror = mirror(spec);
        self.reshape(spec, sequence);
    }

    /// The same bucket under new figures.
    pub(crate) fn reshape(&mut self, spec: &BucketSpec, sequence: u64) {
        let old = self.flow;
        self.flow = old.reshaped(spec, self.held);
        let new = self.flow;
        // What a refund may be is the distance to the capacity: kept, whatever the capacity is now.
        self.peaks.map(|peak| {
            let distance = new.regrain(old.capacity().saturating_sub(peak), &old);
            new.capacity().saturating_sub(distance)
        });
        if self.held > 0 {
            self.peaks.note(new.level(), sequence);
        }
        self.flow_per_token = flow_per_token(spec);
        self.watches = watches(spec);
        self.spec = spec.clone();
        self.set_pace();
    }

    /// Puts the mirror's pace in force from now on.
    pub(crate) fn set_pace(&mut self) {
        if let Some(mirror) = &self.mirror {
            self.flow.set_pace(mirror.pace());
        }
    }

    /// How much can be given back to what was taken then without more than the capacity ever having
    /// been there.
    fn room(&self, taken: u64) -> i128 {
        let level = self.flow.level();
        let highest = self.peaks.since(taken).map_or(level, |it| it.max(level));
        self.flow.capacity().saturating_sub(highest).max(0)
    }

    /// A level matters to later refunds only where they could reach the capacity from it.
    #[inline]
    pub(crate) fn note_peak(&mut self, sequence: u64) {
        if self.held == 0 {
            return;
        }
        if self.flow.could_fill(self.held) {
            self.peaks.note(self.flow.level(), sequence);
        }
    }

    /// A watched bucket falls to minus its capacity and no further: otherwise what it says would
    /// have to be waited loses all meaning. Concurrency is counted as it is.
    #[inline]
    fn within_floor(&self, tokens: u64, caller: Caller) -> u64 {
        if !self.watches(caller) || !self.flow.refills() {
            return tokens;
        }
        let after = self.flow.level().saturating_sub(self.flow.cost(tokens));
        if after >= -self.flow.capacity() {
            tokens
        } else {
            tokens.min(self.flow.above_floor())
        }
    }
}

/// Whether it only watches keyless callers, and those who ask.
fn watches(spec: &BucketSpec) -> [bool; 2] {
    [Caller::Keyless, Caller::Asking].map(|it| spec.enforcement.mode(it) == Mode::Watch)
}

/// Providers' buckets that time refills follow the provider's word.
fn mirror(spec: &BucketSpec) -> Option<Box<Mirror>> {
    let follows = spec.owner == Owner::Provider && spec.refill.is_some();
    follows.then(|| Box::new(Mirror::of(spec)))
}

fn flow_per_token(spec: &BucketSpec) -> u64 {
    if spec.resource == Resource::Concurrency {
        return 0;
    }
    spec.refill.map_or(0, |refill| {
        let amount = u128::from(refill.amount.max(1));
        u64::try_from((refill.period.as_nanos() << FLOW_PLACES) / amount).unwrap_or(u64::MAX)
    })
}
