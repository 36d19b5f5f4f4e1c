//! Budgets as they stand, and other limits.

use std::{cmp::Reverse, collections::HashSet, sync::Arc};

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use tidegate_engine::keys::Change;
use tidegate_ledger as ledger;
use tidegate_ledger::{BudgetPolicy, LevelKey, LevelKind, LevelView};
use tidegate_observe::{audit::Action, event, record::rfc3339_seconds};
use tidegate_types::{Caller, Enforcement, Mode, Timestamp};

use crate::{
    Control, LimitScope,
    access::{By, Narrowed, Sight, Visitor},
    error::Error,
    limits::{TASKS_DEFAULT, TASKS_MAX},
    read::{Asked, Body, flag, maybe_name, money, number, word},
    wire::{Amount, Budget, BudgetQuery, Budgets, Limit, LimitRequest, LimitSet, Window},
};

impl From<&ledger::Limit> for Limit {
    fn from(limit: &ledger::Limit) -> Self {
        Self {
            soft: limit.soft.map(Into::into),
            hard: limit.hard.map(Into::into),
            overage_allowed: limit.overage_allowed,
            named: matches!(limit.enforcement, Enforcement::Named(_)),
            keyless: limit.enforcement.mode(Caller::Keyless),
            asking: limit.enforcement.mode(Caller::Asking),
        }
    }
}

/// Budgets: what is spent and held of which limit.
#[utoipa::path(get, path = "/api/v1/budgets", tag = "budgets", params(BudgetQuery),
    responses((status = 200, body = Budgets)))]
pub(crate) async fn budgets(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Asked(query): Asked<BudgetQuery>,
) -> Result<Json<Budgets>, Error> {
    let wanted = Wanted::read(query, visitor.sight())?;
    control
        .waiting(move |control| gather(control, &wanted))
        .await?
        .map(Json)
}

/// Which levels are asked for.
struct Wanted {
    sight: Sight,
    organisation: Option<Arc<str>>,
    user: Option<Arc<str>>,
    task: Option<String>,
    level: Option<LevelKind>,
    tasks_max: usize,
    ended: bool,
}

impl Wanted {
    fn read(query: BudgetQuery, sight: Sight) -> Result<Self, Error> {
        let Narrowed { organisation, user } = sight.narrow(query.organisation, query.user)?;
        let tasks_max = number("limit", query.limit.as_deref(), TASKS_DEFAULT, TASKS_MAX)?;
        let level = query.level.as_deref().map(level).transpose()?;
        Ok(Self {
            sight,
            organisation,
            user,
            task: query.task,
            level,
            tasks_max: usize::try_from(tasks_max).unwrap_or(usize::MAX),
            ended: flag("ended", query.ended.as_deref())?,
        })
    }

    fn wants(&self, key: &LevelKey) -> bool {
        self.sight.sees(&key.organisation, key.user.as_deref())
            && self.user.is_none_or_is(key.user.as_deref())
            && self.task.is_none_or_is(key.task.as_deref())
            && self.level.is_none_or(|it| it == key.kind)
    }
}

/// A filter that excludes nothing where it is not given.
trait Filter {
    fn is_none_or_is(&self, found: Option<&str>) -> bool;
}

impl<T: AsRef<str>> Filter for Option<T> {
    fn is_none_or_is(&self, found: Option<&str>) -> bool {
        self.as_ref().is_none_or(|it| Some(it.as_ref()) == found)
    }
}

fn level(name: &str) -> Result<LevelKind, Error> {
    let wanted = format!("one of {}", LevelKind::WORDS.join(", "));
    word("level", name, &wanted)
}

/// Those in use as they are; of the others what the ledger says.
fn gather(control: &Control, wanted: &Wanted) -> Result<Budgets, Error> {
    let organisation = wanted.organisation.as_deref();
    let mut in_use = control.engine.levels(organisation);
    in_use.retain(|it| wanted.wants(&it.key));
    let stored = control.engine.stored_levels(organisation);
    let stored = stored.map_err(|it| control.store_failed(&it))?;
    let settings = control.engine.settings();
    let policy = &settings.budgets;
    let known: HashSet<&LevelKey> = in_use.iter().map(|it| &it.key).collect();
    let others = stored
        .into_iter()
        .filter(|(key, _)| wanted.wants(key) && !known.contains(key))
        .map(|(key, balance)| view(policy, key, balance));
    let (mut tasks, mut others): (Vec<_>, Vec<_>) =
        others.partition(|it| it.key.kind == LevelKind::Task);
    tasks.sort_by_key(|it| Reverse(it.spent.max(it.notional)));
    let more = tasks.len().saturating_sub(wanted.tasks_max);
    tasks.truncate(wanted.tasks_max);
    others.append(&mut tasks);
    let now = control.engine.now().wall;
    let current = |it: &LevelView| wanted.ended || it.window.is_none_or(|it| it.end > now);
    let mut all: Vec<(LevelView, bool)> = in_use.into_iter().map(|it| (it, true)).collect();
    all.extend(others.into_iter().map(|it| (it, false)));
    let over = |key: &LevelKey| match (&key.user, &key.task) {
        (Some(user), Some(task)) => control.engine.has_ended(&key.organisation, user, task),
        _ => false,
    };
    // Whoever asks for a task wants to see it.
    let all_tasks = wanted.ended || wanted.task.is_some();
    all.retain(|(it, _)| current(it) && (all_tasks || !it.held.is_zero() || !over(&it.key)));
    all.sort_by(|(a, _), (b, _)| in_tree(&a.key).cmp(&in_tree(&b.key)));
    let budgets = all.into_iter().map(|(it, in_use)| shown(&it, in_use));
    Ok(Budgets {
        budgets: budgets.collect(),
        more: more as u64,
    })
}

/// The order of the tree: what is the organisation's before what is its users'.
fn in_tree(key: &LevelKey) -> impl Ord + '_ {
    let LevelKey {
        kind,
        organisation,
        user,
        task,
        opens,
    } = key;
    (organisation, user, kind, task, opens)
}

/// A level that is only in the ledger.
fn view(policy: &BudgetPolicy, key: LevelKey, balance: ledger::Balance) -> LevelView {
    let limit = *policy.limit(&key);
    let zone = policy.zone(&key.organisation);
    let window = key.opens.zip(key.kind.period());
    let window = window.map(|(day, period)| ledger::Window::containing(period, zone, day));
    let taken = balance.spent.saturating_add(balance.held);
    LevelView {
        window,
        left: limit.hard.map(|it| it.saturating_sub(taken)),
        soft_passed: limit.soft.is_some_and(|it| taken > it),
        spent: balance.spent,
        held: balance.held,
        notional: balance.notional,
        would_refuse: balance.would_refuse,
        limit,
        key,
    }
}

pub(super) fn shown(view: &LevelView, in_use: bool) -> Budget {
    let LevelKey {
        kind,
        organisation,
        user,
        task,
        opens: _,
    } = &view.key;
    Budget {
        level: kind.word().to_owned(),
        organisation: organisation.to_string(),
        user: user.as_ref().map(ToString::to_string),
        task: task.as_ref().map(ToString::to_string),
        window: view.window.map(|it| Window {
            opens: it.opens.to_string(),
            starts_at: rfc3339_seconds(it.start),
            ends_at: rfc3339_seconds(it.end),
        }),
        limit: (&view.limit).into(),
        spent: view.spent.into(),
        held: view.held.into(),
        left: view.left.map(Into::into),
        notional: view.notional.into(),
        would_refuse: view.would_refuse,
        soft_passed: view.soft_passed,
        in_use,
    }
}

/// Set a limit.
///
/// It is in force at once, for calls in flight too, and kept over restarts. Whoever sets one names
/// it: it is enforced for everybody, unless its mode is `watch`.
#[utoipa::path(put, path = "/api/v1/budgets/{level}", tag = "budgets",
    params(("level" = String, Path, description = "organisation, user_month, user_day, llm, tools, infrastructure or task")),
    request_body = LimitRequest, responses((status = 200, body = LimitSet)))]
pub(crate) async fn set_limit(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
    Body(request): Body<LimitRequest>,
) -> Result<Json<LimitSet>, Error> {
    let level = level(&name)?;
    let wish = Wish::read(&request)?;
    let scope = scope(level, request, &visitor)?;
    control
        .waiting(move |control| put_limit(control, &visitor, (level, scope), &wish))
        .await?
        .map(Json)
}

/// What a limit is to be.
struct Wish {
    hard: Amount,
    soft: Amount,
    mode: Mode,
    overage_allowed: Option<bool>,
}

impl Wish {
    fn read(request: &LimitRequest) -> Result<Self, Error> {
        let nothing = request.hard_usd.is_kept()
            && request.soft_usd.is_kept()
            && request.mode.is_none()
            && request.overage_allowed.is_none();
        if nothing {
            return Err(Error::Incomplete(
                "say what is to be set: `hard_usd`, `soft_usd`, `mode` or `overage_allowed`"
                    .to_owned(),
            ));
        }
        Ok(Self {
            hard: bounded("hard_usd", request.hard_usd)?,
            soft: bounded("soft_usd", request.soft_usd)?,
            mode: request.mode.unwrap_or(Mode::Enforce),
            overage_allowed: request.overage_allowed,
        })
    }

    fn applied(&self, before: &ledger::Limit) -> Result<ledger::Limit, Error> {
        let hard = match self.hard {
            Amount::Kept => before.hard,
            Amount::Removed => None,
            Amount::Set(it) => Some(it.0),
        };
        let built_in = before.enforcement == Enforcement::BuiltIn;
        let soft = match self.soft {
            // One that nobody set gives way: who says what may be spent is not asked again on the
            // way there.
            Amount::Kept if matches!(self.hard, Amount::Set(_)) && built_in => None,
            // Nobody said that it should stand in the way of a lower hard limit.
            Amount::Kept => before.soft.map(|it| it.min(hard.unwrap_or(it))),
            Amount::Removed => None,
            Amount::Set(it) => Some(it.0),
        };
        if let (Some(soft), Some(hard)) = (soft, hard)
            && soft > hard
        {
            return Err(Error::Value {
                key: "soft_usd",
                value: soft.to_string(),
                wanted: format!("an amount up to the hard limit, {hard}"),
            });
        }
        Ok(ledger::Limit {
            soft,
            hard,
            overage_allowed: self.overage_allowed.unwrap_or(before.overage_allowed),
            enforcement: Enforcement::Named(self.mode),
        })
    }
}

fn bounded(key: &'static str, amount: Amount) -> Result<Amount, Error> {
    if let Amount::Set(it) = amount {
        let _bounded = money(key, it)?;
    }
    Ok(amount)
}

/// For whom a limit is to be, if the visitor may say so.
fn scope(level: LevelKind, request: LimitRequest, visitor: &Visitor) -> Result<LimitScope, Error> {
    let organisation = maybe_name("organisation", request.organisation)?;
    let user = maybe_name("user", request.user)?;
    let task = maybe_name("task", request.task)?;
    let personal = matches!(
        level,
        LevelKind::UserMonth | LevelKind::UserDay | LevelKind::Task
    );
    if (user.is_some() || task.is_some()) && !personal {
        return Err(Error::Incomplete(format!(
            "`{level}` is a level of an organisation: leave `user` and `task` out"
        )));
    }
    if task.is_some() && (level != LevelKind::Task || user.is_some()) {
        return Err(Error::Incomplete(
            "`task` names a root task: it goes with the level `task`, and without `user`"
                .to_owned(),
        ));
    }
    let own = visitor.principal.organisation.to_string();
    let of = match organisation {
        Some(asked) if asked != own && visitor.by != By::Token => {
            return Err(Error::OtherOrganisation { asked });
        }
        other => other,
    };
    Ok(match (of, user, task) {
        (None, None, None) => {
            visitor.must_be_at_home()?;
            LimitScope::Everybody
        }
        (Some(organisation), None, None) => LimitScope::Organisation(organisation),
        (of, Some(user), _) => LimitScope::User {
            organisation: of.unwrap_or(own),
            user,
        },
        (of, None, Some(task)) => LimitScope::Task {
            organisation: of.unwrap_or(own),
            task,
        },
    })
}

fn put_limit(
    control: &Control,
    visitor: &Visitor,
    (level, scope): (LevelKind, LimitScope),
    wish: &Wish,
) -> Result<LimitSet, Error> {
    // What is left out stays as it is: nobody else may change it in between.
    let _one_at_a_time = control.limits.lock();
    let policy = Arc::clone(&control.engine.settings().budgets);
    let before = scope.limit(level, policy.limits());
    let after = wish.applied(&before)?;
    control
        .operations
        .set_limit(level, &scope, after, visitor.actor())
        .map_err(Error::LimitRefused)?;
    let set = LimitSet {
        level: level.word().to_owned(),
        scope: scope.to_string(),
        before: (&before).into(),
        after: (&after).into(),
    };
    let text = |it: &Limit| serde_json::to_string(it).ok();
    control.engine.report(&event::LimitChanged {
        by: visitor.actor(),
        limit: &format!("{level} for {scope}"),
        now: &text(&set.after).unwrap_or_default(),
    });
    let change = Change::by(
        &visitor.principal,
        Action::LimitSet,
        format!("{level} for {scope}"),
    );
    let change = Change {
        organisation: scope.organisation().map(Into::into),
        ..change.from_to(text(&set.before), text(&set.after))
    };
    control.engine.audit(change);
    Ok(set)
}

/// When a budget's window ends, for gauges: those that have ended don't count.
pub(crate) fn is_current(view: &LevelView, now: Timestamp) -> bool {
    view.window.is_none_or(|it| it.end > now)
}
