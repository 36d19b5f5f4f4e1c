//! (h): the bound. It knows every size, keeps every prefix that is needed again, and serves a fluid: the
//! smallest remainder first, in parts as small as it likes.

use std::{collections::BTreeSet, time::Duration};

use tidegate_types::Usage;

use super::{Announced, CallId, Head, Plan, System, run::Host};

/// Serves the smallest remainder first.
pub(super) struct Clairvoyant {
    /// What each call takes of the input limit, where every prefix is warm.
    sizes: Vec<Vec<u64>>,
    /// Tokens a second, and the most that are kept.
    rate: f64,
    capacity: f64,
    level: f64,
    at: Duration,
    /// Remainders in thousandths of a token.
    waiting: BTreeSet<(u64, CallId)>,
}

impl Clairvoyant {
    pub(super) fn new(plan: &Plan) -> Self {
        let limits = &plan.provider.limits;
        let rate = super::fleet::to_f64(limits.input_tokens_per_minute) / 60.0;
        let capacity = rate * f64::from(limits.burst_seconds);
        let sizes = |it: &super::Task| {
            let size = |it: &super::Call| it.input - it.cached;
            it.calls.iter().map(size).collect()
        };
        Self {
            sizes: plan.tasks.iter().map(sizes).collect(),
            rate,
            capacity,
            level: capacity,
            at: Duration::ZERO,
            waiting: BTreeSet::new(),
        }
    }

    /// Gives what has come in to the smallest remainders, and sends those that have all they need.
    fn go(&mut self, host: &mut Host<'_>) {
        let now = host.now();
        let gained = now.saturating_sub(self.at).as_secs_f64() * self.rate;
        self.level = (self.level + gained).min(self.capacity);
        self.at = now;
        while let Some((left, id)) = self.waiting.pop_first() {
            let need = super::fleet::to_f64(left) / 1_000.0;
            if need > self.level + 1e-6 {
                let rest = need - self.level;
                self.level = 0.0;
                self.waiting.insert((thousandths(rest), id));
                let wait = Duration::from_secs_f64((rest / self.rate).max(1e-6));
                host.wake_at(now + wait);
                return;
            }
            self.level -= need;
            // Its provider has no limits but those counted here.
            let _taken = host.send(id);
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "tokens of a call: not negative, and far below 2⁵³"
)]
fn thousandths(tokens: f64) -> u64 {
    (tokens * 1_000.0).ceil() as u64
}

impl System for Clairvoyant {
    fn asked(&mut self, call: &Announced, host: &mut Host<'_>) {
        let size = self.sizes[call.id.task as usize][call.id.call as usize];
        host.estimated(call.id, size);
        self.waiting.insert((size * 1_000, call.id));
        self.go(host);
    }

    fn begun(&mut self, _call: &Announced, _head: &Head<'_>, _host: &mut Host<'_>) {}

    fn ended(&mut self, _call: &Announced, _usage: &Usage, _host: &mut Host<'_>) {}

    fn woke(&mut self, host: &mut Host<'_>) {
        self.go(host);
    }
}
