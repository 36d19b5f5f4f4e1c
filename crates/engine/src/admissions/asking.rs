//! A request for leave to act: who asks, what it needs, and whether it is there now.

use std::{sync::Arc, time::Duration};

use tidegate_admission::Wait;
use tidegate_ledger::{Asked, CallEntry, Event};
use tidegate_types::{Priority, Role};

use super::{
    AdmissionAsk, AdmissionError, Admitted, LIFE_MAX, NotAdmitted, OpenReservation,
    sought::{Sought, bucket_ask, need_of},
};
use crate::{
    Engine,
    call::Moment,
    identity::Principal,
    reserve::{self, Found, Holding, Obstacle},
    settings::Platform,
};

/// How long an admission may take to be settled where its holder does not say.
const LIFE_DEFAULT: Duration = Duration::from_mins(15);

/// Who asks, as it is kept over a restart.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) organisation: Arc<str>,
    pub(crate) user: Arc<str>,
    pub(crate) priority: Priority,
}

impl Engine {
    /// Decides on a request for leave, and sets aside what it needs if it is given.
    ///
    /// May wait up to two seconds for the store, with no lock held.
    pub fn admit(
        &self,
        principal: &Principal,
        ask: &AdmissionAsk,
    ) -> Result<Result<Admitted, Box<NotAdmitted>>, AdmissionError> {
        let now = self.now();
        let asker = self.asker(principal, ask, now)?;
        let mut sought = self.sought(&asker, &Arc::new(ask.clone()), now)?;
        match self.seek(&mut sought, now) {
            Ok((holding, found)) => self.keep(&sought, holding, &found, now).map(Ok),
            Err(obstacle) => Ok(Err(Box::new(self.not_admitted(&sought, obstacle, now)))),
        }
    }

    /// Who asks, as far as that is allowed.
    pub(super) fn asker(
        &self,
        principal: &Principal,
        ask: &AdmissionAsk,
        now: Moment,
    ) -> Result<Asker, AdmissionError> {
        if self.open.is_full() {
            return Err(AdmissionError::TooMany);
        }
        let user = match &ask.user {
            Some(user) if **user != *principal.user && principal.role < Role::Operator => {
                return Err(AdmissionError::OtherUser {
                    own: Arc::clone(&principal.user),
                    asked: user.clone(),
                });
            }
            Some(user) => Arc::from(user.as_str()),
            None => Arc::clone(&principal.user),
        };
        let task = self.admission_task(&principal.organisation, &user, ask, now)?;
        Ok(Asker {
            organisation: Arc::clone(&principal.organisation),
            user,
            priority: Self::admission_priority(principal, ask, task.as_ref()),
        })
    }

    fn admission_platform(&self, ask: &AdmissionAsk) -> Result<Arc<Platform>, AdmissionError> {
        let settings = self.settings.load();
        let found = match &ask.platform {
            Some(name) => settings.platform(name),
            None => settings.platforms.first(),
        };
        found
            .cloned()
            .ok_or_else(|| AdmissionError::UnknownPlatform {
                asked: ask.platform.clone().unwrap_or_default(),
                known: settings
                    .platforms
                    .iter()
                    .map(|it| &*it.name)
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }

    /// Finds everything that a request would be taken from.
    pub(super) fn sought(
        &self,
        asker: &Asker,
        ask: &Arc<AdmissionAsk>,
        now: Moment,
    ) -> Result<Sought, AdmissionError> {
        let platform = self.admission_platform(ask)?;
        let Asker {
            organisation,
            user,
            priority,
        } = asker.clone();
        let task = self.admission_task(&organisation, &user, ask, now)?;
        let root = task.as_ref().map(|it| Arc::clone(&it.root().name));
        let (gate, slot) = self.gate(&platform, (&organisation, &user), now.mono);
        let books = self.books(&organisation);
        let is_subtask = task.as_ref().is_some_and(|it| it.parent_name().is_some());
        let task_type = ask.task_type.as_deref();
        let task_type = task_type.map(|it| self.without_secrets(it));
        let of_task = root.as_ref().map(|it| (it, is_subtask));
        let quota = self.counted_at(&books, (&user, task_type.as_ref()), of_task, now);
        let service = ask.service.unwrap_or(tidegate_ledger::Service::Llm);
        let path = self.loaded_path(&books, |books| {
            books.path(&user, root.as_deref(), service, now.wall)
        });
        Ok(Sought {
            ask: Arc::clone(ask),
            platform,
            organisation,
            user,
            task,
            root,
            priority,
            gate,
            slot,
            books,
            path,
            quota,
        })
    }

    /// Takes what is sought, if all of it is there.
    pub(super) fn seek(
        &self,
        sought: &mut Sought,
        now: Moment,
    ) -> Result<(Holding, Found), Obstacle> {
        // As with calls: a window may end between resolving and checking.
        for _try in 0..3 {
            match sought.reserve(now) {
                Ok(set_aside) => {
                    return Ok((set_aside.holding, set_aside.found));
                }
                Err(Obstacle::Stale) => {
                    let books = Arc::clone(&sought.books);
                    sought.path = self.loaded_path(&books, |books| {
                        let root = sought.root.as_deref();
                        books.path(&sought.user, root, sought.service(), now.wall)
                    });
                }
                Err(Obstacle::Budget(shortage))
                    if !shortage.held.is_zero() && sought.fits_when_idle() =>
                {
                    let wait = self.holds.wait();
                    return Err(Obstacle::Held { shortage, wait });
                }
                Err(Obstacle::Approval(shortage)) => {
                    let levels = sought.path.entry().keys().iter();
                    if let Some(level) = levels.into_iter().find(|it| it.kind == shortage.level) {
                        let _parked_by_its_holder = self.ask(level, &sought.user, &shortage);
                    }
                    return Err(Obstacle::Approval(shortage));
                }
                Err(obstacle) => return Err(obstacle),
            }
        }
        Err(Obstacle::Stale)
    }

    /// Books what was taken, and keeps it for its holder.
    pub(super) fn keep(
        &self,
        sought: &Sought,
        holding: Holding,
        found: &Found,
        now: Moment,
    ) -> Result<Admitted, AdmissionError> {
        let (platform, ask) = (&sought.platform, &sought.ask);
        let path = Arc::clone(sought.path.entry());
        let reservation = self.ids.next(now.wall);
        let need = need_of(ask);
        let life = ask.estimated_duration.unwrap_or_default().min(LIFE_MAX);
        let expires_at = now.wall.after((life * 2).max(LIFE_DEFAULT));
        let entry = CallEntry {
            reservation,
            ordinal: 0,
            at: now.wall,
            path: Arc::clone(&path),
            enforced: holding.enforced(),
            event: Event::Reserve {
                bound: holding.bound(),
                expected: holding.bound(),
                would_refuse: found.would_refuse,
                asked: Some(Asked {
                    until: expires_at,
                    platform: Arc::clone(&platform.name),
                }),
            },
        };
        let writable = self.writer.health().is_writable();
        if writable && let Err(uncovered) = self.cover(&path, holding.enforced(), holding.bound()) {
            self.give_back(holding);
            return Err(AdmissionError::Unwritable(uncovered.to_string()));
        }
        let booked = writable && self.book_reserve(entry, &platform.name, &need).is_ok();
        if writable && !booked {
            self.uncover(&path, holding.enforced(), holding.bound());
        }
        if !booked {
            self.give_back(holding);
            let why = self.writer.health().why().unwrap_or_default();
            return Err(AdmissionError::Unwritable(why));
        }
        let open = OpenReservation {
            holding,
            path,
            next_ordinal: 1,
            expires: expires_at,
            unknown: false,
            platform: Arc::clone(&platform.name),
            need,
            since: Some(now.mono),
        };
        self.open.put(reservation, open);
        Ok(Admitted {
            reservation,
            platform: Arc::clone(&platform.name),
            expires_at,
            reasons: Self::reasons(platform, found),
        })
    }

    fn reasons(platform: &Platform, found: &Found) -> Vec<String> {
        let notes = found.notes.iter().map(ToString::to_string);
        let levels = tidegate_ledger::LevelKind::ALL.into_iter();
        let soft = levels.filter(|it| found.soft_passed.contains(*it));
        let soft = soft.map(|it| format!("soft limit {it} passed"));
        let fits = format!("{} has what this needs", platform.name);
        notes.chain(soft).chain([fits]).collect()
    }

    pub(super) fn not_admitted(
        &self,
        sought: &Sought,
        obstacle: Obstacle,
        now: Moment,
    ) -> NotAdmitted {
        let spender = sought.spender();
        let mut told = self.explain(&sought.platform, &spender, obstacle);
        if let Obstacle::Budget(shortage) = &obstacle {
            told.sentence = self.explain_to_asker(&spender, shortage);
        }
        let alternative = match obstacle {
            Obstacle::Budget(_)
            | Obstacle::Approval(_)
            | Obstacle::Held { .. }
            | Obstacle::Quota(_)
            | Obstacle::Cancelled
            | Obstacle::TaskCancelled
            | Obstacle::Stale => None,
            Obstacle::Wait { .. }
            | Obstacle::Cooling(_)
            | Obstacle::NeverFits { .. }
            | Obstacle::Queued { .. }
            | Obstacle::QueueFull => self.alternative(sought, now),
        };
        NotAdmitted {
            platform: Arc::clone(&sought.platform.name),
            wait: match obstacle {
                Obstacle::Wait { wait, .. } => Some(wait),
                Obstacle::Held { wait, .. } => Some(Wait::Freed { at_least: wait }),
                Obstacle::Quota(over) => over.wait,
                Obstacle::Queued { wait, .. } => Some(Wait::For(wait)),
                Obstacle::Cooling(cooldown) => Some(Wait::For(cooldown.left)),
                _ => None,
            },
            alternative,
            limit: told.limit,
            shortage: match obstacle {
                Obstacle::Budget(shortage)
                | Obstacle::Approval(shortage)
                | Obstacle::Held { shortage, .. } => Some(shortage),
                _ => None,
            },
            reasons: vec![told.sentence],
        }
    }

    /// The first other platform, of those the configuration names as fallback or else of all, that
    /// would take it now. Nothing is taken there.
    fn alternative(&self, sought: &Sought, now: Moment) -> Option<Arc<str>> {
        let settings = self.settings.load();
        let platform = &sought.platform;
        let named = platform
            .fallback
            .iter()
            .filter_map(|it| settings.platform(it));
        let others = settings
            .platforms
            .iter()
            .filter(|it| it.name != platform.name);
        let fits = |it: &&Arc<Platform>| {
            let (gate, slot) = self.gate(it, (&sought.organisation, &sought.user), now.mono);
            reserve::would_fit(&gate, &bucket_ask(&sought.ask, sought.priority, slot), now)
        };
        named
            .chain(others)
            .find(fits)
            .map(|it| Arc::clone(&it.name))
    }
}
