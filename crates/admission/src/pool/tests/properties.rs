//! What holds for any history of a pool.

use proptest::prelude::*;

use super::*;
use crate::Wait;

/// Something that happens to a pool.
#[derive(Clone, Debug)]
struct Step {
    /// May be negative: clocks do that.
    after_ms: i64,
    act: Act,
}

#[derive(Clone, Debug)]
enum Act {
    Take {
        tokens: u64,
        class: Priority,
        user: usize,
        keyless: bool,
    },
    /// Settles the outstanding one at this place, modulo how many there are.
    Settle {
        which: usize,
        tokens: u64,
    },
    Release {
        which: usize,
    },
    TopUp {
        which: usize,
        tokens: u64,
    },
}

/// Small numbers often: the edges are there.
fn tokens() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..4, 0_u64..40, 0_u64..240]
}

fn class() -> impl Strategy<Value = Priority> {
    prop::sample::select(Priority::ALL)
}

fn step() -> impl Strategy<Value = Step> {
    let take = (tokens(), class(), 0_usize..3, any::<bool>());
    let take = take.prop_map(|(tokens, class, user, keyless)| Act::Take {
        tokens,
        class,
        user,
        keyless,
    });
    let settle = || (any::<usize>(), tokens());
    let act = prop_oneof![
        6 => take,
        2 => settle().prop_map(|(which, tokens)| Act::Settle { which, tokens }),
        2 => any::<usize>().prop_map(|which| Act::Release { which }),
        1 => settle().prop_map(|(which, tokens)| Act::TopUp { which, tokens }),
    ];
    let after_ms =
        prop_oneof![3 => Just(0_i64), 3 => -20_i64..50, 2 => -500_i64..4_000, 1 => 0_i64..90_000];
    (after_ms, act).prop_map(|(after_ms, act)| Step { after_ms, act })
}

fn steps(max: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..max)
}

/// What [`Pool::take`] does without its short way, and the pool afterwards.
fn taken_closely(mut pool: Pool, ask: &Ask, now: Monotonic) -> String {
    let at = pool.clock(now);
    pool.sequence += 1;
    pool.users.see(ask.user, at);
    let check = pool.check_closely(ask, at);
    let admission = pool.follow(check, now);
    format!("{admission:?} {pool:?}")
}

fn rate_bucket(name: &'static str, resource: Resource) -> impl Strategy<Value = BucketSpec> {
    let figures = (
        1_u64..200,
        1_u64..50,
        1_u64..2_000,
        0_u64..=100,
        any::<bool>(),
    );
    figures.prop_map(
        move |(capacity, amount, period_ms, guard, ours)| BucketSpec {
            name: name.into(),
            resource,
            capacity,
            refill: Some(Refill {
                amount,
                period: Duration::from_millis(period_ms),
            }),
            threshold: capacity * guard / 100,
            owner: if ours { Owner::Ours } else { Owner::Provider },
            enforcement: ENFORCED,
        },
    )
}

/// One to three rates, and sometimes concurrency.
fn pools() -> impl Strategy<Value = PoolSpec> {
    let rates = (
        rate_bucket("units", Resource::Units),
        prop::option::of(rate_bucket("input", Resource::InputTokens)),
        prop::option::of(rate_bucket("dollars", Resource::NanoUsd)),
        prop::option::of(1_u64..5),
    );
    rates.prop_map(|(units, input, dollars, slots)| {
        let concurrency = slots.map(|it| bucket(&format!("concurrency {it}")));
        let all = [Some(units), input, dollars, concurrency];
        PoolSpec::try_new("test", all.into_iter().flatten().collect()).unwrap()
    })
}

/// A pool, what is out of it, and what was reserved of it: when, and how much of that stays.
struct World {
    pool: Pool,
    users: [UserSlot; 3],
    now_ms: u64,
    latest_ms: u64,
    outstanding: Vec<(Taken, usize)>,
    reserved: Vec<(u64, Need)>,
}

const START_MS: u64 = 1_000_000;

impl World {
    fn new(spec: PoolSpec) -> Self {
        let start = Monotonic(START_MS * MS);
        let mut pool = Pool::new(spec, start);
        let users = ["ann", "bob", "cy"].map(|it| pool.user("acme", it, start));
        Self {
            pool,
            users,
            now_ms: START_MS,
            latest_ms: START_MS,
            outstanding: Vec::new(),
            reserved: Vec::new(),
        }
    }

    fn now(&self) -> Monotonic {
        Monotonic(self.now_ms * MS)
    }

    fn ask(&self, tokens: u64, class: Priority, user: usize, keyless: bool) -> Ask {
        Ask {
            need: need(tokens),
            priority: class,
            user: self.users[user],
            caller: if keyless {
                Caller::Keyless
            } else {
                Caller::Asking
            },
            queues: false,
        }
    }

    fn apply(&mut self, step: &Step) {
        let needs_one = !matches!(step.act, Act::Take { .. });
        if needs_one && self.outstanding.is_empty() {
            // Nothing to do, and so no clock is read: the pool doesn't learn of this time.
            return;
        }
        self.now_ms = self
            .now_ms
            .saturating_add_signed(step.after_ms)
            .max(START_MS);
        self.latest_ms = self.latest_ms.max(self.now_ms);
        let now = self.now();
        let place = |which: usize, world: &Self| which % world.outstanding.len().max(1);
        match step.act {
            Act::Take {
                tokens,
                class,
                user,
                keyless,
            } => {
                let ask = self.ask(tokens, class, user, keyless);
                let closely = taken_closely(self.pool.clone(), &ask, now);
                let admission = self.pool.take(&ask, now);
                let plainly = format!("{admission:?} {:?}", self.pool);
                assert_eq!(plainly, closely, "the short way decides as the long one");
                if let Admission::Granted(taken) = admission {
                    self.outstanding.push((taken, self.reserved.len()));
                    self.reserved.push((self.latest_ms, ask.need));
                }
            }
            Act::Settle { which, tokens } => {
                let (taken, at) = self.outstanding.swap_remove(place(which, self));
                self.pool.settle(taken, &need(tokens), now);
                // What settlement adds is debt, and not reserved.
                let before = self.reserved[at].1.units;
                self.reserved[at].1 = need(before.min(tokens));
            }
            Act::Release { which } => {
                let (taken, at) = self.outstanding.swap_remove(place(which, self));
                self.pool.release(taken, now);
                self.reserved[at].1 = Need::default();
            }
            Act::TopUp { which, tokens } => {
                let at = place(which, self);
                self.pool
                    .top_up(&mut self.outstanding[at].0, &need(tokens), now);
            }
        }
    }

    /// The limit we promise, over every interval: A1.
    fn audit(&self, spec: &BucketSpec) -> Result<(), TestCaseError> {
        let Some(Refill { amount, period }) = spec.refill else {
            return Ok(());
        };
        let period_ms = u64::try_from(period.as_millis()).unwrap();
        let ten_times = 10 * spec.capacity
            + if spec.may_be_overdrawn() {
                spec.capacity
            } else {
                0
            };
        for (first, (begin, _)) in self.reserved.iter().enumerate() {
            let (mut sum, mut oversize) = (0, 0);
            for (end, need) in &self.reserved[first..] {
                let tokens = need.of(spec.resource);
                sum += tokens;
                oversize = oversize.max(tokens.saturating_sub(spec.capacity));
                let refilled = amount * (end - begin);
                prop_assert!(
                    10 * (sum - oversize) * period_ms <= ten_times * period_ms + 10 * refilled,
                    "{sum} of {} reserved in {} ms",
                    spec.name,
                    end - begin
                );
            }
        }
        Ok(())
    }
}

fn watched(spec: &PoolSpec, enforcement: Enforcement) -> PoolSpec {
    let buckets = spec.buckets().iter().cloned();
    let changed = buckets.map(|it| BucketSpec { enforcement, ..it });
    PoolSpec::try_new(spec.platform(), changed.collect()).unwrap()
}

proptest! {
    /// Also when clocks step back, calls end early, late, larger or not at all.
    #[test]
    fn reservations_stay_within_capacity_overdraft_and_refill(spec in pools(), steps in steps(120)) {
        let mut world = World::new(spec.clone());
        for step in &steps {
            world.apply(step);
            if let Some(slots) = spec.buckets().iter().find(|it| it.refill.is_none()) {
                prop_assert!(world.outstanding.len() <= usize::try_from(slots.capacity).unwrap());
            }
        }
        for bucket in spec.buckets() {
            world.audit(bucket)?;
        }
    }

    /// One nanosecond earlier fails, on time succeeds, if nobody else spends: for every class, in
    /// every state, over several buckets.
    #[test]
    fn the_quoted_wait_is_exact(
        spec in pools(), steps in steps(40), tokens in tokens(), class in class(), user in 0_usize..3,
    ) {
        let mut world = World::new(spec);
        for step in &steps {
            world.apply(step);
        }
        let ask = world.ask(tokens, class, user, false);
        let now = world.latest_ms * MS;
        if let Check::Deferred { wait, .. } = world.pool.check(&ask, Monotonic(now)) {
            let due = now + nanos(wait.at_least());
            let fits_at = |at: u64| {
                let mut pool = world.pool.clone();
                matches!(pool.check(&ask, Monotonic(at)), Check::Clear(_))
            };
            match wait {
                Wait::For(wait) => {
                    prop_assert!(!wait.is_zero());
                    prop_assert!(!fits_at(due - 1), "fits a nanosecond before {wait:?}");
                    prop_assert!(fits_at(due), "does not fit after {wait:?}");
                }
                Wait::Freed { .. } => prop_assert!(!fits_at(due), "a slot came back by itself"),
            }
        }
    }

    /// Reservations end exactly once, and leave nothing behind.
    #[test]
    fn when_every_call_has_ended_nothing_is_held(spec in pools(), steps in steps(60)) {
        let mut world = World::new(spec);
        for step in &steps {
            world.apply(step);
        }
        let now = world.now();
        for (taken, _) in std::mem::take(&mut world.outstanding) {
            world.pool.release(taken, now);
        }
        for bucket in world.pool.snapshot(now).buckets {
            prop_assert_eq!(bucket.held, 0);
            if bucket.resource == Resource::Concurrency {
                prop_assert_eq!(bucket.level, i64::try_from(bucket.capacity).unwrap());
            }
        }
    }

    /// Taken and released, however much later: as if it had never been taken.
    #[test]
    fn a_released_call_leaves_every_level_as_if_it_had_never_started(
        spec in pools(), steps in steps(40), tokens in tokens(), class in class(), later_ms in 0_u64..20_000,
    ) {
        let mut world = World::new(spec);
        for step in &steps {
            world.apply(step);
        }
        let now = Monotonic(world.latest_ms * MS);
        let untouched = world.pool.clone();
        let ask = world.ask(tokens, class, 0, false);
        if let Admission::Granted(taken) = world.pool.take(&ask, now) {
            let then = Monotonic(now.0 + later_ms * MS);
            world.pool.release(taken, then);
            prop_assert_eq!(world.pool.export(then), untouched.export(then));
        }
    }

    /// Tokens are kept from a call only by the threshold, by what classes have earned, or by debt.
    #[test]
    fn what_nobody_guards_or_has_earned_never_lies_idle(
        spec in pools(), steps in steps(40), class in class(), user in 0_usize..3,
    ) {
        let mut world = World::new(spec);
        for step in &steps {
            world.apply(step);
        }
        let now = Monotonic(world.latest_ms * MS);
        let view = world.pool.snapshot(now);
        prop_assume!(view.penalties.is_empty());
        let (slots, rates): (Vec<_>, Vec<_>) =
            view.buckets.iter().partition(|it| it.resource == Resource::Concurrency);
        let free = rates.iter().map(|it| {
            let others = it.classes.iter().filter(|it| it.priority != class);
            // Views round down.
            let earned: u64 = others.map(|it| it.earned + 1).sum();
            let guarded = if class <= Priority::Medium { it.threshold } else { 0 };
            it.level.saturating_sub_unsigned(earned + guarded)
        });
        let fits = free.min().unwrap_or(0);
        let has_slot = slots.iter().all(|it| it.level > 0);
        if fits > 0 && has_slot {
            let ask = world.ask(u64::try_from(fits).unwrap(), class, user, false);
            prop_assert!(matches!(world.pool.check(&ask, now), Check::Clear(_)), "{view:#?}");
        }
    }

    /// Watching computes exactly what enforcing would do, and does none of it.
    #[test]
    fn a_watched_limit_notes_what_an_enforced_one_would_do(
        spec in pools(), steps in steps(40), tokens in tokens(), class in class(),
    ) {
        let mut world = World::new(watched(&spec, WATCHED));
        for step in &steps {
            world.apply(step);
            for bucket in world.pool.snapshot(world.now()).buckets {
                let capacity = i64::try_from(bucket.capacity).unwrap();
                prop_assert!(bucket.level >= -capacity || bucket.resource == Resource::Concurrency);
            }
        }
        let taken = steps.iter().filter(|it| matches!(it.act, Act::Take { .. })).count();
        prop_assert_eq!(world.reserved.len(), taken, "a watched limit held a call back");

        let now = Monotonic(world.latest_ms * MS);
        let mut strict = world.pool.clone();
        strict.reconfigure(watched(&spec, ENFORCED), now);
        let ask = world.ask(tokens, class, 0, false);
        let Check::Clear(cleared) = world.pool.check(&ask, now) else {
            return Err(TestCaseError::fail("a watched limit held a call back"));
        };
        let waits = cleared.notes().iter().filter_map(|it| match it {
            Note::WouldWait { wait, .. } => Some(wait.at_least()),
            Note::WouldRefuse { .. } | Note::Overdraft { .. } | Note::Penalised { .. } => None,
        });
        let refuses = cleared.notes().iter().any(|it| matches!(it, Note::WouldRefuse { .. }));
        match strict.check(&ask, now) {
            Check::NeverFits { .. } => prop_assert!(refuses),
            // Each limit for itself cannot take longer than all of them together.
            Check::Deferred { wait, .. } => prop_assert!(waits.max().unwrap() <= wait.at_least()),
            Check::Clear(_) => prop_assert_eq!(waits.count(), 0),
        }
    }

    /// `critical` goes below zero by a tenth at most, only where it may, and never twice.
    #[test]
    fn without_settlement_debts_no_level_falls_below_its_overdraft(spec in pools(), steps in steps(80)) {
        let mut world = World::new(spec);
        for step in &steps {
            let exact = match &step.act {
                Act::Take { tokens, class, user, keyless } => Act::Take {
                    // None that is larger than a bucket.
                    tokens: *tokens.min(&world.pool.spec().buckets().iter().map(|it| it.capacity).min().unwrap()),
                    class: *class, user: *user, keyless: *keyless,
                },
                Act::Settle { which, .. } | Act::Release { which } | Act::TopUp { which, .. } => Act::Release { which: *which },
            };
            world.apply(&Step { after_ms: step.after_ms, act: exact });
            for bucket in world.pool.snapshot(world.now()).buckets {
                let may = bucket.owner == Owner::Ours && !bucket.resource.is_hard();
                let least = if may { -i64::try_from(bucket.capacity.div_ceil(10)).unwrap() } else { 0 };
                prop_assert!(bucket.level >= least, "{bucket:?}");
            }
        }
    }

    /// The same figures again change nothing; a restart loses less than a token.
    #[test]
    fn reconfiguring_and_restarting_refill_nothing(
        spec in pools(), steps in steps(60), down_ms in 0_u64..20_000, tokens in tokens(), class in class(),
    ) {
        let mut world = World::new(spec.clone());
        for step in &steps {
            world.apply(step);
        }
        let now = Monotonic(world.latest_ms * MS);
        let mut again = world.pool.clone();
        again.reconfigure(spec.clone(), now);
        prop_assert_eq!(again.snapshot(now), world.pool.snapshot(now));
        let ask = world.ask(tokens, class, 1, false);
        let (one, other) = (again.check(&ask, now), world.pool.clone().check(&ask, now));
        prop_assert_eq!(matches!(one, Check::Clear(_)), matches!(other, Check::Clear(_)));

        let saved = world.pool.export(now);
        let mut restarted = Pool::new(spec, Monotonic(7));
        restarted.restore(&saved, Duration::from_millis(down_ms), Monotonic(7));
        let then = Monotonic(now.0 + down_ms * MS);
        for (was, is) in world.pool.export(then).iter().zip(restarted.export(Monotonic(7))) {
            prop_assert!(is.tokens <= was.tokens && is.tokens + 1 >= was.tokens, "{was:?} became {is:?}");
        }
    }
}
