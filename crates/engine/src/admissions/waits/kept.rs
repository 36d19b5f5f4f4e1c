//! Requests that wait, over restarts: how they are written down, read back, and left at the end.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tidegate_ledger::StoreError;
use tidegate_observe::event;
use tidegate_types::{AdmissionId, Priority, Timestamp};

use super::Outcome;
use crate::{
    Engine, StartError,
    admissions::{AdmissionAsk, asking::Asker},
    reserve::Obstacle,
    spender::Spender,
};

/// Settings of this prefix are requests that wait, by their id.
const WAITS: &str = "waiting_admissions/";

/// A request as it outlasts a restart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) organisation: Arc<str>,
    pub(super) user: Arc<str>,
    pub(super) priority: Priority,
    pub(super) ask: Arc<AdmissionAsk>,
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
    pub(super) hold: Duration,
}

impl Saved {
    pub(super) fn asker(&self) -> Asker {
        Asker {
            organisation: Arc::clone(&self.organisation),
            user: Arc::clone(&self.user),
            priority: self.priority,
        }
    }

    pub(super) fn spender(&self) -> Spender {
        Spender {
            organisation: Arc::clone(&self.organisation),
            user: Arc::clone(&self.user),
            task: self.ask.task.as_deref().map(Arc::from),
        }
    }

    pub(super) fn patience(&self) -> Duration {
        self.until.since(self.since)
    }
}

impl Engine {
    pub(super) fn saved_wait(&self, id: AdmissionId) -> Option<Saved> {
        let all = self.waits.all.lock();
        all.get(&id).map(|it| it.saved.clone())
    }

    pub(super) fn forget_wait(&self, id: AdmissionId) {
        self.waits.all.lock().remove(&id);
        self.unsave(id);
    }

    pub(super) fn unsave(&self, id: AdmissionId) {
        if let Err(unwritten) = self.stores.settings.unset(&[&name(id)]) {
            self.writer.health().failed(&unwritten);
        }
    }

    /// Writes a request down, without secrets.
    pub(super) fn save_wait(&self, id: AdmissionId, saved: &Saved) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(&self.savable(saved)).unwrap_or_default();
        self.keep_setting(&name(id), &bytes)
    }

    fn savable(&self, saved: &Saved) -> Saved {
        let redacted = |it: &Option<String>| {
            let it = it.as_deref()?;
            Some(self.without_secrets(it).to_string())
        };
        let ask = AdmissionAsk {
            task: redacted(&saved.ask.task),
            parent_task: redacted(&saved.ask.parent_task),
            task_type: redacted(&saved.ask.task_type),
            session: redacted(&saved.ask.session),
            ..AdmissionAsk::clone(&saved.ask)
        };
        Saved {
            ask: Arc::new(ask),
            ..saved.clone()
        }
    }

    /// Lets those wait again who waited when an earlier run ended, each since it has.
    pub(crate) fn recall_waits(&self) -> Result<(), StoreError> {
        let mut all: Vec<(AdmissionId, Saved)> = Vec::new();
        for (name, value) in self.stores.settings.settings_below(WAITS)? {
            let id = name.strip_prefix(WAITS).and_then(|it| it.parse().ok());
            // What can't be read was written by another version, which knows what to do with it.
            if let (Some(id), Ok(saved)) = (id, serde_json::from_slice(&value)) {
                all.push((id, saved));
            }
        }
        all.sort_by_key(|(id, _)| *id);
        let now = self.now();
        for (id, saved) in all {
            match self.sought(&saved.asker(), &saved.ask, now) {
                Ok(sought) => {
                    // Nobody goes before all have their places: the second look decides.
                    let waits = Obstacle::Queued {
                        ahead: 0,
                        wait: Duration::ZERO,
                    };
                    let _waits = self.let_wait(id, saved, (Box::new(sought), waits), now);
                }
                Err(gone) => {
                    self.report(&event::InternalError {
                        reason: gone.to_string().into(),
                        place: "admissions",
                    });
                    self.unsave(id);
                }
            }
        }
        Ok(())
    }

    /// Starts the thread that books the turns of those who asked. It ends with the engine.
    pub(crate) fn watch_waits(self: &Arc<Self>) -> Result<(), StartError> {
        let engine = Arc::downgrade(self);
        let inbox = Arc::clone(&self.waits.inbox);
        let booking = move || {
            while inbox.wait() {
                let Some(engine) = engine.upgrade() else {
                    return;
                };
                engine.book_decided();
            }
        };
        let thread = std::thread::Builder::new().name("admissions".to_owned());
        let _detached = thread.spawn(booking).map_err(StartError::Thread)?;
        Ok(())
    }

    /// Ends what was on its way to somebody, and leave that nobody has fetched: the next run lets
    /// those wait again.
    pub(crate) fn close_waits(&self) {
        self.waits.inbox.turns.lock().1 = true;
        self.waits.inbox.changed.notify_all();
        while let Some(decided) = self.waits.inbox.next() {
            if let Ok((holding, _)) = decided.taken {
                self.give_back(holding);
            }
        }
        let unfetched: Vec<_> = {
            let all = self.waits.all.lock();
            let unfetched = all.values().filter(|it| !it.fetched);
            unfetched
                .filter_map(|it| match &*it.outcome.borrow() {
                    Outcome::Approved(admitted, _) => Some(admitted.reservation),
                    _ => None,
                })
                .collect()
        };
        for reservation in unfetched {
            self.end_unused(reservation);
        }
    }
}

fn name(id: AdmissionId) -> String {
    format!("{WAITS}{id}")
}
