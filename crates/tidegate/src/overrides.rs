//! Limits that operators set while running: laid over the configuration's, and kept.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_control::LimitScope;
use tidegate_ledger::{BudgetPolicy, LevelKind, Limit, LimitTable, PolicyError};

/// The name under which they are kept in the store.
pub(crate) const SETTING: &str = "limit_overrides";

/// Limits that can be set, one per level and scope. Each takes some 200 bytes, and they are read
/// at every start.
const OVERRIDES_MAX: usize = 100_000;

/// All of them, the oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Overrides(Vec<Override>);

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Override {
    level: LevelKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    organisation: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    limit: Limit,
}

/// No more limits can be set.
#[derive(Debug, thiserror::Error)]
#[error("{OVERRIDES_MAX} limits are set: write them into the configuration instead")]
pub(crate) struct TooMany;

impl Overrides {
    /// What was kept; nothing where nothing was, or where it can't be read.
    pub(crate) fn read(kept: Option<&[u8]>) -> Self {
        let kept = kept.and_then(|it| serde_json::from_slice(it).ok());
        kept.unwrap_or_default()
    }

    /// What is to be kept.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// With another limit; it replaces an earlier one of the same level and scope.
    pub(crate) fn with(
        &self,
        level: LevelKind,
        scope: &LimitScope,
        limit: Limit,
    ) -> Result<Self, TooMany> {
        let (organisation, user, task) = match scope.clone() {
            LimitScope::Everybody => (None, None, None),
            LimitScope::Organisation(organisation) => (Some(organisation), None, None),
            LimitScope::User { organisation, user } => (Some(organisation), Some(user), None),
            LimitScope::Task { organisation, task } => (Some(organisation), None, Some(task)),
        };
        let new = Override {
            level,
            organisation,
            user,
            task,
            limit,
        };
        let mut all = self.0.clone();
        all.retain(|it| !it.is_of(&new));
        if all.len() >= OVERRIDES_MAX {
            return Err(TooMany);
        }
        all.push(new);
        Ok(Self(all))
    }

    /// The configuration's limits with these over them.
    pub(crate) fn over(
        &self,
        configured: &Arc<BudgetPolicy>,
    ) -> Result<Arc<BudgetPolicy>, PolicyError> {
        if self.0.is_empty() {
            return Ok(Arc::clone(configured));
        }
        let mut table = LimitTable::clone(configured.limits());
        for it in &self.0 {
            it.put(&mut table);
        }
        Ok(Arc::new(configured.with_limits(table)?))
    }
}

impl Override {
    fn is_of(&self, other: &Self) -> bool {
        let scope = |it: &Self| (it.organisation.clone(), it.user.clone(), it.task.clone());
        self.level == other.level && scope(self) == scope(other)
    }

    fn put(&self, table: &mut LimitTable) {
        let Some(organisation) = &self.organisation else {
            *table.defaults.of_mut(self.level) = self.limit;
            return;
        };
        let organisation = table.organisations.entry(organisation.clone()).or_default();
        match (&self.user, &self.task) {
            (_, Some(task)) => {
                organisation.tasks.insert(task.clone(), self.limit);
            }
            (Some(user), None) => {
                let user = organisation.users.entry(user.clone()).or_default();
                user.0.insert(self.level, self.limit);
            }
            (None, None) => {
                organisation.limits.0.insert(self.level, self.limit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_ledger::LevelKey;
    use tidegate_types::NanoUsd;

    use super::*;

    #[test]
    fn the_latest_limit_of_a_scope_applies_to_that_scope_alone() {
        let dollars = |it| Limit::built_in(NanoUsd::from_usd(it));
        let task = LimitScope::Task {
            organisation: "acme".into(),
            task: "t".into(),
        };
        let everybody = LimitScope::Everybody;
        let overrides = Overrides::default()
            .with(LevelKind::Task, &task, dollars(1))
            .and_then(|it| it.with(LevelKind::Task, &everybody, dollars(7)))
            .and_then(|it| it.with(LevelKind::Task, &task, dollars(2)))
            .unwrap();
        let kept = Overrides::read(Some(&overrides.bytes()));
        let zone = jiff::tz::TimeZone::UTC;
        let policy = kept.over(&Arc::new(BudgetPolicy::built_in(zone))).unwrap();
        let limit = |task: &str| {
            let key = LevelKey {
                kind: LevelKind::Task,
                organisation: "acme".into(),
                user: Some("ann".into()),
                task: Some(task.into()),
                opens: None,
            };
            policy.limit(&key).hard
        };
        assert_eq!(limit("t"), Some(NanoUsd::from_usd(2)));
        assert_eq!(limit("u"), Some(NanoUsd::from_usd(7)));
    }
}
