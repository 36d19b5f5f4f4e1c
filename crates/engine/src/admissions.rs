//! Reservations held for others: those who asked before they act, and those a crash left open.

mod extend;
mod shapes;
mod tasks;

use std::{collections::HashMap, sync::Arc, time::Duration};

pub use shapes::{Actual, AdmissionAsk, AdmissionError, Admitted, NotAdmitted, ReservationView};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidegate_admission::{Ask, Need, Wait};
use tidegate_ledger::{CallEntry, Entry, EntryPath, Event, Line, MoneyAsk, Service, Settlement};
use tidegate_observe::{audit::Action, event};
use tidegate_types::{
    Caller, Complexity, Monotonic, NanoUsd, Priority, ReservationId, Role, Timestamp,
};

use crate::{
    Engine, account,
    call::Moment,
    identity::Principal,
    keys::Change,
    reserve::{self, Found, Holding, Obstacle},
    settings::Platform,
};

/// Reservations open at once for those who ask. Each has about 1 KiB.
const OPEN_MAX: usize = 200_000;

/// How long an admission may take to be settled where its holder does not say.
const LIFE_DEFAULT: Duration = Duration::from_mins(15);

/// The longest that one may be announced to take; `extend` goes on from there.
pub const LIFE_MAX: Duration = Duration::from_hours(24);

/// Why a settlement is above its hold: its holder says so.
const OVERRUN: &str = "settled above its hold";

/// A reservation that is not tied to a call in flight.
#[derive(Debug)]
pub struct OpenReservation {
    holding: Holding,
    path: Arc<EntryPath>,
    next_ordinal: u32,
    expires: Timestamp,
    unknown: bool,
    platform: Arc<str>,
    need: Need,
    /// Since when it holds; `None` for one of an earlier run.
    since: Option<Monotonic>,
}

impl OpenReservation {
    pub(crate) fn unknown(
        holding: Holding,
        path: Arc<EntryPath>,
        next_ordinal: u32,
        expires: Timestamp,
    ) -> Self {
        Self {
            holding,
            path,
            next_ordinal,
            expires,
            unknown: true,
            platform: "unknown".into(),
            need: Need::default(),
            since: None,
        }
    }

    /// Makes it last that much longer from now, unless it does anyway. Says until when.
    fn last_until(&mut self, now: Timestamp, longer: Duration) -> Timestamp {
        self.expires = self.expires.max(now.after(longer.min(LIFE_MAX)));
        self.expires
    }

    fn view(&self, id: ReservationId) -> ReservationView {
        ReservationView {
            id,
            path: Arc::clone(&self.path),
            held: self.holding.bound(),
            expires_at: self.expires,
            unknown: self.unknown,
        }
    }
}

/// The open reservations.
#[derive(Debug, Default)]
pub struct Open(Mutex<HashMap<ReservationId, OpenReservation, RandomState>>);

impl Drop for Open {
    fn drop(&mut self) {
        for (_, open) in self.0.get_mut().drain() {
            open.holding.leave();
        }
    }
}

impl Open {
    pub(crate) fn put(&self, id: ReservationId, open: OpenReservation) {
        self.0.lock().insert(id, open);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    fn is_full(&self) -> bool {
        self.0.lock().len() >= OPEN_MAX
    }

    pub(crate) fn unknown(&self) -> usize {
        self.0.lock().values().filter(|it| it.unknown).count()
    }

    pub(crate) fn view(&self, id: ReservationId) -> Option<ReservationView> {
        self.0.lock().get(&id).map(|it| it.view(id))
    }

    /// Those whose path is wanted, oldest first.
    pub(crate) fn views(&self, wanted: impl Fn(&EntryPath) -> bool) -> Vec<ReservationView> {
        let mut views: Vec<_> = {
            let all = self.0.lock();
            let wanted = all.iter().filter(|(_, it)| wanted(&it.path));
            wanted.map(|(id, it)| it.view(*id)).collect()
        };
        views.sort_by_key(|it| it.id);
        views
    }
}

impl Engine {
    /// Decides on a request for leave, and sets aside what it needs if it is given.
    pub fn admit(
        &self,
        principal: &Principal,
        ask: &AdmissionAsk,
    ) -> Result<Result<Admitted, Box<NotAdmitted>>, AdmissionError> {
        if self.open.is_full() {
            return Err(AdmissionError::TooMany);
        }
        let now = self.now();
        let platform = self.admission_platform(ask)?;
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
        let task = self.admission_task(principal, &user, ask, now)?;
        let seeker = Seeker {
            organisation: &principal.organisation,
            user,
            is_subtask: task.as_ref().is_some_and(|it| it.parent_name().is_some()),
            root: task.as_ref().map(|it| Arc::clone(&it.root().name)),
            priority: Self::admission_priority(principal, ask, task.as_ref()),
            now,
        };
        match self.seek(&platform, &seeker, ask) {
            Ok((holding, found, path)) => self
                .keep(&platform, ask, (holding, &found, path), now)
                .map(Ok),
            Err(obstacle) => Ok(Err(Box::new(
                self.not_admitted(&platform, &seeker, ask, obstacle),
            ))),
        }
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

    fn seek(
        &self,
        platform: &Arc<Platform>,
        seeker: &Seeker<'_>,
        ask: &AdmissionAsk,
    ) -> Result<(Holding, Found, Arc<EntryPath>), Obstacle> {
        let now = seeker.now;
        let (gate, slot) = self.gate(platform, (seeker.organisation, &seeker.user), now.mono);
        let books = self.books(seeker.organisation);
        let service = ask.service.unwrap_or(Service::Llm);
        let bucket_ask = Ask {
            need: need_of(ask),
            priority: seeker.priority,
            user: slot,
            caller: Caller::Asking,
        };
        let money = MoneyAsk {
            bound: ask.cost,
            expected: ask.cost,
            caller: Caller::Asking,
        };
        let quota_ask = account::admission_ask(service);
        let task = seeker.root.as_ref().map(|it| (it, seeker.is_subtask));
        let task_type = ask.task_type.as_deref().map(Arc::from);
        let whose = (&seeker.user, task_type.as_ref());
        let quota_path = self.counted_at(&books, whose, task, now);
        // As with calls: a window may end between resolving and checking.
        for _try in 0..3 {
            let path = self.loaded_path(&books, |books| {
                books.path(&seeker.user, seeker.root.as_deref(), service, now.wall)
            });
            let paths = (&path, &quota_path);
            match reserve::admit(&gate, &books, paths, (&bucket_ask, &quota_ask), &money, now) {
                Err(Obstacle::Stale) => {}
                Err(Obstacle::Budget(shortage)) if !shortage.held.is_zero() => {
                    let idle = books.lock().headroom_idle(&path, Caller::Asking);
                    let fits = idle.is_none_or(|it| money.bound <= it.left);
                    let wait = self.holds.wait();
                    let held = Obstacle::Held { shortage, wait };
                    return Err(if fits {
                        held
                    } else {
                        Obstacle::Budget(shortage)
                    });
                }
                Err(Obstacle::Approval(shortage)) => {
                    let level = path.entry().keys().iter();
                    if let Some(level) = level.into_iter().find(|it| it.kind == shortage.level) {
                        let _parked_by_its_holder = self.ask(level, &seeker.user, &shortage);
                    }
                    return Err(Obstacle::Approval(shortage));
                }
                Ok((holding, found)) => return Ok((holding, found, Arc::clone(path.entry()))),
                Err(obstacle) => return Err(obstacle),
            }
        }
        Err(Obstacle::Stale)
    }

    fn keep(
        &self,
        platform: &Arc<Platform>,
        ask: &AdmissionAsk,
        (holding, found, path): (Holding, &Found, Arc<EntryPath>),
        now: Moment,
    ) -> Result<Admitted, AdmissionError> {
        let reservation = self.ids.next(now.wall);
        let need = need_of(ask);
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
        let life = ask.estimated_duration.unwrap_or_default().min(LIFE_MAX);
        let expires_at = now.wall.after((life * 2).max(LIFE_DEFAULT));
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

    fn not_admitted(
        &self,
        platform: &Arc<Platform>,
        seeker: &Seeker<'_>,
        ask: &AdmissionAsk,
        obstacle: Obstacle,
    ) -> NotAdmitted {
        let told = self.explain(platform, &seeker.user, obstacle);
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
            | Obstacle::QueueFull => self.alternative(platform, seeker, ask),
        };
        NotAdmitted {
            platform: Arc::clone(&platform.name),
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
    fn alternative(
        &self,
        platform: &Arc<Platform>,
        seeker: &Seeker<'_>,
        ask: &AdmissionAsk,
    ) -> Option<Arc<str>> {
        let settings = self.settings.load();
        let named = platform
            .fallback
            .iter()
            .filter_map(|it| settings.platform(it));
        let others = settings
            .platforms
            .iter()
            .filter(|it| it.name != platform.name);
        let fits = |it: &&Arc<Platform>| {
            let (gate, slot) = self.gate(it, (seeker.organisation, &seeker.user), seeker.now.mono);
            let ask = Ask {
                need: need_of(ask),
                priority: seeker.priority,
                user: slot,
                caller: Caller::Asking,
            };
            reserve::would_fit(&gate, &ask, seeker.now)
        };
        named
            .chain(others)
            .find(fits)
            .map(|it| Arc::clone(&it.name))
    }

    /// Ends a reservation with what it cost and used, by its holder's or an operator's word.
    pub fn settle_reservation(
        &self,
        principal: &Principal,
        id: ReservationId,
        actual: Actual,
    ) -> Result<NanoUsd, AdmissionError> {
        let open = self.take(principal, id)?;
        let held = open.holding.bound();
        let cost = actual.cost.unwrap_or(held);
        let by_operator = open.unknown;
        let settlement = Settlement {
            held,
            cost,
            notional: NanoUsd::ZERO,
            estimated: actual.cost.is_none(),
            cause: match (by_operator, cost > held) {
                (true, _) => Some("settled while unknown".to_owned()),
                (false, true) => Some(OVERRUN.to_owned()),
                (false, false) => None,
            },
            usage: actual.usage,
            platform: open.platform.to_string(),
            model: self
                .without_secrets(&actual.model.unwrap_or_default())
                .to_string(),
            price_version: String::new(),
        };
        let need = Need {
            units: actual.tokens.unwrap_or(open.need.units),
            nano_usd: cost.0,
            ..open.need
        };
        self.end(
            id,
            open,
            Event::Settle(Box::new(settlement)),
            cost,
            Some(&need),
        );
        if by_operator {
            self.report(&event::UnknownSettled {
                reservation: id,
                cost,
                by: "operator",
            });
            self.audit(Change::by(
                principal,
                Action::UnknownSettled,
                id.to_string(),
            ));
        }
        Ok(cost)
    }

    /// Ends a reservation that was not used.
    pub fn release_reservation(
        &self,
        principal: &Principal,
        id: ReservationId,
    ) -> Result<(), AdmissionError> {
        let open = self.take(principal, id)?;
        let held = open.holding.bound();
        let reason = "released by its holder".to_owned();
        self.end(
            id,
            open,
            Event::Release { held, reason },
            NanoUsd::ZERO,
            None,
        );
        Ok(())
    }

    /// Settles at its bound whatever nobody settled in time. To be called about once a second.
    pub fn expire(&self) {
        let now = self.clock.now();
        let mut due: Vec<ReservationId> = {
            let all = self.open.0.lock();
            let due = all.iter().filter(|(_, it)| it.expires <= now);
            due.map(|(id, _)| *id).collect()
        };
        due.sort_unstable();
        for id in due {
            let Some(open) = self.open.0.lock().remove(&id) else {
                continue;
            };
            let held = open.holding.bound();
            // It is taken to have used all that it asked for, also where that was no money.
            let need = open.need;
            self.end(id, open, Event::Expire { held }, held, Some(&need));
            self.report(&event::UnknownSettled {
                reservation: id,
                cost: held,
                by: "expiry",
            });
        }
    }

    fn take(
        &self,
        principal: &Principal,
        id: ReservationId,
    ) -> Result<OpenReservation, AdmissionError> {
        let mut all = self.open.0.lock();
        let theirs = all
            .get(&id)
            .is_some_and(|it| principal.may_touch(&it.path.organisation, &it.path.user));
        let open = if theirs { all.remove(&id) } else { None };
        open.ok_or(AdmissionError::NotOpen(id))
    }

    #[expect(clippy::too_many_arguments, reason = "each is one fact of the end")]
    fn end(
        &self,
        id: ReservationId,
        open: OpenReservation,
        event: Event,
        cost: NanoUsd,
        used: Option<&Need>,
    ) {
        let now = self.now();
        let entry = CallEntry {
            reservation: id,
            ordinal: open.next_ordinal,
            at: now.wall,
            path: open.path,
            enforced: open.holding.enforced(),
            event,
        };
        let unused = matches!(entry.event, Event::Release { .. });
        if let Some(since) = open.since {
            self.holds.learn(now.mono.since(since));
        }
        let tokens = match &entry.event {
            Event::Settle(it) => it.usage.as_ref().map_or(0, account::quota_tokens),
            _ => 0,
        };
        let line = Line::new(Entry::Call(entry));
        let held = open.holding.bound();
        // Expired: it is taken to have used all that it asked for.
        let used = used.copied().unwrap_or(open.need);
        let mut holding = open.holding;
        if !unused {
            holding.uses(tokens);
        }
        let ended = holding.end(
            now.mono,
            |gate, taken| {
                if unused {
                    gate.release(taken, now.mono);
                } else {
                    gate.settle(taken, &used, now.mono);
                }
            },
            |books, hold| {
                let settled = books.settle(hold, cost, NanoUsd::ZERO);
                self.book(line);
                settled
            },
        );
        self.journal();
        if let Some(settled) = self.after(ended) {
            self.tell_settled(id, &settled, (&open.platform, held, OVERRUN));
        }
    }
}

/// Who asks, resolved.
struct Seeker<'a> {
    organisation: &'a Arc<str>,
    user: Arc<str>,
    root: Option<Arc<str>>,
    /// Whether another task of its tree asks.
    is_subtask: bool,
    priority: Priority,
    now: Moment,
}

fn need_of(ask: &AdmissionAsk) -> Need {
    let by_complexity = ask.complexity.map_or(0, Complexity::units);
    Need {
        units: if ask.tokens == 0 {
            by_complexity
        } else {
            ask.tokens
        },
        requests: 1,
        nano_usd: ask.cost.0,
        ..Need::default()
    }
}
