//! Quotas: from the widest to the narrowest, each takes what it does not say from the wider one.

use tidegate_admission::{
    OrganisationQuotas, QuotaFigure, QuotaFigures, QuotaKind, QuotaScope, QuotaTable,
};
use tidegate_types::{Enforcement, Mode};

use crate::config::{
    Origin,
    schema::{Effective, Reader},
    sections::{self, Quota, Quotas},
    tree::key,
};

pub(super) fn check(raw: &Quotas, enforce: bool, reader: &mut Reader) -> QuotaTable {
    let mut of = |scope: QuotaScope, raw: &Quota| {
        let mut base = match scope {
            QuotaScope::User => QuotaFigures::BUILT_IN,
            QuotaScope::Organisation | QuotaScope::TaskType => QuotaFigures::UNLIMITED,
        };
        if enforce {
            for kind in QuotaKind::ALL {
                base.of_mut(kind).enforcement = Enforcement::Named(Mode::Enforce);
            }
        }
        let figures = figures(raw, &base, &format!("quotas.{scope}"), reader);
        show_built_in(raw, &figures, scope, reader);
        figures
    };
    let organisation = of(QuotaScope::Organisation, &raw.organisation);
    let user = of(QuotaScope::User, &raw.user);
    let task_type = of(QuotaScope::TaskType, &raw.task_type);
    let organisations = raw.organisations.iter().map(|(name, raw)| {
        let path = format!("quotas.organisations.{}", key(name));
        let own = self::organisation(raw, (&organisation, &user), &path, reader);
        (name.clone(), own)
    });
    let organisations = organisations.collect();
    let task_types = raw.task_types.iter().map(|(name, raw)| {
        let path = format!("quotas.task_types.{}", key(name));
        (name.clone(), figures(raw, &task_type, &path, reader))
    });
    QuotaTable {
        organisation,
        user,
        task_type,
        organisations,
        task_types: task_types.collect(),
        task_idle: raw.task_idle,
    }
}

fn organisation(
    raw: &sections::OrganisationQuotas,
    (organisation, user): (&QuotaFigures, &QuotaFigures),
    path: &str,
    reader: &mut Reader,
) -> OrganisationQuotas {
    let organisation = figures(
        &raw.organisation,
        organisation,
        &format!("{path}.organisation"),
        reader,
    );
    let user = figures(&raw.user, user, &format!("{path}.user"), reader);
    let users = raw.users.iter().map(|(name, raw)| {
        let path = format!("{path}.users.{}", key(name));
        (name.clone(), figures(raw, &user, &path, reader))
    });
    OrganisationQuotas {
        organisation,
        users: users.collect(),
        user,
    }
}

/// The figure that `raw` says, if it says one.
const fn said(raw: &Quota, kind: QuotaKind) -> Option<super::super::value::Quantity> {
    match kind {
        QuotaKind::TaskRate => raw.tasks_per_minute,
        QuotaKind::CallRate => raw.calls_per_minute,
        QuotaKind::ToolRate => raw.tools_per_minute,
        QuotaKind::TasksAtOnce => raw.tasks_at_once,
        QuotaKind::CallsAtOnce => raw.calls_at_once,
        QuotaKind::TasksPerDay => raw.tasks_per_day,
        QuotaKind::TokensPerMonth => raw.tokens_per_month,
        QuotaKind::TaskTime => raw.task_seconds,
        QuotaKind::Context => raw.context_tokens,
        QuotaKind::Output => raw.output_bytes,
    }
}

/// What `raw` says over what `base` says.
fn figures(raw: &Quota, base: &QuotaFigures, path: &str, reader: &mut Reader) -> QuotaFigures {
    let mut figures = *base;
    for kind in QuotaKind::ALL {
        let written = said(raw, kind);
        let figure = figures.of_mut(kind);
        let limit = written.map_or(figure.limit, |it| it.0);
        if let Some(limit) = limit.filter(|it| it.get() > kind.largest()) {
            let key = format!("{path}.{kind}");
            let message = format!(
                "{limit} is more than is kept count of; use at most {}, or \"none\"",
                kind.largest()
            );
            reader.refuse(reader.origin(&key), key, message);
        }
        let enforcement = match (raw.mode, written) {
            (Some(mode), _) => Enforcement::Named(mode),
            (None, Some(_)) => Enforcement::Named(Mode::Enforce),
            (None, None) => figure.enforcement,
        };
        *figure = QuotaFigure { limit, enforcement };
    }
    if raw.context_tokens.is_some() {
        // Who writes a figure means it, however much the model takes.
        figures.context_or_window = false;
    }
    figures.on_excess = raw.on_excess.unwrap_or(figures.on_excess);
    figures
}

/// Adds to what is in effect the figures nobody wrote.
fn show_built_in(raw: &Quota, figures: &QuotaFigures, scope: QuotaScope, reader: &mut Reader) {
    for kind in QuotaKind::ALL {
        if let (None, Some(limit)) = (said(raw, kind), figures.of(kind).limit) {
            reader.effective.push(Effective {
                key: format!("quotas.{scope}.{kind}"),
                value: limit.to_string(),
                origin: Origin::BuiltIn,
            });
        }
    }
}
