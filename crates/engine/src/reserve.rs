//! Every bucket and budget in the path of a call: checked together, then taken together.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidegate_admission::{Ask, BucketIndex, Check, Cleared, Need, Note, Pool, Reason, Taken, Wait};
use tidegate_ledger::{
    Books, ClearedMoney, Headroom, Hold, LevelKind, Levels, MoneyAsk, MoneyCheck, Shortage,
};
use tidegate_types::{Caller, NanoUsd, Tokens};

use crate::{
    call::{Moment, Routed},
    cap::{self, CapAsk},
    settings::ReserveRules,
};

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
    /// What the path resolves to has changed: resolve it again. Nobody is told.
    Stale,
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
}

/// What is set aside for one call in a pool and in the books, until it ends. Dropped without an
/// end, it gives everything back and says so, which is a defect of ours.
#[derive(Debug)]
pub struct Holding {
    /// None for a reservation of an earlier run, whose tokens are spent.
    pool: Option<Arc<Mutex<Pool>>>,
    books: Arc<Mutex<Books>>,
    taken: Option<Taken>,
    hold: Option<Hold>,
}

impl Holding {
    /// What is held in money.
    pub fn bound(&self) -> NanoUsd {
        self.hold.as_ref().map_or(NanoUsd::ZERO, Hold::bound)
    }

    /// The levels whose hard limit binds the call.
    pub fn enforced(&self) -> Levels {
        self.hold.as_ref().map_or(Levels::NONE, Hold::enforced)
    }

    /// Ends both parts. `book` runs under the lock of the books, so that entries are queued in the
    /// order in which the books changed.
    pub(crate) fn end<T>(
        mut self,
        in_pool: impl FnOnce(&mut Pool, Taken),
        in_books: impl FnOnce(&mut Books, Hold) -> T,
    ) -> Option<T> {
        if let (Some(taken), Some(pool)) = (self.taken.take(), &self.pool) {
            in_pool(&mut pool.lock(), taken);
        }
        let hold = self.hold.take()?;
        let mut books = self.books.lock();
        Some(in_books(&mut books, hold))
    }

    /// Runs `act` on the money part under the lock of the books.
    pub(crate) fn with_hold<T>(
        &mut self,
        act: impl FnOnce(&mut Books, &mut Hold) -> T,
    ) -> Option<T> {
        let hold = self.hold.as_mut()?;
        Some(act(&mut self.books.lock(), hold))
    }

    /// Lets go of it without an end, as the whole engine goes: the ledger has its beginning, and
    /// the next run takes it over.
    pub(crate) fn leave(mut self) {
        let _left = (self.taken.take(), self.hold.take());
    }

    /// An open reservation of an earlier run: money is held, its tokens are spent.
    pub(crate) const fn adopted(books: Arc<Mutex<Books>>, hold: Hold) -> Self {
        Self {
            pool: None,
            books,
            taken: None,
            hold: Some(hold),
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let left = (self.taken.take(), self.hold.take());
        if left.0.is_none() && left.1.is_none() {
            return;
        }
        crate::count_dropped();
        if let Some(hold) = left.1 {
            self.books.lock().release(hold);
        }
    }
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
    /// What was found on the way.
    pub found: Found,
    /// The output cap to send, where it is not the one asked for.
    pub cap: Option<Tokens>,
}

impl Routed {
    /// Checks every bucket and budget, then takes from all of them: all or nothing.
    ///
    /// Holds the pool's lock, then the organisation's, in this order, which no other code takes
    /// both of. Allocates nothing, awaits nothing.
    pub fn reserve(
        self: Box<Self>,
        rules: &ReserveRules,
        now: Moment,
    ) -> Result<Reserved, (Box<Self>, Obstacle)> {
        let ask = Ask {
            need: self.need,
            priority: self.call.record.priority,
            user: self.slot,
            caller: self.call.principal.caller,
        };
        let mut pool = self.pool.lock();
        let mut cleared = match pool_check(&mut pool, &ask, now) {
            Ok(cleared) => cleared,
            Err(obstacle) => {
                drop(pool);
                return Err((self, obstacle));
            }
        };
        let mut books = self.books.lock();
        let outcome = self.money(&books, rules, now);
        let (money, cap, capped_by) = match outcome {
            Ok(it) => it,
            Err(obstacle) => {
                drop((books, pool));
                return Err((self, obstacle));
            }
        };
        let found = Found {
            capped_by,
            ..Found::of(&mut cleared, &money)
        };
        let taken = pool.commit(cleared, now.mono);
        let hold = books.commit(&self.path, money);
        drop((books, pool));
        let holding = Holding {
            pool: Some(Arc::clone(&self.pool)),
            books: Arc::clone(&self.books),
            taken: Some(taken),
            hold: Some(hold),
        };
        Ok(Reserved {
            routed: self,
            holding,
            found,
            cap,
        })
    }

    /// Whether the budgets hold the call, with the output cap that they can hold.
    fn money(
        &self,
        books: &Books,
        rules: &ReserveRules,
        now: Moment,
    ) -> Result<(ClearedMoney, Option<Tokens>, Option<LevelKind>), Obstacle> {
        let caller = self.call.principal.caller;
        let mut bound = self.bound(self.cap);
        let mut lowered = None;
        if !bound.is_zero()
            && let Some(headroom) = books.headroom(&self.path, caller)
        {
            // What can't be lowered far enough is refused by `check`, with the figures.
            if let Some(cap) = self.lowered(headroom, rules)
                && cap < self.cap
            {
                bound = self.bound(cap);
                lowered = Some((cap, headroom.level));
            }
        }
        let ask = MoneyAsk {
            bound,
            expected: self.expected.min(bound),
            caller,
        };
        match books.check(&self.path, &ask, now.wall) {
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
        idle.is_none_or(|it| self.bound(self.cap) <= it.left || self.lowered(it, rules).is_some())
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

impl Found {
    fn of(cleared: &mut Cleared, money: &ClearedMoney) -> Self {
        Self {
            notes: cleared.take_notes(),
            soft_passed: money.soft_passed,
            soft_crossed: money.soft_crossed,
            would_refuse: money.would_refuse,
            watched: money.watched,
            overage: money.overage,
            capped_by: None,
        }
    }
}

fn pool_check(pool: &mut Pool, ask: &Ask, now: Moment) -> Result<Cleared, Obstacle> {
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

/// Reserves without a call: for those who ask before they act.
#[expect(
    clippy::too_many_arguments,
    reason = "what a routed call holds together"
)]
pub(crate) fn admit(
    pool: &Arc<Mutex<Pool>>,
    books: &Arc<Mutex<Books>>,
    path: &tidegate_ledger::Path,
    ask: &Ask,
    money: &MoneyAsk,
    now: Moment,
) -> Result<(Holding, Found), Obstacle> {
    let mut locked_pool = pool.lock();
    let mut cleared = pool_check(&mut locked_pool, ask, now)?;
    let mut locked_books = books.lock();
    let money = match locked_books.check(path, money, now.wall) {
        MoneyCheck::Clear(money) => money,
        MoneyCheck::Refused(shortage) => return Err(Obstacle::Budget(shortage)),
        MoneyCheck::Stale => return Err(Obstacle::Stale),
    };
    let found = Found::of(&mut cleared, &money);
    let taken = locked_pool.commit(cleared, now.mono);
    let hold = locked_books.commit(path, money);
    drop((locked_books, locked_pool));
    let holding = Holding {
        pool: Some(Arc::clone(pool)),
        books: Arc::clone(books),
        taken: Some(taken),
        hold: Some(hold),
    };
    Ok((holding, found))
}

/// Whether the buckets would take it now. Takes nothing.
pub(crate) fn would_fit(pool: &Mutex<Pool>, ask: &Ask, now: Moment) -> bool {
    pool_check(&mut pool.lock(), ask, now).is_ok()
}
