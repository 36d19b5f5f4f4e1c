//! An organisation's account: its budgets and its quotas, under one lock.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_admission::{
    Calendar, Ends, OverQuota, QuotaAsk, QuotaHold, QuotaPath, QuotaTable, QuotaUse, QuotaView,
    Quotas, SavedSubject, Sizes, Span, Wait,
};
pub use tidegate_admission::{QuotaKind, QuotaScope};
use tidegate_ledger::{Books, BudgetPolicy, CallEntry, Event, Line, Period, Service, Window};
use tidegate_observe::{calls::CallRecord, event};
use tidegate_types::{Caller, Enforcement, Monotonic, ReservationId, Timestamp, Usage};

use crate::{
    Engine, Map,
    call::{Identified, Moment, Routed},
    flight::{End, InFlight},
    settings::Settings,
    views::{Told, spoken},
};

/// What the settings begin with under which counts are kept, one for each subject.
const QUOTAS: &str = "quotas";

/// How long keeping counts waits for an account. Nothing but a full queue of entries holds one longer.
const KEEPING_WAITS_MAX: Duration = Duration::from_millis(10);

/// An account, as it is shared.
pub type SharedAccount = Arc<Mutex<Account>>;

/// What one organisation may still do: its books, which it dereferences to, and its quotas.
#[derive(Debug)]
pub struct Account {
    books: Books,
    /// What it may do beyond money.
    pub quotas: Quotas,
}

impl Deref for Account {
    type Target = Books;

    fn deref(&self) -> &Books {
        &self.books
    }
}

impl DerefMut for Account {
    fn deref_mut(&mut self) -> &mut Books {
        &mut self.books
    }
}

impl Account {
    fn new(organisation: &Arc<str>, settings: &Settings, now: Moment) -> Self {
        let books = Books::new(organisation, Arc::clone(&settings.budgets));
        let calendar = calendar_of(&settings.budgets, organisation);
        let table = Arc::clone(&settings.quotas);
        let quotas = Quotas::new(organisation, table, calendar, now.mono);
        Self { books, quotas }
    }

    /// Both parts, to be changed under one lock.
    pub(crate) const fn parts(&mut self) -> (&mut Books, &mut Quotas) {
        (&mut self.books, &mut self.quotas)
    }

    pub(crate) fn end_quota(&mut self, hold: QuotaHold, used: Option<u64>, now: Monotonic) {
        let (_, quotas) = self.parts();
        match used {
            Some(tokens) => quotas.settle(hold, tokens, now),
            None => quotas.release(hold, now),
        }
    }
}

/// One subject's counts as they survive a restart.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    at: Timestamp,
    /// The last id that was given before: what was taken after that is counted from the journal.
    before: u64,
    subject: SavedSubject,
}

/// The accounts that are open, by organisation.
pub(crate) type Accounts = Arc<Mutex<Map<SharedAccount>>>;

/// Counts that have changed, to be kept in the same commit as the entries that changed them: then what
/// is no longer in the journal is surely in them.
pub(crate) fn changed(accounts: &Accounts, at: Moment, before: u64) -> Vec<(String, Vec<u8>)> {
    let all: Vec<SharedAccount> = accounts.lock().values().cloned().collect();
    let mut kept = Vec::new();
    for account in all {
        let (organisation, subjects) = {
            // Whoever holds it may wait for the very thread that keeps: then its counts are kept with
            // the next entries.
            let Some(mut account) = account.try_lock_for(KEEPING_WAITS_MAX) else {
                continue;
            };
            let subjects = account.quotas.export_changed(at.mono);
            (Arc::clone(account.organisation()), subjects)
        };
        for subject in subjects {
            let Some(scope) = subject.scope() else {
                continue;
            };
            let name = setting(&organisation, scope, subject.name());
            let saved = Saved {
                at: at.wall,
                before,
                subject,
            };
            kept.push((name, serde_json::to_vec(&saved).unwrap_or_default()));
        }
    }
    kept
}

/// The name of a setting. No name has a line break in it.
fn setting(organisation: &str, scope: QuotaScope, name: &str) -> String {
    format!("{QUOTAS}\n{organisation}\n{scope}\n{name}")
}

/// What the journal has of one reservation that matters to quotas.
#[derive(Debug)]
pub(crate) struct Counted {
    organisation: Arc<str>,
    user: Arc<str>,
    reservation: ReservationId,
    at: Timestamp,
    calls: u64,
    tokens: u64,
}

impl Counted {
    pub(crate) fn of(entry: &CallEntry) -> Option<Self> {
        let (calls, tokens) = match &entry.event {
            Event::Reserve { .. } => (u64::from(entry.path.service == Service::Llm), 0),
            Event::Settle(settled) => (0, settled.usage.as_ref().map_or(0, quota_tokens)),
            _ => return None,
        };
        Some(Self {
            organisation: Arc::clone(&entry.path.organisation),
            user: Arc::clone(&entry.path.user),
            reservation: entry.reservation,
            at: entry.at,
            calls,
            tokens,
        })
    }
}

/// Input that no cache served, and output (Q3).
pub(crate) const fn quota_tokens(usage: &Usage) -> u64 {
    usage
        .input
        .0
        .saturating_add(usage.cache_write_5m.0)
        .saturating_add(usage.cache_write_1h.0)
        .saturating_add(usage.output.0)
}

/// Days and months in the zone of an organisation.
fn calendar_of(policy: &BudgetPolicy, organisation: &str) -> tidegate_admission::CalendarOf {
    let zone = policy.zone(organisation).clone();
    let span = |window: Window| {
        let (year, month, day) = (
            window.opens.year(),
            window.opens.month(),
            window.opens.day(),
        );
        let [year, month, day] = [
            u32::try_from(year).unwrap_or(0),
            u32::try_from(month).unwrap_or(0),
            u32::try_from(day).unwrap_or(0),
        ];
        Span {
            opens: year * 10_000 + month * 100 + day,
            end: window.end,
        }
    };
    Box::new(move |at| Calendar {
        day: span(Window::at(Period::Day, &zone, at)),
        month: span(Window::at(Period::Month, &zone, at)),
    })
}

impl Routed {
    /// What its quotas are asked.
    #[inline]
    pub(crate) fn quota_ask(&self) -> QuotaAsk {
        let metered = self.call.metered;
        let uncached = self.input.expected.saturating_sub(self.input.cached);
        let tokens = uncached.0.saturating_add(self.output_expected.0);
        QuotaAsk {
            usage: if metered {
                QuotaUse::Call
            } else {
                QuotaUse::Other
            },
            tokens: if metered { tokens } else { 0 },
            context: self.input.expected.0,
            window: self.price().context.0,
            caller: self.call.principal.caller,
        }
    }
}

/// What an admission asks of its quotas: its tokens are known when it is settled.
pub(crate) const fn admission_ask(service: Service) -> QuotaAsk {
    QuotaAsk {
        usage: match service {
            Service::Llm => QuotaUse::Call,
            Service::Tools => QuotaUse::Tool,
            Service::Infrastructure => QuotaUse::Other,
        },
        tokens: 0,
        context: 0,
        window: 0,
        caller: Caller::Asking,
    }
}

impl Engine {
    /// Where a call is counted. What is only counted, not priced, belongs to no task.
    pub(crate) fn quota_path(
        &self,
        account: &Mutex<Account>,
        call: &Identified,
        now: Moment,
    ) -> QuotaPath {
        let record = &call.record;
        let is_root = record.task == record.root_task;
        let root = record.root_task.as_ref().filter(|_| call.metered);
        let task = root.map(|it| (it, !is_root));
        let task_type = record.task_type.as_ref().filter(|_| call.metered);
        self.counted_at(account, (&record.user, task_type), task, now)
    }

    /// The same for whoever asks, with what an earlier run left.
    pub(crate) fn counted_at(
        &self,
        account: &Mutex<Account>,
        (user, task_type): (&Arc<str>, Option<&Arc<str>>),
        task: Option<(&Arc<str>, bool)>,
        now: Moment,
    ) -> QuotaPath {
        let mut locked = account.lock();
        let subjects = [
            Some((QuotaScope::User, user)),
            task_type.map(|it| (QuotaScope::TaskType, it)),
        ];
        for (scope, name) in subjects.into_iter().flatten() {
            if !locked.quotas.knows(scope, name) {
                let organisation = Arc::clone(locked.organisation());
                drop(locked);
                let saved = self.saved(&organisation, scope, name);
                locked = account.lock();
                self.recall(&mut locked, (scope, name), saved, now);
            }
        }
        locked.quotas.path(user, task_type, task, now.mono)
    }

    fn saved(&self, organisation: &str, scope: QuotaScope, name: &str) -> Option<Saved> {
        match self.setting(&setting(organisation, scope, name)) {
            // What can't be read was written by another version: its counts begin anew.
            Ok(saved) => saved.and_then(|it| serde_json::from_slice(&it).ok()),
            Err(unread) => {
                self.writer.health().failed(&unread);
                None
            }
        }
    }

    /// Takes over what an earlier run kept of a subject, and what it did after that.
    fn recall(
        &self,
        account: &mut Account,
        (scope, name): (QuotaScope, &Arc<str>),
        saved: Option<Saved>,
        now: Moment,
    ) {
        if account.quotas.knows(scope, name) && scope != QuotaScope::Organisation {
            return; // Another call was faster.
        }
        let before = saved.as_ref().map_or(0, |it| it.before);
        if let Some(saved) = saved {
            let down = now.wall.since(saved.at);
            account.quotas.restore(&saved.subject, down, now.mono);
        }
        let organisation = Arc::clone(account.organisation());
        let since = self.counted.iter().filter(|it| {
            let theirs = match scope {
                QuotaScope::Organisation => true,
                QuotaScope::User => it.user == *name,
                // Entries don't say of what type a task was.
                QuotaScope::TaskType => false,
            };
            theirs && it.organisation == organisation && it.reservation.raw() > before
        });
        for it in since {
            let at = (now.mono, it.at);
            account
                .quotas
                .debit((scope, name), (it.calls, it.tokens), at);
        }
    }

    /// Ends a root task, so that another may begin in its place. Says whether it had a slot.
    pub fn end_task(&self, organisation: &Arc<str>, user: &Arc<str>, task: &Arc<str>) -> bool {
        let account = self.books(organisation);
        let ended = account.lock().quotas.end_task(user, task);
        self.look_at_task(organisation, user, task);
        if ended {
            for gate in self.gates.load().values() {
                gate.lock().resume_over_quota(organisation);
            }
            self.look_at_all();
        }
        ended
    }

    /// All quotas of those organisations that are in memory, with how much of them is used.
    pub fn quotas(&self, organisation: Option<&str>) -> Vec<(Arc<str>, Vec<QuotaView>)> {
        let now = self.now();
        let wanted = |name: &Arc<str>| organisation.is_none_or(|it| **name == *it);
        let views = self.accounts().into_iter().filter_map(|account| {
            let mut account = account.lock();
            let name = Arc::clone(account.organisation());
            wanted(&name).then(|| (name, account.quotas.views((now.mono, now.wall))))
        });
        let mut views: Vec<_> = views.collect();
        views.sort_by(|one, other| one.0.cmp(&other.0));
        views
    }

    pub(crate) fn accounts(&self) -> Vec<SharedAccount> {
        self.books.lock().values().cloned().collect()
    }

    /// Puts other quotas in force.
    pub(crate) fn put_quotas(&self) {
        let settings = self.settings.load();
        let now = self.clock.monotonic();
        for account in self.accounts() {
            let mut account = account.lock();
            let calendar = calendar_of(&settings.budgets, account.organisation());
            let table = Arc::clone(&settings.quotas);
            account.quotas.set_table(table, calendar, now);
        }
    }

    /// An account as an earlier run left it.
    pub(crate) fn opened(&self, organisation: &Arc<str>) -> Account {
        let now = self.now();
        let mut account = Account::new(organisation, &self.settings.load(), now);
        account.not_before(now.wall.max(self.latest));
        let whole = (QuotaScope::Organisation, organisation);
        let saved = self.saved(organisation, whole.0, organisation);
        self.recall(&mut account, whole, saved, now);
        account
    }
}

impl InFlight {
    /// How much of its time the call has left before a quota ends it, and whose.
    pub fn time_left(&self) -> Ends<Duration> {
        let spent = self.engine.clock.monotonic().since(self.sent_at.mono);
        Ends {
            at: self.sizes.time.at.saturating_sub(spent),
            ..self.sizes.time
        }
    }
}

impl Engine {
    /// Notes the watched sizes that a call has passed.
    pub(crate) fn tell_sizes(
        &self,
        record: &mut CallRecord,
        sizes: &Sizes,
        end: &End,
        time: Duration,
    ) {
        let text = end.metered.as_ref().map_or(0, |it| it.text_bytes);
        let output = sizes.output_watched;
        let output = (text > output.at).then_some((output.scope, QuotaKind::Output));
        let time_ = sizes.time_watched;
        let time = (time > time_.at).then_some((time_.scope, QuotaKind::TaskTime));
        for (scope, kind) in output.into_iter().chain(time) {
            let limit = name(scope, kind);
            self.report(&event::LimitWatched {
                call: record.id,
                limit: &limit,
                would_wait: None,
            });
            record.would_refuse.push(limit.into());
        }
    }
}

/// What matters to quotas of a line of the journal.
pub(crate) fn counted(line: &Line) -> Option<Counted> {
    match line.entry() {
        tidegate_ledger::Entry::Call(entry) => Counted::of(entry),
        tidegate_ledger::Entry::Policy(_) => None,
    }
}

/// The name of a quota, as refusals and records call it.
pub fn name(scope: QuotaScope, kind: QuotaKind) -> String {
    format!("{scope}.{kind}")
}

/// The quotas in force for whoever has none of their own, and whom they bind: all of a scope in one
/// where they agree.
pub fn limits(table: &QuotaTable) -> Vec<(String, Enforcement)> {
    let scopes = [
        (QuotaScope::Organisation, &table.organisation),
        (QuotaScope::User, &table.user),
        (QuotaScope::TaskType, &table.task_type),
    ];
    let mut limits = Vec::new();
    for (scope, figures) in scopes {
        let kinds = QuotaKind::ALL.into_iter();
        let kinds = kinds.filter(|it| figures.of(*it).limit.is_some());
        let each: Vec<_> = kinds
            .map(|it| (name(scope, it), figures.of(it).enforcement))
            .collect();
        match each.as_slice() {
            [(_, first), rest @ ..] if rest.iter().all(|it| it.1 == *first) => {
                limits.push((format!("quotas.{scope}"), *first));
            }
            _ => limits.extend(each),
        }
    }
    limits
}

/// A quota that a call is over, for its sender.
pub(crate) fn told(over: &OverQuota) -> Told {
    let OverQuota {
        scope,
        kind,
        limit,
        used,
        asked,
        wait,
        ..
    } = over;
    let limit_name = name(*scope, *kind);
    let figures = match kind {
        QuotaKind::Context => format!("this call has about {asked}, and {limit} are allowed"),
        QuotaKind::TaskTime => format!("this task has been at work for {used} of {limit} seconds"),
        _ => format!("{used} of {limit} are taken, and this call needs {asked}"),
    };
    let remedy = match (kind, wait) {
        (QuotaKind::Context, _) => "make its input smaller".to_owned(),
        (QuotaKind::TaskTime, _) => "begin another task".to_owned(),
        (_, None) => "make the call smaller".to_owned(),
        (QuotaKind::TasksAtOnce, Some(Wait::Freed { .. })) => {
            "try again when a task has ended".to_owned()
        }
        (_, Some(Wait::Freed { at_least })) if at_least.is_zero() => {
            "try again when a call has ended".to_owned()
        }
        (_, Some(wait)) => format!("try again in {}", spoken(wait.at_least())),
    };
    Told {
        sentence: format!(
            "quota `{limit_name}`: {figures} · {remedy}, or raise `quotas.{limit_name}`"
        ),
        limit: limit_name.into(),
        wait: wait.map(|it| it.at_least().max(Duration::from_secs(1))),
        resets_at: None,
    }
}
