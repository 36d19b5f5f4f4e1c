//! The phases of a call, a type each: what a phase may touch is what its type holds.

use std::{sync::Arc, time::Duration};

use tidegate_admission::{Need, QuotaPath, UserSlot};
use tidegate_ledger::Path;
use tidegate_observe::calls::CallRecord;
use tidegate_providers::{
    RequestFacts,
    prices::{ModelPrice, Quote},
};
use tidegate_types::{Monotonic, NanoUsd, Timestamp, Tokens};

use crate::{
    account::SharedAccount,
    estimate::Input,
    gate::SharedGate,
    identity::Principal,
    overspending::FirstSent,
    reserve::Room,
    sessions::{Proven, Thread},
    settings::Platform,
    tasks::Ongoing,
};

/// Both times of one moment, read together at the edge.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The wall clock: windows, records.
    pub wall: Timestamp,
    /// The clock that never steps back: buckets, waits, durations.
    pub mono: Monotonic,
}

/// What a request's headers say besides who sent it. Absent ones are `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signals<'a> {
    /// `x-claude-code-session-id`, or `x-tidegate-session`, which wins.
    pub session: Option<&'a str>,
    /// `x-claude-code-agent-id`.
    pub agent: Option<&'a str>,
    /// `x-claude-code-parent-agent-id`.
    pub parent_agent: Option<&'a str>,
    /// `x-claude-code-request-class`.
    pub class: Option<&'a str>,
    /// `x-claude-code-prompt-id`.
    pub prompt: Option<&'a str>,
    /// `x-tidegate-task`.
    pub task: Option<&'a str>,
    /// `x-tidegate-parent-task`.
    pub parent_task: Option<&'a str>,
    /// `x-tidegate-priority`.
    pub priority: Option<&'a str>,
    /// `x-tidegate-complexity`.
    pub complexity: Option<&'a str>,
    /// `x-tidegate-task-type`.
    pub task_type: Option<&'a str>,
    /// `x-tidegate-platform`.
    pub platform: Option<&'a str>,
    /// `x-tidegate-max-wait`.
    pub max_wait: Option<&'a str>,
    /// `traceparent`.
    pub traceparent: Option<&'a str>,
    /// It is only counted (models, token counts), not priced: no turn of a user begins with it.
    pub counted: bool,
}

/// Everything about the call that its headers and body say.
#[derive(Debug)]
pub struct Identified {
    /// Its record, filled as far as is known.
    pub record: Box<CallRecord>,
    /// Who sent it.
    pub principal: Principal,
    /// What its body says.
    pub facts: RequestFacts,
    /// The session it is tracked by: whose, and which.
    pub tracked: Arc<str>,
    /// Which conversation it continues.
    pub thread: Thread,
    /// What that conversation's last answer proved.
    pub proven: Option<Proven>,
    /// What was expected of it when it was first sent.
    pub(crate) first_sent: Option<FirstSent>,
    /// Whether it is priced and weighed, or only counted (models, token counts).
    pub metered: bool,
    /// The platform that was asked for by name.
    pub platform: Option<Arc<str>>,
    /// How long it may wait for its turn, where its sender says so.
    pub max_wait: Option<Duration>,
    /// It among the calls of its task.
    pub ongoing: Ongoing,
    /// What its provider has refused it for.
    pub(crate) refused: Refusals,
}

/// What became of the tries of a call that its provider refused because of its rate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refusals {
    /// How many there were.
    pub(crate) count: u32,
    /// What the refusals have shown that its input counts for, at least.
    pub(crate) input_at_least: u64,
    /// When it first waited or was sent.
    pub(crate) since: Option<Monotonic>,
    /// How long it is not to be tried again, after the last of them.
    pub(crate) pause: Option<Duration>,
}

/// A call and the one platform it will be reserved on.
#[derive(Debug)]
pub struct Routed {
    /// The call.
    pub call: Box<Identified>,
    /// Where it goes.
    pub platform: Arc<Platform>,
    /// What its model costs there.
    pub price: Quote,
    /// The same without the tiers that its input can't reach: what bounds are made of.
    pub bound_price: Arc<ModelPrice>,
    /// The platform's buckets and queue.
    pub gate: SharedGate,
    /// The user in those.
    pub slot: UserSlot,
    /// The organisation's budgets and quotas.
    pub books: SharedAccount,
    /// The call's way through those.
    pub path: Path,
    /// Where its quotas are counted.
    pub quota: QuotaPath,
    /// What the buckets are asked for.
    pub need: Need,
    /// Its input in tokens.
    pub input: Input,
    /// Output tokens expected.
    pub output_expected: Tokens,
    /// Output tokens that all but one answer in a thousand of its kind had at most.
    pub output_usual: Tokens,
    /// Output cap in force before any is lowered: what the body says, else the model's own.
    pub cap: Tokens,
    /// The most its input can cost.
    pub input_bound: NanoUsd,
    /// What is held for all of it at its output cap; zero where it is not charged.
    pub bound: NanoUsd,
    /// What it is expected to cost; zero where it is not charged.
    pub expected: NanoUsd,
    /// For what is set aside for it, until that is.
    pub(crate) room: Option<Room>,
}

impl Routed {
    /// Makes room for what will be set aside for it, where an earlier reservation has taken it.
    pub fn make_room(&mut self) {
        let (gate, books) = (&self.gate, &self.books);
        self.room.get_or_insert_with(|| Room::new(gate, books));
    }

    /// What is held for an output cap. Nothing where nothing is charged.
    pub(crate) fn bound_of(&self, cap: Tokens) -> NanoUsd {
        if self.is_charged() {
            let output = self
                .bound_price
                .output_bound(self.all_choices(cap), self.modifiers());
            self.input_bound.saturating_add(output)
        } else {
            NanoUsd::ZERO
        }
    }

    /// Each of the answers asked for may be as long as the cap.
    pub(crate) fn all_choices(&self, cap: Tokens) -> Tokens {
        Tokens(cap.0.saturating_mul(self.call.facts.choices.max(1)))
    }

    pub(crate) fn is_charged(&self) -> bool {
        self.call.metered && !self.platform.subscription && !self.platform.free
    }

    pub(crate) fn price(&self) -> &ModelPrice {
        &self.price.price
    }

    pub(crate) fn modifiers(&self) -> &tidegate_types::Modifiers {
        &self.call.facts.modifiers
    }
}
