//! An organisation's account: its budgets and its quotas, under one lock.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_admission::{
    Calendar, Ends, OverQuota, QuotaAsk, QuotaHold, QuotaPath, QuotaUse, QuotaView, Quotas,
    SavedSubject, Sizes, Span, Wait,
};
pub use tidegate_admission::{QuotaKind, QuotaScope};
use tidegate_ledger::{
    Books, BudgetPolicy, CallEntry, Event, Line, Period, Service, StoreError, Window,
};
use tidegate_observe::{calls::CallRecord, event};
use tidegate_types::{Caller, Monotonic, ReservationId, Timestamp, Usage};

use crate::{
    Engine,
    call::{Identified, Moment, Routed},
    flight::{End, InFlight},
    settings::Settings,
    views::{Told, spoken},
};

/// The setting under which one organisation's counts are kept.
const QUOTAS: &str = "quotas/";

/// An account, as it is shared.
pub type SharedAccount = Arc<Mutex<Account>>;

/// What one organisation may still do: its books, which it dereferences to, and its quotas.
#[derive(Debug)]
pub struct Account {
    books: Books,
    /// What it may do beyond money.
    pub quotas: Quotas,
    /// Something was counted since the counts were last kept.
    changed: bool,
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
    pub(crate) fn new(
        organisation: &Arc<str>,
        settings: &Settings,
        saved: Option<&Saved>,
        now: Moment,
    ) -> Self {
        let books = Books::new(organisation, Arc::clone(&settings.budgets));
        let calendar = calendar_of(&settings.budgets, organisation);
        let table = Arc::clone(&settings.quotas);
        let mut quotas = Quotas::new(organisation, table, calendar, now.mono);
        if let Some(saved) = saved {
            quotas.restore(&saved.subjects, now.wall.since(saved.at), now.mono);
        }
        Self {
            books,
            quotas,
            changed: false,
        }
    }

    /// Both parts, to be changed under one lock.
    pub(crate) const fn parts(&mut self) -> (&mut Books, &mut Quotas) {
        self.changed = true;
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

/// One organisation's counts as they survive a restart.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Saved {
    at: Timestamp,
    /// The last id that was given before: what was taken after that is counted from the journal.
    before: u64,
    subjects: Vec<SavedSubject>,
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
        account: &Mutex<Account>,
        call: &Identified,
        now: Moment,
    ) -> QuotaPath {
        let record = &call.record;
        let is_root = record.task == record.root_task;
        let root = record.root_task.as_ref().filter(|_| call.metered);
        let task = root.map(|it| (it, !is_root));
        let task_type = record.task_type.as_ref().filter(|_| call.metered);
        let mut account = account.lock();
        account.quotas.path(&record.user, task_type, task, now.mono)
    }

    /// Ends a root task, so that another may begin in its place. Says whether it had a slot.
    pub fn end_task(&self, organisation: &Arc<str>, user: &Arc<str>, task: &Arc<str>) -> bool {
        let account = self.books(organisation);
        let ended = account.lock().quotas.end_task(user, task);
        if ended {
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

    /// Writes the counts down that have changed, so that a restart gives nobody anything twice.
    pub(crate) fn keep_quotas(&self) {
        let before = self.ids.last();
        let now = self.now();
        for account in self.accounts() {
            let (name, subjects) = {
                let mut account = account.lock();
                if !std::mem::take(&mut account.changed) {
                    continue;
                }
                let subjects = account.quotas.export(now.mono);
                (Arc::clone(account.organisation()), subjects)
            };
            let saved = Saved {
                at: now.wall,
                before,
                subjects,
            };
            let bytes = serde_json::to_vec(&saved).unwrap_or_default();
            if let Err(unwritten) = self.keep_setting(&[QUOTAS, &name].concat(), &bytes) {
                account.lock().changed = true;
                self.writer.health().failed(&unwritten);
            }
        }
    }

    /// An account as an earlier run left it.
    pub(crate) fn opened(&self, organisation: &Arc<str>) -> Account {
        let now = self.now();
        let settings = self.settings.load();
        let saved: Result<_, StoreError> = self.setting(&[QUOTAS, organisation].concat());
        // What can't be read was written by another version: its counts begin anew.
        let saved = saved.unwrap_or_else(|unread| {
            self.writer.health().failed(&unread);
            None
        });
        let saved = saved.and_then(|it| serde_json::from_slice::<Saved>(&it).ok());
        let mut account = Account::new(organisation, &settings, saved.as_ref(), now);
        account.not_before(now.wall.max(self.latest));
        let before = saved.map_or(0, |it| it.before);
        let since = self
            .counted
            .iter()
            .filter(|it| it.organisation == *organisation && it.reservation.raw() > before);
        for it in since {
            let at = (now.mono, it.at);
            account.quotas.debit(&it.user, (it.calls, it.tokens), at);
        }
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
