//! Every bucket and budget in the path of a call: checked together, then taken together.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidegate_admission::{
    Ask, BucketIndex, Check, Cleared, ClearedQuota, Cooldown, Need, Note, OverQuota, Pool,
    QuotaHold, QuotaPath, QuotaSet, Reason, Sizes, Taken, Wait,
};
use tidegate_ledger::{
    Books, ClearedMoney, Headroom, Hold, LevelKind, Levels, MoneyAsk, MoneyCheck, Path, Shortage,
};
use tidegate_types::{Caller, Monotonic, NanoUsd, Tokens};

use crate::{
    account::{Account, SharedAccount},
    call::{Moment, Routed},
    cap::{self, CapAsk},
    gate::{Gate, SharedGate},
    heard::Trying,
    settings::ReserveRules,
};

/// The longest that a call is let wait for a quota: beyond it, it is refused with the time. No client
/// waits for longer, and a place that is kept for one costs memory.
pub const QUOTA_WAIT_MAX: Duration = Duration::from_hours(1);

/// Why a call can't be sent now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Obstacle {
    /// A bucket makes it wait.
    Wait {
        /// Which.
        bucket: BucketIndex,
        /// How long.
        wait: Wait,
        /// Why.
        reason: Reason,
    },
    /// A bucket is smaller than the call.
    NeverFits {
        /// Which.
        bucket: BucketIndex,
    },
    /// A budget has too little left.
    Budget(Shortage),
    /// A budget has too little left only because running calls hold it: it fits when they end.
    Held {
        /// What is short now.
        shortage: Shortage,
        /// When to ask again: see `holding.rs`.
        wait: Duration,
    },
    /// It would pass a soft limit, for which somebody has to be asked.
    Approval(Shortage),
    /// Its provider would refuse it, or fails.
    Cooling(Cooldown),
    /// It is over a quota.
    Quota(OverQuota),
    /// Others wait for the same, who came before it.
    Queued {
        /// How many of its class go before it.
        ahead: usize,
        /// How long it would probably wait.
        wait: Duration,
    },
    /// More wait for the same than can be kept in mind.
    QueueFull,
    /// Somebody who may took it out of the queue.
    Cancelled,
    /// Its task was called off.
    TaskCancelled,
    /// What the path resolves to has changed: resolve it again. Nobody is told.
    Stale,
}

impl Obstacle {
    /// How long a call that may wait will have to, as far as is known; `None` where no wait helps, or
    /// a quota refuses instead.
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::Wait { wait, .. } => Some(wait.at_least()),
            Self::Cooling(cooldown) => Some(cooldown.left),
            Self::Held { wait, .. } | Self::Queued { wait, .. } => Some(*wait),
            Self::Quota(over) if over.on_excess.queues() => {
                let wait = over.wait.map(Wait::at_least);
                wait.filter(|it| *it <= QUOTA_WAIT_MAX)
            }
            Self::NeverFits { .. }
            | Self::Budget(_)
            | Self::Approval(_)
            | Self::Quota(_)
            | Self::QueueFull
            | Self::Cancelled
            | Self::TaskCancelled
            | Self::Stale => None,
        }
    }
}

/// What a reservation found without being held back by it. Kept small and flat: it is copied on
/// the hot path and put into words later.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// What the buckets say.
    pub notes: Vec<Note>,
    /// Levels whose soft limit is passed.
    pub soft_passed: Levels,
    /// Those of them that this call is the first to pass.
    pub soft_crossed: Levels,
    /// Watched levels that would have refused.
    pub would_refuse: Levels,
    /// The first of those, in figures.
    pub watched: Option<Shortage>,
    /// Levels whose hard limit is passed with leave.
    pub overage: Levels,
    /// The level that lowered the output cap.
    pub capped_by: Option<LevelKind>,
    /// Watched quotas that would have refused it, or made it wait.
    pub quotas: QuotaSet,
    /// The first of those, in figures.
    pub quota_watched: Option<OverQuota>,
}

/// What is set aside for one call in a pool and in the books, until it ends. Dropped without an
/// end, it gives everything back and says so, which is a defect of ours.
///
/// A pointer: what it holds stays where it was written, through all phases of the call.
#[derive(Debug)]
pub struct Holding(Box<Parts>);

/// Where a [`Holding`] will be: made before, so that to reserve allocates nothing, and of the gate and the
/// books from which it will be taken.
#[derive(Debug)]
pub(crate) struct Room(Holding);

impl Room {
    pub(crate) fn new(gate: &SharedGate, books: &SharedAccount) -> Self {
        Self(Holding(Box::new(Parts {
            gate: Some(Arc::clone(gate)),
            books: Arc::clone(books),
            taken: None,
            hold: None,
            trying: None,
            quota: None,
            used: None,
        })))
    }

    /// Takes from all what their checks have cleared, under the hold of the locks in which they did.
    #[inline]
    pub(crate) fn take(
        self,
        (pool, mut cleared, now): (&mut Pool, Cleared, Monotonic),
        account: &mut Account,
        (path, money): (&Path, &ClearedMoney),
        (quota_path, quota): (&QuotaPath, &ClearedQuota),
    ) -> SetAside {
        let Self(mut holding) = self;
        let parts = &mut *holding.0;
        let (books, quotas) = account.parts();
        pool.commit_into(&mut parts.taken, &cleared, now);
        parts.hold = Some(books.commit(path, money));
        parts.quota = Some(quotas.commit(quota_path, quota));
        SetAside {
            holding,
            sizes: quota.sizes,
            found: Found::of(&mut cleared, money, quota),
            cap: None,
        }
    }
}

/// What a [`Holding`] holds.
#[derive(Debug)]
struct Parts {
    /// None for a reservation of an earlier run, whose tokens are spent.
    gate: Option<SharedGate>,
    books: SharedAccount,
    taken: Option<Taken>,
    hold: Option<Hold>,
    /// It is the one call that tries whether its provider serves again.
    trying: Option<Trying>,
    quota: Option<QuotaHold>,
    /// Quota tokens that it has used; `None` where the call was not made.
    used: Option<u64>,
}

impl Holding {
    /// What is held in money.
    pub fn bound(&self) -> NanoUsd {
        self.0.hold.as_ref().map_or(NanoUsd::ZERO, Hold::bound)
    }

    /// The levels whose hard limit binds the call.
    pub fn enforced(&self) -> Levels {
        self.0.hold.as_ref().map_or(Levels::NONE, Hold::enforced)
    }

    /// From now on it is the one call that tries whether its provider serves again, if it is.
    pub(crate) fn set_trying(&mut self, trying: Option<Trying>) {
        self.0.trying = trying;
    }

    /// That it tries, if it does.
    pub(crate) const fn take_trying(&mut self) -> Option<Trying> {
        self.0.trying.take()
    }

    /// The call was made, and has used so many quota tokens.
    pub(crate) const fn uses(&mut self, tokens: u64) {
        self.0.used = Some(tokens);
    }

    /// Ends all parts. `in_books` runs under the lock of the books, so that entries are queued in
    /// the order in which the books changed.
    pub(crate) fn end<T>(
        self,
        now: Monotonic,
        in_gate: impl FnOnce(&mut Gate, Taken),
        in_books: impl FnOnce(&mut Books, Hold) -> T,
    ) -> Ended<T> {
        let mut ended = Ended {
            books: None,
            waited_for: None,
        };
        let mut parts = self.0;
        if let (Some(taken), Some(gate)) = (parts.taken.take(), &parts.gate) {
            let mut locked = gate.lock();
            in_gate(&mut locked, taken);
            if !locked.queue.is_empty() {
                ended.waited_for = Some(Arc::clone(gate));
            }
        }
        let quota = parts.quota.take();
        if let Some(hold) = parts.hold.take() {
            let mut account = parts.books.lock();
            if let Some(quota) = quota {
                account.end_quota(quota, parts.used, now);
            }
            ended.books = Some(in_books(&mut account, hold));
        }
        ended
    }

    /// Runs `act` on what is taken, under the lock of its platform.
    pub(crate) fn with_taken<T>(&self, act: impl FnOnce(&mut Gate, &Taken) -> T) -> Option<T> {
        let (gate, taken) = (self.0.gate.as_ref()?, self.0.taken.as_ref()?);
        Some(act(&mut gate.lock(), taken))
    }

    /// Runs `act` on the money part under the lock of the books.
    pub(crate) fn with_hold<T>(
        &mut self,
        act: impl FnOnce(&mut Books, &mut Hold) -> T,
    ) -> Option<T> {
        let hold = self.0.hold.as_mut()?;
        Some(act(&mut self.0.books.lock(), hold))
    }

    /// Lets go of it without an end, as the whole engine goes: the ledger has its beginning, and
    /// the next run takes it over.
    pub(crate) fn leave(self) {
        let mut parts = self.0;
        let _left = (parts.taken.take(), parts.hold.take(), parts.quota.take());
    }

    /// An open reservation of an earlier run: money is held, its tokens are spent.
    pub(crate) fn adopted(books: SharedAccount, hold: Hold) -> Self {
        Self(Box::new(Parts {
            gate: None,
            books,
            taken: None,
            hold: Some(hold),
            trying: None,
            quota: None,
            used: None,
        }))
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        let left = (self.taken.take(), self.hold.take());
        if left.0.is_none() && left.1.is_none() {
            return;
        }
        crate::count_dropped();
        let quota = self.quota.take();
        if let Some(hold) = left.1 {
            let mut account = self.books.lock();
            if let Some(quota) = quota {
                account.quotas.drop_hold(quota);
            }
            account.release(hold);
        }
    }
}

/// The end of a [`Holding`].
#[must_use = "somebody may wait for what was given back"]
pub(crate) struct Ended<T> {
    /// What the books said.
    pub(crate) books: Option<T>,
    /// Where somebody waits, who may fit now.
    pub(crate) waited_for: Option<SharedGate>,
}

/// What must be known to reserve, whoever asks: a gateway call or an admission request.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Of the buckets.
    pub need: Need,
    /// For the whole at its output cap, where there is none to lower.
    pub bound: NanoUsd,
    /// What it will probably cost.
    pub expected: NanoUsd,
    /// Whether built-in limits bind it.
    pub caller: Caller,
}

/// A call with everything it needs set aside, not sent yet.
#[derive(Debug)]
pub struct Reserved {
    /// The call and where it goes.
    pub routed: Box<Routed>,
    /// What is set aside.
    pub holding: Holding,
    /// How large its answer may become.
    pub sizes: Sizes,
    /// What was found on the way.
    pub found: Found,
    /// The output cap to send, where it is not the one asked for.
    pub cap: Option<Tokens>,
}

impl Routed {
    /// What the buckets are asked.
    pub(crate) fn ask(&self) -> Ask {
        Ask {
            need: self.need,
            priority: self.call.record.priority,
            user: self.slot,
            caller: self.call.principal.caller,
            queues: true,
        }
    }

    /// Checks every bucket and budget, then takes from all of them: all or nothing. Who waits for
    /// the same is not overtaken.
    ///
    /// Holds the gate's lock, then the organisation's, in this order, which no other code takes
    /// both of. Allocates nothing, awaits nothing.
    pub fn reserve(
        mut self: Box<Self>,
        rules: &ReserveRules,
        now: Moment,
    ) -> Result<Reserved, (Box<Self>, Obstacle)> {
        let mut room = self.room.take();
        let set_aside = {
            let mut gate = self.gate.lock();
            if gate.holds_up(self.call.record.priority) {
                let obstacle = gate.obstacle(&self.ask(), now);
                drop(gate);
                self.room = room;
                return Err((self, obstacle));
            }
            pool_check(&mut gate.pool, &self.ask(), now).and_then(|cleared| {
                let mut books = self.books.lock();
                let from = (&mut gate.pool, cleared);
                self.set_aside(&mut room, from, &mut books, (rules, now))
            })
        };
        match set_aside {
            Ok(set_aside) => Ok(set_aside.of(self)),
            Err(obstacle) => {
                self.room = room;
                Err((self, obstacle))
            }
        }
    }

    /// Takes what the buckets have cleared, if the budgets hold the call: into its room, where it has
    /// any. The locks of both are held since the check.
    #[inline]
    pub(crate) fn set_aside(
        &self,
        room: &mut Option<Room>,
        (pool, cleared): (&mut Pool, Cleared),
        account: &mut Account,
        (rules, now): (&ReserveRules, Moment),
    ) -> Result<SetAside, Obstacle> {
        // Under the lock under which a task's slot is given back: one that is over takes none.
        if self.call.ongoing.task().is_cancelled() {
            return Err(Obstacle::TaskCancelled);
        }
        let (money, cap, capped_by) = self.money(account, rules, now)?;
        let at = (now.mono, now.wall);
        let quota = match account.quotas.check(&self.quota, &self.quota_ask(), at) {
            Ok(quota) => quota,
            Err(over) => return Err(Obstacle::Quota(over)),
        };
        self.call.ongoing.task().resume(now.wall);
        let room = room.take();
        let room = room.unwrap_or_else(|| Room::new(&self.gate, &self.books));
        let (money, quota) = ((&self.path, &money), (&self.quota, &quota));
        let mut set_aside = room.take((pool, cleared, now.mono), account, money, quota);
        set_aside.cap = cap;
        set_aside.found.capped_by = capped_by;
        Ok(set_aside)
    }

    /// Whether the budgets hold the call, with the output cap that they can hold.
    fn money(
        &self,
        books: &Books,
        rules: &ReserveRules,
        now: Moment,
    ) -> Result<(ClearedMoney, Option<Tokens>, Option<LevelKind>), Obstacle> {
        let caller = self.call.principal.caller;
        let Some(room) = books.room(&self.path, caller, now.wall) else {
            return Err(Obstacle::Stale);
        };
        let mut bound = self.bound;
        let mut lowered = None;
        if !bound.is_zero()
            && let Some(headroom) = room.headroom
            // A call that fits as a whole what its output may take keeps its cap.
            && rules.share(headroom.left) < bound
        {
            // What can't be lowered far enough is refused by `check`, with the figures.
            if let Some(cap) = self.lowered(headroom, rules)
                && cap < self.cap
            {
                bound = self.bound_of(cap);
                lowered = Some((cap, headroom.level));
            }
        }
        let ask = MoneyAsk {
            bound,
            expected: self.expected.min(bound),
            caller,
        };
        match books.check_room(&self.path, &room, &ask, now.wall) {
            MoneyCheck::Clear(ClearedMoney {
                unapproved: Some(asked),
                ..
            }) => Err(Obstacle::Approval(asked)),
            MoneyCheck::Clear(money) => Ok((money, lowered.map(|it| it.0), lowered.map(|it| it.1))),
            MoneyCheck::Refused(shortage) => Err(Obstacle::Budget(shortage)),
            MoneyCheck::Stale => Err(Obstacle::Stale),
        }
    }

    /// Whether the budgets would hold the call, with a cap that is not too low, if nothing else ran.
    pub(crate) fn fits_when_idle(&self, rules: &ReserveRules) -> bool {
        let idle = self
            .books
            .lock()
            .headroom_idle(&self.path, self.call.principal.caller);
        idle.is_none_or(|it| self.bound <= it.left || self.lowered(it, rules).is_some())
    }

    fn lowered(&self, headroom: Headroom, rules: &ReserveRules) -> Option<Tokens> {
        let ask = CapAsk {
            asked: self.cap,
            thinking: self.call.facts.thinking_budget,
            usual: self.output_usual,
            input_bound: self.input_bound,
            left: headroom.left,
        };
        let choices = self.call.facts.choices.max(1);
        let price = &self.bound_price;
        cap::cap(
            &ask,
            rules,
            |it| price.output_bound(self.all_choices(it), self.modifiers()),
            |it| Tokens(price.output_affordable(it, self.modifiers()).0 / choices),
        )
    }
}

/// What was taken, on its way into a [`Reserved`] call or to somebody who asked.
#[derive(Debug)]
pub(crate) struct SetAside {
    pub(crate) holding: Holding,
    pub(crate) sizes: Sizes,
    pub(crate) found: Found,
    pub(crate) cap: Option<Tokens>,
}

impl SetAside {
    #[inline]
    pub(crate) fn of(self, routed: Box<Routed>) -> Reserved {
        Reserved {
            routed,
            holding: self.holding,
            sizes: self.sizes,
            found: self.found,
            cap: self.cap,
        }
    }
}

impl Found {
    pub(crate) fn of(cleared: &mut Cleared, money: &ClearedMoney, quota: &ClearedQuota) -> Self {
        Self {
            notes: cleared.take_notes(),
            soft_passed: money.soft_passed,
            soft_crossed: money.soft_crossed,
            would_refuse: money.would_refuse,
            watched: money.watched,
            overage: money.overage,
            capped_by: None,
            quotas: quota.watched,
            quota_watched: quota.watched_first,
        }
    }
}

pub(crate) fn pool_check(pool: &mut Pool, ask: &Ask, now: Moment) -> Result<Cleared, Obstacle> {
    match pool.check(ask, now.mono) {
        Check::Clear(cleared) => Ok(cleared),
        Check::Deferred {
            wait,
            bucket,
            reason,
        } => Err(Obstacle::Wait {
            bucket,
            wait,
            reason,
        }),
        Check::NeverFits { bucket } => Err(Obstacle::NeverFits { bucket }),
    }
}

/// Whether the buckets would take it now. Takes nothing.
pub(crate) fn would_fit(gate: &Mutex<Gate>, ask: &Ask, now: Moment) -> bool {
    let mut gate = gate.lock();
    !gate.holds_up(ask.priority) && pool_check(&mut gate.pool, ask, now).is_ok()
}
