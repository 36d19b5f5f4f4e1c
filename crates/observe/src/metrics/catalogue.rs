//! Every metric there is.

use super::{Counter, Definition, Family, Gauge, Histogram, Instrument as _, Unit};

macro_rules! count {
    () => { 0 };
    ($first:ident $($rest:ident)*) => { 1 + count!($($rest)*) };
}

macro_rules! registry {
    ($($(#[doc = $help:literal])+ $field:ident: $instrument:ident $name:literal $unit:expr, [$($label:ident),*];)+) => {
        /// All instruments of one program. A metric exists because it has a field here.
        #[derive(Debug)]
        pub struct Registry {
            $($(#[doc = $help])+ pub $field: Family<$instrument, { count!($($label)*) }>,)+
        }

        impl Default for Registry {
            fn default() -> Self {
                Self::new()
            }
        }

        impl Registry {
            /// All instruments, at zero.
            pub fn new() -> Self {
                Self { $($field: Family::new(Definition {
                    name: $name,
                    kind: $instrument::KIND,
                    unit: $unit,
                    labels: &[$(stringify!($label)),*],
                    help: concat!($($help),+),
                }),)+ }
            }

            /// What there is, in the order of exposition.
            pub fn catalogue(&self) -> Vec<&Definition> {
                vec![$(self.$field.definition()),+]
            }

            pub(super) fn each(&self, visit: &mut impl super::exposition::Visit) {
                $(visit.family(&self.$field);)+
            }
        }
    };
}

const CALLS: Unit = Unit::Count("calls");
const TOKENS: Unit = Unit::Count("tokens");
const BYTES: Unit = Unit::Count("bytes");

registry! {
    /// Calls that ended, by how they ended
    ended_calls: Counter "tidegate_gateway_ended_calls_total" CALLS, [dialect, platform, outcome];
    /// Calls a limit refused or sent away to wait
    refused_calls: Counter "tidegate_gateway_refused_calls_total" CALLS, [limit];
    /// Calls a watched limit would have refused
    would_refuse_calls: Counter "tidegate_gateway_would_refuse_calls_total" CALLS, [limit];
    /// Calls a watched limit would have made to wait
    would_wait_calls: Counter "tidegate_gateway_would_wait_calls_total" CALLS, [limit];
    /// Calls that passed a soft limit with a warning
    soft_limit_calls: Counter "tidegate_gateway_soft_limit_calls_total" CALLS, [limit];
    /// Calls that went to another platform than the first choice
    fallback_calls: Counter "tidegate_gateway_fallback_calls_total" CALLS, [from, to];
    /// Waits that were longer than a head can be held back, so that the stream was opened
    opened_waits: Counter "tidegate_gateway_opened_waits_total" Unit::Count("waits"), [];
    /// Calls that were asked again because their opened stream had ended with an error, and given its answer
    continued_calls: Counter "tidegate_gateway_continued_calls_total" CALLS, [];
    /// Calls whose output cap was lowered so that a hard limit could hold it
    lowered_calls: Counter "tidegate_gateway_lowered_calls_total" CALLS, [limit];
    /// Calls of models the price table does not know, charged at its dearest row
    unpriced_calls: Counter "tidegate_gateway_unpriced_calls_total" CALLS, [provider];
    /// Calls that are with a provider
    open_calls: Gauge "tidegate_gateway_open_calls" CALLS, [];
    /// Answers being streamed
    open_streams: Gauge "tidegate_gateway_open_streams" Unit::Count("streams"), [];
    /// Memory that request bodies hold now
    body_memory: Gauge "tidegate_gateway_body_memory_bytes" BYTES, [];
    /// Sizes of request bodies
    request_bytes: Counter "tidegate_gateway_request_bytes_total" BYTES, [dialect];
    /// Sizes of answers
    answer_bytes: Counter "tidegate_gateway_answer_bytes_total" BYTES, [dialect];
    /// What the providers' answers used, by class of token
    used_tokens: Counter "tidegate_gateway_used_tokens_total" TOKENS, [platform, model, class];
    /// From sending a request upstream to the first byte of its answer
    first_byte: Histogram "tidegate_gateway_first_byte_seconds" Unit::Seconds, [platform];
    /// From the first byte of a request to the last of its answer
    call_duration: Histogram "tidegate_gateway_call_duration_seconds" Unit::Seconds, [platform, outcome];
    /// What the gateway itself adds to a call that it does not hold back
    added_time: Histogram "tidegate_gateway_added_time_seconds" Unit::Seconds, [];
    /// Calls and admission requests, by decision: granted, deferred, never_fits, watched
    decided_requests: Counter "tidegate_admission_decided_requests_total" Unit::Count("requests"), [platform, priority, decision];
    /// How full a bucket is
    bucket_fill: Gauge "tidegate_admission_bucket_fill_ratio" Unit::Ratio, [platform, bucket];
    /// What a bucket owes, as a part of its capacity
    bucket_debt: Gauge "tidegate_admission_bucket_debt_ratio" Unit::Ratio, [platform, bucket];
    /// The waits that were quoted
    quoted_wait: Histogram "tidegate_admission_quoted_wait_seconds" Unit::Seconds, [platform];
    /// How far a platform's buckets were from what its provider last said, as a part of their capacity
    mirror_error: Gauge "tidegate_admission_mirror_error_ratio" Unit::Ratio, [platform];
    /// Figures of providers' limit headers that made no sense
    ignored_figures: Counter "tidegate_admission_ignored_figures_total" Unit::Count("figures"), [platform];
    /// Refusals that a provider's buckets had not foreseen, and that slowed their refill
    slowed_refills: Counter "tidegate_admission_slowed_refills_total" Unit::Count("refills"), [platform];
    /// Times that a provider was not asked for a while, by why: rate, quota, spend_cap, overloaded, …
    provider_cooldowns: Counter "tidegate_admission_provider_cooldowns_total" Unit::Count("cooldowns"), [platform, cause];
    /// Calls that wait for their turn
    waiting_calls: Gauge "tidegate_admission_waiting_calls" CALLS, [platform, priority];
    /// How long the call has waited that waits longest
    longest_wait: Gauge "tidegate_admission_longest_wait_seconds" Unit::Seconds, [platform, priority];
    /// How alike the users of a class were served while calls waited: Jain's index, 1 for all alike
    user_fairness: Gauge "tidegate_admission_user_fairness_ratio" Unit::Ratio, [platform, priority];
    /// How long calls waited for their turn
    turn_wait: Histogram "tidegate_admission_turn_wait_seconds" Unit::Seconds, [platform, priority];
    /// Foretold waits that have ended, by whether they were longer than foretold: within, beyond_p50, beyond_p90
    foretold_waits: Counter "tidegate_admission_foretold_waits_total" Unit::Count("waits"), [platform, priority, result];
    /// Reservations that are neither settled nor released
    open_reservations: Gauge "tidegate_ledger_open_reservations" Unit::Count("reservations"), [];
    /// Reservations that were dropped unsettled and freed: each is a defect of ours
    dropped_reservations: Counter "tidegate_ledger_dropped_reservations_total" Unit::Count("reservations"), [];
    /// Reservations whose usage a crash left unknown and that wait to be settled
    unknown_reservations: Gauge "tidegate_ledger_unknown_reservations" Unit::Count("reservations"), [];
    /// Reservations settled at their bound because nobody said what they used
    expired_reservations: Counter "tidegate_ledger_expired_reservations_total" Unit::Count("reservations"), [];
    /// How far corrections moved costs that were booked at estimates, by direction: up, down; what was charged in the end is what was spent, and these
    corrected_dollars: Counter "tidegate_ledger_corrected_dollars_total" Unit::Dollars, [organisation, service, direction];
    /// What calls were charged
    spent_dollars: Counter "tidegate_ledger_spent_dollars_total" Unit::Dollars, [organisation, service, platform];
    /// List price of calls that a subscription paid for
    notional_dollars: Counter "tidegate_ledger_notional_dollars_total" Unit::Dollars, [organisation, platform];
    /// What settlements cost above their holds
    overrun_dollars: Counter "tidegate_ledger_overrun_dollars_total" Unit::Dollars, [platform, cause];
    /// What calls cost above their estimates where that was more than half of them, by what added most: input, cache, output, tools, price, retries
    overspent_dollars: Counter "tidegate_ledger_overspent_dollars_total" Unit::Dollars, [platform, cause];
    /// What is spent and held of a budget, as a part of its hard limit
    budget_used: Gauge "tidegate_ledger_budget_used_ratio" Unit::Ratio, [organisation, level];
    /// Requests to approve that a soft limit is passed
    asked_approvals: Counter "tidegate_ledger_asked_approvals_total" Unit::Count("approvals"), [level];
    /// Time to make ledger entries durable
    commit_time: Histogram "tidegate_ledger_commit_time_seconds" Unit::Seconds, [];
    /// Entries made durable
    committed_entries: Counter "tidegate_ledger_committed_entries_total" Unit::Count("entries"), [];
    /// Attempts to write the ledger that failed
    failed_commits: Counter "tidegate_ledger_failed_commits_total" Unit::Count("commits"), [];
    /// Calls that passed although the ledger could not be written, because their limits only watch
    unbooked_calls: Counter "tidegate_ledger_unbooked_calls_total" CALLS, [];
    /// Promises that were found broken: each is a defect of ours
    broken_invariants: Counter "tidegate_engine_broken_invariants_total" Unit::Count("invariants"), [invariant];
    /// Configurations read, by result: applied, refused
    config_reloads: Counter "tidegate_engine_config_reloads_total" Unit::Count("reloads"), [result];
    /// Keys made and revoked, sign-ins confirmed and ended
    changed_keys: Counter "tidegate_control_changed_keys_total" Unit::Count("keys"), [action];
    /// Requests to the control API, by route and status
    control_requests: Counter "tidegate_control_answered_requests_total" Unit::Count("requests"), [route, status];
    /// Requests with telemetry (OTLP), by how they came, what they brought and how they were answered
    otlp_requests: Counter "tidegate_otlp_answered_requests_total" Unit::Count("requests"), [transport, signal, status];
    /// Requests with telemetry that had been taken before, and were acknowledged again
    otlp_repeated_requests: Counter "tidegate_otlp_repeated_requests_total" Unit::Count("requests"), [signal];
    /// Records of telemetry that were taken, and are durable
    otlp_taken_records: Counter "tidegate_otlp_taken_records_total" Unit::Count("records"), [signal];
    /// Records of telemetry that were rejected: without a valid id, or beyond what one request may bring
    otlp_rejected_records: Counter "tidegate_otlp_rejected_records_total" Unit::Count("records"), [signal];
    /// Values in records of telemetry that were cut or left out for their length, number or depth
    otlp_cut_values: Counter "tidegate_otlp_cut_values_total" Unit::Count("values"), [signal];
    /// Prompts and answers in records of telemetry that were withheld
    otlp_withheld_values: Counter "tidegate_otlp_withheld_values_total" Unit::Count("values"), [signal];
    /// Log records that were dropped because the buffer was full
    shed_records: Counter "tidegate_observe_shed_records_total" Unit::Count("records"), [level];
    /// Log records written
    written_records: Counter "tidegate_observe_written_records_total" Unit::Count("records"), [level];
    /// Room that telemetry takes on the disk, by what it is: recent, log, parts
    stored_bytes: Gauge "tidegate_observe_stored_bytes" BYTES, [of];
    /// When the oldest record happened that is kept in a sealed part, by kind, in seconds since 1970
    oldest_record: Gauge "tidegate_observe_oldest_record_seconds" Unit::Seconds, [kind];
    /// Whether telemetry can't be kept at this time: 1 or 0
    failing_telemetry: Gauge "tidegate_observe_failing_stores" Unit::Count("stores"), [];
    /// Files and blocks of telemetry that could not be read and were set aside
    damaged_telemetry: Counter "tidegate_observe_damaged_files_total" Unit::Count("files"), [];
    /// Parts of telemetry that had to go for the disk's budget before they were too old
    crowded_out_parts: Counter "tidegate_observe_crowded_out_parts_total" Unit::Count("parts"), [];
    /// Attempts to deliver a notice, by how they ended: delivered, retried, lost
    ended_deliveries: Counter "tidegate_notify_ended_deliveries_total" Unit::Count("deliveries"), [channel, result];
    /// Notices that were dropped undelivered because too many were waiting
    dropped_notices: Counter "tidegate_notify_dropped_notices_total" Unit::Count("notices"), [channel];
    /// Notices that wait to be delivered
    waiting_notices: Gauge "tidegate_notify_waiting_notices" Unit::Count("notices"), [channel];
    /// Memory the program occupies
    resident_memory: Gauge "tidegate_process_resident_memory_bytes" BYTES, [];
    /// Processor time the program used
    cpu_time: Gauge "tidegate_process_cpu_time_seconds" Unit::Seconds, [];
    /// Files and sockets the program has open
    open_files: Gauge "tidegate_process_open_files" Unit::Count("files"), [];
    /// When the program started, in seconds since 1970
    start_time: Gauge "tidegate_process_start_time_seconds" Unit::Seconds, [];
    /// Always 1; the label says which version runs
    build_version: Gauge "tidegate_process_build_versions" Unit::Count("versions"), [version];
}
