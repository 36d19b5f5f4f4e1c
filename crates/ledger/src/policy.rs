//! Which limits are in force, for whom, and in which time zone their windows lie.

use std::{collections::BTreeMap, sync::Arc};

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tidegate_types::{Enforcement, NanoUsd};

use crate::{LevelKey, LevelKind, Service};

/// What one level may spend in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Passing it by what is settled and expected is a warning now, and will ask for approval.
    pub soft: Option<NanoUsd>,
    /// Never passed by what is settled and held, where it is enforced.
    pub hard: Option<NanoUsd>,
    /// The hard limit may be passed, with a warning.
    pub overage_allowed: bool,
    /// Whether it binds, and whom.
    pub enforcement: Enforcement,
}

impl Limit {
    /// A default: this hard limit, enforced for those who ask and watched for the rest.
    pub const fn built_in(hard: NanoUsd) -> Self {
        Self {
            soft: None,
            hard: Some(hard),
            overage_allowed: false,
            enforcement: Enforcement::BuiltIn,
        }
    }
}

/// One limit per level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Of an organisation, per month.
    pub organisation: Limit,
    /// Of a user, per month.
    pub user_month: Limit,
    /// Of a user, per day.
    pub user_day: Limit,
    /// Of an organisation on language models, per month.
    pub llm: Limit,
    /// Of an organisation on tools, per month.
    pub tools: Limit,
    /// Of an organisation on infrastructure, per month.
    pub infrastructure: Limit,
    /// Of a root task, over its whole tree.
    pub task: Limit,
}

impl Limits {
    /// B1: what is in force where nobody said anything.
    pub const BUILT_IN: Self = Self {
        organisation: Limit::built_in(NanoUsd::from_usd(10_000)),
        user_month: Limit::built_in(NanoUsd::from_usd(500)),
        user_day: Limit::built_in(NanoUsd::from_usd(20)),
        llm: Limit::built_in(NanoUsd::from_usd(7_000)),
        tools: Limit::built_in(NanoUsd::from_usd(2_000)),
        infrastructure: Limit::built_in(NanoUsd::from_usd(1_000)),
        task: Limit {
            soft: Some(NanoUsd::from_usd(1)),
            ..Limit::built_in(NanoUsd::from_usd(5))
        },
    };

    /// The limit of a level.
    pub const fn of(&self, kind: LevelKind) -> &Limit {
        match kind {
            LevelKind::Organisation => &self.organisation,
            LevelKind::UserMonth => &self.user_month,
            LevelKind::UserDay => &self.user_day,
            LevelKind::Service(Service::Llm) => &self.llm,
            LevelKind::Service(Service::Tools) => &self.tools,
            LevelKind::Service(Service::Infrastructure) => &self.infrastructure,
            LevelKind::Task => &self.task,
        }
    }
}

impl Limits {
    /// The limit of a level, to be replaced.
    pub const fn of_mut(&mut self, kind: LevelKind) -> &mut Limit {
        match kind {
            LevelKind::Organisation => &mut self.organisation,
            LevelKind::UserMonth => &mut self.user_month,
            LevelKind::UserDay => &mut self.user_day,
            LevelKind::Service(Service::Llm) => &mut self.llm,
            LevelKind::Service(Service::Tools) => &mut self.tools,
            LevelKind::Service(Service::Infrastructure) => &mut self.infrastructure,
            LevelKind::Task => &mut self.task,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::BUILT_IN
    }
}

/// Limits that replace the wider ones, where they are given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LimitOverrides(pub BTreeMap<LevelKind, Limit>);

/// What differs for one organisation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrganisationLimits {
    /// Of the organisation, and of its users and tasks where they have none of their own.
    pub limits: LimitOverrides,
    /// Of single users: their month, their day, their tasks.
    pub users: BTreeMap<String, LimitOverrides>,
    /// Of single root tasks.
    pub tasks: BTreeMap<String, Limit>,
}

/// All limits in force, as the ledger records them. The narrowest one applies:
/// task, user, organisation, default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitTable {
    /// Where nothing narrower is given.
    pub defaults: Limits,
    /// By organisation.
    pub organisations: BTreeMap<String, OrganisationLimits>,
}

/// Whom a limit was set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitOf {
    /// Whoever has none of their own.
    Everybody,
    /// One organisation.
    Organisation,
    /// One user.
    User,
    /// One root task.
    Task,
}

impl LimitTable {
    /// No limit at any level.
    pub fn unlimited() -> Self {
        let mut table = Self::default();
        for kind in LevelKind::ALL {
            let limit = table.defaults.of_mut(kind);
            (limit.soft, limit.hard) = (None, None);
        }
        table
    }

    /// The limit that applies to a level.
    pub fn of(&self, key: &LevelKey) -> &Limit {
        self.narrowest(key).1
    }

    /// The same, and whom it was set for.
    pub fn narrowest(&self, key: &LevelKey) -> (LimitOf, &Limit) {
        let default = (LimitOf::Everybody, self.defaults.of(key.kind));
        let Some(organisation) = self.organisations.get(&*key.organisation) else {
            return default;
        };
        let task = || organisation.tasks.get(key.task.as_deref()?);
        let user = || {
            let user = organisation.users.get(key.user.as_deref()?)?;
            user.0.get(&key.kind)
        };
        let of_all = organisation.limits.0.get(&key.kind);
        (task().map(|it| (LimitOf::Task, it)))
            .or_else(|| Some((LimitOf::User, user()?)))
            .or_else(|| Some((LimitOf::Organisation, of_all?)))
            .unwrap_or(default)
    }

    fn check(&self) -> Result<(), PolicyError> {
        for kind in LevelKind::ALL {
            check(self.defaults.of(kind), || format!("limits.{kind}"))?;
        }
        for (name, organisation) in &self.organisations {
            for (kind, limit) in &organisation.limits.0 {
                check(limit, || format!("organisations.{name}.{kind}"))?;
            }
            for (user, limits) in &organisation.users {
                for (kind, limit) in &limits.0 {
                    let place = || format!("organisations.{name}.users.{user}.{kind}");
                    check(limit, place)?;
                    if !matches!(
                        kind,
                        LevelKind::UserMonth | LevelKind::UserDay | LevelKind::Task
                    ) {
                        return Err(PolicyError::NotOfAUser { place: place() });
                    }
                }
            }
            for (task, limit) in &organisation.tasks {
                check(limit, || format!("organisations.{name}.tasks.{task}"))?;
            }
        }
        Ok(())
    }
}

fn check(limit: &Limit, place: impl Fn() -> String) -> Result<(), PolicyError> {
    match (limit.soft, limit.hard) {
        (Some(soft), Some(hard)) if soft > hard => Err(PolicyError::SoftAboveHard {
            place: place(),
            soft,
            hard,
        }),
        _ => Ok(()),
    }
}

/// Why limits are no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The soft limit could never be passed before the hard one refuses.
    #[error(
        "`{place}`: the soft limit {soft} is above the hard limit {hard}; lower it or leave it out"
    )]
    SoftAboveHard {
        /// Which limit.
        place: String,
        /// As given.
        soft: NanoUsd,
        /// As given.
        hard: NanoUsd,
    },
    /// A user's overrides name a level that a user does not have.
    #[error("`{place}` is no level of a user; a user has user_month, user_day and task")]
    NotOfAUser {
        /// Which limit.
        place: String,
    },
}

/// The limits in force and the zones of their windows. Checked; never changed, but replaced.
#[derive(Clone, Debug)]
pub struct BudgetPolicy {
    zone: TimeZone,
    zones: BTreeMap<String, TimeZone>,
    limits: Arc<LimitTable>,
}

impl BudgetPolicy {
    /// `zone` is where an organisation's windows lie that is not in `zones`.
    pub fn try_new(
        zone: TimeZone,
        zones: BTreeMap<String, TimeZone>,
        limits: LimitTable,
    ) -> Result<Self, PolicyError> {
        limits.check()?;
        Ok(Self {
            zone,
            zones,
            limits: Arc::new(limits),
        })
    }

    /// The limits of B1 for everyone.
    #[must_use]
    pub fn built_in(zone: TimeZone) -> Self {
        Self {
            zone,
            zones: BTreeMap::new(),
            limits: Arc::new(LimitTable::default()),
        }
    }

    /// The same zones with other limits.
    pub fn with_limits(&self, limits: LimitTable) -> Result<Self, PolicyError> {
        Self::try_new(self.zone.clone(), self.zones.clone(), limits)
    }

    /// Where the windows of an organisation lie.
    pub fn zone(&self, organisation: &str) -> &TimeZone {
        self.zones.get(organisation).unwrap_or(&self.zone)
    }

    /// All limits, as the ledger records them.
    pub const fn limits(&self) -> &Arc<LimitTable> {
        &self.limits
    }

    /// The limit that applies to a level.
    pub fn limit(&self, key: &LevelKey) -> &Limit {
        self.limits.of(key)
    }
}

#[cfg(test)]
mod tests;
