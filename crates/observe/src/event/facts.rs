//! The other facts.

use std::sync::Arc;

use tidegate_types::{ApprovalId, CallId, KeyId, NanoUsd, ReservationId};

use super::{CallRefused, CallSettled, Event};
use crate::{
    audit::Actor,
    metrics::Registry,
    notice::NoticeId,
    record::{Fields, Level},
};

macro_rules! events {
    ($(
        $(#[$doc:meta])*
        $name:ident $(<$life:lifetime>)? {
            $($(#[$field_doc:meta])* $field:ident: $type:ty = $put:ident,)*
        }
        $event:literal from $component:literal says $message:literal at $level:ident
        $(counts |$this:ident, $registry:ident| $count:expr)?;
    )+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug)]
            pub struct $name $(<$life>)? {
                $($(#[$field_doc])* pub $field: $type,)*
            }

            impl $(<$life>)? Event for $name $(<$life>)? {
                const NAME: &'static str = $event;
                const COMPONENT: &'static str = $component;
                const MESSAGE: &'static str = $message;

                fn level(&self) -> Level {
                    Level::$level
                }

                fn fields(&self) -> Fields {
                    Fields::new()$(.$put(stringify!($field), self.$field.clone()))*
                }

                $(fn count(&self, $registry: &Registry) {
                    let $this = self;
                    $count;
                })?
            }
        )+

        /// The name, component and message of every event, for tests and documentation.
        pub const CATALOGUE: &[(&str, &str, &str)] = &[
            (CallSettled::NAME, CallSettled::COMPONENT, CallSettled::MESSAGE),
            (CallRefused::NAME, CallRefused::COMPONENT, CallRefused::MESSAGE),
            $(($name::NAME, $name::COMPONENT, $name::MESSAGE),)+
        ];
    };
}

events! {
    /// A watched limit let a call pass that it would have refused or made to wait.
    LimitWatched<'a> {
        /// The call.
        call: CallId = shown,
        /// The limit's name.
        limit: &'a str = with,
        /// How long it would have waited, in seconds; absent where it would have been refused.
        would_wait: Option<u64> = maybe,
    }
    "limit_watched" from "gateway" says "a watched limit let a call pass" at Debug; // CallSettled counts it from the record, once per call.

    /// A call passed a soft limit.
    SoftLimitPassed<'a> {
        /// The call.
        call: CallId = shown,
        /// The limit's name.
        limit: &'a str = with,
    }
    "soft_limit_passed" from "ledger" says "a call passed a soft limit" at Debug
    counts |it, registry| registry.soft_limit_calls.with([it.limit]).increment();

    /// A call was the first to pass a soft limit.
    SoftLimitCrossed<'a> {
        /// The call.
        call: CallId = shown,
        /// The limit's name.
        limit: &'a str = with,
    }
    "soft_limit_crossed" from "ledger" says "a soft limit is passed from this call on" at Warning; // SoftLimitPassed counts its calls.

    /// What was settled passed a soft limit: nobody had expected so much.
    SoftLimitSpent<'a> {
        /// The reservation.
        reservation: ReservationId = shown,
        /// The limit's name.
        limit: &'a str = with,
    }
    "soft_limit_spent" from "ledger" says "a soft limit is passed by what a call cost" at Warning; // SoftLimitPassed counts the calls after it.

    /// Somebody has to approve before a soft limit is passed.
    ApprovalAsked<'a> {
        /// The request.
        approval: ApprovalId = shown,
        /// The limit's name.
        limit: &'a str = with,
        /// Whose call asked.
        user: &'a str = with,
        /// The soft limit.
        soft: NanoUsd = shown,
        /// What is settled and expected.
        spent: NanoUsd = shown,
    }
    "approval_asked" from "ledger" says "a soft limit needs somebody's approval to be passed" at Warning
    counts |it, registry| registry.asked_approvals.with([it.limit]).increment();

    /// A request for approval ended without a decision.
    ApprovalExpired<'a> {
        /// The request.
        approval: ApprovalId = shown,
        /// The limit's name.
        limit: &'a str = with,
    }
    "approval_expired" from "ledger" says "nobody decided on a request for approval in time" at Info; // ApprovalAsked counted it.

    /// What is settled on a level reached a threshold of its hard limit.
    LimitReached<'a> {
        /// The reservation that was settled; absent where something else took the level there.
        reservation: Option<ReservationId> = maybe,
        /// The limit's name.
        limit: &'a str = with,
        /// The threshold, in percent of the limit.
        percent: u8 = with,
        /// What is settled.
        spent: NanoUsd = shown,
        /// The hard limit.
        of: NanoUsd = shown,
    }
    "limit_reached" from "ledger" says "a budget reached a threshold of its limit" at Warning; // The gauge of the budget shows it.

    /// At its present pace a level will pass its hard limit before its window ends.
    LimitForeseen<'a> {
        /// The limit's name.
        limit: &'a str = with,
        /// Whose, and of which window.
        whose: &'a str = with,
        /// When it will be passed.
        at: &'a str = with,
        /// What is settled.
        spent: NanoUsd = shown,
        /// The hard limit.
        of: NanoUsd = shown,
    }
    "limit_foreseen" from "ledger" says "a budget will pass its limit before its window ends" at Warning; // The gauge of the budget shows it.

    /// A call or a task cost far more than was expected. Of one task told once an hour at most.
    Overspent<'a> {
        /// The call; absent for a task that has ended.
        call: Option<CallId> = maybe,
        /// Whose.
        user: &'a str = with,
        /// The root task.
        task: Option<Arc<str>> = maybe,
        /// What was expected.
        expected: NanoUsd = shown,
        /// What it cost.
        cost: NanoUsd = shown,
        /// Why, in a word: what added most.
        cause: &'a str = with,
    }
    "overspent" from "ledger" says "work cost far more than was expected" at Warning; // CallSettled counts it, for each call.

    /// A provider refused a call that its buckets had let pass: they refill slower from now on.
    RefillSlowed<'a> {
        /// The call.
        call: CallId = shown,
        /// The platform.
        platform: &'a str = with,
    }
    "refill_slowed" from "admission" says "a provider refused what its limits should have let pass: its buckets refill slower for a while" at Warning
    counts |it, registry| registry.slowed_refills.with([it.platform]).increment();

    /// A provider is not asked for a while.
    ProviderCooling<'a> {
        /// The call that was refused, or failed.
        call: CallId = shown,
        /// The platform.
        platform: &'a str = with,
        /// Why.
        cause: &'a str = with,
        /// For which models.
        models: &'a str = with,
        /// For how long, in seconds.
        wait: u64 = with,
    }
    "provider_cooling" from "admission" says "a provider is not asked for a while" at Warning
    counts |it, registry| registry.provider_cooldowns.with([it.platform, it.cause]).increment();

    /// A call passed a hard limit that allows overage.
    OverageUsed<'a> {
        /// The call.
        call: CallId = shown,
        /// The limit's name.
        limit: &'a str = with,
    }
    "overage_used" from "ledger" says "a call passed a limit that allows overage" at Warning
    counts |it, registry| registry.soft_limit_calls.with([it.limit]).increment();

    /// A settlement cost more than was held for it.
    Overrun<'a> {
        /// The reservation.
        reservation: ReservationId = shown,
        /// The platform.
        platform: &'a str = with,
        /// What was held.
        held: NanoUsd = shown,
        /// What it cost above that.
        overrun: NanoUsd = shown,
        /// Why, as far as it is known.
        cause: &'a str = with,
    }
    "overrun" from "ledger" says "a call cost more than was held for it" at Error
    counts |it, registry| registry.overrun_dollars.with([it.platform, it.cause]).add_money(it.overrun);

    /// A reservation whose usage a crash left unknown was settled.
    UnknownSettled<'a> {
        /// The reservation.
        reservation: ReservationId = shown,
        /// At what.
        cost: NanoUsd = shown,
        /// By whom: `usage`, `operator`, `expiry`.
        by: &'a str = with,
    }
    "unknown_settled" from "ledger" says "a reservation of unknown usage was settled" at Warning
    counts |it, registry| if it.by == "expiry" {
        registry.expired_reservations.with([]).increment();
    };

    /// A cost that was booked at an estimate was replaced by the real one.
    EstimateCorrected<'a> {
        /// The reservation.
        reservation: ReservationId = shown,
        /// Who pays.
        organisation: &'a str = with,
        /// What was bought.
        service: &'a str = with,
        /// As it was booked.
        from: NanoUsd = shown,
        /// As it is.
        to: NanoUsd = shown,
    }
    "estimate_corrected" from "ledger" says "an estimated cost was corrected" at Info
    counts |it, registry| {
        let corrected = |direction| registry.corrected_dollars.with([it.organisation, it.service, direction]);
        corrected("up").add_money(it.to.saturating_sub(it.from));
        corrected("down").add_money(it.from.saturating_sub(it.to));
    };

    /// An answer broke off after it had begun.
    UpstreamLost<'a> {
        /// The call.
        call: CallId = shown,
        /// The platform.
        platform: &'a str = with,
        /// What the connection said.
        reason: &'a str = with,
        /// How much of the answer had been passed on.
        answer_bytes: u64 = with,
    }
    "upstream_lost" from "gateway" says "an upstream broke off in the middle of an answer" at Error; // CallSettled counts it by its outcome.

    /// No answer began.
    UpstreamUnreachable<'a> {
        /// The call.
        call: CallId = shown,
        /// The platform.
        platform: &'a str = with,
        /// What the connection said.
        reason: &'a str = with,
    }
    "upstream_unreachable" from "gateway" says "an upstream gave no answer" at Error; // CallSettled counts it by its outcome.

    /// A client hung up before the end of its answer.
    ClientGone {
        /// The call.
        call: CallId = shown,
        /// How much of the answer had been passed on.
        answer_bytes: u64 = with,
    }
    "client_gone" from "gateway" says "a client hung up" at Info; // CallSettled counts it by its outcome.

    /// A call was sent to another platform than the first choice.
    FellBack<'a> {
        /// The call.
        call: CallId = shown,
        /// The platform it should have gone to.
        from: &'a str = with,
        /// The platform it went to.
        to: &'a str = with,
        /// Why.
        reason: &'a str = with,
    }
    "fell_back" from "gateway" says "a call was sent to a fallback platform" at Warning; // CallSettled counts it from the record.

    /// The stream of a waiting call was opened: its head could be held back no longer.
    StreamOpened {
        /// The call.
        call: CallId = shown,
    }
    "stream_opened" from "gateway" says "the stream of a call that waits was opened" at Info
    counts |_it, registry| registry.opened_waits.with([]).increment();

    /// A client asked again after an opened stream had ended with an error, and was given the answer
    /// itself.
    CallContinued {
        /// The call whose answer it was.
        call: CallId = shown,
        /// The answer's status.
        status: u64 = with,
    }
    "call_continued" from "gateway" says "an answer was given to the client that asked again" at Info
    counts |_it, registry| registry.continued_calls.with([]).increment();

    /// The output cap of a call was lowered so that a hard limit could hold it.
    MaxTokensLowered<'a> {
        /// The call.
        call: CallId = shown,
        /// The limit's name.
        limit: &'a str = with,
        /// What the client asked for.
        asked: u64 = with,
        /// What was sent.
        sent: u64 = with,
    }
    "max_tokens_lowered" from "gateway" says "the output cap of a call was lowered" at Info
    counts |it, registry| registry.lowered_calls.with([it.limit]).increment();

    /// The ledger or its journal could not be written.
    LedgerUnwritable<'a> {
        /// What failed, with the file and the remedy.
        reason: &'a str = with,
    }
    "ledger_unwritable" from "store" says "the ledger cannot be written" at Critical; // It stands for many attempts, which are counted as they fail.

    /// The ledger can be written again.
    LedgerWritable {
        /// How many calls passed unbooked meanwhile.
        unbooked_calls: u64 = with,
    }
    "ledger_writable" from "store" says "the ledger can be written again" at Info; // Each unbooked call was counted as it passed.

    /// A call passed although it could not be booked, because its limits only watch.
    CallUnbooked {
        /// The call.
        call: CallId = shown,
    }
    "call_unbooked" from "store" says "a call passed without being booked" at Error
    counts |_it, registry| registry.unbooked_calls.with([]).increment();

    /// A configuration took effect.
    ConfigReloaded<'a> {
        /// Who asked for it.
        by: Actor = shown,
        /// The keys that changed, joined by commas.
        changed: &'a str = with,
    }
    "config_reloaded" from "engine" says "a configuration took effect" at Info
    counts |_it, registry| registry.config_reloads.with(["applied"]).increment();

    /// Keys of a configuration that took effect have new values, and are read at the start alone.
    RestartNeeded<'a> {
        /// The keys, joined by commas.
        keys: &'a str = with,
    }
    "restart_needed" from "engine" says "keys of the configuration changed that take effect at the next start" at Warning; // Counted as a reload.

    /// A configuration was refused; the earlier one stays in effect.
    ConfigRefused<'a> {
        /// Who asked for it.
        by: Actor = shown,
        /// What is wrong with it.
        reason: &'a str = with,
    }
    "config_refused" from "engine" says "a configuration was refused" at Error
    counts |_it, registry| registry.config_reloads.with(["refused"]).increment();

    /// A limit was set through the API or the command line.
    LimitChanged<'a> {
        /// Who.
        by: Actor = shown,
        /// The limit's name.
        limit: &'a str = with,
        /// What it is now.
        now: &'a str = with,
    }
    "limit_changed" from "ledger" says "a limit was changed" at Info; // The gauge of the budget shows it; changes themselves are rows of the audit.

    /// A key was made or revoked, a sign-in confirmed or ended.
    KeyChanged<'a> {
        /// Who.
        by: Actor = shown,
        /// The key, or the sign-in.
        key: KeyId = shown,
        /// As the audit calls it.
        action: &'a str = with,
    }
    "key_changed" from "control" says "a key was changed" at Info
    counts |it, registry| registry.changed_keys.with([it.action]).increment();

    /// A promise was found broken.
    InvariantBroken<'a> {
        /// Its name in the list of invariants: `L1`, `A1`, `S1`, ….
        invariant: &'a str = with,
        /// What was seen.
        seen: &'a str = with,
    }
    "invariant_broken" from "engine" says "an invariant was found broken" at Critical
    counts |it, registry| registry.broken_invariants.with([it.invariant]).increment();

    /// A call named a model that the price table does not know; it is charged at the dearest row.
    PriceUnknown<'a> {
        /// The provider.
        provider: &'a str = with,
        /// The model.
        model: &'a str = with,
        /// The row it is charged by.
        charged_as: &'a str = with,
    }
    "price_unknown" from "providers" says "a model has no price and is charged at the dearest" at Warning
    counts |it, registry| registry.unpriced_calls.with([it.provider]).increment();

    /// The program began to serve.
    Started<'a> {
        /// Where it listens.
        listen: &'a str = with,
        /// Where it keeps its files.
        data: &'a str = with,
        /// Limits that only watch, joined by commas.
        watched: &'a str = with,
    }
    "started" from "engine" says "tidegate serves" at Info
    counts |_it, registry| registry.build_version.with([env!("CARGO_PKG_VERSION")]).set(1);

    /// The program stopped.
    Stopped {
        /// Calls that were cut off because the time to drain was over.
        cut_calls: u64 = with,
        /// How long draining took, in milliseconds.
        drained_ms: u64 = with,
    }
    "stopped" from "engine" says "tidegate stopped" at Info; // Nothing scrapes a program that is gone.

    /// Log records were dropped because the buffer was full.
    RecordsShed<'a> {
        /// Their level.
        level_shed: &'a str = with,
        /// How many.
        records: u64 = with,
    }
    "records_shed" from "observe" says "log records were shed" at Warning
    counts |it, registry| registry.shed_records.with([it.level_shed]).add(it.records);

    /// Records of calls that an earlier version kept in `calls.db` are where all are kept.
    CallsMoved {
        /// How many.
        records: u64 = with,
    }
    "calls_moved" from "observe" says "records of calls were taken over from calls.db: calls.db.moved is not needed any more" at Info; // Happens once.

    /// Records of calls of an earlier version could not all be moved.
    CallsNotMoved<'a> {
        /// Why.
        reason: &'a str = with,
    }
    "calls_not_moved" from "observe" says "records of calls could not be taken over from calls.db: the next start tries again" at Error; // Happens at a start.

    /// Telemetry can't be kept, or not be looked after. Calls go on.
    TelemetryFailing<'a> {
        /// The error and its causes.
        reason: &'a str = with,
    }
    "telemetry_failing" from "observe" says "records of what happens can't be kept: calls go on" at Error; // A gauge shows it.

    /// Telemetry that could not be kept is kept again.
    TelemetryWorks {}
    "telemetry_works" from "observe" says "records of what happens are kept again" at Info; // A gauge shows it.

    /// An address for OTLP can't be listened on. All else goes on.
    OtlpNotListening<'a> {
        /// The address.
        listen: &'a str = with,
        /// Who has it, or the error.
        reason: &'a str = with,
    }
    "otlp_not_listening" from "otlp" says "telemetry of others is not taken at this address" at Warning; // Happens at a start.

    /// A file of telemetry could not be read and was set aside.
    TelemetryDamaged<'a> {
        /// What is wrong with which.
        reason: &'a str = with,
    }
    "telemetry_damaged" from "observe" says "a part of what was kept can't be read and was set aside" at Error
    counts |_it, registry| registry.damaged_telemetry.with([]).increment();

    /// Telemetry had to go before it was too old, since there was no room.
    TelemetryCrowdedOut {
        /// Files.
        parts: u64 = with,
    }
    "telemetry_crowded_out" from "observe" says "the oldest records had to go before their time: telemetry.disk is used up" at Warning
    counts |it, registry| registry.crowded_out_parts.with([]).add(it.parts);

    /// A channel for notices takes none for now.
    ChannelFailing<'a> {
        /// Its name.
        channel: &'a str = with,
        /// What it answered, or why there was no answer.
        reason: &'a str = with,
    }
    "channel_failing" from "notify" says "notices can't be delivered: they wait, and are tried again" at Warning; // NoticeTried counts each attempt.

    /// A channel that took no notices takes them again.
    ChannelWorks<'a> {
        /// Its name.
        channel: &'a str = with,
    }
    "channel_works" from "notify" says "notices are delivered again" at Info; // NoticeTried counts each attempt.

    /// An attempt to deliver a notice has ended.
    NoticeTried<'a> {
        /// The notice.
        notice: NoticeId = shown,
        /// The channel.
        channel: &'a str = with,
        /// `delivered`, `retried` where it will be tried again, `lost` where it won't.
        result: &'a str = with,
    }
    "notice_tried" from "notify" says "an attempt to deliver a notice has ended" at Debug
    counts |it, registry| registry.ended_deliveries.with([it.channel, it.result]).increment();

    /// A notice is given up.
    NoticeLost<'a> {
        /// The notice.
        notice: NoticeId = shown,
        /// What it is about.
        topic: &'a str = with,
        /// The channel.
        channel: &'a str = with,
        /// What the channel answered last.
        reason: &'a str = with,
    }
    "notice_lost" from "notify" says "a notice was given up undelivered" at Error; // NoticeTried counts it.

    /// Notices were dropped because too many waited.
    NoticesDropped<'a> {
        /// The channel.
        channel: &'a str = with,
        /// How many.
        notices: u64 = with,
    }
    "notices_dropped" from "notify" says "too many notices wait: the oldest were dropped" at Error
    counts |it, registry| registry.dropped_notices.with([it.channel]).add(it.notices);

    /// Something internal failed that has no event of its own.
    InternalError<'a> {
        /// Where.
        place: &'a str = with,
        /// The error and its causes.
        reason: Arc<str> = shown,
    }
    "internal_error" from "engine" says "something internal failed" at Error
    counts |it, registry| registry.broken_invariants.with([it.place]).increment();
}
