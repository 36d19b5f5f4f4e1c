//! What holds whatever happens.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Act {
    Call {
        user: u8,
        task: u8,
        sub: bool,
        kind: u8,
        tokens: u64,
    },
    End {
        which: usize,
        percent: u64,
        made: bool,
    },
    Over {
        user: u8,
        task: u8,
    },
    Pass(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let call = (0_u8..3, 0_u8..5, any::<bool>(), 0_u8..3, 1_u64..40).prop_map(
        |(user, task, sub, kind, tokens)| Act::Call {
            user,
            task,
            sub,
            kind,
            tokens,
        },
    );
    let act = prop_oneof![
        5 => call,
        3 => (0_usize..20, 0_u64..=100, any::<bool>())
            .prop_map(|(which, percent, made)| Act::End { which, percent, made }),
        1 => (0_u8..3, 0_u8..5).prop_map(|(user, task)| Act::Over { user, task }),
        2 => (1_u64..90 * SECOND).prop_map(Act::Pass),
        1 => (1_u64..3 * DAY).prop_map(Act::Pass),
    ];
    prop::collection::vec(act, 1..80)
}

fn limits() -> impl Strategy<Value = [u64; 7]> {
    [
        1_u64..6,
        1_u64..9,
        1_u64..6,
        1_u64..4,
        1_u64..5,
        1_u64..9,
        20_u64..200,
    ]
}

fn table_of(limits: [u64; 7], user: [u64; 7]) -> QuotaTable {
    let named = |limits: [u64; 7]| {
        let pairs: Vec<_> = QuotaKind::ALL.into_iter().zip(limits).collect();
        figures(&pairs, ENFORCED)
    };
    QuotaTable {
        organisation: named(limits),
        user: named(user),
        task_type: figures(&[], ENFORCED),
        ..QuotaTable::default()
    }
}

/// What has happened, counted anew from the beginning.
#[derive(Default)]
struct Witness {
    /// When calls began, that were not released, by rate.
    began: [Vec<u64>; 3],
    /// Beginnings of tasks by day.
    tasks: BTreeMap<u64, u64>,
    /// Tokens held or used by month.
    tokens: BTreeMap<u64, u64>,
    running: u64,
}

struct Running {
    hold: QuotaHold,
    user: u8,
    kind: u8,
    tokens: u64,
    at: u64,
}

/// At most the limit and its refill between any two beginnings.
fn within_rate(began: &[u64], limit: u64) -> bool {
    began.iter().enumerate().all(|(first, from)| {
        began[first..].iter().zip(1_u64..).all(|(until, count)| {
            let refilled = u128::from(until - from) * u128::from(limit);
            u128::from(count.saturating_sub(limit)) * u128::from(60 * SECOND) <= refilled
        })
    })
}

struct World {
    quotas: Quotas,
    limits: [u64; 7],
    of_user: [u64; 7],
    now: u64,
    running: Vec<Running>,
    /// The organisation, then its users.
    seen: [Witness; 4],
    begun: std::collections::BTreeSet<(u8, u8)>,
}

impl World {
    fn new(limits: [u64; 7], of_user: [u64; 7]) -> Self {
        Self {
            quotas: quotas(table_of(limits, of_user)),
            limits,
            of_user,
            now: 0,
            running: Vec::new(),
            seen: std::array::from_fn(|_| Witness::default()),
            begun: std::collections::BTreeSet::new(),
        }
    }

    fn path(&mut self, user: u8, task: u8, sub: bool) -> QuotaPath {
        let (user, task) = (format!("u{user}").into(), format!("t{task}").into());
        self.quotas
            .path(&user, None, Some((&task, sub)), Monotonic(self.now))
    }

    /// Does it, and answers the quota that was in its way, with the call.
    fn act(&mut self, act: Act) -> Option<(QuotaPath, QuotaAsk, OverQuota)> {
        match act {
            Act::Pass(nanos) => self.now += nanos,
            Act::Over { user, task } => {
                self.quotas
                    .end_task(&format!("u{user}").into(), &format!("t{task}").into());
            }
            Act::End {
                which,
                percent,
                made,
            } => {
                if self.running.is_empty() {
                    return None;
                }
                let place = which % self.running.len();
                let ended = self.running.swap_remove(place);
                self.end(ended, percent, made);
            }
            Act::Call {
                user,
                task,
                sub,
                kind,
                tokens,
            } => {
                let path = self.path(user, task, sub);
                let ask = QuotaAsk {
                    usage: [QuotaUse::Call, QuotaUse::Tool, QuotaUse::Other][usize::from(kind)],
                    tokens,
                    ..CALL
                };
                match self.quotas.try_call(&path, &ask, self.now) {
                    Ok(hold) => self.took(hold, (user, task), kind, tokens),
                    Err(over) => return Some((path, ask, over)),
                }
            }
        }
        None
    }

    fn end(&mut self, ended: Running, percent: u64, made: bool) {
        let used = ended.tokens * percent / 100;
        let now = Monotonic(self.now);
        if made {
            self.quotas.settle(ended.hold, used, now);
        } else {
            self.quotas.release(ended.hold, now);
        }
        for it in [0, usize::from(ended.user) + 1] {
            let seen = &mut self.seen[it];
            seen.running -= u64::from(ended.kind == 0);
            let month = seen.tokens.entry(ended.at / (30 * DAY)).or_default();
            *month -= ended.tokens - if made { used } else { 0 };
            if !made && ended.kind < 2 {
                let began = &mut seen.began[usize::from(ended.kind) + 1];
                let place = began.iter().rposition(|at| *at == ended.at).unwrap();
                began.remove(place);
            }
        }
    }

    fn took(&mut self, hold: QuotaHold, (user, task): (u8, u8), kind: u8, tokens: u64) {
        let first = self.begun.insert((user, task));
        for it in [0, usize::from(user) + 1] {
            let seen = &mut self.seen[it];
            seen.running += u64::from(kind == 0);
            *seen.tokens.entry(self.now / (30 * DAY)).or_default() += tokens;
            if first {
                seen.began[0].push(self.now);
                *seen.tasks.entry(self.now / DAY).or_default() += 1;
            }
            if kind < 2 {
                seen.began[usize::from(kind) + 1].push(self.now);
            }
        }
        let at = self.now;
        self.running.push(Running {
            hold,
            user,
            kind,
            tokens,
            at,
        });
    }

    fn is_within_limits(&mut self) -> Result<(), TestCaseError> {
        for (place, seen) in self.seen.iter().enumerate() {
            let limits = if place == 0 {
                self.limits
            } else {
                self.of_user
            };
            for (began, limit) in seen.began.iter().zip(limits) {
                prop_assert!(within_rate(began, limit), "{began:?} at {limit} a minute");
            }
            prop_assert!(seen.running <= limits[4]);
            prop_assert!(seen.tasks.values().all(|it| *it <= limits[5]));
            prop_assert!(seen.tokens.values().all(|it| *it <= limits[6]));
        }
        let (limits, of_user) = (self.limits, self.of_user);
        for view in self.quotas.views(at(self.now)) {
            let limit = match view.scope {
                QuotaScope::Organisation => limits[view.kind.index()],
                _ => of_user[view.kind.index()],
            };
            prop_assert!(view.used <= limit, "{view:?}");
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn nothing_is_ever_over_its_quota(limits in limits(), user in limits(), acts in acts()) {
        let mut world = World::new(limits, user);
        for act in acts {
            let _over = world.act(act);
            world.is_within_limits()?;
        }
    }

    #[test]
    fn waits_are_exact(limits in limits(), user in limits(), acts in acts()) {
        let mut world = World::new(limits, user);
        for act in acts {
            let Some((path, ask, over)) = world.act(act) else { continue };
            let now = world.now;
            match over.wait {
                Some(Wait::For(wait)) => {
                    let then = now + u64::try_from(wait.as_nanos()).unwrap();
                    prop_assert!(world.quotas.check(&path, &ask, at(then - 1)).is_err());
                    // Only looked at: the world goes on from where it was.
                    let mut later = World::new(limits, user);
                    std::mem::swap(&mut later.quotas, &mut world.quotas);
                    prop_assert!(later.quotas.check(&path, &ask, at(then)).is_ok(), "{over:?}");
                    return Ok(());
                }
                Some(Wait::Freed { .. }) => prop_assert!(!world.running.is_empty()),
                None => prop_assert!(ask.tokens > limits[6].min(user[6])),
            }
        }
    }

    #[test]
    fn what_is_watched_refuses_nothing(limits in limits(), acts in acts()) {
        let mut table = table_of(limits, limits);
        for figures in [&mut table.organisation, &mut table.user] {
            for kind in QuotaKind::ALL {
                figures.of_mut(kind).enforcement = Enforcement::Named(Mode::Watch);
            }
        }
        let mut world = World::new(limits, limits);
        world.quotas = quotas(table);
        for act in acts {
            prop_assert!(world.act(act).is_none());
        }
    }
}
