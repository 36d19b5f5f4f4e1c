//! What an answer's status and headers say of limits: why, for whom, until when.

use std::{borrow::Cow, time::Duration};

use arrayvec::ArrayVec;
use tidegate_admission::{Cause, Horizon, Resource, Said, Scope, Signal};
use tidegate_providers::{
    accounting::Family,
    limits::{LimitSignals, LimitWindow, PartsPerMillion, Unified, UnifiedStatus},
};
use tidegate_types::Timestamp;

/// Limits that one answer can state of those we have buckets for.
pub(crate) const SAID_MAX: usize = 4;

/// Anthropic rounds tokens to thousands.
const ANTHROPIC_TOKEN_GRAIN: u64 = 1_000;

/// A limit of which so large a part is left (one in this many) did not refuse the call.
const PLENTY_PART: u64 = 4;

/// The windows of a plan that hold for every model.
const GENERAL_WINDOWS: [&str; 2] = ["5h", "7d"];

/// An answer's head, as far as it speaks of limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    pub(crate) status: u16,
    pub(crate) signals: &'a LimitSignals,
    pub(crate) family: Family,
    /// When it was given, by the provider's clock.
    pub(crate) date: Timestamp,
    /// The credential is the operator's, not one that came with the call.
    pub(crate) is_operators: bool,
}

/// The provider's own limits, by what we count.
///
/// Anthropic's `tokens` is whichever of its limits is tightest, and so none of its own. Those of
/// other service tiers and of fast mode are not the ones that bind ordinary calls.
pub(crate) fn said(head: &Head<'_>) -> ArrayVec<Said, SAID_MAX> {
    let windows = head.signals.windows.iter();
    let known = windows.filter_map(|it| {
        let (resource, grain) = match (head.family, it.name.as_str()) {
            (_, "requests") => (Resource::Requests, 1),
            (Family::Anthropic, "input-tokens") => (Resource::InputTokens, ANTHROPIC_TOKEN_GRAIN),
            (Family::Anthropic, "output-tokens") => (Resource::OutputTokens, ANTHROPIC_TOKEN_GRAIN),
            (Family::OpenAi, "tokens") => (Resource::Tokens, 1),
            _ => return None,
        };
        Some(Said {
            resource,
            limit: it.limit,
            remaining: it.remaining,
            grain,
            resets_at: it.resets_at,
        })
    });
    known.take(SAID_MAX).collect()
}

/// Why the next call should not be sent, for whom, and until when. `None`: all is well, or this
/// request alone was wrong.
pub(crate) fn signal(head: &Head<'_>) -> Option<Signal> {
    match head.status {
        429 => Some(limited(head)),
        529 => Some(failing(Cause::Overloaded)),
        500 | 502 | 503 | 504 => Some(failing(Cause::ServerError)),
        402 => Some(Signal {
            cause: Cause::SpendCap,
            scope: Scope::Account,
            horizon: head
                .signals
                .retry_after
                .map_or(Horizon::Unknown, Horizon::For),
        }),
        401 => Some(Signal {
            cause: Cause::Credential,
            // The next call of another client brings another one.
            scope: if head.is_operators {
                Scope::Account
            } else {
                Scope::Request
            },
            horizon: Horizon::Unknown,
        }),
        _ => plan(head),
    }
}

/// A provider that fails does so for everybody; it says no time that could be relied on.
pub(crate) const fn failing(cause: Cause) -> Signal {
    Signal {
        cause,
        scope: Scope::Provider,
        horizon: Horizon::Unknown,
    }
}

fn limited(head: &Head<'_>) -> Signal {
    let signals = head.signals;
    if let Some(signal) = plan(head) {
        return signal;
    }
    if let Some(wait) = signals.retry_after {
        let known = signals
            .windows
            .iter()
            .filter_map(|it| it.remaining.zip(it.limit));
        let mut known = known.peekable();
        let any = known.peek().is_some();
        let plenty = any && known.all(|(remaining, limit)| remaining > limit / PLENTY_PART);
        return Signal {
            cause: if plenty {
                Cause::Acceleration
            } else {
                Cause::Rate
            },
            scope: Scope::Model,
            horizon: Horizon::For(wait),
        };
    }
    let used_up = signals.windows.iter().filter(|it| it.remaining == Some(0));
    let resets = used_up.filter_map(|it: &LimitWindow| it.reset_after(head.date));
    match (resets.max(), head.family) {
        (Some(wait), _) => Signal {
            cause: Cause::Rate,
            scope: Scope::Model,
            horizon: Horizon::For(wait),
        },
        // Each of Anthropic's refusals says when to come again, but for that of the limit on money.
        (None, Family::Anthropic) => Signal {
            cause: Cause::SpendCap,
            scope: Scope::Account,
            horizon: Horizon::Unknown,
        },
        (None, Family::OpenAi) => Signal {
            cause: Cause::Rate,
            scope: Scope::Model,
            horizon: Horizon::Unknown,
        },
    }
}

/// A plan of which a window is used up: whatever the status of this answer was, the next is refused.
fn plan(head: &Head<'_>) -> Option<Signal> {
    let unified = head.signals.unified.as_ref()?;
    let overage = unified.overage.as_ref();
    if overage.is_some_and(|it| it.in_use == Some(true)) && !unified.is_rejected() {
        return None;
    }
    let reason = overage.and_then(|it| it.disabled_reason.as_deref());
    let is_money = reason == Some("org_spend_cap_reached");
    let full = used_up(unified);
    if !unified.is_rejected() && full.is_none() {
        return None;
    }
    let only_these_models = if unified.is_rejected() {
        unified.only_other_models_pass()
    } else {
        full.is_some_and(|it| !GENERAL_WINDOWS.contains(&it.0))
    };
    let until = unified.rejected_until().or(full.and_then(|it| it.1));
    let wait = until.map(|it| it.since(head.date));
    let wait = wait.filter(|it| *it > Duration::ZERO);
    Some(Signal {
        cause: if is_money {
            Cause::SpendCap
        } else {
            Cause::Quota
        },
        scope: if only_these_models {
            Scope::Model
        } else {
            Scope::Account
        },
        horizon: wait
            .or(head.signals.retry_after)
            .map_or(Horizon::Unknown, Horizon::For),
    })
}

/// The window that is used up and resets last, where nothing says that calls still pass.
fn used_up(unified: &Unified) -> Option<(&str, Option<Timestamp>)> {
    if unified.status == Some(UnifiedStatus::Allowed) {
        return None;
    }
    let windows = unified.windows.iter();
    let full = windows.filter(|it| {
        it.utilization
            .is_some_and(|it| it >= PartsPerMillion::WHOLE)
            && !matches!(
                it.status,
                Some(UnifiedStatus::Allowed | UnifiedStatus::AllowedWarning)
            )
    });
    let last = full.max_by_key(|it| it.reset);
    last.map(|it| (it.name.as_str(), it.reset))
}

/// The models that share limits with this one: Anthropic limits each family of models, whatever its
/// versions; others limit each model.
pub(crate) fn model_class(family: Family, model: &str) -> Cow<'_, str> {
    if family == Family::OpenAi {
        return model.into();
    }
    let words = model.split(['-', '.', '@', ':']);
    let words = words.filter(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphabetic()));
    let mut class = String::with_capacity(model.len());
    for word in words {
        class.extend((!class.is_empty()).then_some('-'));
        class.push_str(word);
    }
    if class.is_empty() {
        model.into()
    } else {
        class.into()
    }
}

#[cfg(test)]
mod tests;
