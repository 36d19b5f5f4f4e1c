//! The program around the engine.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::Value;
use tidegate_engine::{Engine, settings::Settings};
use tidegate_ledger::{LevelKind, Limit, LimitTable};
use tidegate_observe::{audit::Actor, metrics::Registry};
use tidegate_providers::prices::PriceBook;
use tidegate_types::Timestamp;

use super::{NOON, policy};
use crate::{LimitScope, NoticeChannel, NoticeTested, NoticeUntested, Operations, Reloaded};

/// The program around the engine, as far as it matters here.
pub(super) struct Program {
    pub(super) engine: Arc<Engine>,
    pub(super) draining: AtomicBool,
    pub(super) refuses: AtomicBool,
}

impl Operations for Program {
    fn reload(&self, by: Actor) -> Result<Reloaded, String> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err("tidegate.toml:3: `lsten`: unknown key, did you mean `listen`".to_owned());
        }
        let settings = Settings::clone(&self.engine.settings());
        let prices = PriceBook::clone(&self.engine.prices());
        self.engine.reload(settings, prices, by, "nothing");
        Ok(Reloaded {
            changed: "nothing".to_owned(),
            at_next_start: vec!["listen".to_owned()],
        })
    }

    fn set_limit(
        &self,
        level: LevelKind,
        scope: &LimitScope,
        limit: Limit,
        by: Actor,
    ) -> Result<(), String> {
        let mut settings = Settings::clone(&self.engine.settings());
        let mut table = LimitTable::clone(settings.budgets.limits());
        put(&mut table, level, scope, limit);
        let policy = policy(table).map_err(|it| it.to_string())?;
        settings.budgets = Arc::new(policy);
        let prices = PriceBook::clone(&self.engine.prices());
        self.engine.reload(settings, prices, by, "a limit");
        Ok(())
    }

    fn configuration(&self) -> Value {
        serde_json::json!({"listen": "127.0.0.1:8787"})
    }

    fn managed_settings(&self) -> Option<Value> {
        (!self.refuses.load(Ordering::Relaxed))
            .then(|| serde_json::json!({"env": {"B": "1", "A": "2"}}))
    }

    fn test_notices(&self, channel: &str) -> Result<NoticeTested, NoticeUntested> {
        crate::tests::links::tested(channel)
    }

    fn notice_channels(&self) -> Vec<NoticeChannel> {
        vec![NoticeChannel {
            name: "ops".to_owned(),
            format: "slack",
            waiting: 2,
            failing: Some((Timestamp::from_seconds(NOON), "503 later".to_owned())),
            lost: 1,
        }]
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn measure(&self, registry: &Registry) {
        registry.resident_memory.with([]).set(1_000_000);
    }
}

fn put(table: &mut LimitTable, level: LevelKind, scope: &LimitScope, limit: Limit) {
    let of = |name: &str| name.to_owned();
    match scope {
        LimitScope::Everybody => match level {
            LevelKind::Task => table.defaults.task = limit,
            LevelKind::UserDay => table.defaults.user_day = limit,
            other => panic!("no test sets {other} for everybody"),
        },
        LimitScope::Organisation(organisation) => {
            let own = table.organisations.entry(of(organisation)).or_default();
            own.limits.0.insert(level, limit);
        }
        LimitScope::User { organisation, user } => {
            let own = table.organisations.entry(of(organisation)).or_default();
            let user = own.users.entry(of(user)).or_default();
            user.0.insert(level, limit);
        }
        LimitScope::Task { organisation, task } => {
            let own = table.organisations.entry(of(organisation)).or_default();
            own.tasks.insert(of(task), limit);
        }
    }
}
