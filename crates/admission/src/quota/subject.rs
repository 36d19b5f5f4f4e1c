//! The counts of one organisation, user or task type.

use std::time::Duration;

use tidegate_types::{Caller, Mode, Monotonic, Priority, Timestamp};

use super::{
    Calendar, Ends, Frees, OnExcess, OverQuota, QuotaFigures, QuotaKind, QuotaScope, QuotaSet,
    SavedSubject, Sizes,
};
use crate::{
    BucketSpec, Owner, Refill, Resource, Wait,
    bucket::{Bucket, Order},
    decision::Charge,
    flow::Fit,
};

/// Rates have no classes: every call is as good as any other, and the queue knows who goes first.
const CLASS: Priority = Priority::High;

/// Until a call ends, which no clock knows.
pub(super) const FREED: Wait = Wait::Freed {
    at_least: Duration::ZERO,
};

/// How large a call is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizing {
    /// Its input, in tokens.
    pub(super) context: u64,
    /// What its model takes at most.
    pub(super) window: u64,
    /// How long its task has been at work.
    pub(super) busy: Duration,
}

/// What one call takes of each subject.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Take {
    /// By [`RATES`].
    pub(super) rates: [u64; 3],
    /// By [`SLOTS`].
    pub(super) slots: [u64; 2],
    /// Root tasks of the day.
    pub(super) tasks: u64,
    /// Quota tokens of the month.
    pub(super) tokens: u64,
}

pub(super) const RATES: [QuotaKind; 3] = [
    QuotaKind::TaskRate,
    QuotaKind::CallRate,
    QuotaKind::ToolRate,
];
pub(super) const SLOTS: [QuotaKind; 2] = [QuotaKind::TasksAtOnce, QuotaKind::CallsAtOnce];

/// Both times, and the order of things.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) mono: Monotonic,
    pub(super) wall: Timestamp,
    pub(super) calendar: Calendar,
}

/// What each call writes is the first cache line.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(super) struct Subject {
    slots: [u64; 2],
    /// Quota tokens used and held in the month that this serial number opens.
    tokens: (u32, u64, u64),
    /// Root tasks begun in the day that this serial number opens.
    tasks: (u32, u64),
    /// It is in the list of those that have changed.
    changed: bool,
    /// None of its figures is a limit.
    unlimited: bool,
    pub(super) scope: QuotaScope,
    figures: QuotaFigures,
    rates: [Option<Bucket>; 3],
}

/// What a check has found over all subjects.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Verdict {
    pub(super) over: Option<OverQuota>,
    pub(super) watched: QuotaSet,
    pub(super) watched_first: Option<OverQuota>,
}

impl Verdict {
    /// Whatever makes a call wait longest is what it is told; if any of them refuses, it is refused.
    fn add(&mut self, found: OverQuota) {
        let Some(over) = &mut self.over else {
            self.over = Some(found);
            return;
        };
        let on_excess = over.on_excess.max(found.on_excess);
        let wait = longest(over.wait, found.wait);
        if wait != over.wait {
            *over = found;
        }
        over.wait = wait;
        over.on_excess = on_excess;
    }
}

fn longest(one: Option<Wait>, other: Option<Wait>) -> Option<Wait> {
    let (one, other) = (one?, other?);
    let at_least = one.at_least().max(other.at_least());
    Some(match (one, other) {
        (Wait::For(_), Wait::For(_)) => Wait::For(at_least),
        _ => Wait::Freed { at_least },
    })
}

impl Subject {
    pub(super) fn new(scope: QuotaScope, figures: QuotaFigures, at: Monotonic) -> Self {
        Self {
            rates: RATES.map(|kind| {
                let spec = rate(&figures, kind)?;
                Some(Bucket::unheard(spec, at.0, 0))
            }),
            scope,
            unlimited: is_unlimited(&figures),
            figures,
            slots: [0; 2],
            tasks: (0, 0),
            tokens: (0, 0, 0),
            changed: false,
        }
    }

    /// Other figures for the same counts.
    pub(super) fn reshape(&mut self, figures: QuotaFigures, at: Monotonic, sequence: u64) {
        for (bucket, kind) in self.rates.iter_mut().zip(RATES) {
            match (rate(&figures, kind), &mut *bucket) {
                (Some(spec), Some(bucket)) => {
                    bucket.flow.advance(at.0);
                    bucket.reshape(&spec, sequence);
                }
                (Some(spec), None) => *bucket = Some(Bucket::unheard(spec, at.0, sequence)),
                (None, _) => *bucket = None,
            }
        }
        self.unlimited = is_unlimited(&figures);
        self.figures = figures;
    }

    /// Whether it has no quota of any kind.
    #[inline]
    pub(super) const fn is_unlimited(&self) -> bool {
        self.unlimited
    }

    pub(super) const fn figures(&self) -> &QuotaFigures {
        &self.figures
    }

    /// How many slots for tasks it lacks, to let one more begin.
    pub(super) fn lacks_task_slots(&self) -> u64 {
        let limit = self.limit(QuotaKind::TasksAtOnce);
        limit.map_or(0, |it| (self.slots[0] + 1).saturating_sub(it))
    }

    /// Whether it has all that a call takes. Takes nothing. `task_slot` says when one becomes free.
    #[inline]
    #[expect(
        clippy::too_many_arguments,
        reason = "the hot path builds no struct for them"
    )]
    pub(super) fn check(
        &mut self,
        take: &Take,
        task_slot: Wait,
        caller: Caller,
        at: &At,
        verdict: &mut Verdict,
    ) {
        for (place, kind) in RATES.into_iter().enumerate() {
            let wanted = take.rates[place];
            if wanted > 0
                && let Some(bucket) = &mut self.rates[place]
            {
                let flow = &mut bucket.flow;
                flow.advance(at.mono.0);
                let cost = flow.cost(wanted);
                if flow.fit(cost, CLASS) == Fit::Not {
                    let first = Monotonic(flow.first_fit(cost, CLASS, at.mono.0));
                    let used = bucket.spec.capacity - left(bucket);
                    let wait = Some(Wait::For(first.since(at.mono)));
                    self.over(kind, used, wanted, wait, caller, verdict);
                }
            }
        }
        for (place, kind) in SLOTS.into_iter().enumerate() {
            let (wanted, used) = (take.slots[place], self.slots[place]);
            if wanted > 0 && self.limit(kind).is_some_and(|limit| used + wanted > limit) {
                let wait = if place == 0 { task_slot } else { FREED };
                self.over(kind, used, wanted, Some(wait), caller, verdict);
            }
        }
        if take.tasks > 0 || take.tokens > 0 {
            self.check_volumes(take, caller, at, verdict);
        }
    }

    /// Whether a call keeps within its sizes, of which no wait makes more.
    #[inline]
    pub(super) fn check_sizes(&self, asked: &Sizing, caller: Caller, verdict: &mut Verdict) {
        if let Some(limit) = self.limit(QuotaKind::Context) {
            let limit = if self.figures.context_or_window {
                limit.max(asked.window)
            } else {
                limit
            };
            if asked.context > limit {
                self.over(QuotaKind::Context, 0, asked.context, None, caller, verdict);
            }
        }
        if let Some(limit) = self.limit(QuotaKind::TaskTime)
            && asked.busy >= Duration::from_secs(limit)
        {
            let busy = asked.busy.as_secs();
            self.over(QuotaKind::TaskTime, busy, 0, None, caller, verdict);
        }
    }

    /// Narrows what an answer may have.
    #[inline]
    pub(super) fn narrow(&self, busy: Duration, caller: Caller, sizes: &mut Sizes) {
        if let Some(limit) = self.limit(QuotaKind::Output) {
            let binds = self.figures.of(QuotaKind::Output).enforcement.mode(caller);
            let end = match binds {
                Mode::Enforce => &mut sizes.output,
                Mode::Watch => &mut sizes.output_watched,
            };
            if end.at > limit {
                *end = Ends {
                    at: limit,
                    scope: self.scope,
                };
            }
        }
        if let Some(limit) = self.limit(QuotaKind::TaskTime) {
            let left = Duration::from_secs(limit).saturating_sub(busy);
            let binds = self
                .figures
                .of(QuotaKind::TaskTime)
                .enforcement
                .mode(caller);
            let end = match binds {
                Mode::Enforce => &mut sizes.time,
                Mode::Watch => &mut sizes.time_watched,
            };
            if end.at > left {
                *end = Ends {
                    at: left,
                    scope: self.scope,
                };
            }
        }
    }

    fn check_volumes(&self, take: &Take, caller: Caller, at: &At, verdict: &mut Verdict) {
        let until = |end: Timestamp| Wait::For(end.since(at.wall));
        let begun = if self.tasks.0 == at.calendar.day.opens {
            self.tasks.1
        } else {
            0
        };
        let (kind, wanted) = (QuotaKind::TasksPerDay, take.tasks);
        if wanted > 0 && self.limit(kind).is_some_and(|it| begun + wanted > it) {
            let wait = Some(until(at.calendar.day.end));
            self.over(kind, begun, wanted, wait, caller, verdict);
        }
        let (kind, wanted) = (QuotaKind::TokensPerMonth, take.tokens);
        let (used, held) = if self.tokens.0 == at.calendar.month.opens {
            (self.tokens.1, self.tokens.2)
        } else {
            (0, 0)
        };
        let after = used.saturating_add(held).saturating_add(wanted);
        if let Some(limit) = self.limit(kind).filter(|it| wanted > 0 && after > *it) {
            let wait = if wanted > limit {
                None
            } else if used.saturating_add(wanted) > limit {
                Some(until(at.calendar.month.end))
            } else {
                Some(FREED)
            };
            let used = used.saturating_add(held);
            self.over(kind, used, wanted, wait, caller, verdict);
        }
    }

    #[inline]
    fn limit(&self, kind: QuotaKind) -> Option<u64> {
        self.figures.of(kind).limit.map(std::num::NonZeroU64::get)
    }

    #[cold]
    #[expect(clippy::too_many_arguments, reason = "each is one fact of the verdict")]
    fn over(
        &self,
        kind: QuotaKind,
        used: u64,
        asked: u64,
        wait: Option<Wait>,
        caller: Caller,
        verdict: &mut Verdict,
    ) {
        let found = OverQuota {
            scope: self.scope,
            kind,
            limit: self.limit(kind).unwrap_or(u64::MAX),
            used,
            asked,
            wait,
            on_excess: self.figures.on_excess,
        };
        match self.figures.of(kind).enforcement.mode(caller) {
            Mode::Enforce => verdict.add(found),
            Mode::Watch => {
                verdict.watched.insert(self.scope, kind);
                verdict.watched_first.get_or_insert(found);
            }
        }
    }

    /// Takes what a check has cleared. Says of which rates it took (by bits): a watched one that is
    /// at its floor gives nothing.
    #[inline]
    pub(super) fn take(&mut self, take: &Take, caller: Caller, at: &At, sequence: u64) -> u8 {
        let mut charged = 0;
        for (place, bucket) in self.rates.iter_mut().enumerate() {
            let wanted = take.rates[place];
            if wanted > 0
                && let Some(bucket) = bucket
            {
                let by = (caller, false);
                let (tokens, _) = bucket.charge(wanted, CLASS, by, (sequence, at.mono.0));
                charged |= u8::from(tokens > 0) << place;
            }
        }
        self.slots[0] += take.slots[0];
        self.slots[1] += take.slots[1];
        if take.tasks > 0 {
            if self.tasks.0 != at.calendar.day.opens {
                self.tasks = (at.calendar.day.opens, 0);
            }
            self.tasks.1 += take.tasks;
        }
        if take.tokens > 0 {
            self.turn_month(at);
            self.tokens.2 = self.tokens.2.saturating_add(take.tokens);
        }
        charged
    }

    fn turn_month(&mut self, at: &At) {
        if self.tokens.0 != at.calendar.month.opens {
            self.tokens = (at.calendar.month.opens, 0, 0);
        }
    }

    /// Ends what one of the rates was charged.
    pub(super) fn end_rate(
        &mut self,
        place: usize,
        (charged, used): (u64, u64),
        caller: Caller,
        (taken, now): (u64, u64),
    ) {
        if let Some(bucket) = &mut self.rates[place] {
            let charge = Charge {
                tokens: charged,
                earned: 0,
                refundable: charged,
            };
            // What a watched bucket did not give is not owed either.
            let used = used.min(charged);
            let order = Order {
                taken,
                topped_up: taken,
                now,
            };
            bucket.settle(charge, used, (CLASS, caller), order);
        }
    }

    /// Lets time pass for a rate, before something is given back to it.
    pub(super) fn advance(&mut self, at: Monotonic) {
        for bucket in self.rates.iter_mut().flatten() {
            bucket.flow.advance(at.0);
        }
    }

    pub(super) fn free_call(&mut self) {
        debug_assert!(self.slots[1] > 0, "a slot that was not taken");
        self.slots[1] = self.slots[1].saturating_sub(1);
    }

    pub(super) fn free_task(&mut self) {
        debug_assert!(self.slots[0] > 0, "a slot that was not taken");
        self.slots[0] = self.slots[0].saturating_sub(1);
    }

    /// Ends tokens held in the month of that serial number. What a month that is over held is no
    /// longer counted anywhere.
    pub(super) fn end_tokens(&mut self, month: u32, held: u64, used: u64) {
        if self.tokens.0 < month {
            // Nothing was expected of it, nor of any other call of its month.
            self.tokens = (month, 0, 0);
        }
        if self.tokens.0 == month {
            self.tokens.2 = self.tokens.2.saturating_sub(held);
            self.tokens.1 = self.tokens.1.saturating_add(used);
        }
    }

    /// What an earlier run did after its last save.
    pub(super) fn debit(&mut self, calls: u64, tokens: u64, at: &At) {
        if let Some(bucket) = &mut self.rates[1] {
            bucket.flow.advance(at.mono.0);
            bucket.flow.debit(calls);
        }
        self.turn_month(at);
        self.tokens.1 = self.tokens.1.saturating_add(tokens);
    }

    /// Puts itself on the list, once.
    #[inline]
    pub(super) fn note_change(&mut self, own: u32, changed: &mut Vec<u32>) {
        if !self.changed {
            self.changed = true;
            changed.push(own);
        }
    }

    pub(super) fn export(&mut self, name: &str, at: Monotonic) -> SavedSubject {
        self.changed = false;
        self.advance(at);
        SavedSubject {
            scope: self.scope.index(),
            name: name.to_owned(),
            rates: [0, 1, 2].map(|place| {
                let bucket = self.rates[place].as_ref();
                bucket.map(|it| i64::try_from(it.flow.tokens(it.flow.level())).unwrap_or(0))
            }),
            tasks: self.tasks,
            // What runs now may end after the last save: it is taken to have used what it holds.
            tokens: (self.tokens.0, self.tokens.1.saturating_add(self.tokens.2)),
        }
    }

    pub(super) fn restore(&mut self, saved: &SavedSubject, down_nanos: u64) {
        for (bucket, saved) in self.rates.iter_mut().zip(saved.rates) {
            if let (Some(bucket), Some(level)) = (bucket, saved) {
                bucket.flow.restore(i128::from(level), down_nanos);
            }
        }
        self.tasks = saved.tasks;
        self.tokens = (saved.tokens.0, saved.tokens.1, 0);
    }

    /// How much is used and held of a quota now.
    pub(super) fn used(&mut self, kind: QuotaKind, at: &At) -> u64 {
        self.advance(at.mono);
        match kind {
            QuotaKind::TaskRate | QuotaKind::CallRate | QuotaKind::ToolRate => {
                let place = RATES.iter().position(|it| *it == kind).unwrap_or(0);
                let bucket = self.rates[place].as_ref();
                bucket.map_or(0, |it| it.spec.capacity - left(it))
            }
            QuotaKind::TasksAtOnce => self.slots[0],
            QuotaKind::CallsAtOnce => self.slots[1],
            QuotaKind::TasksPerDay if self.tasks.0 == at.calendar.day.opens => self.tasks.1,
            QuotaKind::TokensPerMonth if self.tokens.0 == at.calendar.month.opens => {
                self.tokens.1.saturating_add(self.tokens.2)
            }
            QuotaKind::TasksPerDay
            | QuotaKind::TokensPerMonth
            | QuotaKind::TaskTime
            | QuotaKind::Context
            | QuotaKind::Output => 0,
        }
    }
}

impl Subject {
    /// When what is used of a quota now is free again.
    pub(super) fn frees(&self, kind: QuotaKind, at: &At) -> Frees {
        match kind {
            QuotaKind::TaskRate | QuotaKind::CallRate | QuotaKind::ToolRate => {
                let place = RATES.iter().position(|it| *it == kind).unwrap_or(0);
                let full = self.rates[place].as_ref();
                let full = full.and_then(|it| it.flow.full_in());
                Frees::Within(Duration::from_nanos(full.unwrap_or(0)))
            }
            QuotaKind::TasksAtOnce | QuotaKind::CallsAtOnce => Frees::WhenEnded,
            QuotaKind::TasksPerDay => Frees::At(at.calendar.day.end),
            QuotaKind::TokensPerMonth => Frees::At(at.calendar.month.end),
            QuotaKind::TaskTime | QuotaKind::Context | QuotaKind::Output => Frees::Each,
        }
    }
}

fn is_unlimited(figures: &QuotaFigures) -> bool {
    let mut kinds = QuotaKind::ALL.iter();
    kinds.all(|it| figures.of(*it).limit.is_none())
}

/// Whole calls that a rate would let pass at this moment.
fn left(bucket: &Bucket) -> u64 {
    let whole = bucket.flow.tokens(bucket.flow.level());
    u64::try_from(whole.max(0))
        .unwrap_or(0)
        .min(bucket.spec.capacity)
}

/// The bucket of a rate: a minute's worth, refilled within a minute.
fn rate(figures: &QuotaFigures, kind: QuotaKind) -> Option<BucketSpec> {
    let figure = figures.of(kind);
    let each_minute = figure.limit?.get();
    Some(BucketSpec {
        name: String::new(),
        resource: Resource::Requests,
        capacity: each_minute,
        refill: Some(Refill {
            amount: each_minute,
            period: Duration::from_mins(1),
        }),
        threshold: 0,
        // Nobody overdraws a quota.
        owner: Owner::Provider,
        enforcement: figure.enforcement,
    })
}

impl OnExcess {
    /// Whether a call waits.
    pub const fn queues(self) -> bool {
        matches!(self, Self::Queue)
    }
}
