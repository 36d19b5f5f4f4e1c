//! What a call is charged.

use tidegate_observe::calls::{CallRecord, Outcome};
use tidegate_types::{NanoUsd, Tokens, Usage};

use super::End;
use crate::call::Routed;

/// What a call is charged, and how surely.
#[derive(Debug)]
pub(super) struct Charge {
    pub(super) usage: Option<Usage>,
    pub(super) cost: NanoUsd,
    pub(super) notional: NanoUsd,
    pub(super) estimated: bool,
    pub(super) cause: Option<&'static str>,
}

impl Charge {
    /// Nothing where the provider refused or nothing was sent; what it reported where that is
    /// final; else what was certainly used: the input, and the output that was seen.
    pub(super) fn of(routed: &Routed, end: &End, answered: bool) -> Self {
        let reported = end.metered.as_ref().and_then(|it| it.usage);
        let is_final = end.metered.as_ref().is_some_and(|it| it.usage_is_final);
        let refused = matches!(
            end.outcome,
            Outcome::UpstreamError | Outcome::UpstreamUnreachable
        );
        if (refused && reported.is_none()) || !routed.call.metered {
            return Self {
                usage: None,
                cost: NanoUsd::ZERO,
                notional: NanoUsd::ZERO,
                estimated: false,
                cause: None,
            };
        }
        let (usage, cause) = match (reported, &end.metered) {
            (Some(usage), _) if is_final => (usage, None),
            (Some(usage), Some(metered)) if metered.input_is_known => {
                (usage, Some(cause(&end.outcome)))
            }
            _ => (guessed(routed, end, answered), Some(cause(&end.outcome))),
        };
        let list = routed.price().cost(&usage);
        let charged = routed.is_charged();
        Self {
            usage: Some(usage),
            cost: if charged { list } else { NanoUsd::ZERO },
            notional: if charged { NanoUsd::ZERO } else { list },
            estimated: cause.is_some(),
            cause,
        }
    }

    /// Adds it to the call's record, which has what all of its tries cost.
    pub(super) fn write(&self, record: &mut CallRecord) {
        record.usage = self.usage.or(record.usage);
        record.cost = record.cost.saturating_add(self.cost);
        record.notional = record.notional.saturating_add(self.notional);
        record.estimated |= self.estimated;
    }
}

/// What a call without a word of usage used: its expected input, and a token for every four bytes
/// of text that came.
fn guessed(routed: &Routed, end: &End, answered: bool) -> Usage {
    let text = end.metered.as_ref().map_or(0, |it| it.text_bytes);
    let input = routed.input;
    Usage {
        input: input.expected.saturating_sub(input.cached),
        cache_read: input.cached,
        output: Tokens(if answered { text.div_ceil(4) } else { 0 }),
        modifiers: routed.call.facts.modifiers,
        ..Usage::default()
    }
}

const fn cause(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::ClientGone => "client hung up",
        Outcome::UpstreamLost => "upstream broke off",
        Outcome::StreamError => "error event in the stream",
        Outcome::Ended { .. } => "ended at a quota",
        Outcome::Interrupted => "interrupted by a stop",
        Outcome::Answered => "answer without usage",
        Outcome::UpstreamError
        | Outcome::UpstreamUnreachable
        | Outcome::Refused { .. }
        | Outcome::Invalid { .. }
        | Outcome::Shed { .. } => "no usage",
    }
}
