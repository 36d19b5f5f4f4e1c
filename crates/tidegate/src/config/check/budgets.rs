//! Limits on money: from the widest to the narrowest, each takes what it does not say from the
//! wider one.

use std::{collections::BTreeMap, sync::Arc};

use jiff::tz::TimeZone;
use tidegate_ledger::{
    BudgetPolicy, LevelKind, Limit, LimitOverrides, LimitTable, Limits, OrganisationLimits, Service,
};
use tidegate_types::{Enforcement, Mode};

use crate::config::{
    Origin,
    schema::{Effective, Reader},
    sections::{self, Budgets, OrganisationBudgets},
    tree::{key, quoted},
};

pub(super) fn check(
    raw: &Budgets,
    enforce: bool,
    reader: &mut Reader,
) -> Option<Arc<BudgetPolicy>> {
    let mut defaults = Limits::BUILT_IN;
    for (kind, raw, name) in [
        (LevelKind::Organisation, &raw.organisation, "organisation"),
        (LevelKind::UserMonth, &raw.user_month, "user_month"),
        (LevelKind::UserDay, &raw.user_day, "user_day"),
        (LevelKind::Service(Service::Llm), &raw.llm, "llm"),
        (LevelKind::Service(Service::Tools), &raw.tools, "tools"),
        (
            LevelKind::Service(Service::Infrastructure),
            &raw.infrastructure,
            "infrastructure",
        ),
        (LevelKind::Task, &raw.task, "task"),
    ] {
        let mut base = *Limits::BUILT_IN.of(kind);
        if enforce {
            base.enforcement = Enforcement::Named(Mode::Enforce);
        }
        let limit = limit(raw, base, &format!("budgets.{name}"), reader);
        show_built_in(raw, &limit, name, reader);
        *place(&mut defaults, kind) = limit;
    }
    let mut zones = BTreeMap::new();
    let mut organisations = BTreeMap::new();
    for (name, raw) in &raw.organisations {
        let path = format!("budgets.organisations.{}", key(name));
        if let Some(zone) = &raw.zone {
            zones.insert(name.clone(), zone.0.clone());
        }
        organisations.insert(name.clone(), organisation(raw, &defaults, &path, reader));
    }
    let zone = raw
        .zone
        .as_ref()
        .map_or_else(TimeZone::system, |it| it.0.clone());
    let table = LimitTable {
        defaults,
        organisations,
    };
    let policy = BudgetPolicy::try_new(zone, zones, table);
    policy
        .map(Arc::new)
        .map_err(|error| {
            // `limit` has refused with the place everything that this would refuse; should the
            // two ever differ, the ledger is right.
            if reader.problems.is_empty() {
                reader.refuse(Origin::BuiltIn, "budgets".to_owned(), error.to_string());
            }
        })
        .ok()
}

/// Adds to what is in effect the amounts nobody wrote.
fn show_built_in(raw: &sections::Limit, limit: &Limit, name: &str, reader: &mut Reader) {
    let amounts = [
        ("soft", raw.soft.is_some(), limit.soft),
        ("hard", raw.hard.is_some(), limit.hard),
    ];
    for (key, written, amount) in amounts {
        if let (false, Some(amount)) = (written, amount) {
            reader.effective.push(Effective {
                key: format!("budgets.{name}.{key}"),
                value: quoted(&amount.to_string()),
                origin: Origin::BuiltIn,
            });
        }
    }
}

const fn place(limits: &mut Limits, kind: LevelKind) -> &mut Limit {
    match kind {
        LevelKind::Organisation => &mut limits.organisation,
        LevelKind::UserMonth => &mut limits.user_month,
        LevelKind::UserDay => &mut limits.user_day,
        LevelKind::Service(Service::Llm) => &mut limits.llm,
        LevelKind::Service(Service::Tools) => &mut limits.tools,
        LevelKind::Service(Service::Infrastructure) => &mut limits.infrastructure,
        LevelKind::Task => &mut limits.task,
    }
}

fn organisation(
    raw: &OrganisationBudgets,
    defaults: &Limits,
    path: &str,
    reader: &mut Reader,
) -> OrganisationLimits {
    let levels = [
        (LevelKind::Organisation, &raw.organisation),
        (LevelKind::UserMonth, &raw.user_month),
        (LevelKind::UserDay, &raw.user_day),
        (LevelKind::Service(Service::Llm), &raw.llm),
        (LevelKind::Service(Service::Tools), &raw.tools),
        (
            LevelKind::Service(Service::Infrastructure),
            &raw.infrastructure,
        ),
        (LevelKind::Task, &raw.task),
    ];
    let limits = overrides(&levels, defaults, path, reader);
    let mut own = *defaults;
    for (kind, limit) in &limits.0 {
        *place(&mut own, *kind) = *limit;
    }
    let mut users = BTreeMap::new();
    for (name, raw) in &raw.users {
        let path = format!("{path}.users.{}", key(name));
        let levels = [
            (LevelKind::UserMonth, &raw.user_month),
            (LevelKind::UserDay, &raw.user_day),
            (LevelKind::Task, &raw.task),
        ];
        users.insert(name.clone(), overrides(&levels, &own, &path, reader));
    }
    let mut tasks = BTreeMap::new();
    for (name, raw) in &raw.tasks {
        let path = format!("{path}.tasks.{}", key(name));
        tasks.insert(name.clone(), limit(raw, own.task, &path, reader));
    }
    OrganisationLimits {
        limits,
        users,
        tasks,
    }
}

/// The limits that are named below `path`.
fn overrides(
    levels: &[(LevelKind, &sections::Limit)],
    wider: &Limits,
    path: &str,
    reader: &mut Reader,
) -> LimitOverrides {
    let mut all = BTreeMap::new();
    for (kind, raw) in levels {
        let path = format!("{path}.{}", kind.word());
        if reader.is_named(&path) {
            all.insert(*kind, limit(raw, *wider.of(*kind), &path, reader));
        }
    }
    LimitOverrides(all)
}

/// What `raw` says over what `base` says.
fn limit(raw: &sections::Limit, base: Limit, path: &str, reader: &mut Reader) -> Limit {
    let hard = raw.hard.map_or(base.hard, |it| it.0);
    // A soft limit that nobody wrote gives way to a hard one that somebody did: who says what may be
    // spent is not asked again on the way there.
    let built_in = base.soft == Limits::BUILT_IN.task.soft && !reader.is_named("budgets.task.soft");
    let inherited = base.soft.filter(|soft| {
        let gives_way = built_in && raw.hard.is_some();
        !gives_way && hard.is_none_or(|hard| *soft <= hard)
    });
    let soft = raw.soft.map_or(inherited, |it| it.0);
    if let (Some(soft), Some(hard)) = (soft, hard)
        && soft > hard
    {
        let key = format!("{path}.soft");
        let message = format!(
            "{soft} is above the hard limit, {hard}; lower it, raise the hard one, or write \"none\""
        );
        reader.refuse(reader.origin(&key), key, message);
    }
    let enforcement = match raw.mode {
        Some(mode) => Enforcement::Named(mode),
        None if reader.is_named(path) => Enforcement::Named(Mode::Enforce),
        None => base.enforcement,
    };
    Limit {
        soft,
        hard,
        overage_allowed: raw.overage.unwrap_or(base.overage_allowed),
        enforcement,
    }
}
