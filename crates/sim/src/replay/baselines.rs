//! What Tidegate is compared with: nothing at all, and governors of some thirty lines.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tidegate_engine::{estimate, sessions::Proven, settings::ReserveRules};
use tidegate_providers::RequestFacts;
use tidegate_types::{Monotonic, Priority, Timestamp, Tokens, Usage};

use super::{
    Announced, CallId, DAY_BEGINS, Head, Plan, System,
    run::{Host, counted},
};
use crate::world::Bucket;

/// (a), (b): every call goes at once, and its client is told what the provider says.
pub(super) struct Direct;

impl System for Direct {
    fn asked(&mut self, call: &Announced, host: &mut Host<'_>) {
        if let Err(limited) = host.send(call.id) {
            host.limit(call.id, limited.retry_after);
        }
    }

    fn begun(&mut self, _call: &Announced, _head: &Head<'_>, _host: &mut Host<'_>) {}

    fn ended(&mut self, _call: &Announced, _usage: &Usage, _host: &mut Host<'_>) {}

    fn woke(&mut self, _host: &mut Host<'_>) {}
}

/// Who goes next of those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Who came first. `full`: the bucket counts all input, cached or not.
    Fifo { full: bool },
    /// `critical` before all others, and then the smallest; idle prefixes are pinged.
    Shortest,
}

/// How often an idle prefix is read so that it stays in the cache.
const PINGS: u32 = 4;

/// How long after the last touch: the cache lives for five minutes.
const PING_AFTER: Duration = Duration::from_secs(285);

/// (c), (d), (i): a queue before buckets like the provider's.
pub(super) struct Governor {
    order: Order,
    estimates: Estimates,
    requests: Bucket,
    input: Bucket,
    output: Bucket,
    waiting: Vec<Waiting>,
    running: HashMap<CallId, u64>,
    /// The provider has refused until then.
    refused_until: Duration,
    /// The last call of each task, and the pings since.
    idle: HashMap<u32, (CallId, u32)>,
}

struct Waiting {
    id: CallId,
    critical: bool,
    need: u64,
}

impl Governor {
    pub(super) fn new(plan: &Plan, order: Order) -> Self {
        let limits = &plan.provider.limits;
        let bucket = |each| Bucket::full(each, limits.burst_seconds, DAY_BEGINS);
        Self {
            order,
            estimates: Estimates::default(),
            requests: bucket(limits.requests_per_minute),
            input: bucket(limits.input_tokens_per_minute),
            output: bucket(limits.output_tokens_per_minute),
            waiting: Vec::new(),
            running: HashMap::new(),
            refused_until: Duration::ZERO,
            idle: HashMap::new(),
        }
    }

    fn refill(&mut self, now: Duration) {
        let now = DAY_BEGINS.after(now);
        for bucket in [&mut self.requests, &mut self.input, &mut self.output] {
            bucket.refill(now);
        }
    }

    /// Sends whoever fits, in order, until somebody does not.
    fn go(&mut self, host: &mut Host<'_>) {
        self.refill(host.now());
        while let Some(first) = self.first() {
            let need = self.waiting[first].need;
            let wait = (self.requests.wait(1))
                .max(self.input.wait(need))
                .max(self.output.until_out_of_debt())
                .max(self.refused_until.saturating_sub(host.now()));
            if !wait.is_zero() {
                host.wake_at(host.now() + wait);
                return;
            }
            let id = self.waiting[first].id;
            match host.send(id) {
                Ok(()) => {
                    self.waiting.remove(first);
                    self.requests.take(1);
                    self.input.take(need);
                    self.running.insert(id, need);
                }
                Err(limited) => self.refused_until = host.now() + limited.retry_after,
            }
        }
    }

    fn first(&self) -> Option<usize> {
        match self.order {
            Order::Fifo { .. } => (!self.waiting.is_empty()).then_some(0),
            Order::Shortest => {
                let rank = |at: &usize| (!self.waiting[*at].critical, self.waiting[*at].need);
                (0..self.waiting.len()).min_by_key(rank)
            }
        }
    }
}

impl System for Governor {
    fn asked(&mut self, call: &Announced, host: &mut Host<'_>) {
        let estimate = self.estimates.of(call, host.now());
        host.estimated(call.id, estimate.counted);
        let need = match self.order {
            Order::Fifo { full: true } => estimate.total,
            Order::Fifo { full: false } => estimate.counted,
            Order::Shortest => estimate.counted * 103 / 100,
        };
        self.idle.remove(&call.id.task);
        self.waiting.push(Waiting {
            id: call.id,
            critical: call.priority == Priority::Critical,
            need,
        });
        self.go(host);
    }

    fn begun(&mut self, call: &Announced, head: &Head<'_>, host: &mut Host<'_>) {
        self.refill(host.now());
        let actual = match self.order {
            Order::Fifo { full: true } => head.input.input_total().0,
            _ => counted(&head.input),
        };
        let taken = self.running.remove(&call.id).unwrap_or(actual);
        self.input.give_back(taken.saturating_sub(actual));
        self.input.take(actual.saturating_sub(taken));
        if self.order == Order::Shortest {
            self.idle.insert(call.id.task, (call.id, 0));
            host.time(call.id, PING_AFTER);
        }
        self.go(host);
    }

    fn ended(&mut self, call: &Announced, usage: &Usage, host: &mut Host<'_>) {
        self.refill(host.now());
        self.output.take(usage.output.0);
        self.estimates.learn(call, usage, host.now());
        self.go(host);
    }

    fn woke(&mut self, host: &mut Host<'_>) {
        self.go(host);
    }

    fn timed(&mut self, call: &Announced, host: &mut Host<'_>) {
        let idle = self.idle.get_mut(&call.id.task);
        let Some((_, pings)) = idle.filter(|(last, _)| *last == call.id) else {
            return;
        };
        *pings += 1;
        let more = *pings < PINGS;
        // One that is refused is not worth a second try: the next call writes the prefix again.
        if host.ping(call.id).is_ok() {
            self.requests.take(1);
            if more {
                host.time(call.id, PING_AFTER);
            }
        }
    }
}

/// What a call will need, by the estimator that Tidegate has: all systems know as much.
#[derive(Default)]
struct Estimates {
    proven: HashMap<(u32, Option<Arc<str>>), Proven>,
}

struct Estimate {
    /// Tokens that the provider's input limit counts.
    counted: u64,
    /// All input.
    total: u64,
}

/// No model takes more: the estimate of none of these calls is bounded by it.
const CONTEXT: Tokens = Tokens(2_000_000);

impl Estimates {
    fn of(&self, call: &Announced, now: Duration) -> Estimate {
        let key = (call.id.task, call.agent.clone());
        let input = estimate::input(
            &RequestFacts::default(),
            call.bytes,
            self.proven.get(&key).copied(),
            &ReserveRules::default(),
            CONTEXT,
            mono(now),
        );
        Estimate {
            counted: input.expected.0 - input.cached.0,
            total: input.expected.0,
        }
    }

    fn learn(&mut self, call: &Announced, usage: &Usage, now: Duration) {
        let key = (call.id.task, call.agent.clone());
        let proven = Proven {
            body_bytes: call.bytes,
            total: usage.total(),
            at: mono(now),
        };
        self.proven.insert(key, proven);
    }
}

fn mono(now: Duration) -> Monotonic {
    Monotonic(Timestamp(0).after(now).0)
}
