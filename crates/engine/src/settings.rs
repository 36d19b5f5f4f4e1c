//! What the engine is told by whoever configures it: checked, plain, replaceable while running.

use std::{collections::HashMap, sync::Arc};

use tidegate_admission::{PoolSpec, QuotaTable};
use tidegate_ledger::BudgetPolicy;
use tidegate_observe::redact::Redactor;
use tidegate_providers::accounting::Family;
use tidegate_types::{Complexity, NanoUsd, RequestClass};

/// Everything that a reload may change.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who keyless calls of this machine act as.
    pub local: Local,
    /// Whether calls without a key are taken at all: only where nobody but this machine can reach us.
    pub keyless: bool,
    /// Where work can be sent, in the order of the configuration.
    pub platforms: Vec<Arc<Platform>>,
    /// Limits on money.
    pub budgets: Arc<BudgetPolicy>,
    /// Limits on how often, how many at once, how much and how large.
    pub quotas: Arc<QuotaTable>,
    /// How holds are sized.
    pub reserve: ReserveRules,
    /// What a call weighs in units.
    pub weights: Weights,
    /// Takes secrets out of what clients name: tasks, sessions, models, and whatever of theirs is kept.
    pub redactor: Redactor,
}

impl Settings {
    /// The platform of this name.
    pub fn platform(&self, name: &str) -> Option<&Arc<Platform>> {
        self.platforms.iter().find(|it| &*it.name == name)
    }
}

/// Organisation and user of calls that carry no key.
#[derive(Clone, Debug)]
pub struct Local {
    /// Usually `local`.
    pub organisation: Arc<str>,
    /// Usually `local`.
    pub user: Arc<str>,
}

/// The provider that callers' own credentials of a family belong to.
pub const fn home_provider(family: Family) -> &'static str {
    match family {
        Family::Anthropic => "anthropic",
        Family::OpenAi => "openai",
    }
}

/// A place where work can be sent, with its own quota.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts of the configuration"
)]
pub struct Platform {
    /// Its name in configuration, headers and records.
    pub name: Arc<str>,
    /// The provider that serves it.
    pub provider: Arc<str>,
    /// What the provider speaks.
    pub family: Family,
    /// Paid by subscription: calls cost 0 $, their list price is kept as `notional`, and nothing
    /// of them is ever altered.
    pub subscription: bool,
    /// Declared to cost nothing.
    pub free: bool,
    /// The operator has a credential for it.
    pub operators_credential: bool,
    /// Keyless calls may spend the operator's credential.
    pub local_may_spend: bool,
    /// Its provider's limits hold for all models together, instead of for each family of them.
    pub shared_limits: bool,
    /// Models it serves: exact ids, or prefixes that end in `*`; all where empty.
    pub models: Vec<String>,
    /// Model asked for → model sent.
    pub model_map: HashMap<String, String>,
    /// Where to go instead, in this order, where this one is exhausted or down.
    pub fallback: Vec<Arc<str>>,
    /// Its buckets.
    pub pool: PoolSpec,
}

impl Platform {
    /// How closely its models name `model`, by the characters that are named; `None` where it does
    /// not serve it.
    pub fn serves(&self, model: &str) -> Option<usize> {
        if self.models.is_empty() {
            return Some(0);
        }
        let closeness = |it: &String| match it.strip_suffix('*') {
            Some(prefix) => model.starts_with(prefix).then_some(prefix.len()),
            // An id that is named whole is closer than any prefix.
            None => (it == model).then_some(usize::MAX),
        };
        self.models.iter().filter_map(closeness).max()
    }
}

/// How the bound of a call is found and lowered (P3, B3).
#[derive(Clone, Copy, Debug)]
pub struct ReserveRules {
    /// A call's output cap may hold one part in this many of what is left; more is lowered.
    pub share_of_left: u64,
    /// The cap is not lowered below this while it fits.
    pub output_floor: u64,
    /// Where that does not fit, the cap goes down to this and no further.
    pub output_floor_last: u64,
    /// Tokens above `thinking.budget_tokens` that a cap must leave.
    pub output_over_thinking: u64,
    /// Tokens that a piece of content by reference is taken for.
    pub reference_tokens: u64,
    /// Tokens of results that one use of a server tool is taken to bring in.
    pub server_tool_tokens: u64,
}

impl Default for ReserveRules {
    fn default() -> Self {
        Self {
            share_of_left: 4,
            output_floor: 32_000,
            output_floor_last: 4_096,
            output_over_thinking: 1_024,
            reference_tokens: 100_000,
            server_tool_tokens: 2_000,
        }
    }
}

impl ReserveRules {
    /// What one call's output may hold of what is left.
    pub(crate) fn share(&self, left: NanoUsd) -> NanoUsd {
        NanoUsd(left.0 / self.share_of_left.max(1))
    }
}

/// Units of a platform's bucket that a gateway call takes.
#[derive(Clone, Debug)]
pub struct Weights {
    /// Asked in this order; the first that applies decides.
    pub rules: Vec<WeightRule>,
    /// Where none applies.
    pub otherwise: u64,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightRule {
    /// Applies to these classes; all where empty.
    pub classes: Vec<RequestClass>,
    /// Applies to models whose id contains one of these; all where empty.
    pub models: Vec<String>,
    /// Applies to fast mode only.
    pub fast: bool,
    /// What the call weighs.
    pub units: u64,
}

impl Default for Weights {
    fn default() -> Self {
        let rule = |classes: &[RequestClass], models: &[&str], fast, units| WeightRule {
            classes: classes.to_vec(),
            models: models.iter().map(|&it| it.to_owned()).collect(),
            fast,
            units,
        };
        Self {
            rules: vec![
                rule(&[RequestClass::Auxiliary], &[], false, 1),
                rule(&[], &["haiku"], false, 1),
                rule(&[], &[], true, 10),
                rule(&[RequestClass::Subagent], &[], false, 2),
                rule(&[], &["sonnet"], false, 2),
                rule(&[], &["opus"], false, 5),
                rule(&[], &["fable", "mythos"], false, 10),
            ],
            otherwise: 2,
        }
    }
}

impl Weights {
    /// What a call weighs: by its task's complexity where that is known, else by the table.
    pub fn units(
        &self,
        complexity: Option<Complexity>,
        class: RequestClass,
        model: &str,
        fast: bool,
    ) -> u64 {
        if let Some(complexity) = complexity {
            return complexity.units();
        }
        let applies = |it: &&WeightRule| {
            (it.classes.is_empty() || it.classes.contains(&class))
                && (it.models.is_empty() || it.models.iter().any(|part| model.contains(part)))
                && (!it.fast || fast)
        };
        let rule = self.rules.iter().find(applies);
        rule.map_or(self.otherwise, |it| it.units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_weighs_what_its_complexity_class_or_model_says() {
        use RequestClass::{Auxiliary, Main, Subagent};
        let units = |complexity, class, model, fast| {
            Weights::default().units(complexity, class, model, fast)
        };
        assert_eq!(units(None, Main, "claude-opus-5-5", false), 5);
        assert_eq!(units(None, Main, "claude-opus-5-5", true), 10);
        assert_eq!(units(None, Main, "claude-mythos-5", false), 10);
        assert_eq!(units(None, Main, "claude-sonnet-5-5", false), 2);
        assert_eq!(units(None, Main, "claude-sonnet-5-5", true), 10);
        assert_eq!(units(None, Subagent, "claude-opus-5-5", false), 2);
        assert_eq!(units(None, Subagent, "claude-haiku-5-5", false), 1);
        assert_eq!(units(None, Auxiliary, "claude-opus-5-5", false), 1);
        assert_eq!(
            units(Some(Complexity::Complex), Auxiliary, "gpt-5", false),
            5
        );
        assert_eq!(units(None, Main, "gpt-5", false), 2);
    }
}
