//! (g): Tidegate's own engine between the clients and the provider, as the gateway has it, but for sockets.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future as _,
    io,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tidegate_admission::SpecError;
use tidegate_engine::{
    Engine, Parts, StartError,
    approvals::LinkKey,
    call::{Identified, Routed, Signals},
    flight::{End, InFlight},
    gate::Turn,
    identity::{Credential, Principal},
    notices::NoNotices,
    observer::RecordSink,
    places::PlaceKey,
    reserve::Reserved,
    route::candidates,
    settings::{Platform, Settings},
    waiting::Waiting,
    writer::Stores,
};
use tidegate_ledger::PolicyError;
use tidegate_observe::{
    calls::Outcome,
    metrics::Registry,
    record::{Level, LogRecord},
};
use tidegate_providers::{Dialect, Metered, RequestFacts, meter::Said, scan};
use tidegate_store::{MemoryJournal, MemoryStore};
use tidegate_types::{Caller, Clock as _, Priority, Role, Usage};

use super::{
    Announced, CallId, Configured, Head, Limited, Plan, System,
    clock::{VirtualClock, since_begin},
    run::{Host, counted, whole_seconds},
};

/// The longest that it is told to stay away.
const BACK_IN_MAX: Duration = Duration::from_mins(1);

/// The shortest.
const BACK_IN_MIN: Duration = Duration::from_secs(1);

/// How often what is not of a call's path is looked after, in simulated time.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// The thread that looks at the queues needs so long to be woken.
const LOOK_AGAIN: Duration = Duration::from_micros(100);

/// Why Tidegate's part of a run can't begin or end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GovernedError {
    /// The engine does not start.
    #[error("the engine can't start")]
    Start(#[from] StartError),
    /// The provider's limits make no buckets.
    #[error("the provider's limits can't be followed")]
    Limits(#[from] SpecError),
    /// No platform of the configuration could have the calls.
    #[error(
        "no platform takes Anthropic's calls that are paid by the token: add one of a provider with `family = \"anthropic\"`"
    )]
    NoPlatform,
    /// The budgets can't be in force.
    #[error("the budgets can't be in force")]
    Budgets(#[from] PolicyError),
    /// The transcript can't be written.
    #[error("the transcript can't be written")]
    Transcript(#[source] io::Error),
}

/// The engine, and the calls that are with it.
pub(super) struct Governed {
    engine: Arc<Engine>,
    clock: Arc<VirtualClock>,
    settings: Settings,
    patience: Duration,
    tenants: Vec<Arc<str>>,
    /// By id, so that whoever had its turn in the same moment is sent in the same order in every process.
    waiting: BTreeMap<CallId, Held>,
    running: HashMap<CallId, InFlight>,
    tidy_at: Duration,
}

/// A client that waits, and until when it does.
struct Held {
    call: Announced,
    waiting: Waiting,
    until: Duration,
}

/// Nobody reads the log of a run.
#[derive(Debug)]
struct Unread;

impl RecordSink for Unread {
    fn wants(&self, _level: Level) -> bool {
        false
    }

    fn write(&self, _record: LogRecord) {}
}

impl Governed {
    pub(super) fn start(
        plan: &Plan,
        configured: &Configured,
        clock: Arc<VirtualClock>,
    ) -> Result<Self, GovernedError> {
        let settings = configured.for_callers()?;
        let store = Arc::new(MemoryStore::default());
        let engine = Engine::start_driven(Parts {
            clock: clock.clone(),
            settings: settings.clone(),
            prices: configured.prices.clone(),
            stores: Stores {
                ledger: store.clone(),
                calls: store.clone(),
                settings: store.clone(),
                journal: Arc::new(MemoryJournal::default()),
            },
            keys: store.clone(),
            audit: store,
            registry: Arc::new(Registry::new()),
            records: Arc::new(Unread),
            notices: Arc::new(NoNotices),
            links: LinkKey::new([0; 32]),
            seed: plan.seed,
        })?;
        Ok(Self {
            engine,
            clock,
            settings,
            patience: configured.patience,
            tenants: plan.users.clone(),
            waiting: BTreeMap::new(),
            running: HashMap::new(),
            tidy_at: Duration::ZERO,
        })
    }

    /// Says whose call it is and how large it will be.
    fn routed(&self, call: &Announced) -> Option<Box<Routed>> {
        let (mut record, now) = self.engine.arrived("anthropic_messages", "/v1/messages");
        record.body_bytes = call.bytes;
        let session = format!("session-{}", call.id.task);
        let signals = Signals {
            session: Some(&session),
            agent: call.agent.as_deref(),
            class: Some(if call.agent.is_some() {
                "subagent"
            } else {
                "main"
            }),
            priority: Some(call.priority.word()),
            ..Signals::default()
        };
        let facts = facts(call)?;
        let principal = self.principal(call.tenant);
        let identified = self
            .engine
            .identify(record, principal, &signals, facts, now);
        let identified = Box::new(identified.ok()?);
        let platform = self.platform(&identified)?;
        Some(self.engine.route(identified, &platform, now))
    }

    /// Where a call goes first. Fallbacks are others' quotas, and there is one provider.
    fn platform(&self, identified: &Identified) -> Option<Arc<Platform>> {
        let all = candidates(identified, Dialect::Anthropic, &self.settings);
        all.ok()?.into_iter().next()
    }

    fn principal(&self, tenant: u16) -> Principal {
        Principal {
            organisation: Arc::clone(&self.settings.local.organisation),
            user: Arc::clone(&self.tenants[usize::from(tenant)]),
            key: None,
            role: Role::Caller,
            caller: Caller::Keyless,
            default_priority: None,
            highest_priority: Priority::Critical,
            default_task_type: None,
            credential: Credential::None,
            credential_mark: 0,
            credential_is_ours: false,
        }
    }

    fn key(&self, call: &Announced) -> PlaceKey {
        let user = &self.tenants[usize::from(call.tenant)];
        let body = call.id.call.to_le_bytes();
        PlaceKey::of(
            &self.settings.local.organisation,
            user,
            &format!("session-{}", call.id.task),
            &[&body],
        )
    }

    /// Lets a call wait for its turn, for as long as its client has patience.
    fn wait(
        &mut self,
        call: &Announced,
        routed: Box<Routed>,
        until: Duration,
        host: &mut Host<'_>,
    ) {
        let key = self.key(call);
        let Ok(mut waiting) = self.engine.wait(routed, key) else {
            host.limit(call.id, BACK_IN_MAX);
            return;
        };
        if let Some(turn) = waiting.turn_now() {
            self.take(call, turn, until, host);
            return;
        }
        let quoted = waiting.outlook();
        if let Some(outlook) = quoted {
            host.quoted(call.id, outlook.p90);
            host.transcript().fact(
                since_begin(self.clock.monotonic()),
                "queued",
                format_args!(
                    ",\"call\":\"{}\",\"place\":{},\"p50\":{},\"p90\":{}",
                    call.id,
                    outlook.place,
                    outlook.p50.as_nanos(),
                    outlook.p90.as_nanos()
                ),
            );
        }
        let least = waiting.told().and_then(|it| it.wait);
        let longest = quoted.map(|it| it.p90).max(waiting.cooling()).max(least);
        let left = until.saturating_sub(host.now());
        if longest.is_some_and(|it| it > left) {
            self.send_away(call, waiting, until, host);
        } else {
            host.time(call.id, left);
            let call = call.clone();
            let held = Held {
                call,
                waiting,
                until,
            };
            self.waiting.insert(held.call.id, held);
        }
    }

    /// Tells a client to come back, and keeps its place until then.
    fn send_away(
        &mut self,
        call: &Announced,
        waiting: Waiting,
        until: Duration,
        host: &mut Host<'_>,
    ) {
        let wait = waiting.outlook().map(|it| it.p50);
        let known = waiting.told().and_then(|it| it.wait);
        let wait = wait.max(known).unwrap_or(BACK_IN_MIN);
        let back_in = wait.clamp(BACK_IN_MIN, BACK_IN_MAX);
        let back_in = whole_seconds(back_in);
        let keep = pin!(waiting.keep(back_in));
        match keep.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(_record)) => host.limit(call.id, back_in),
            Poll::Ready(Err(turn)) => self.take(call, turn, until, host),
            // Its turn is handed over in the moment in which it leaves the queue.
            Poll::Pending => unreachable!("nothing happens beside the run"),
        }
    }

    fn take(&mut self, call: &Announced, turn: Turn, until: Duration, host: &mut Host<'_>) {
        match turn {
            Turn::Reserved(reserved) => self.send(call, *reserved, until, host),
            Turn::Refused(..) => host.limit(call.id, BACK_IN_MAX),
        }
    }

    fn send(&mut self, call: &Announced, reserved: Reserved, until: Duration, host: &mut Host<'_>) {
        let id = call.id;
        host.estimated(id, reserved.routed.need.input_tokens);
        if let Some(cap) = reserved.cap {
            host.cap(id, cap);
        }
        let need = reserved.routed.need;
        host.transcript().fact(
            since_begin(self.clock.monotonic()),
            "granted",
            format_args!(
                ",\"call\":\"{id}\",\"input\":{},\"output\":{},\"held\":{}",
                need.input_tokens,
                need.output_tokens,
                reserved.holding.bound().0
            ),
        );
        if !reserved.holding.enforced().is_empty() {
            // What leases allow depends on what the writer's thread has done: all of it, then.
            self.engine.flush();
        }
        let Ok(mut in_flight) = self.engine.send(reserved, self.engine.now()) else {
            host.limit(id, BACK_IN_MAX);
            return;
        };
        match host.send(id) {
            Ok(()) => {
                self.running.insert(id, in_flight);
            }
            Err(Limited {
                retry_after,
                headers,
            }) => {
                let seconds = retry_after.as_secs().to_string();
                let all = headers
                    .0
                    .iter()
                    .map(|(name, value)| (&**name, value.as_bytes()));
                let all = all.chain([("retry-after", seconds.as_bytes())]);
                self.engine.heard(&mut in_flight, (429, None), all);
                let end = End {
                    outcome: Outcome::UpstreamError,
                    status: 429,
                    metered: None,
                    answer_bytes: 0,
                    request_id: None,
                };
                // As the gateway does: it waits for its turn again, or its client hears of it.
                if in_flight.waits_again().is_some() {
                    let identified = in_flight.again(&end);
                    let Some(platform) = self.platform(&identified) else {
                        host.limit(id, retry_after);
                        return;
                    };
                    let now = self.engine.now();
                    let routed = self.engine.route(identified, &platform, now);
                    self.wait(call, routed, until, host);
                } else {
                    in_flight.settle(end);
                    host.limit(id, retry_after);
                }
            }
        }
    }

    /// Sends whoever has had its turn, and asks to be woken when time may give somebody else one.
    fn go_on(&mut self, host: &mut Host<'_>) {
        let mut again_at = self.engine.look_if_due();
        loop {
            let turn = |(id, it): (&CallId, &mut Held)| Some((*id, it.waiting.turn_now()?));
            let turns: Vec<(CallId, Turn)> = self.waiting.iter_mut().filter_map(turn).collect();
            if turns.is_empty() {
                break;
            }
            for (id, turn) in turns {
                if let Some(Held { call, until, .. }) = self.waiting.remove(&id) {
                    self.take(&call, turn, until, host);
                }
            }
            again_at = self.engine.look_if_due();
        }
        if let Some(at) = again_at {
            host.wake_at(since_begin(at).max(host.now() + LOOK_AGAIN));
        }
        if self.tidy_at <= host.now() {
            self.tidy_at = host.now() + TIDY_EVERY;
        }
        if !self.waiting.is_empty() || !self.running.is_empty() || self.engine.keeps_places() {
            host.wake_at(self.tidy_at);
        }
    }
}

impl System for Governed {
    fn asked(&mut self, call: &Announced, host: &mut Host<'_>) {
        let Some(routed) = self.routed(call) else {
            host.limit(call.id, BACK_IN_MAX);
            return;
        };
        let kept = self.engine.keeps_places() && self.engine.kept_at(self.key(call)).is_some();
        let until = host.now() + self.patience;
        if kept {
            self.wait(call, routed, until, host);
        } else {
            match self.engine.reserve(routed, self.engine.now()) {
                Ok(reserved) => self.send(call, reserved, until, host),
                Err((routed, obstacle)) if obstacle.wait().is_some() => {
                    self.wait(call, routed, until, host);
                }
                Err(_) => host.limit(call.id, BACK_IN_MAX),
            }
        }
        self.go_on(host);
    }

    fn begun(&mut self, call: &Announced, head: &Head<'_>, host: &mut Host<'_>) {
        let Some(in_flight) = self.running.get_mut(&call.id) else {
            return;
        };
        in_flight.first_byte(self.engine.now());
        let all = head.headers.0.iter();
        let all = all.map(|(name, value)| (&**name, value.as_bytes()));
        self.engine.heard(in_flight, (200, None), all);
        self.go_on(host);
    }

    fn ended(&mut self, call: &Announced, usage: &Usage, host: &mut Host<'_>) {
        let Some(in_flight) = self.running.remove(&call.id) else {
            return;
        };
        let record = in_flight.settle(End {
            outcome: Outcome::Answered,
            status: 200,
            metered: Some(metered(usage)),
            answer_bytes: usage.output.0 * 4,
            request_id: None,
        });
        host.transcript().fact(
            since_begin(self.clock.monotonic()),
            "settled",
            format_args!(
                ",\"call\":\"{}\",\"input\":{},\"output\":{},\"cost\":{}",
                call.id,
                counted(usage),
                usage.output.0,
                record.cost.0
            ),
        );
        self.go_on(host);
    }

    fn woke(&mut self, host: &mut Host<'_>) {
        if self.tidy_at <= host.now() {
            self.engine.tidy();
            self.engine.flush();
        }
        self.go_on(host);
    }

    fn timed(&mut self, call: &Announced, host: &mut Host<'_>) {
        let now = host.now();
        // It may be the timer of an earlier try: whoever has come back since has patience again.
        if self.waiting.get(&call.id).is_some_and(|it| it.until <= now)
            && let Some(mut held) = self.waiting.remove(&call.id)
        {
            match held.waiting.turn_now() {
                Some(turn) => self.take(call, turn, held.until, host),
                None => self.send_away(call, held.waiting, held.until, host),
            }
        }
        self.go_on(host);
    }
}

/// What Tidegate reads of a body of Claude Code's: one as short as can be that says the same.
fn facts(call: &Announced) -> Option<RequestFacts> {
    let last = if call.goes_on {
        r#"{"type":"tool_result","tool_use_id":"toolu_1","content":"","cache_control":{"type":"ephemeral"}}"#
    } else {
        r#"{"type":"text","text":"go on","cache_control":{"type":"ephemeral"}}"#
    };
    let (model, max_tokens, stream) = (&call.model, call.max_tokens, call.streamed);
    let task = call.id.task;
    let body = format!(
        r#"{{"model":"{model}","max_tokens":{max_tokens},"stream":{stream},"messages":[{{"role":"user","content":"task {task}"}},{{"role":"user","content":[{last}]}}]}}"#
    );
    scan(Dialect::Anthropic, body.as_bytes()).ok()
}

/// What is read of a whole answer.
fn metered(usage: &Usage) -> Metered {
    Metered {
        usage: Some(*usage),
        usage_is_final: true,
        input_is_known: true,
        usage_is_absurd: false,
        said: Said::default(),
        complete: true,
        error: None,
        text_bytes: usage.output.0 * 4,
        answer_id: None,
        model: None,
        stop_reason: None,
        passed_over: 0,
        unread_bytes: 0,
    }
}
