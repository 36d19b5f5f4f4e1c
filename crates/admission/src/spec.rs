//! What a platform's buckets are to be, checked.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_types::{Disposition, Enforcement};

/// Buckets of one platform at most: twice what any provider publishes for a model (requests,
/// input, output and total tokens, two windows, dollars, concurrency), so that a decision stays a
/// short loop over memory that is already in the cache.
pub const BUCKETS_MAX: usize = 16;

/// The largest capacity: a billion dollars in billionths. Keeps every product of a level below
/// 2¹²⁷.
pub const CAPACITY_MAX: u64 = 1_000_000_000_000_000_000;

/// The largest refill per period: a hundred million dollars in billionths. Keeps the refill per
/// nanosecond, in hundredths of its share, within 64 bits.
pub const AMOUNT_MAX: u64 = 100_000_000_000_000_000;

/// The longest refill period: the longest month, since longer windows are budgets.
pub const PERIOD_MAX: Duration = Duration::from_hours(31 * 24);

/// The longest name of a platform or a bucket: it is repeated in headers and metric labels.
pub const NAME_BYTES_MAX: usize = 64;

/// What a bucket counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Abstract units, as a configuration weighs calls.
    Units,
    /// Requests.
    Requests,
    /// Input tokens, by the provider's accounting.
    InputTokens,
    /// Output tokens, by the provider's accounting.
    OutputTokens,
    /// Input and output tokens together.
    Tokens,
    /// Money, in billionths of a dollar.
    NanoUsd,
    /// Calls in flight.
    Concurrency,
}

impl Resource {
    /// Places in [`Need::by_place`](crate::Need::by_place).
    pub(crate) const PLACES: usize = 8;

    /// The place of what nobody needs.
    pub(crate) const NOWHERE: u8 = 7;

    /// Its place in [`Need::by_place`](crate::Need::by_place).
    pub(crate) const fn place(self) -> u8 {
        match self {
            Self::Units => 0,
            Self::Requests => 1,
            Self::InputTokens => 2,
            Self::OutputTokens => 3,
            Self::Tokens => 4,
            Self::NanoUsd => 5,
            Self::Concurrency => 6,
        }
    }

    /// The written form.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Units => "units",
            Self::Requests => "requests",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::Tokens => "tokens",
            Self::NanoUsd => "nano_usd",
            Self::Concurrency => "concurrency",
        }
    }

    /// Whether a call larger than the capacity can never start. Elsewhere it starts from a full
    /// bucket and leaves a debt.
    pub const fn is_hard(self) -> bool {
        match self {
            Self::NanoUsd | Self::Concurrency => true,
            Self::Units
            | Self::Requests
            | Self::InputTokens
            | Self::OutputTokens
            | Self::Tokens => false,
        }
    }
}

/// A continuous rate: `amount` every `period`. Never in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refill {
    /// Added per period, in the bucket's resource. From 1 to [`AMOUNT_MAX`].
    pub amount: u64,
    /// From a nanosecond to [`PERIOD_MAX`].
    pub period: Duration,
}

/// Whose limit a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// We set it: `critical` may overdraw it.
    Ours,
    /// A provider enforces it: nobody overdraws it.
    Provider,
}

/// One bucket, as configured. Checked when it becomes part of a [`PoolSpec`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSpec {
    /// Unique within the platform; what refusals, headers and metrics call it.
    pub name: String,
    /// What it counts.
    pub resource: Resource,
    /// The most that can be spent at once, in the resource's unit. From 1 to [`CAPACITY_MAX`].
    pub capacity: u64,
    /// How spent capacity comes back. `None` for concurrency alone, where ended calls give it back.
    pub refill: Option<Refill>,
    /// The stock that `low` and `medium` leave alone (T3). At most the capacity; zero guards nothing.
    pub threshold: u64,
    /// Whose limit it is.
    pub owner: Owner,
    /// Whether it binds or watches.
    pub enforcement: Enforcement,
}

impl BucketSpec {
    /// Whether `critical` may overdraw it (T4): units and rates that are ours.
    pub const fn may_be_overdrawn(&self) -> bool {
        matches!(self.owner, Owner::Ours) && !self.resource.is_hard()
    }

    fn verify(&self, platform: &str) -> Result<(), SpecError> {
        let key = |word: &'static str| SpecKey {
            platform: platform.into(),
            bucket: self.name.clone(),
            word,
        };
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX {
            return Err(SpecError::Name {
                name: self.name.clone(),
            });
        }
        if self.capacity == 0 || self.capacity > CAPACITY_MAX {
            return Err(SpecError::Capacity {
                at: key("capacity"),
                value: self.capacity,
            });
        }
        if self.threshold > self.capacity
            || (self.threshold == self.capacity && self.resource == Resource::Concurrency)
        {
            return Err(SpecError::Threshold {
                at: key("threshold"),
                value: self.threshold,
                capacity: self.capacity,
            });
        }
        match (self.resource, self.refill) {
            (Resource::Concurrency, None) => Ok(()),
            (Resource::Concurrency, Some(_)) => {
                Err(SpecError::RefilledConcurrency { at: key("refill") })
            }
            (_, None) => Err(SpecError::NoRefill { at: key("refill") }),
            (_, Some(Refill { amount, .. })) if amount == 0 || amount > AMOUNT_MAX => {
                Err(SpecError::Amount {
                    at: key("refill amount"),
                    value: amount,
                })
            }
            (_, Some(Refill { period, .. })) if period.is_zero() || period > PERIOD_MAX => {
                Err(SpecError::Period {
                    at: key("refill period"),
                    value: period,
                })
            }
            (_, Some(_)) => Ok(()),
        }
    }
}

/// Every bucket of one platform. Holding one is proof that a [`crate::Pool`] can be built from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    platform: String,
    buckets: Vec<BucketSpec>,
}

impl PoolSpec {
    /// Checks the figures and that names are unique. A platform without buckets admits everything.
    pub fn try_new(
        platform: impl Into<String>,
        buckets: Vec<BucketSpec>,
    ) -> Result<Self, SpecError> {
        let platform = platform.into();
        if platform.is_empty() || platform.len() > NAME_BYTES_MAX {
            return Err(SpecError::Name { name: platform });
        }
        if buckets.len() > BUCKETS_MAX {
            return Err(SpecError::TooMany {
                platform,
                count: buckets.len(),
            });
        }
        for (index, bucket) in buckets.iter().enumerate() {
            bucket.verify(&platform)?;
            if buckets.iter().take(index).any(|it| it.name == bucket.name) {
                return Err(SpecError::Twice {
                    platform,
                    name: bucket.name.clone(),
                });
            }
        }
        Ok(Self { platform, buckets })
    }

    /// The platform's name.
    pub fn platform(&self) -> &str {
        &self.platform
    }

    /// Its buckets, in the order given.
    pub fn buckets(&self) -> &[BucketSpec] {
        &self.buckets
    }
}

/// Where in the configuration a refused figure stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecKey {
    platform: String,
    bucket: String,
    word: &'static str,
}

impl std::fmt::Display for SpecKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            platform,
            bucket,
            word,
        } = self;
        write!(f, "{word} of bucket `{bucket}` of platform `{platform}`")
    }
}

/// Why a platform's buckets were refused. Texts name the key, the value and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the texts show")]
pub enum SpecError {
    /// A name that is empty or too long.
    #[error("`{name}` cannot name a platform or a bucket: use 1 to {NAME_BYTES_MAX} bytes")]
    Name { name: String },
    /// More buckets than a decision looks at.
    #[error(
        "platform `{platform}` has {count} buckets: at most {BUCKETS_MAX}; split it into platforms"
    )]
    TooMany { platform: String, count: usize },
    /// Two buckets of one name.
    #[error("platform `{platform}` has two buckets called `{name}`: rename one")]
    Twice { platform: String, name: String },
    /// A capacity of zero, or one that arithmetic cannot hold.
    #[error("{at} is {value}: use 1 to {CAPACITY_MAX}")]
    Capacity { at: SpecKey, value: u64 },
    /// A threshold that guards more than there is.
    #[error(
        "{at} is {value} with a capacity of {capacity}: use at most the capacity (less than it for concurrency)"
    )]
    Threshold {
        at: SpecKey,
        value: u64,
        capacity: u64,
    },
    /// A bucket that would never fill again.
    #[error("{at} is missing: give an amount and a period; to cap a total, use a budget")]
    NoRefill { at: SpecKey },
    /// Concurrency comes back when calls end, not with time.
    #[error("{at} is given, but concurrency does not refill: remove it")]
    RefilledConcurrency { at: SpecKey },
    /// A refill of nothing, or one that arithmetic cannot hold.
    #[error("{at} is {value}: use 1 to {AMOUNT_MAX}; to cap a total, use a budget")]
    Amount { at: SpecKey, value: u64 },
    /// A period of nothing, or longer than a month.
    #[error(
        "{at} is {value:?}: use more than nothing and at most 31 days; for longer, use a budget"
    )]
    Period { at: SpecKey, value: Duration },
}

impl SpecError {
    /// Always the configuration's author's to fix.
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Name { .. }
            | Self::TooMany { .. }
            | Self::Twice { .. }
            | Self::Capacity { .. }
            | Self::Threshold { .. }
            | Self::NoRefill { .. }
            | Self::RefilledConcurrency { .. }
            | Self::Amount { .. }
            | Self::Period { .. } => Disposition::FixRequest,
        }
    }
}

/// The platforms of T1 that exist without configuration. Nobody named their limits, so they bind
/// only those who ask. Fallbacks are whatever the configuration lists.
pub fn builtin_platforms() -> [PoolSpec; 2] {
    let platform = |name: &str, capacity, per_hour, threshold| PoolSpec {
        platform: name.into(),
        buckets: vec![BucketSpec {
            name: "units".into(),
            resource: Resource::Units,
            capacity,
            refill: Some(Refill {
                amount: per_hour,
                period: Duration::from_hours(1),
            }),
            threshold,
            owner: Owner::Ours,
            enforcement: Enforcement::BuiltIn,
        }],
    };
    [
        platform("claude_code", 5_000, 100, 3_000),
        platform("sonnet", 10_000, 200, 7_000),
    ]
}

#[cfg(test)]
mod tests;
