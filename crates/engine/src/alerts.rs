//! Budgets near their limits: told once for each part that is reached, and once when a limit is going
//! to be passed (B6).
//!
//! What was told of a level is kept in the commit that keeps what was settled on it, and a notice in
//! the same one or an earlier: see [`crate::notices::NoticeSink`].

use std::time::Duration;

use parking_lot::Mutex;
use tidegate_ledger::{Crossing, Foresight, LevelKey, Told};
use tidegate_observe::{event, notice::Topic, record::rfc3339_seconds};
use tidegate_types::Monotonic;

use crate::{
    Engine,
    account::Accounts,
    approvals::{dollars, fields_of, whose},
    notices::Telling,
};

/// Between two looks at all levels.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// How long keeping waits for an account: see [`crate::account::changed`].
const KEEPING_WAITS_MAX: Duration = Duration::from_millis(10);

/// When all levels were looked at last.
#[derive(Debug, Default)]
pub(crate) struct Looks(Mutex<Option<Monotonic>>);

/// The name of the setting that says what was told of a level.
fn setting(level: &LevelKey) -> String {
    // A key is texts and a date: it has a written form.
    format!("told\n{}", serde_json::to_string(level).unwrap_or_default())
}

/// What was told and is to be kept.
pub(crate) fn changed(accounts: &Accounts) -> Vec<(String, Vec<u8>)> {
    let all: Vec<_> = accounts.lock().values().cloned().collect();
    let mut kept = Vec::new();
    for account in all {
        let Some(mut account) = account.try_lock_for(KEEPING_WAITS_MAX) else {
            continue; // With the next entries.
        };
        let told = account.told_changed().into_iter();
        kept.extend(told.map(|(level, told)| {
            let value = serde_json::to_vec(&told).unwrap_or_default();
            (setting(&level), value)
        }));
    }
    kept
}

impl Engine {
    /// What an earlier run told of a level.
    pub(crate) fn told(&self, level: &LevelKey) -> Told {
        match self.setting(&setting(level)) {
            // What can't be read was written by another version.
            Ok(kept) => kept.and_then(|it| serde_json::from_slice(&it).ok()),
            Err(unread) => {
                self.writer.health().failed(&unread);
                None
            }
        }
        .unwrap_or_default()
    }

    /// Tells what was reached. To be called under the lock of the account, so that nothing is kept
    /// as told of which the notice is not.
    pub(crate) fn tell_crossed(&self, crossed: &[Crossing]) {
        for crossing in crossed {
            let Crossing {
                key,
                percent,
                spent,
                limit,
                ..
            } = crossing;
            let text = format!(
                "{} has reached {percent} % of its limit: {spent} of {limit} spent{}",
                whose(key),
                window(key),
            );
            let fields = fields_of(key)
                .with("percent", *percent)
                .with("spent_usd", dollars(*spent))
                .with("limit_usd", dollars(*limit));
            let (level, percent, limit) = (setting(key), percent.to_string(), limit.0.to_string());
            self.notify(Telling {
                topic: Topic::LimitReached,
                of: &[&level, &percent, &limit],
                text,
                fields,
                decides: None,
                to: None,
            });
        }
    }

    /// Looks at all levels, once a minute: what was reached without a settlement, and what will be.
    pub(crate) fn look_at_limits(&self) {
        let now = self.now();
        {
            let mut last = self.following.looks.0.lock();
            if last.is_some_and(|it| now.mono.since(it) < LOOK_EVERY) {
                return;
            }
            *last = Some(now.mono);
        }
        for account in self.accounts() {
            let looked = {
                let mut account = account.lock();
                let looked = account.look(now.wall);
                self.tell_crossed(&looked.crossed);
                for foresight in &looked.foreseen {
                    self.tell_foreseen(foresight);
                }
                looked
            };
            for crossing in &looked.crossed {
                self.report_reached(None, crossing);
            }
            for it in &looked.foreseen {
                self.report(&event::LimitForeseen {
                    limit: it.key.kind.word(),
                    whose: &it.key.to_string(),
                    at: &rfc3339_seconds(it.at),
                    spent: it.spent,
                    of: it.limit,
                });
            }
        }
    }

    fn tell_foreseen(&self, foresight: &Foresight) {
        let Foresight {
            key,
            spent,
            limit,
            at,
            resets_at,
        } = foresight;
        let (at, resets_at) = (rfc3339_seconds(*at), rfc3339_seconds(*resets_at));
        let text = format!(
            "{} will pass its limit of {limit} at {at} if it goes on like this: {spent} spent, and it resets at {resets_at}",
            whose(key),
        );
        let fields = fields_of(key)
            .with("passed_at", at)
            .with("resets_at", resets_at)
            .with("spent_usd", dollars(*spent))
            .with("limit_usd", dollars(*limit));
        self.notify(Telling {
            topic: Topic::LimitForeseen,
            of: &[&setting(key), &limit.0.to_string()],
            text,
            fields,
            decides: None,
            to: None,
        });
    }

    /// Logs what was reached.
    pub(crate) fn report_reached(
        &self,
        reservation: Option<tidegate_types::ReservationId>,
        crossing: &Crossing,
    ) {
        self.report(&event::LimitReached {
            reservation,
            limit: crossing.level.word(),
            percent: crossing.percent,
            spent: crossing.spent,
            of: crossing.limit,
        });
    }
}

fn window(key: &LevelKey) -> String {
    key.opens
        .map_or(String::new(), |day| format!(" since {day}"))
}
