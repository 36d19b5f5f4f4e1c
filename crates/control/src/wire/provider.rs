//! What providers were heard to say of their limits.

use serde::{Deserialize, Serialize};
use tidegate_admission::{CooldownView, MirrorView, WindowView};
use utoipa::ToSchema;

/// How a provider's bucket follows the provider's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProviderWord {
    /// Answers that said something of the bucket.
    pub answers: u64,
    /// Figures in them that made no sense and were passed over.
    pub ignored: u64,
    /// How far the bucket was from the last of them, in millionths of its capacity.
    pub error_ppm: u64,
    /// What others on the same account are taken to use of the refill, in thousandths.
    pub foreign_permille: u32,
    /// What the refill is slowed to by that and by refusals, in thousandths of what is stated.
    pub pace_permille: u32,
    /// The configured capacity, where the provider's own has taken its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured_capacity: Option<u64>,
}

/// A provider that is not asked for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cooldown {
    /// The provider.
    pub provider: String,
    /// For whose account: `operator`, or an organisation and a user; absent where for every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// For which class of models; absent where for every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<String>,
    /// Why: `rate`, `quota`, `spend_cap`, `acceleration`, `overloaded`, `server_error`,
    /// `unreachable`, `credential`.
    #[schema(example = "rate")]
    pub cause: String,
    /// Why, for people.
    pub message: String,
    /// For how much longer, in seconds; 0: the next call tries whether it is over.
    pub left_seconds: u64,
}

/// A window of the plan that pays for calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanWindow {
    /// The provider.
    pub provider: String,
    /// Whose plan: an organisation and a user, or `operator`.
    pub account: String,
    /// As the provider calls it: `5h`, `7d`, …
    pub window: String,
    /// How much of it is used, in millionths.
    pub used_ppm: u64,
    /// It lets no call pass until it begins anew.
    pub refuses: bool,
    /// Seconds until it begins anew; null where that is not known.
    pub resets_in_seconds: Option<u64>,
    /// What it holds in all, learned from use, in billionths of a dollar at list prices; absent until
    /// it is learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_nano_usd: Option<u64>,
    /// How far off that may be, either way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_error_nano_usd: Option<u64>,
}

impl From<MirrorView> for ProviderWord {
    fn from(it: MirrorView) -> Self {
        Self {
            answers: it.answers,
            ignored: it.nonsense,
            error_ppm: it.error_ppm,
            foreign_permille: it.foreign_permille,
            pace_permille: it.pace_permille,
            configured_capacity: it.configured_capacity,
        }
    }
}

impl From<CooldownView> for Cooldown {
    fn from(it: CooldownView) -> Self {
        Self {
            provider: it.provider,
            account: it.account,
            models: it.models,
            cause: it.cause.word().to_owned(),
            message: it.cause.to_string(),
            left_seconds: it.left_seconds,
        }
    }
}

impl From<WindowView> for PlanWindow {
    fn from(it: WindowView) -> Self {
        Self {
            provider: it.provider,
            account: it.account,
            window: it.window,
            used_ppm: it.used_ppm,
            refuses: it.refuses,
            resets_in_seconds: it.resets_in_seconds,
            size_nano_usd: it.size.map(|it| it.0),
            size_error_nano_usd: it.size_error.map(|it| it.0),
        }
    }
}
