//! What models cost.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Dollars per million tokens, as exact decimal texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenPrices {
    /// Input neither read from nor written to a prompt cache.
    #[schema(example = "5")]
    pub input: String,
    /// Input read from a prompt cache.
    pub cache_read: String,
    /// Input written to a prompt cache that lives for minutes.
    pub cache_write_5m: String,
    /// Input written to a prompt cache that lives for an hour or longer.
    pub cache_write_1h: String,
    /// Output, thinking included.
    pub output: String,
}

/// Other prices for a request whose whole input is longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PriceTier {
    /// Tokens of input that it does not yet apply to.
    pub above: u64,
    /// The prices of every token of a longer request.
    pub per_million: TokenPrices,
}

/// Exact factors: `1/2`, `11/10`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Factors {
    /// Sent as part of a batch.
    pub batch: String,
    /// Flexible service.
    pub flex: String,
    /// Fast or priority service.
    pub fast: String,
    /// Inference pinned to one geography.
    pub regional: String,
}

/// A row of the price table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Price {
    /// Who sells it.
    pub provider: String,
    /// The model's id.
    pub model: String,
    /// While no tier applies.
    pub per_million: TokenPrices,
    /// Long-context tiers, by rising threshold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<PriceTier>,
    /// Factors on the prices of tokens.
    pub factors: Factors,
    /// Dollars per thousand web searches.
    pub web_searches_per_thousand: String,
    /// The most input and output that fit together, in tokens.
    pub context: u64,
    /// The most output of one answer, in tokens.
    pub output_max: u64,
    /// The version of the table.
    pub version: String,
    /// Where the table has it from.
    pub source: String,
    /// When that was read.
    pub date: String,
}

/// The price table in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Prices {
    /// The rows. A model without one costs as much as the dearest of its provider.
    pub prices: Vec<Price>,
    /// Providers that were declared to cost nothing.
    pub free_providers: Vec<String>,
}

/// Which prices to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PriceQuery {
    /// Only this provider's.
    pub provider: Option<String>,
    /// Only models whose id contains this.
    pub model: Option<String>,
}
