//! W1, a fleet of Claude Code sessions, defined so that anyone can repeat it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tidegate_types::Priority;

use super::{Call, Plan, SystemKind, Task, Transcript, plan::CallId, run, run::counted};
use crate::{
    ProviderSpec,
    rng::Seeded,
    spec::{LatencySpec, LimitSpec},
    trace::{Arrival, Row, Session, Traffic},
};

/// Tools and system prompt that the first call of a session finds warm, in tokens.
const HEAD_TOKENS: u64 = 15_000;

/// Bytes per token: the median over sessions, and the spread of their logarithms.
const BYTES_PER_TOKEN: (f64, f64) = (3.6, 0.15);

/// The spread of a call's around its session's.
const CALL_SPREAD: f64 = 0.10;

/// Of a hundred sessions, how many have each priority, the highest first.
const PRIORITIES: [(Priority, u32); 4] = [
    (Priority::Critical, 10),
    (Priority::High, 20),
    (Priority::Medium, 30),
    (Priority::Low, 40),
];

/// The workload, but for its sessions.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// What an unlimited run would take of the input limit, on average, while sessions begin.
    pub load: f64,
    /// Where every draw comes from.
    pub seed: u64,
    /// How long sessions begin.
    pub open_for: Duration,
    /// How long the day goes on then for what is not done.
    pub then: Duration,
    /// The provider's limits.
    pub limits: LimitSpec,
    /// Users that sessions are dealt to, where it was not recorded whose they are.
    pub tenants: u16,
    /// When sessions begin. Calls that were recorded without sessions come as they were recorded, always.
    pub arrivals: Arrivals,
}

/// When sessions begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// Each is drawn with replacement, as often as makes the load: a Poisson process.
    Drawn,
    /// As they were recorded. The provider's limits are set so that they make the load.
    Recorded,
}

impl Fleet {
    /// W1 as it is defined: eight hours, and two to run empty; 1,000 requests, 450,000 counted input and 90,000
    /// output tokens a minute, a minute's burst.
    pub const fn w1(load: f64, seed: u64) -> Self {
        Self {
            load,
            seed,
            open_for: Duration::from_hours(8),
            then: Duration::from_hours(2),
            limits: LimitSpec {
                requests_per_minute: 1_000,
                input_tokens_per_minute: 450_000,
                output_tokens_per_minute: 90_000,
                tokens_per_minute: 450_000,
                burst_seconds: 60,
            },
            tenants: 20,
            arrivals: Arrivals::Drawn,
        }
    }

    /// The day that this traffic makes. Forks are passed over.
    pub fn day(&self, traffic: &Traffic) -> Result<Plan, FleetError> {
        match (traffic, self.arrivals) {
            (Traffic::Sessions(sessions), Arrivals::Drawn) => self.plan(sessions),
            (Traffic::Sessions(sessions), Arrivals::Recorded) => {
                self.sessions_as_recorded(sessions)
            }
            (Traffic::Calls(calls), _) => self.calls_as_recorded(calls),
            (Traffic::Rates(rates), _) => self.calls_as_drawn(rates),
        }
    }

    /// The day that these sessions make, as often as makes the load. Forks are passed over.
    pub fn plan(&self, sessions: &[Session]) -> Result<Plan, FleetError> {
        self.check()?;
        let sessions = || sessions.iter().filter(|it| it.fork_of.is_none());
        let users = Users::of(sessions(), self.tenants);
        let recorded: Vec<Recorded> = sessions().map(|it| Recorded::of(it, &users)).collect();
        if recorded.is_empty() {
            return Err(FleetError::NoSessions);
        }
        let rate = self.rate(&recorded)?;
        let mut draws = Seeded::new(self.seed);
        let seed = draws.draw();
        let mut tasks = Vec::new();
        let mut at = 0.0;
        loop {
            at -= (1.0 - draws.unit()).ln() / rate;
            let starts = Duration::try_from_secs_f64(at).unwrap_or(Duration::MAX);
            if starts >= self.open_for {
                let ends = self.open_for.saturating_add(self.then);
                return Ok(Plan {
                    users: users.names,
                    open_for: self.open_for,
                    seed,
                    ..self.empty(format!("w1 {}", self.load), tasks, ends)
                });
            }
            let sessions = u32::try_from(recorded.len()).unwrap_or(u32::MAX);
            let session = &recorded[draws.below(sessions) as usize];
            tasks.push(self.task(session, starts, tasks.len(), &mut draws));
        }
    }

    pub(super) fn check(&self) -> Result<(), FleetError> {
        if !(0.01..=10.0).contains(&self.load) {
            return Err(FleetError::Load(self.load));
        }
        if self.tenants == 0 {
            return Err(FleetError::NoTenants);
        }
        Ok(())
    }

    /// The task at this place that plays a session, with all that is drawn of it.
    pub(super) fn task(
        &self,
        session: &Recorded,
        starts: Duration,
        place: usize,
        draws: &mut Seeded,
    ) -> Task {
        let priority = priority(draws.below(100));
        let tenant = u16::try_from(draws.below(self.tenants.into())).unwrap_or(0);
        Task {
            starts,
            priority: session.priority.unwrap_or(priority),
            tenant: session.tenant.unwrap_or(tenant),
            calls: session.announced(place, draws),
        }
    }

    /// A plan of these tasks, with a seed of 0.
    pub(super) fn empty(&self, name: String, tasks: Vec<Task>, ends: Duration) -> Plan {
        Plan {
            name,
            provider: self.provider(),
            tasks,
            users: Vec::new(),
            open_for: ends,
            ends,
            seed: 0,
            budget: None,
            overruns_per_mille: 0,
        }
    }

    fn provider(&self) -> ProviderSpec {
        ProviderSpec {
            seed: self.seed,
            limits: self.limits.clone(),
            shared_limits: true,
            latency: LatencySpec::measured(),
            // In a plan a byte is a token.
            bytes_per_token_tenths: 10,
            ..ProviderSpec::default()
        }
    }

    /// Sessions a second that make the load. In a run without limits a session that begins at `s` has taken by
    /// the end what it takes in its first `open_for - s`; beginnings are spread evenly.
    fn rate(&self, recorded: &[Recorded]) -> Result<f64, FleetError> {
        let task = |(place, it): (usize, &Recorded)| Task {
            starts: Duration::ZERO,
            priority: Priority::Medium,
            tenant: 0,
            calls: it.calls_of(place),
        };
        let tasks = recorded.iter().enumerate().map(task).collect();
        let plan = self.empty(String::new(), tasks, self.open_for);
        let played = run(&plan, SystemKind::Unlimited, Transcript::none());
        let played = played.map_err(|it| FleetError::Trial(it.to_string()))?;
        let open = self.open_for.as_secs_f64();
        let mut token_seconds = 0.0;
        for call in played.calls.iter().flatten() {
            if let Some(taken) = call.taken {
                token_seconds +=
                    to_f64(counted(&call.usage)) * (open - taken.as_secs_f64()).max(0.0);
            }
        }
        let of_one = token_seconds / to_f64(recorded.len() as u64);
        let minutes = open / 60.0;
        let wanted = self.load * to_f64(self.limits.input_tokens_per_minute) * minutes;
        if of_one <= 0.0 {
            return Err(FleetError::NoSessions);
        }
        Ok(wanted / of_one)
    }
}

fn priority(of_hundred: u32) -> Priority {
    let mut left = of_hundred;
    for (priority, share) in PRIORITIES {
        match left.checked_sub(share) {
            Some(rest) => left = rest,
            None => return priority,
        }
    }
    Priority::Low
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of tokens are far below 2⁵³"
)]
pub(super) const fn to_f64(count: u64) -> f64 {
    count as f64
}

/// Users of recorded sessions, or those that they are dealt to.
pub(super) struct Users {
    pub(super) names: Vec<Arc<str>>,
    recorded: bool,
}

impl Users {
    pub(super) fn of<'a>(sessions: impl Iterator<Item = &'a Session>, tenants: u16) -> Self {
        let mut names: Vec<Arc<str>> = Vec::new();
        for user in sessions.filter_map(|it| it.user.as_deref()) {
            let room = names.len() < usize::from(u16::MAX);
            if room && names.iter().all(|it| &**it != user) {
                names.push(user.into());
            }
        }
        if names.is_empty() {
            return Self::dealt(tenants);
        }
        Self {
            names,
            recorded: true,
        }
    }

    /// Nobody knows whose they are.
    pub(super) fn dealt(tenants: u16) -> Self {
        let name = |it: u16| format!("tenant-{it:05}").into();
        Self {
            names: (0..tenants).map(name).collect(),
            recorded: false,
        }
    }

    /// The number of a session's user, where it was recorded; those beyond count as the last.
    fn number(&self, session: &Session) -> Option<u16> {
        let user = session.user.as_deref().filter(|_| self.recorded)?;
        let found = self.names.iter().position(|it| &**it == user);
        u16::try_from(found.unwrap_or(self.names.len() - 1)).ok()
    }
}

/// A session as it was recorded, in the terms of a plan.
pub(super) struct Recorded {
    priority: Option<Priority>,
    tenant: Option<u16>,
    /// As of a task at place 0.
    calls: Vec<Call>,
}

impl Recorded {
    pub(super) fn of(session: &Session, users: &Users) -> Self {
        let models: HashMap<&str, Arc<str>> = session
            .rows
            .iter()
            .map(|it| (&*it.model, Arc::from(&*it.model)))
            .collect();
        let call = |(at, row): (usize, &Row)| {
            let head = HEAD_TOKENS.min(row.input.0 / 4 * 3);
            let (cached, reads) = match reads(&session.rows[..at], row) {
                _ if at == 0 => (head, None),
                Some(earlier) => (row.cached.0, Some(earlier)),
                None => (0, None),
            };
            Call {
                model: Arc::clone(&models[&*row.model]),
                agent: (row.agent != "main").then(|| Arc::from(&*row.agent)),
                input: row.input.0,
                cached,
                reads: reads.map(|call| CallId { task: 0, call }),
                output: row.output.0,
                bytes: row.input.0,
                served_in: row.api,
                think: if at == 0 { Duration::ZERO } else { row.think },
                streamed: row.streamed,
                goes_on: row.input_types.contains("tool_result"),
            }
        };
        Self {
            priority: session.priority,
            tenant: users.number(session),
            calls: session.rows.iter().enumerate().map(call).collect(),
        }
    }

    /// A call that comes alone.
    pub(super) fn alone(arrival: &Arrival) -> Self {
        Self {
            priority: None,
            tenant: None,
            calls: vec![Call {
                model: Arc::clone(&arrival.model),
                agent: None,
                input: arrival.input.0,
                cached: arrival.shared.map_or(0, |it| it.tokens.0),
                // Its task's place is that of the call in the trace.
                reads: arrival.shared.map(|it| CallId {
                    task: it.with,
                    call: 0,
                }),
                output: arrival.output.0,
                bytes: arrival.input.0,
                served_in: None,
                think: Duration::ZERO,
                streamed: true,
                goes_on: false,
            }],
        }
    }

    /// Its calls as those of the task at this place.
    fn calls_of(&self, place: usize) -> Vec<Call> {
        let task = u32::try_from(place).unwrap_or(u32::MAX);
        let mut calls = self.calls.clone();
        // A call that comes alone reads what another task sent, if anything.
        if calls.len() > 1 {
            for call in &mut calls {
                call.reads = call.reads.map(|it| CallId { task, ..it });
            }
        }
        calls
    }

    /// Its calls with the bytes that a client would announce: what is new since the call before, at so many
    /// bytes a token.
    fn announced(&self, place: usize, draws: &mut Seeded) -> Vec<Call> {
        let (median, spread) = BYTES_PER_TOKEN;
        let of_session = median * (spread * draws.normal()).exp();
        let mut threads: HashMap<Option<Arc<str>>, (u64, f64)> = HashMap::new();
        let announced = |call: Call| {
            let ratio = of_session * (CALL_SPREAD * draws.normal()).exp();
            let (input, bytes) = threads.get(&call.agent).copied().unwrap_or_default();
            let bytes = match call.input.checked_sub(input) {
                Some(new) => to_f64(new).mul_add(ratio, bytes),
                // It was compacted: all of it is new.
                None => to_f64(call.input) * ratio,
            };
            threads.insert(call.agent.clone(), (call.input, bytes));
            Call {
                bytes: rounded(bytes),
                ..call
            }
        };
        self.calls_of(place).into_iter().map(announced).collect()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bytes of a body: not negative, and far below 2⁵³"
)]
fn rounded(bytes: f64) -> u64 {
    bytes.round() as u64
}

/// The earlier call whose prefix a row reads: the one that touched it last.
fn reads(earlier: &[Row], row: &Row) -> Option<u32> {
    let touched = row.at.checked_sub(row.cache_age?)?;
    if row.cached.0 == 0 {
        return None;
    }
    let distance = |it: &Row| it.at.abs_diff(touched);
    // Of equals the later one.
    let (at, _) = (earlier.iter().enumerate().rev()).min_by_key(|(_, it)| distance(it))?;
    u32::try_from(at).ok()
}

/// Why there is no such day.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// A load that makes no sense.
    #[error("`load` is {0}: set it from 0.01 to 10 (1 is all that the limit gives)")]
    Load(f64),
    /// Nobody to deal sessions to.
    #[error("`tenants` is 0: set it from 1 to 65535")]
    NoTenants,
    /// Nothing to draw from.
    #[error("the trace has no session that uses any input")]
    NoSessions,
    /// It was not recorded when sessions began.
    #[error(
        "the trace says only how sessions went, not when they began: play them as they are drawn"
    )]
    NoTimes,
    /// Nothing says how large the calls are.
    #[error("the trace says when calls come, not how large they are: give one to draw that from")]
    NoSizes,
    /// The run without limits failed.
    #[error("the trial without limits: {0}")]
    Trial(String),
}

impl Plan {
    /// The same day with everything after `since` drawn anew: what comes later must not change what was
    /// before. `ready` says when each call was ready in a run.
    #[must_use]
    pub fn with_other_future(
        &self,
        since: Duration,
        ready: impl Fn(CallId) -> Option<Duration>,
        seed: u64,
    ) -> Self {
        let mut plan = self.clone();
        let mut draws = Seeded::new(seed);
        for (task, it) in plan.tasks.iter_mut().enumerate() {
            let task = u32::try_from(task).unwrap_or(u32::MAX);
            if it.starts > since {
                it.starts += Duration::from_secs(draws.below(1_000).into());
            }
            for (call, it) in it.calls.iter_mut().enumerate() {
                let call = u32::try_from(call).unwrap_or(u32::MAX);
                if ready(CallId { task, call }).is_none_or(|at| at > since) {
                    it.input = 2_000 + u64::from(draws.below(400_000));
                    it.cached = it.cached.min(it.input / 2);
                    it.bytes = it.input * 3;
                    it.output = u64::from(draws.below(4_000));
                    it.served_in = None;
                    it.think += Duration::from_secs(draws.below(600).into());
                    it.goes_on = draws.happens(500);
                }
            }
        }
        plan
    }
}
