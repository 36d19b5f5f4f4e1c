//! What a call is charged.

use tidegate_observe::calls::{CallRecord, Outcome};
use tidegate_providers::{
    Metered,
    meter::{BYTES_PER_TOKEN, Said},
};
use tidegate_types::{Modifiers, NanoUsd, Tokens, Usage};

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
    /// final; else what is known of it: the input, and the output that was seen. An answer that comes as
    /// a whole goes on unseen where we or the client left it: then what such answers usually take,
    /// within the output cap that was sent.
    pub(super) fn of(routed: &Routed, end: &End, answered: bool, cap: Tokens) -> Self {
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
            (Some(mut usage), Some(metered)) if metered.input_is_known => {
                usage.output = usage.output.max(unread(metered, cap));
                (usage, Some(cause(end)))
            }
            _ => (guessed(routed, end, answered, cap), Some(cause(end))),
        };
        let usage = end
            .metered
            .as_ref()
            .map_or(usage, |it| as_asked(usage, *routed.modifiers(), it.said));
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

/// A usage with the modifiers that its request asked for and its answer does not name. Of those that make
/// it cheaper nothing is taken on trust.
fn as_asked(mut usage: Usage, asked: Modifiers, said: Said) -> Usage {
    usage.modifiers.fast |= asked.fast && !said.speed;
    usage.modifiers.regional |= asked.regional && !said.geography;
    usage
}

/// What a call without a word of usage used: its expected input, and a token for every four bytes
/// of text that came; or the expected output, where its provider may have made all of it unseen.
fn guessed(routed: &Routed, end: &End, answered: bool, cap: Tokens) -> Usage {
    let metered = end.metered.as_ref().filter(|_| answered);
    let seen = metered.map_or(Tokens(0), |it| {
        Tokens(it.text_bytes.div_ceil(BYTES_PER_TOKEN)).max(unread(it, cap))
    });
    let left = matches!(end.outcome, Outcome::ClientGone | Outcome::Interrupted);
    let unseen = if left && !routed.call.facts.stream {
        routed.output_expected.min(cap)
    } else {
        Tokens(0)
    };
    let input = routed.input;
    Usage {
        input: input.expected.saturating_sub(input.cached),
        cache_read: input.cached,
        output: unseen.max(seen),
        modifiers: routed.call.facts.modifiers,
        ..Usage::default()
    }
}

/// The output of an answer that came and could not be read: its bytes, taken for text, within the cap
/// that was sent. Nothing where all could be read.
fn unread(metered: &Metered, cap: Tokens) -> Tokens {
    if metered.unread_bytes == 0 {
        return Tokens(0);
    }
    let bytes = metered.text_bytes.saturating_add(metered.unread_bytes);
    Tokens(bytes.div_ceil(BYTES_PER_TOKEN)).min(cap)
}

fn cause(end: &End) -> &'static str {
    if end.metered.as_ref().is_some_and(|it| it.usage_is_absurd) {
        return "usage that no answer can have";
    }
    match end.outcome {
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
