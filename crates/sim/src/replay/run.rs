//! One run: a plan, a system, a provider, and clients that retry.

use std::{
    cmp::Reverse, collections::BinaryHeap, hash::BuildHasher as _, sync::Arc, time::Duration,
};

use foldhash::fast::FixedState;
use tidegate_types::{Timestamp, Tokens, Usage};

use super::{
    Announced, CallId, Configured, Contender, DAY_BEGINS, Head, Limited, Plan, System, Transcript,
    baselines::{Direct, Governor, Order},
    clairvoyant::Clairvoyant,
    clock::VirtualClock,
    governed::{Governed, GovernedError},
    system::SystemKind,
};
use crate::{
    rng::Seeded,
    world::{Account, Block, Call as Asked, Family, Life, Ticket, Verdict, World},
};

/// What Claude Code sends as `max_tokens`.
const MAX_TOKENS: u64 = 32_000;

/// Steps in which an answer's output comes to be.
const STEPS: u32 = 8;

/// The longest `retry-after` that the clients' SDKs follow; beyond it they back off by themselves.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(1);

/// How long a person takes to see that a client has given up, and to have it go on.
const RESUMES_AFTER: Duration = Duration::from_mins(1);

/// What became of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PlayedCall {
    /// When the client had it ready; `None`: it never came to that.
    pub ready: Option<Duration>,
    /// When the provider took it.
    pub taken: Option<Duration>,
    /// When the first byte came.
    pub first_byte: Option<Duration>,
    /// When the answer was whole.
    pub ended: Option<Duration>,
    /// 429s of the provider.
    pub refused: u32,
    /// 429s that the client got, whoever said it.
    pub seen: u32,
    /// Times that the client gave up, and somebody had to have it go on.
    pub failed: u32,
    /// What the provider billed.
    pub usage: Usage,
    /// The first wait that was quoted, if one was: when, and nine of ten wait no longer.
    pub quoted: Option<(Duration, Duration)>,
    /// What the system expected the provider to count, in tokens of input.
    pub estimate: Option<u64>,
}

/// What became of a day.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// Each call, by task.
    pub calls: Vec<Vec<PlayedCall>>,
    /// When the last thing happened.
    pub ended: Duration,
    /// Pings that were sent, and what the provider billed for them.
    pub pings: (u64, Usage),
    /// Pings that the provider refused.
    pub pings_refused: u64,
    /// The hash of the transcript.
    pub hash: u64,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Ready(CallId),
    Retry(CallId),
    Begin(CallId),
    Produce(CallId),
    End(CallId),
    PingBegins(u32),
    Timer(CallId),
    Wake,
}

/// Plays `plan` through a system.
pub fn run<'a>(
    plan: &'a Plan,
    contender: impl Into<Contender>,
    transcript: Transcript<'a>,
) -> Result<Played, GovernedError> {
    let contender = contender.into();
    let mut host = Host::new(plan, &contender, transcript);
    let mut system: Box<dyn System> = match contender.kind() {
        SystemKind::Unlimited | SystemKind::Retry2 | SystemKind::Retry10 => Box::new(Direct),
        SystemKind::FifoFull => Box::new(Governor::new(plan, Order::Fifo { full: true })),
        SystemKind::FifoCacheAware => Box::new(Governor::new(plan, Order::Fifo { full: false })),
        SystemKind::Shortest => Box::new(Governor::new(plan, Order::Shortest)),
        SystemKind::Clairvoyant => Box::new(Clairvoyant::new(plan)),
        SystemKind::Tidegate => {
            let clock = Arc::clone(&host.clock);
            let own = contender.under().cloned();
            let configured = own.map_or_else(|| Configured::of_plan(plan), Ok)?;
            Box::new(Governed::start(plan, &configured, clock)?)
        }
    };
    host.play(contender.word(), system.as_mut());
    drop(system);
    let mut played = host.played;
    played.hash = host
        .transcript
        .finish()
        .map_err(GovernedError::Transcript)?;
    Ok(played)
}

/// Where one call stands, for the run.
#[derive(Debug, Default)]
struct Standing {
    /// Tries since the client last began.
    tries: u32,
    ticket: Option<Box<Ticket>>,
    steps: u32,
    /// The output cap that the system sends, where it is another than the client's.
    cap: Option<u64>,
}

/// The world of one run, as systems meet it.
pub(crate) struct Host<'a> {
    plan: &'a Plan,
    kind: SystemKind,
    clock: Arc<VirtualClock>,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    order: u64,
    world: World,
    standing: Vec<Vec<Standing>>,
    pings: Vec<Option<Box<Ticket>>>,
    woken_at: Option<Duration>,
    chance: Seeded,
    played: Played,
    transcript: Transcript<'a>,
}

impl<'a> Host<'a> {
    fn new(plan: &'a Plan, contender: &Contender, transcript: Transcript<'a>) -> Self {
        let kind = contender.kind();
        let mut spec = plan.provider.clone();
        if matches!(kind, SystemKind::Unlimited | SystemKind::Clairvoyant) {
            spec.limits = crate::ProviderSpec::unlimited().limits;
        }
        if kind == SystemKind::Clairvoyant {
            // Whoever knows what comes keeps every prefix that is needed again.
            spec.cache.short_seconds = 86_400;
        }
        let calls = |it: &super::Task| vec![PlayedCall::default(); it.calls.len()];
        let standing = |it: &super::Task| it.calls.iter().map(|_| Standing::default()).collect();
        let mut host = Self {
            clock: Arc::default(),
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            order: 0,
            world: World::new(spec, DAY_BEGINS),
            standing: plan.tasks.iter().map(standing).collect(),
            pings: Vec::new(),
            woken_at: None,
            chance: Seeded::new(plan.seed),
            played: Played {
                calls: plan.tasks.iter().map(calls).collect(),
                ..Played::default()
            },
            transcript,
            plan,
            kind,
        };
        for (task, it) in plan.tasks.iter().enumerate() {
            let task = u32::try_from(task).unwrap_or(u32::MAX);
            host.at(it.starts, Event::Ready(CallId { task, call: 0 }));
        }
        host
    }

    fn play(&mut self, kind: &str, system: &mut dyn System) {
        let limits = &self.plan.provider.limits;
        let name = &self.plan.name;
        let (input, burst) = (limits.input_tokens_per_minute, limits.burst_seconds);
        let limit = self
            .plan
            .budget
            .map_or_else(|| "null".to_owned(), |it| it.0.to_string());
        self.transcript.fact(
            Duration::ZERO,
            "day",
            format_args!(
                ",\"plan\":\"{name}\",\"system\":\"{kind}\",\"input_per_minute\":{input},\"burst_seconds\":{burst},\"limit\":{limit}"
            ),
        );
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            if at > self.plan.ends {
                break;
            }
            self.now = at;
            self.clock.set(at);
            match event {
                Event::Ready(id) => {
                    self.played_mut(id).ready = Some(at);
                    let announced = self.announced(id);
                    self.transcript.fact(
                        at,
                        "ready",
                        format_args!(
                            ",\"call\":\"{id}\",\"class\":\"{}\",\"tenant\":{},\"bytes\":{}",
                            announced.priority, announced.tenant, announced.bytes
                        ),
                    );
                    system.asked(&announced, self);
                }
                Event::Retry(id) => {
                    let announced = self.announced(id);
                    system.asked(&announced, self);
                }
                Event::Begin(id) => self.begin(id, system),
                Event::Produce(id) => self.produce(id, system),
                Event::End(id) => self.end(id, system),
                Event::PingBegins(ping) => self.end_ping(ping),
                Event::Timer(id) => {
                    let announced = self.announced(id);
                    system.timed(&announced, self);
                }
                Event::Wake => {
                    // One that was put off to earlier has been.
                    if self.woken_at == Some(at) {
                        self.woken_at = None;
                        system.woke(self);
                    }
                }
            }
            self.played.ended = at;
        }
    }

    /// Since the day began.
    pub(crate) const fn now(&self) -> Duration {
        self.now
    }

    /// The transcript, for what a system has to say.
    pub(crate) const fn transcript(&mut self) -> &mut Transcript<'a> {
        &mut self.transcript
    }

    /// Has the system woken then, or earlier.
    pub(crate) fn wake_at(&mut self, at: Duration) {
        let at = at.max(self.now);
        if self.woken_at.is_none_or(|it| at < it) {
            self.woken_at = Some(at);
            self.at(at, Event::Wake);
        }
    }

    /// Has the system told when so much time has passed for a call.
    pub(crate) fn time(&mut self, id: CallId, after: Duration) {
        self.at(self.now.saturating_add(after), Event::Timer(id));
    }

    /// Notes what a system quoted a call that waits.
    pub(crate) fn quoted(&mut self, id: CallId, p90: Duration) {
        let now = self.now;
        self.played_mut(id).quoted.get_or_insert((now, p90));
    }

    /// Notes what a system expects the provider to count of a call.
    pub(crate) fn estimated(&mut self, id: CallId, counted: u64) {
        self.played_mut(id).estimate = Some(counted);
    }

    /// Another output cap than the client's goes with a call.
    pub(crate) fn cap(&mut self, id: CallId, cap: Tokens) {
        self.standing_mut(id).cap = Some(cap.0);
    }

    /// Sends a call to the provider.
    pub(crate) fn send(&mut self, id: CallId) -> Result<(), Limited> {
        let (call, now) = (self.asked(id), self.wall());
        if self.plan.call(id).reads.is_none() && self.plan.call(id).cached > 0 {
            self.world.warm(&call, 0, now);
        }
        match self.world.admit(&call, now) {
            Verdict::Admitted(ticket) => {
                self.take(id, ticket);
                Ok(())
            }
            Verdict::Limited { wait, .. } => {
                self.played_mut(id).refused += 1;
                let headers = self.world.headers(&call, now);
                let head = self.transcript.head(&headers);
                self.transcript.fact(
                    self.now,
                    "refused",
                    format_args!(",\"call\":\"{id}\",\"wait\":{}{head}", wait.as_nanos()),
                );
                Err(Limited {
                    retry_after: whole_seconds(wait),
                    headers,
                })
            }
            // No plan has a cap on the bill.
            Verdict::SpendCapReached => Err(Limited {
                retry_after: RETRY_AFTER_MAX,
                headers: crate::world::Headers::default(),
            }),
        }
    }

    fn take(&mut self, id: CallId, mut ticket: Box<Ticket>) {
        let planned = self.plan.call(id);
        if let Some(recorded) = planned.served_in {
            ticket.whole = recorded.max(ticket.first_byte);
        }
        let now = self.now;
        let usage = ticket.usage;
        self.transcript.fact(
            now,
            "taken",
            format_args!(
                ",\"call\":\"{id}\",\"counted\":{},\"read\":{}",
                counted(&usage),
                usage.cache_read.0
            ),
        );
        let played = self.played_mut(id);
        (played.taken, played.usage) = (Some(now), usage);
        self.at(now + ticket.first_byte, Event::Begin(id));
        self.standing_mut(id).ticket = Some(ticket);
    }

    /// Tells the client of a call that it is limited. It asks again, or gives up.
    pub(crate) fn limit(&mut self, id: CallId, retry_after: Duration) {
        let retries = self.kind.retries();
        let draw = f64::from(self.chance.below(1_000_000)) / 1_000_000.0;
        let standing = self.standing_mut(id);
        standing.tries += 1;
        let tries = standing.tries;
        self.played_mut(id).seen += 1;
        let again_in = if tries > retries {
            self.standing_mut(id).tries = 0;
            self.played_mut(id).failed += 1;
            RESUMES_AFTER
        } else if retry_after <= RETRY_AFTER_MAX {
            retry_after
        } else {
            let doubled = 0.5 * f64::from(1_u32 << (tries - 1).min(10));
            Duration::from_secs_f64(doubled.min(8.0) * (1.0 - 0.25 * draw))
        };
        self.transcript.fact(
            self.now,
            "limited",
            format_args!(
                ",\"call\":\"{id}\",\"again_in\":{},\"gave_up\":{}",
                again_in.as_nanos(),
                tries > retries
            ),
        );
        self.at(self.now + again_in, Event::Retry(id));
    }

    /// Reads a call's prefix from the cache, for the shortest answer there is, so that it lives on.
    pub(crate) fn ping(&mut self, id: CallId) -> Result<(), Limited> {
        let (mut call, now) = (self.asked(id), self.wall());
        call.output = Tokens(1);
        match self.world.admit(&call, now) {
            Verdict::Admitted(mut ticket) => {
                ticket.usage.output = Tokens(1);
                self.played.pings.0 += 1;
                let ping = u32::try_from(self.pings.len()).unwrap_or(u32::MAX);
                self.at(self.now + ticket.first_byte, Event::PingBegins(ping));
                self.transcript.fact(
                    self.now,
                    "ping",
                    format_args!(",\"call\":\"{id}\",\"counted\":{}", counted(&ticket.usage)),
                );
                self.pings.push(Some(ticket));
                Ok(())
            }
            Verdict::Limited { wait, .. } => {
                self.played.pings_refused += 1;
                let headers = self.world.headers(&call, now);
                Err(Limited {
                    retry_after: wait,
                    headers,
                })
            }
            Verdict::SpendCapReached => Ok(()),
        }
    }

    fn end_ping(&mut self, ping: u32) {
        let now = self.wall();
        let ticket = self.pings.get_mut(ping as usize).and_then(Option::take);
        if let Some(mut ticket) = ticket {
            self.world.begin(&mut ticket, now);
            self.world.produce(&mut ticket, Tokens(1), now);
            let all = &mut self.played.pings.1;
            *all = sum(all, &ticket.used());
        }
    }

    fn begin(&mut self, id: CallId, system: &mut dyn System) {
        let (now, wall) = (self.now, self.wall());
        self.played_mut(id).first_byte = Some(now);
        let call = self.asked(id);
        let Some(mut ticket) = self.standing_mut(id).ticket.take() else {
            return;
        };
        self.world.begin(&mut ticket, wall);
        let headers = self.world.headers(&call, wall);
        let usage = ticket.usage;
        let input = Usage {
            output: Tokens(0),
            ..usage
        };
        let head = self.transcript.head(&headers);
        self.transcript
            .fact(now, "begun", format_args!(",\"call\":\"{id}\"{head}"));
        let left = ticket.whole.saturating_sub(ticket.first_byte);
        if usage.output.0 > 0 && !left.is_zero() {
            self.at(now + left / STEPS, Event::Produce(id));
        } else {
            self.at(now + left, Event::End(id));
        }
        self.standing_mut(id).ticket = Some(ticket);
        let announced = self.announced(id);
        system.begun(
            &announced,
            &Head {
                headers: &headers,
                input,
            },
            self,
        );
    }

    fn produce(&mut self, id: CallId, system: &mut dyn System) {
        let wall = self.wall();
        let standing = self.standing_mut(id);
        standing.steps += 1;
        let steps = standing.steps;
        let Some(mut ticket) = standing.ticket.take() else {
            return;
        };
        let output = ticket.usage.output.0;
        let upto = output * u64::from(steps) / u64::from(STEPS);
        let more = upto.saturating_sub(ticket.produced().0);
        self.world.produce(&mut ticket, Tokens(more), wall);
        let step = ticket.whole.saturating_sub(ticket.first_byte) / STEPS;
        self.standing_mut(id).ticket = Some(ticket);
        if steps < STEPS {
            self.at(self.now + step, Event::Produce(id));
        } else {
            self.end(id, system);
        }
    }

    fn end(&mut self, id: CallId, system: &mut dyn System) {
        let (now, wall) = (self.now, self.wall());
        let Some(mut ticket) = self.standing_mut(id).ticket.take() else {
            return;
        };
        let output = ticket.usage.output;
        self.world.produce(&mut ticket, output, wall);
        let usage = ticket.used();
        let played = self.played_mut(id);
        (played.ended, played.usage) = (Some(now), usage);
        self.transcript.fact(
            now,
            "ended",
            format_args!(
                ",\"call\":\"{id}\",\"counted\":{},\"read\":{},\"output\":{}",
                counted(&usage),
                usage.cache_read.0,
                usage.output.0
            ),
        );
        let announced = self.announced(id);
        system.ended(&announced, &usage, self);
        let next = CallId {
            call: id.call + 1,
            ..id
        };
        if let Some(call) = self.plan.task(id).calls.get(next.call as usize) {
            self.at(now + call.think, Event::Ready(next));
        }
    }

    fn at(&mut self, at: Duration, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at, self.order, event)));
    }

    fn wall(&self) -> Timestamp {
        DAY_BEGINS.after(self.now)
    }

    fn played_mut(&mut self, id: CallId) -> &mut PlayedCall {
        &mut self.played.calls[id.task as usize][id.call as usize]
    }

    fn standing_mut(&mut self, id: CallId) -> &mut Standing {
        &mut self.standing[id.task as usize][id.call as usize]
    }

    /// What a client says of a call.
    pub(crate) fn announced(&self, id: CallId) -> Announced {
        let (task, call) = (self.plan.task(id), self.plan.call(id));
        Announced {
            id,
            tenant: task.tenant,
            priority: task.priority,
            model: Arc::clone(&call.model),
            agent: call.agent.clone(),
            bytes: call.bytes,
            max_tokens: MAX_TOKENS,
            streamed: call.streamed,
            goes_on: call.goes_on,
        }
    }

    /// The length of its answer: as recorded, but for those that are planted to be longer than allowed.
    fn output(&self, id: CallId, recorded: u64) -> u64 {
        let mut draw = Seeded::new(self.plan.seed ^ FixedState::default().hash_one(id));
        if draw.happens(self.plan.overruns_per_mille) {
            MAX_TOKENS * 16
        } else {
            let standing = &self.standing[id.task as usize][id.call as usize];
            recorded.min(standing.cap.unwrap_or(MAX_TOKENS))
        }
    }

    /// The call as the provider meets it: a byte is a token here.
    fn asked(&self, id: CallId) -> Asked {
        let call = self.plan.call(id);
        let hash = FixedState::default();
        let chain = |of: CallId| hash.hash_one((of.task, of.call));
        let own = Block {
            chain: chain(id),
            end: call.input,
            breakpoint: Some(Life::Short),
        };
        let prefix = (call.cached > 0).then(|| Block {
            chain: call.reads.map_or_else(|| hash.hash_one("head"), chain),
            end: call.cached,
            breakpoint: None,
        });
        Asked {
            family: Family::Anthropic,
            account: ACCOUNT,
            model: call.model.to_string(),
            blocks: prefix.into_iter().chain([own]).collect(),
            output: Tokens(self.output(id, call.output)),
            max_tokens: Some(Tokens(MAX_TOKENS)),
            scripted: None,
        }
    }
}

/// Whose calls all are.
const ACCOUNT: Account = Account {
    fingerprint: 1,
    login: false,
};

/// As a `retry-after` says it: rounded up to seconds, at least one.
pub(crate) fn whole_seconds(wait: Duration) -> Duration {
    let seconds = wait.as_nanos().div_ceil(1_000_000_000).max(1);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX))
}

/// What Anthropic's input limit counts.
pub(crate) const fn counted(usage: &Usage) -> u64 {
    usage.input.0 + usage.cache_write_5m.0 + usage.cache_write_1h.0
}

/// Two usages together.
pub(crate) fn sum(one: &Usage, other: &Usage) -> Usage {
    Usage {
        input: one.input.saturating_add(other.input),
        output: one.output.saturating_add(other.output),
        cache_read: one.cache_read.saturating_add(other.cache_read),
        cache_write_5m: one.cache_write_5m.saturating_add(other.cache_write_5m),
        cache_write_1h: one.cache_write_1h.saturating_add(other.cache_write_1h),
        ..*one
    }
}
