//! What is reported of every call, and of those a limit refused.

use std::time::Duration;

use super::Event;
use crate::{
    calls::{CallRecord, Outcome},
    metrics::Registry,
    overspend::Cause,
    record::{Context, Correlation, Fields, Level},
};

fn about(call: &CallRecord) -> Correlation {
    let organisation = &call.organisation;
    Correlation {
        organisation: (!organisation.is_empty()).then(|| organisation.clone()),
        task: call.task.clone(),
        session: call.session.clone(),
        user: Some(call.user.clone()),
        trace_id: call.trace_id,
        span_id: call.span_id,
    }
}

/// A call ended and is booked, however it ended: the one event every call has.
#[derive(Clone, Copy, Debug)]
pub struct CallSettled<'a>(pub &'a CallRecord);

impl Event for CallSettled<'_> {
    const NAME: &'static str = "call_settled";
    const COMPONENT: &'static str = "gateway";
    const MESSAGE: &'static str = "call settled";

    fn level(&self) -> Level {
        match &self.0.outcome {
            Outcome::Answered | Outcome::Invalid { .. } | Outcome::ClientGone => Level::Info,
            Outcome::Refused { .. } | Outcome::UpstreamError | Outcome::Ended { .. } => {
                Level::Warning
            }
            Outcome::Shed { .. }
            | Outcome::StreamError
            | Outcome::UpstreamUnreachable
            | Outcome::UpstreamLost
            | Outcome::Interrupted => Level::Error,
        }
    }

    fn fields(&self) -> Fields {
        let call = self.0;
        let usage = call.usage.unwrap_or_default();
        Fields::new()
            .shown("call", call.id)
            .with("outcome", call.outcome.word())
            .with("status", call.status)
            .with("platform", &*call.platform)
            .with("model", &*call.model_sent)
            .shown("cost", call.cost)
            .with("estimated", call.estimated)
            .with("input_tokens", usage.input_total().0)
            .with("output_tokens", usage.output.0)
            .with("added_us", call.phases.added())
            .with("total_us", call.phases.total())
            .maybe("request_id", call.request_id.as_ref())
    }

    fn correlation(&self) -> Correlation {
        about(self.0)
    }

    fn context(&self) -> Context {
        Context {
            phase: Some("settle".into()),
            parent_task: self.0.parent.clone(),
            ..Context::default()
        }
    }

    fn count(&self, registry: &Registry) {
        let call = self.0;
        let (dialect, platform) = (&*call.dialect, &*call.platform);
        let outcome = call.outcome.word();
        let ended = registry.ended_calls.with([dialect, platform, outcome]);
        ended.increment();
        registry.request_bytes.with([dialect]).add(call.body_bytes);
        registry.answer_bytes.with([dialect]).add(call.answer_bytes);
        count_times(call, registry);
        count_use(call, registry);
        if call.reservation.is_some() && !matches!(call.outcome, Outcome::Refused { .. }) {
            let passed = call.would_refuse.is_empty() && call.would_wait.is_none();
            count_decision(call, if passed { "granted" } else { "watched" }, registry);
        }
        for limit in &call.would_refuse {
            registry.would_refuse_calls.with([limit]).increment();
        }
        if let Some(wait) = &call.would_wait {
            registry.would_wait_calls.with([&wait.limit]).increment();
        }
        if let Some(first) = call.tried.first() {
            registry.fallback_calls.with([first, platform]).increment();
        }
    }
}

/// What was decided on a call. One that went on elsewhere is decided where it ended.
fn count_decision(call: &CallRecord, decision: &str, registry: &Registry) {
    let labels = [&*call.platform, call.priority.word(), decision];
    registry.decided_requests.with(labels).increment();
}

fn count_times(call: &CallRecord, registry: &Registry) {
    let micros = Duration::from_micros;
    let platform = &*call.platform;
    let (outcome, phases) = (call.outcome.word(), &call.phases);
    let whole = registry.call_duration.with([platform, outcome]);
    whole.observe_duration(micros(phases.total()));
    registry
        .added_time
        .with([])
        .observe_duration(micros(phases.added()));
    if phases.wait > 0 {
        let turn = registry.turn_wait.with([platform, call.priority.word()]);
        turn.observe_duration(micros(phases.wait));
    }
    if phases.first_byte > 0 {
        let first = registry.first_byte.with([platform]);
        first.observe_duration(micros(phases.first_byte));
    }
}

fn count_use(call: &CallRecord, registry: &Registry) {
    let platform = &*call.platform;
    if let Some(usage) = call.usage {
        let classes = [
            ("input", usage.input),
            ("cache_read", usage.cache_read),
            ("cache_write_5m", usage.cache_write_5m),
            ("cache_write_1h", usage.cache_write_1h),
            ("output", usage.output),
        ];
        for (class, tokens) in classes {
            if tokens.0 > 0 {
                let used = registry
                    .used_tokens
                    .with([platform, &call.model_sent, class]);
                used.add_tokens(tokens);
            }
        }
    }
    if let Some(overspend) = &call.overspend {
        let cause = overspend.cause().map_or("unknown", Cause::word);
        let above = registry.overspent_dollars.with([platform, cause]);
        above.add_money(overspend.excess());
    }
    let organisation = &*call.organisation;
    if !call.cost.is_zero() {
        let spent = registry.spent_dollars.with([organisation, "llm", platform]);
        spent.add_money(call.cost);
    }
    if !call.notional.is_zero() {
        let notional = registry.notional_dollars.with([organisation, platform]);
        notional.add_money(call.notional);
    }
}

/// A limit refused a call, or sent it away to wait.
#[derive(Clone, Copy, Debug)]
pub struct CallRefused<'a> {
    /// The call.
    pub call: &'a CallRecord,
    /// The limit's name.
    pub limit: &'a str,
    /// Why, as the client was told.
    pub reason: &'a str,
    /// When it would fit; absent where no wait helps.
    pub wait: Option<Duration>,
}

impl Event for CallRefused<'_> {
    const NAME: &'static str = "call_refused";
    const COMPONENT: &'static str = "gateway";
    const MESSAGE: &'static str = "a limit refused a call";

    fn level(&self) -> Level {
        Level::Warning
    }

    fn fields(&self) -> Fields {
        Fields::new()
            .shown("call", self.call.id)
            .with("limit", self.limit)
            .with("reason", self.reason)
            .maybe("wait_seconds", self.wait.map(seconds))
    }

    fn correlation(&self) -> Correlation {
        about(self.call)
    }

    fn context(&self) -> Context {
        Context {
            phase: Some("reserve".into()),
            ..Context::default()
        }
    }

    fn count(&self, registry: &Registry) {
        registry.refused_calls.with([self.limit]).increment();
        let decision = match self.wait {
            Some(wait) => {
                let quoted = registry.quoted_wait.with([&*self.call.platform]);
                quoted.observe_duration(wait);
                "deferred"
            }
            None => "never_fits",
        };
        count_decision(self.call, decision, registry);
    }
}

/// Seconds for people and programs alike: `1.5`.
fn seconds(duration: Duration) -> String {
    let (whole, millis) = (duration.as_secs(), duration.subsec_millis());
    format!("{whole}.{millis:03}")
}
