//! Work that cost far more than was expected (B5): each call's record says why; of its task somebody
//! is told, once an hour at most, and once more when it ends.

use std::{collections::HashMap, sync::Arc, time::Duration};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidegate_observe::{
    calls::CallRecord,
    event,
    notice::Topic,
    overspend::{Case, Cause, Overspend, Share, analyse, is_overspent, shares, take_apart},
    record::Fields,
};
use tidegate_providers::prices::ModelPrice;
use tidegate_types::{Monotonic, NanoUsd, Usage};

use crate::{
    Engine,
    approvals::dollars,
    call::{Moment, Routed},
    notices::Telling,
};

/// Between two notices of one task.
const TELL_EVERY: Duration = Duration::from_hours(1);

/// A task of which nothing was heard for so long has ended.
const ENDED_AFTER: Duration = Duration::from_mins(10);

/// Tasks that are followed. Of more than run in ten minutes the one that was heard of longest ago is
/// forgotten: nobody is told of it as a whole.
const TASKS_MAX: usize = 10_000;

/// What a call was expected to be when it was first sent.
#[derive(Clone, Debug)]
pub(crate) struct FirstSent {
    usage: Usage,
    price: Arc<ModelPrice>,
}

impl FirstSent {
    pub(crate) fn of(routed: &Routed) -> Self {
        let input = routed.input;
        Self {
            usage: Usage {
                input: input.expected.saturating_sub(input.cached),
                cache_read: input.cached,
                output: routed.output_expected,
                modifiers: routed.call.facts.modifiers,
                ..Usage::default()
            },
            price: Arc::clone(&routed.price.price),
        }
    }
}

impl Routed {
    /// Notes what is expected of it, where it is charged and was not sent before.
    pub(crate) fn note_first_sent(&mut self) {
        if self.call.first_sent.is_none() && self.is_charged() {
            self.call.first_sent = Some(FirstSent::of(self));
        }
    }
}

/// Whose a task is, and its name; of calls without one, their user's.
type Key = (Arc<str>, Arc<str>, Option<Arc<str>>);

/// What a task was expected to cost, and cost.
#[derive(Debug)]
struct Spent {
    expected: NanoUsd,
    cost: NanoUsd,
    calls: u64,
    /// By cause, in the order of [`Cause::ALL`].
    shares: [i64; Cause::ALL.len()],
    heard: Monotonic,
    told: Option<Monotonic>,
}

/// The tasks that are followed.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<HashMap<Key, Spent, RandomState>>);

impl Engine {
    /// Looks at a call that ended: notes in its record why it cost far more than expected, and adds
    /// it to its task. `before` is what its tries before cost.
    pub(crate) fn look_at_cost(
        &self,
        record: &mut CallRecord,
        first: Option<&FirstSent>,
        (cost, before): (NanoUsd, NanoUsd),
        now: Moment,
    ) {
        let (Some(first), Some(usage)) = (first, record.usage) else {
            return;
        };
        let expected = first.price.cost(&first.usage);
        let case = Case {
            expected_usage: first.usage,
            usage,
            cost,
            before,
        };
        let apart = take_apart(&case, |it| first.price.cost(it));
        let found = analyse(&case, expected, &apart);
        let tell = self.add_to_task(record, (expected, &apart), found.is_some(), now);
        if let Some(found) = found {
            if tell {
                self.tell_call(record, &found);
            }
            record.overspend = Some(Box::new(found));
        }
    }

    /// Whether somebody may be told of this call.
    fn add_to_task(
        &self,
        record: &CallRecord,
        (expected, apart): (NanoUsd, &[i64; Cause::ALL.len()]),
        overspent: bool,
        now: Moment,
    ) -> bool {
        let key = (
            Arc::clone(&record.organisation),
            Arc::clone(&record.user),
            record.root_task.clone(),
        );
        let mut tasks = self.following.tasks.0.lock();
        if tasks.len() >= TASKS_MAX && !tasks.contains_key(&key) {
            let oldest = tasks.iter().min_by_key(|it| it.1.heard);
            if let Some(oldest) = oldest.map(|it| it.0.clone()) {
                tasks.remove(&oldest);
            }
        }
        let spent = tasks.entry(key).or_insert_with(|| Spent {
            expected: NanoUsd::ZERO,
            cost: NanoUsd::ZERO,
            calls: 0,
            shares: [0; Cause::ALL.len()],
            heard: now.mono,
            told: None,
        });
        spent.expected = spent.expected.saturating_add(expected);
        spent.cost = spent.cost.saturating_add(record.cost);
        spent.calls += 1;
        spent.heard = now.mono;
        for (sum, share) in spent.shares.iter_mut().zip(apart) {
            *sum = sum.saturating_add(*share);
        }
        if !overspent {
            return false;
        }
        let due = spent.told.is_none_or(|it| now.mono.since(it) >= TELL_EVERY);
        if due {
            spent.told = Some(now.mono);
        }
        due
    }

    fn tell_call(&self, record: &CallRecord, found: &Overspend) {
        let Overspend { expected, cost, .. } = found;
        let call = record.id.to_string();
        let text = format!(
            "call {call} of {}/{}{} cost {cost}, expected were {expected}: {} · see `tidegate calls {call}`",
            record.organisation,
            record.user,
            task(record.root_task.as_deref()),
            spoken(&found.shares),
        );
        let who = (
            &record.organisation,
            &record.user,
            record.root_task.as_ref(),
        );
        let fields = fields(who, (*expected, *cost), &found.shares).with("call", call.as_str());
        self.report_overspent(Some(record.id), who, (*expected, *cost), &found.shares);
        self.notify(Telling {
            topic: Topic::Overspent,
            of: &[&call],
            text,
            fields,
            decides: None,
            to: None,
        });
    }

    /// Looks at a root task that has ended. Says nothing where that was done before.
    pub(crate) fn look_at_task(&self, organisation: &Arc<str>, user: &Arc<str>, task: &Arc<str>) {
        let key = (
            Arc::clone(organisation),
            Arc::clone(user),
            Some(Arc::clone(task)),
        );
        let ended = self.following.tasks.0.lock().remove(&key);
        if let Some(spent) = ended {
            self.tell_task(&key, &spent);
        }
    }

    /// Looks at the tasks that nothing was heard of for a while.
    pub(crate) fn look_at_ended_tasks(&self) {
        let now = self.clock.monotonic();
        let ended: Vec<_> = {
            let mut tasks = self.following.tasks.0.lock();
            tasks
                .extract_if(|_, it| now.since(it.heard) >= ENDED_AFTER)
                .collect()
        };
        for (key, spent) in ended {
            self.tell_task(&key, &spent);
        }
    }

    /// Tells of a task of several calls; of one call somebody was told when it ended. What has no
    /// task is no work that ends.
    fn tell_task(&self, (organisation, user, task): &Key, spent: &Spent) {
        let Some(task) = task.as_ref().filter(|_| spent.calls > 1) else {
            return;
        };
        let figures @ (expected, cost) = (spent.expected, spent.cost);
        if !is_overspent(expected, cost) {
            return;
        }
        let causes = shares(&spent.shares);
        let calls = spent.calls;
        let text = format!(
            "task `{task}` of {organisation}/{user} has ended: its {calls} calls cost {cost}, expected were {expected}: {} · see `tidegate calls --task {task}`",
            spoken(&causes),
        );
        let who = (organisation, user, Some(task));
        let at = self.clock.now().seconds().to_string();
        self.report_overspent(None, who, figures, &causes);
        self.notify(Telling {
            topic: Topic::Overspent,
            of: &[organisation, user, task, &at],
            text,
            fields: fields(who, figures, &causes).with("calls", calls),
            decides: None,
            to: None,
        });
    }

    fn report_overspent(
        &self,
        call: Option<tidegate_types::CallId>,
        (_, user, task): Who<'_>,
        (expected, cost): (NanoUsd, NanoUsd),
        causes: &[Share],
    ) {
        self.report(&event::Overspent {
            call,
            user,
            task: task.map(Arc::clone),
            expected,
            cost,
            cause: causes.first().map_or("unknown", |it| it.cause.word()),
        });
    }
}

/// Organisation, user, root task.
type Who<'a> = (&'a Arc<str>, &'a Arc<str>, Option<&'a Arc<str>>);

fn fields(
    (organisation, user, task): Who<'_>,
    (expected, cost): (NanoUsd, NanoUsd),
    causes: &[Share],
) -> Fields {
    let shares: serde_json::Map<String, serde_json::Value> = causes
        .iter()
        .map(|it| (it.cause.word().to_owned(), money(it.nano_usd).into()))
        .collect();
    Fields::new()
        .with("organisation", &**organisation)
        .with("user", &**user)
        .maybe("task", task)
        .with("expected_usd", dollars(expected))
        .with("cost_usd", dollars(cost))
        .with("causes_usd", shares)
}

/// `-0.04`
fn money(nano_usd: i64) -> String {
    let sign = if nano_usd < 0 { "-" } else { "" };
    format!("{sign}{}", dollars(NanoUsd(nano_usd.unsigned_abs())))
}

fn task(name: Option<&str>) -> String {
    name.map_or(String::new(), |it| format!(", task `{it}`,"))
}

/// `a longer answer (+$0.04), more input (+$0.01)`: what made it dearer.
fn spoken(causes: &[Share]) -> String {
    let dearer = causes.iter().filter(|it| it.nano_usd > 0);
    let each = dearer.map(|it| format!("{} (+${})", it.cause.sentence(), money(it.nano_usd)));
    each.collect::<Vec<_>>().join(", ")
}
