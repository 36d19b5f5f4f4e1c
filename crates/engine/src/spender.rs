//! Who spends, and which command changes a limit of theirs.

use std::{borrow::Cow, sync::Arc};

use tidegate_ledger::{EntryPath, LevelKey, LevelKind, LimitOf, LimitTable};

use crate::call::Routed;

/// Whom a limit on money can be set for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spender {
    /// Who pays.
    pub organisation: Arc<str>,
    /// Who acts.
    pub user: Arc<str>,
    /// The root task, where there is one.
    pub task: Option<Arc<str>>,
}

impl From<&EntryPath> for Spender {
    fn from(path: &EntryPath) -> Self {
        Self {
            organisation: Arc::clone(&path.organisation),
            user: Arc::clone(&path.user),
            task: path.task.clone(),
        }
    }
}

impl Routed {
    /// Who spends for it.
    pub fn spender(&self) -> Spender {
        let record = &self.call.record;
        Spender {
            organisation: Arc::clone(&record.organisation),
            user: Arc::clone(&record.user),
            task: record.root_task.clone(),
        }
    }
}

impl Spender {
    /// The command that changes the limit which applies to them at this level: a wider one than
    /// that would change nothing for them, and something for others.
    pub(crate) fn set_limit(&self, level: LevelKind, limits: &LimitTable) -> String {
        let personal = matches!(
            level,
            LevelKind::UserMonth | LevelKind::UserDay | LevelKind::Task
        );
        let (of, _) = limits.narrowest(&LevelKey {
            kind: level,
            organisation: Arc::clone(&self.organisation),
            user: personal.then(|| Arc::clone(&self.user)),
            task: self.task.clone().filter(|_| level == LevelKind::Task),
            opens: None,
        });
        let mut command = format!("tidegate budget set {level} <amount>");
        let mut option = |name, value: &str| command.extend([" ", name, " ", &quoted(value)]);
        match (of, &self.task) {
            (LimitOf::Everybody, _) => return command,
            (LimitOf::Task, Some(task)) => option("--task", task),
            (LimitOf::User, _) => option("--user", &self.user),
            (LimitOf::Organisation | LimitOf::Task, _) => {}
        }
        option("--organisation", &self.organisation);
        command
    }
}

/// A word of a shell.
fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |it: char| it.is_ascii_alphanumeric() || "/._-+:@%".contains(it);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''")).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tidegate_ledger::{Limit, LimitOverrides, OrganisationLimits};
    use tidegate_types::NanoUsd;

    use super::*;

    #[test]
    fn the_command_changes_the_limit_that_applies_and_no_other() {
        let limit = Limit::built_in(NanoUsd::from_usd(1));
        let some =
            |kinds: &[LevelKind]| LimitOverrides(kinds.iter().map(|it| (*it, limit)).collect());
        let acme = OrganisationLimits {
            limits: some(&[LevelKind::Organisation, LevelKind::Task]),
            users: BTreeMap::from([(
                "ann b".to_owned(),
                some(&[LevelKind::UserDay, LevelKind::Task]),
            )]),
            tasks: BTreeMap::from([("it's".to_owned(), limit)]),
        };
        let limits = LimitTable {
            organisations: BTreeMap::from([("acme".to_owned(), acme)]),
            ..LimitTable::default()
        };
        let says = |organisation: &str, user: &str, task: &str, level| {
            let spender = Spender {
                organisation: organisation.into(),
                user: user.into(),
                task: Some(task.into()),
            };
            let command = spender.set_limit(level, &limits);
            command
                .strip_prefix("tidegate budget set ")
                .unwrap()
                .to_owned()
        };
        let (task, day) = (LevelKind::Task, LevelKind::UserDay);
        let month = LevelKind::Organisation;
        for (found, expected) in [
            (says("local", "ann b", "it's", task), "task <amount>"),
            (says("acme", "bob", "it's", day), "user_day <amount>"),
            (
                says("acme", "bob", "other", task),
                "task <amount> --organisation acme",
            ),
            (
                says("acme", "bob", "other", month),
                "organisation <amount> --organisation acme",
            ),
            (
                says("acme", "ann b", "other", task),
                "task <amount> --user 'ann b' --organisation acme",
            ),
            (
                says("acme", "ann b", "other", day),
                "user_day <amount> --user 'ann b' --organisation acme",
            ),
            (
                says("acme", "ann b", "it's", task),
                r"task <amount> --task 'it'\''s' --organisation acme",
            ),
        ] {
            assert_eq!(found, expected);
        }
    }
}
