//! Traffic that comes when it was recorded to come: the provider's limits are set by it, not it by them.
//!
//! The limits are those of the fleet, made larger or smaller by one factor, so that a run without limits takes the
//! load's part of the input limit, from the first beginning to the last. Where answers or the number of calls would
//! then be nearer to their limit than the input to its own, that limit is raised until they are as near.

use std::{sync::Arc, time::Duration};

use tidegate_types::{Timestamp, Tokens};

use super::{
    Fleet, FleetError, Plan, Played, SystemKind, Task, Transcript,
    fleet::{Recorded, Users, to_f64},
    run,
    run::counted,
};
use crate::{
    rng::Seeded,
    spec::LimitSpec,
    trace::{Arrival, Rates, Session},
};

/// A day of recorded traffic lasts at least so long, for its rates to be told.
const SPAN_MIN: Duration = Duration::from_mins(1);

/// The largest limit that a provider can have, a minute.
const PER_MINUTE_MAX: f64 = 1e9;

impl Fleet {
    /// Sessions that begin as they were recorded; within, each goes on as fast as it is answered.
    pub(super) fn sessions_as_recorded(&self, sessions: &[Session]) -> Result<Plan, FleetError> {
        self.check()?;
        let sessions = || sessions.iter().filter(|it| it.fork_of.is_none());
        let users = Users::of(sessions(), self.tenants);
        let began = |it: &Session| it.began.ok_or(FleetError::NoTimes);
        let times: Vec<Timestamp> = sessions().map(began).collect::<Result<_, _>>()?;
        let first = *times.iter().min().ok_or(FleetError::NoSessions)?;
        let mut begins: Vec<(Duration, &Session)> = times
            .iter()
            .map(|it| it.since(first))
            .zip(sessions())
            .filter(|it| it.0 < self.open_for)
            .collect();
        begins.sort_by_key(|it| it.0);
        let mut draws = Seeded::new(self.seed);
        let seed = draws.draw();
        let mut tasks = Vec::with_capacity(begins.len());
        for (starts, session) in begins {
            let recorded = Recorded::of(session, &users);
            tasks.push(self.task(&recorded, starts, tasks.len(), &mut draws));
        }
        self.under_limits(tasks, users.names, seed)
    }

    /// Calls that come as they were recorded, each a task of its own.
    pub(super) fn calls_as_recorded(&self, calls: &[Arrival]) -> Result<Plan, FleetError> {
        let mut draws = Seeded::new(self.seed);
        let seed = draws.draw();
        self.open(calls, seed, &mut draws)
    }

    /// Calls that come as often as was recorded, each drawn, and of a size that is drawn.
    pub(super) fn calls_as_drawn(&self, rates: &Rates) -> Result<Plan, FleetError> {
        let mut draws = Seeded::new(self.seed);
        let seed = draws.draw();
        let sizes = u32::try_from(rates.sizes.len()).unwrap_or(u32::MAX);
        if sizes == 0 {
            return Err(FleetError::NoSizes);
        }
        let times = rates.draw(self.open_for, &mut draws);
        let call = |(at, window): (Duration, &crate::trace::Window)| {
            let (input, output) = rates.sizes[draws.below(sizes) as usize];
            Arrival {
                at,
                model: Arc::clone(&window.model),
                input: Tokens(input),
                output: Tokens(output),
                shared: None,
            }
        };
        let calls: Vec<Arrival> = times.into_iter().map(call).collect();
        self.open(&calls, seed, &mut draws)
    }

    fn open(&self, calls: &[Arrival], seed: u64, draws: &mut Seeded) -> Result<Plan, FleetError> {
        self.check()?;
        let users = Users::dealt(self.tenants);
        let mut tasks = Vec::with_capacity(calls.len());
        for call in calls.iter().take_while(|it| it.at < self.open_for) {
            let alone = Recorded::alone(call);
            tasks.push(self.task(&alone, call.at, tasks.len(), draws));
        }
        self.under_limits(tasks, users.names, seed)
    }

    /// The day of these tasks, under limits that they take the load's part of.
    fn under_limits(
        &self,
        tasks: Vec<Task>,
        users: Vec<Arc<str>>,
        seed: u64,
    ) -> Result<Plan, FleetError> {
        let last = tasks.last().ok_or(FleetError::NoSessions)?.starts;
        let span = last.max(SPAN_MIN);
        let trial = self.empty(format!("recorded {}", self.load), tasks, span);
        let played = run(&trial, SystemKind::Unlimited, Transcript::none());
        let played = played.map_err(|it| FleetError::Trial(it.to_string()))?;
        let limits = self.limits_for(&played, span)?;
        let part = span.as_secs_f64() / self.open_for.as_secs_f64().max(1.0);
        let mut plan = Plan {
            users,
            seed,
            ends: span + self.then.mul_f64(part),
            ..trial
        };
        plan.provider.limits = limits;
        Ok(plan)
    }

    fn limits_for(&self, played: &Played, span: Duration) -> Result<LimitSpec, FleetError> {
        let (mut calls, mut input, mut output) = (0_u64, 0_u64, 0_u64);
        for call in played.calls.iter().flatten() {
            if call.taken.is_some() {
                calls += 1;
                input += counted(&call.usage);
                output += call.usage.output.0;
            }
        }
        if input == 0 {
            return Err(FleetError::NoSessions);
        }
        let a_minute = 60.0 / span.as_secs_f64() / self.load;
        let base = &self.limits;
        let factor = to_f64(input) * a_minute / to_f64(base.input_tokens_per_minute);
        let limit = |of: u64, taken: u64| {
            let scaled = to_f64(of) * factor;
            whole(scaled.max(to_f64(taken) * a_minute))
        };
        Ok(LimitSpec {
            requests_per_minute: limit(base.requests_per_minute, calls),
            input_tokens_per_minute: limit(base.input_tokens_per_minute, input),
            output_tokens_per_minute: limit(base.output_tokens_per_minute, output),
            tokens_per_minute: limit(base.tokens_per_minute, input),
            burst_seconds: base.burst_seconds,
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 1 and 10⁹"
)]
const fn whole(limit: f64) -> u64 {
    limit.ceil().clamp(1.0, PER_MINUTE_MAX) as u64
}

#[cfg(test)]
mod tests;
