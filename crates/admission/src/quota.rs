//! Quotas (Q1 to Q4): how often, how many at once, how much in all and how large, per organisation,
//! user and task type.
//!
//! One [`Quotas`] holds the counts of one organisation and decides over all of them together: check
//! all, then commit all, while the caller holds the organisation's lock. Rates are token buckets, a
//! minute's worth of which may be spent at once; volumes count by the calendar that is given; only
//! what runs holds a slot.
//!
//! - Only root tasks count as tasks. One begins with the first call of its tree, whoever makes it, and
//!   keeps its slot until it was idle for as long as is configured, or is ended. Its subtasks never
//!   wait for a slot.
//! - Volumes hold what is expected; what an answer has more is booked in full and leaves less to those
//!   that follow. A call belongs to the day and the month in which it was taken, for good.
//! - A watched quota counts what it would have refused, and refuses nothing.

mod figures;
mod subject;
mod tasks;
mod words;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use tidegate_types::{Caller, Monotonic, Timestamp};

pub use self::figures::{
    OnExcess, OrganisationQuotas, QUOTA_KINDS, QUOTA_SCOPES, QuotaFigure, QuotaFigures, QuotaKind,
    QuotaScope, QuotaSet, QuotaTable, TASKS_MAX,
};
pub use self::words::{
    Calendar, CalendarOf, Ends, Frees, OverQuota, QuotaAsk, QuotaUse, QuotaView, SavedSubject,
    Sizes, Span,
};
use self::{
    subject::{At, FREED, Sizing, Subject, Take, Verdict},
    tasks::{TaskAt, Tasks},
};
use crate::Wait;

/// Users and task types told apart in one organisation. Those beyond it share one count, which binds
/// them earlier than counts of their own would. About 40 MiB.
const SUBJECTS_MAX: usize = 16_384;

/// What those are called that share a count.
const OTHERS: &str = "(others)";

/// Indices of the organisation, the user and the task type of a call.
#[derive(Clone, Copy, Debug)]
struct Subjects {
    at: [u32; QUOTA_SCOPES],
    len: u8,
}

impl Subjects {
    #[inline]
    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let used = &self.at[..usize::from(self.len)];
        used.iter().map(|it| *it as usize)
    }
}

/// Where a call is counted, resolved. Never outdated.
#[derive(Clone, Debug)]
pub struct QuotaPath {
    subjects: Subjects,
    /// Its root task, and whether the call is made by another task of that tree.
    task: Option<(Arc<str>, bool)>,
    task_at: Option<TaskAt>,
}

/// What a check allows. Commit it under the lock of the check.
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is taken before it is committed"]
pub struct ClearedQuota {
    take: Take,
    task: Option<TaskAt>,
    usage: QuotaUse,
    caller: Caller,
    at: At,
    /// Watched quotas that would have refused it, or made it wait.
    pub watched: QuotaSet,
    /// The first of those, in figures.
    pub watched_first: Option<OverQuota>,
    /// How large its answer may become.
    pub sizes: Sizes,
}

/// Of which subject's rates a call took: eight bits for each subject, a bit for each rate. Not an array,
/// which would be read again from memory right after its parts were written.
#[derive(Clone, Copy, Debug, Default)]
struct Charged(u32);

impl Charged {
    const fn add(&mut self, place: usize, rates: u8) {
        self.0 |= (rates as u32) << (place * 8);
    }

    /// One where it took of that rate, else zero.
    const fn of(self, place: usize, rate: usize) -> u64 {
        (self.0 >> (place * 8 + rate) & 1) as u64
    }
}

/// What one call holds of its quotas. Ends exactly once.
#[derive(Debug)]
#[must_use = "what is neither settled nor released stays held"]
pub struct QuotaHold {
    subjects: Subjects,
    /// Of which subject's rates it took.
    charged: Charged,
    usage: QuotaUse,
    caller: Caller,
    task: Option<TaskAt>,
    tokens: u64,
    month: u32,
    sequence: u64,
}

/// One organisation's quotas. The caller holds its lock.
///
/// Invariant: no enforced count passes its limit through a call that it binds, but for what an
/// answer had more than was expected.
pub struct Quotas {
    organisation: Arc<str>,
    table: Arc<QuotaTable>,
    calendar_of: CalendarOf,
    calendar: Calendar,
    subjects: Vec<Subject>,
    names: Vec<Arc<str>>,
    index: [BTreeMap<Arc<str>, u32>; QUOTA_SCOPES],
    tasks: Tasks,
    sequence: u64,
    /// The latest moment anybody has named.
    seen: Monotonic,
    /// Subjects that something was counted of since they were last exported.
    changed: Vec<u32>,
}

impl fmt::Debug for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quotas")
            .field("organisation", &self.organisation)
            .field("subjects", &self.subjects.len())
            .field("tasks", &self.tasks.active())
            .finish_non_exhaustive()
    }
}

impl Quotas {
    /// Nothing used of anything.
    pub fn new(
        organisation: &Arc<str>,
        table: Arc<QuotaTable>,
        calendar_of: CalendarOf,
        now: Monotonic,
    ) -> Self {
        let mut quotas = Self {
            organisation: Arc::clone(organisation),
            table,
            calendar_of,
            calendar: Calendar::default(),
            subjects: Vec::new(),
            names: Vec::new(),
            index: std::array::from_fn(|_| BTreeMap::new()),
            tasks: Tasks::default(),
            sequence: 0,
            seen: now,
            changed: Vec::new(),
        };
        let _first = quotas.subject(QuotaScope::Organisation, organisation, now);
        quotas
    }

    /// Puts other quotas, or another calendar, in force. What is used and held stays.
    pub fn set_table(&mut self, table: Arc<QuotaTable>, calendar_of: CalendarOf, now: Monotonic) {
        self.table = table;
        self.calendar_of = calendar_of;
        self.calendar.day.end = Timestamp(0);
        self.sequence += 1;
        let organisation = &self.organisation;
        for (subject, name) in self.subjects.iter_mut().zip(&self.names) {
            let figures = *self.table.of(subject.scope, organisation, name);
            subject.reshape(figures, now, self.sequence);
        }
    }

    fn subject(&mut self, scope: QuotaScope, name: &Arc<str>, now: Monotonic) -> u32 {
        if let Some(at) = self.index[scope.index()].get(name) {
            return *at;
        }
        if self.subjects.len() >= SUBJECTS_MAX && &**name != OTHERS {
            return self.subject(scope, &OTHERS.into(), now);
        }
        let figures = *self.table.of(scope, &self.organisation, name);
        let at = u32::try_from(self.subjects.len()).unwrap_or(u32::MAX);
        self.subjects.push(Subject::new(scope, figures, now));
        self.names.push(Arc::clone(name));
        self.index[scope.index()].insert(Arc::clone(name), at);
        at
    }

    /// Where a call is counted: its user, its task type if it has one, and its root task if it has
    /// one, with whether another task of its tree makes it.
    pub fn path(
        &mut self,
        user: &Arc<str>,
        task_type: Option<&Arc<str>>,
        task: Option<(&Arc<str>, bool)>,
        now: Monotonic,
    ) -> QuotaPath {
        let mut subjects = Subjects {
            at: [0, self.subject(QuotaScope::User, user, now), 0],
            len: 2,
        };
        if let Some(task_type) = task_type {
            subjects.at[2] = self.subject(QuotaScope::TaskType, task_type, now);
            subjects.len = 3;
        }
        let mut path = QuotaPath {
            subjects,
            task: task.map(|(name, other)| (Arc::clone(name), other)),
            task_at: None,
        };
        path.task_at = self.task(&path, now);
        path
    }

    /// Finds the path's task, or begins to remember it.
    #[cold]
    fn task(&mut self, path: &QuotaPath, now: Monotonic) -> Option<TaskAt> {
        let (name, _) = path.task.as_ref()?;
        let user = path.subjects.at[1];
        self.tasks
            .find(user, name)
            .or_else(|| self.tasks.add(user, name, path.subjects, now))
    }

    #[inline]
    fn at(&mut self, mono: Monotonic, wall: Timestamp) -> At {
        self.seen = self.seen.max(mono);
        if wall >= self.calendar.day.end || wall >= self.calendar.month.end {
            self.turn(wall);
        }
        At {
            mono,
            wall,
            calendar: self.calendar,
        }
    }

    /// Opens later windows, and no earlier ones, whatever the clock says.
    #[cold]
    fn turn(&mut self, wall: Timestamp) {
        let new = (self.calendar_of)(wall);
        let later = |old: Span, new: Span| if new.opens >= old.opens { new } else { old };
        self.calendar = Calendar {
            day: later(self.calendar.day, new.day),
            month: later(self.calendar.month, new.month),
        };
    }

    /// Whether a call keeps within all its quotas now. Takes nothing; changes only what time has
    /// changed.
    #[inline]
    pub fn check(
        &mut self,
        path: &QuotaPath,
        ask: &QuotaAsk,
        (mono, wall): (Monotonic, Timestamp),
    ) -> Result<ClearedQuota, OverQuota> {
        let at = self.at(mono, wall);
        let task = match path.task_at {
            Some(it) if self.tasks.is_known(it) => Some(it),
            _ => self.task(path, mono),
        };
        let take = self.take_of(path, task, ask);
        let mut cleared = ClearedQuota {
            take,
            task,
            usage: ask.usage,
            caller: ask.caller,
            at,
            watched: QuotaSet::default(),
            watched_first: None,
            sizes: Sizes::NONE,
        };
        if path
            .subjects
            .iter()
            .any(|it| !self.subjects[it].is_unlimited())
        {
            self.check_subjects(path, ask, &mut cleared)?;
        }
        Ok(cleared)
    }

    #[inline]
    fn check_subjects(
        &mut self,
        path: &QuotaPath,
        ask: &QuotaAsk,
        cleared: &mut ClearedQuota,
    ) -> Result<(), OverQuota> {
        let (take, at) = (cleared.take, cleared.at);
        let busy = cleared.task.map(|it| self.tasks.busy(it, at.mono));
        let sizing = Sizing {
            context: ask.context,
            window: ask.window,
            busy: busy.unwrap_or_default(),
        };
        let mut verdict = Verdict::default();
        for it in path.subjects.iter() {
            let task_slot = if take.slots[0] > 0 && self.subjects[it].lacks_task_slots() > 0 {
                self.task_slot(it, at.mono)
            } else {
                FREED
            };
            let subject = &mut self.subjects[it];
            subject.check(&take, task_slot, ask.caller, &at, &mut verdict);
            subject.check_sizes(&sizing, ask.caller, &mut verdict);
            subject.narrow(sizing.busy, ask.caller, &mut cleared.sizes);
        }
        cleared.watched = verdict.watched;
        cleared.watched_first = verdict.watched_first;
        verdict.over.map_or(Ok(()), Err)
    }

    /// What a call takes of each of its subjects.
    #[inline]
    fn take_of(&self, path: &QuotaPath, task: Option<TaskAt>, ask: &QuotaAsk) -> Take {
        let mut take = Take {
            tokens: ask.tokens,
            ..Take::default()
        };
        match ask.usage {
            QuotaUse::Call => {
                take.rates[1] = 1;
                take.slots[1] = 1;
            }
            QuotaUse::Tool => take.rates[2] = 1,
            QuotaUse::Other => {}
        }
        if let Some((_, by_another)) = path.task {
            let (counted, has_slot) = task.map_or((false, false), |it| self.tasks.standing(it));
            if !counted {
                take.rates[0] = 1;
                take.tasks = 1;
                take.slots[0] = 1;
            } else if !has_slot && !by_another {
                take.slots[0] = 1;
            }
        }
        take
    }

    /// Frees what idle tasks hold, and says when the next slot of a subject will be free, if none is.
    #[cold]
    fn task_slot(&mut self, subject: usize, now: Monotonic) -> Wait {
        let idle = self.table.task_idle;
        self.tasks.sweep(&mut self.subjects, idle, now);
        let lacking = self.subjects[subject].lacks_task_slots();
        self.tasks.idle_by(subject, lacking, idle, now)
    }

    /// Takes what a check has cleared. The lock was held since.
    #[inline]
    pub fn commit(&mut self, path: &QuotaPath, cleared: &ClearedQuota) -> QuotaHold {
        let ClearedQuota {
            take, at, caller, ..
        } = cleared;
        self.sequence += 1;
        let sequence = self.sequence;
        let mut charged = Charged::default();
        for (place, it) in path.subjects.iter().enumerate() {
            let subject = &mut self.subjects[it];
            subject.note_change(path.subjects.at[place], &mut self.changed);
            // A task whose slot nobody could remember would hold it for ever.
            let slots = [
                take.slots[0] * u64::from(cleared.task.is_some()),
                take.slots[1],
            ];
            let rates = subject.take(&Take { slots, ..*take }, *caller, at, sequence);
            charged.add(place, rates);
            if take.rates[0] > 0 {
                // A beginning is never given back.
                let taken = charged.of(place, 0);
                subject.end_rate(0, (taken, taken), *caller, (sequence, sequence));
            }
        }
        if let Some(task) = cleared.task {
            if take.tasks > 0 {
                self.tasks.count(task);
            }
            if take.slots[0] > 0 {
                self.tasks.occupy(task, path.subjects);
            }
            self.tasks.begin(task, at.mono);
        }
        QuotaHold {
            subjects: path.subjects,
            charged,
            usage: cleared.usage,
            caller: *caller,
            task: cleared.task,
            tokens: take.tokens,
            month: at.calendar.month.opens,
            sequence,
        }
    }

    /// Ends what a call held, with the quota tokens it really used.
    pub fn settle(&mut self, hold: QuotaHold, tokens: u64, now: Monotonic) {
        self.end(&hold, (1, tokens), now);
    }

    /// Ends what a call held that was never made.
    pub fn release(&mut self, hold: QuotaHold, now: Monotonic) {
        self.end(&hold, (0, 0), now);
    }

    /// Ends what a call held that nobody has ended, at a moment that nobody knows: as of the last one
    /// that was seen.
    pub fn drop_hold(&mut self, hold: QuotaHold) {
        let seen = self.seen;
        self.release(hold, seen);
    }

    fn end(&mut self, hold: &QuotaHold, (made, tokens): (u64, u64), now: Monotonic) {
        self.sequence += 1;
        let order = (hold.sequence, self.sequence);
        for (place, it) in hold.subjects.iter().enumerate() {
            let subject = &mut self.subjects[it];
            subject.note_change(hold.subjects.at[place], &mut self.changed);
            let rate = match hold.usage {
                QuotaUse::Call => Some(1),
                QuotaUse::Tool => Some(2),
                QuotaUse::Other => None,
            };
            if let Some(rate) = rate {
                subject.advance(now);
                let charged = hold.charged.of(place, rate);
                subject.end_rate(rate, (charged, made), hold.caller, order);
            }
            if hold.usage == QuotaUse::Call {
                subject.free_call();
            }
            subject.end_tokens(hold.month, hold.tokens, tokens);
        }
        if let Some(task) = hold.task {
            self.tasks.end(task, now);
        }
    }

    /// Frees the slot of a task that is over, before it was idle for as long as is configured. Says
    /// whether it had one.
    pub fn end_task(&mut self, user: &Arc<str>, task: &Arc<str>) -> bool {
        let user = self.index[QuotaScope::User.index()].get(user);
        let task = user.and_then(|it| self.tasks.find(*it, task));
        task.is_some_and(|it| self.tasks.finish(it, &mut self.subjects))
    }

    /// Frees the slots of tasks that were idle for long enough. Says whether there were any.
    pub fn sweep(&mut self, now: Monotonic) -> bool {
        let idle = self.table.task_idle;
        self.tasks.sweep(&mut self.subjects, idle, now)
    }

    /// Whether a subject is counted already; else what was kept of it is to be [restored](Self::restore)
    /// before its first call.
    pub fn knows(&self, scope: QuotaScope, name: &str) -> bool {
        // Who shares a count is not counted alone, whatever was kept.
        self.subjects.len() >= SUBJECTS_MAX || self.index[scope.index()].contains_key(name)
    }

    /// Counts what an earlier run did after its last save.
    pub fn debit(
        &mut self,
        (scope, name): (QuotaScope, &Arc<str>),
        (calls, tokens): (u64, u64),
        (mono, wall): (Monotonic, Timestamp),
    ) {
        let at = self.at(mono, wall);
        let subject = self.subject(scope, name, mono);
        self.subjects[subject as usize].debit(calls, tokens, &at);
    }

    /// The counts that have changed since they were last asked for, to be kept.
    pub fn export_changed(&mut self, now: Monotonic) -> Vec<SavedSubject> {
        let changed = std::mem::take(&mut self.changed);
        let saved = changed.into_iter().map(|it| {
            let it = it as usize;
            self.subjects[it].export(&self.names[it], now)
        });
        saved.collect()
    }

    /// Takes over what was kept of a subject `down` before, where it is not counted yet.
    pub fn restore(&mut self, saved: &SavedSubject, down: Duration, now: Monotonic) {
        let Some(scope) = QuotaScope::ALL.get(saved.scope) else {
            return;
        };
        let known = self.knows(*scope, &saved.name) && *scope != QuotaScope::Organisation;
        if !known {
            let at = self.subject(*scope, &saved.name.as_str().into(), now);
            let down = u64::try_from(down.as_nanos()).unwrap_or(u64::MAX);
            self.subjects[at as usize].restore(saved, down);
        }
    }

    /// All quotas with how much of them is used, in the order in which they were first asked.
    pub fn views(&mut self, (mono, wall): (Monotonic, Timestamp)) -> Vec<QuotaView> {
        let _swept = self.sweep(mono);
        let at = self.at(mono, wall);
        let mut views = Vec::new();
        for (subject, name) in self.subjects.iter_mut().zip(&self.names) {
            for kind in QuotaKind::ALL {
                let figure = *subject.figures().of(kind);
                if figure.limit.is_some() {
                    views.push(QuotaView {
                        scope: subject.scope,
                        name: Arc::clone(name),
                        kind,
                        figure,
                        used: subject.used(kind, &at),
                        frees: subject.frees(kind, &at),
                    });
                }
            }
        }
        views
    }
}

#[cfg(test)]
mod tests;
