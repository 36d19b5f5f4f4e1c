//! What an emulated provider is asked to be.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Fault, limits};

/// An emulated provider, complete. Every field has a default, unknown fields are refused, and
/// [`ProviderSpec::validate`] checks every bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderSpec {
    /// Where every draw of chance comes from. Same seed and same calls at the same times: same answers.
    pub seed: u64,
    /// How many times faster than the wall clock the provider's own time runs, 1 to 10,000:
    /// refill, cache lives and latencies alike. Times in its headers are its own.
    pub speed: u32,
    /// Has the provider's time stand still from then on, in seconds since 1970, up to the year 2100: only answers
    /// move it on, by what they take, which then passes at once, and whoever says how far to go:
    /// `POST /sim/clock` with `{"at_ns": N}`, nanoseconds since the start (`GET` says where it stands). Calls
    /// are to come one after the other then. `speed` counts for nothing.
    pub driven_from: Option<u64>,
    /// A credential containing this text is answered 401. Empty refuses none.
    pub refused_credential: String,
    /// The model ids that exist; any other is answered 404. Empty: every id exists.
    pub models: Vec<String>,
    /// The limits of every model class that `class_limits` does not name.
    pub limits: LimitSpec,
    /// Limits by model class (`opus-5-5`, `opus-4`, `haiku-4-5`, `gpt-5`; see `world` rule 1).
    pub class_limits: BTreeMap<String, LimitSpec>,
    /// Whether all models of a credential share one pool of `limits`; then classes are not told apart.
    pub shared_limits: bool,
    /// Requests a minute to `count_tokens`, per credential, 1 to 1,000,000,000.
    pub count_tokens_per_minute: u64,
    /// Windows of claude.ai logins (credentials that begin with `sk-ant-oat`).
    pub subscription: SubscriptionSpec,
    /// After this much, calls of a credential end with the spend-cap 429.
    pub spend_cap: Option<SpendCapSpec>,
    /// The prompt cache.
    pub cache: CacheSpec,
    /// How long answers take.
    pub latency: LatencySpec,
    /// What is answered when nothing else is asked for.
    pub answer: AnswerSpec,
    /// Bytes of request or answer text per token, in tenths, 10 to 100. 36 is the median of
    /// recorded Claude Code traffic.
    pub bytes_per_token_tenths: u32,
    /// Times at which a share of calls fails.
    pub episodes: Vec<EpisodeSpec>,
    /// Faults that hit a share of all calls.
    pub faults: Vec<FaultShareSpec>,
    /// Answer with prebuilt bytes and enforce nothing: an upstream for benches.
    pub fixed: Option<FixedSpec>,
    /// Where it is written down what passed.
    pub log: LogSpec,
}

impl Default for ProviderSpec {
    fn default() -> Self {
        Self {
            seed: 1,
            speed: 1,
            driven_from: None,
            refused_credential: "invalid".into(),
            models: Vec::new(),
            limits: LimitSpec::default(),
            class_limits: BTreeMap::new(),
            shared_limits: false,
            count_tokens_per_minute: 8_000,
            subscription: SubscriptionSpec::default(),
            spend_cap: None,
            cache: CacheSpec::default(),
            latency: LatencySpec::default(),
            answer: AnswerSpec::default(),
            bytes_per_token_tenths: 36,
            episodes: Vec::new(),
            faults: Vec::new(),
            fixed: None,
            log: LogSpec::default(),
        }
    }
}

impl ProviderSpec {
    /// The upstream of benches: prebuilt 1 KB answers and 40-event streams, no rules, no log.
    pub fn bench() -> Self {
        Self {
            fixed: Some(FixedSpec::default()),
            log: LogSpec {
                records: 0,
                file: None,
            },
            ..Self::default()
        }
    }

    /// All rules apply, with limits too high for any test to meet.
    pub fn unlimited() -> Self {
        Self {
            limits: LimitSpec {
                requests_per_minute: PER_MINUTE_MAX,
                input_tokens_per_minute: PER_MINUTE_MAX,
                output_tokens_per_minute: PER_MINUTE_MAX,
                tokens_per_minute: PER_MINUTE_MAX,
                burst_seconds: 60,
            },
            count_tokens_per_minute: PER_MINUTE_MAX,
            subscription: SubscriptionSpec {
                five_hour_units: UNITS_MAX,
                seven_day_units: UNITS_MAX,
                scoped_units: UNITS_MAX,
                ..SubscriptionSpec::default()
            },
            ..Self::default()
        }
    }

    /// Checks every bound. The error names the field, its value and what it may be.
    pub fn validate(&self) -> Result<(), SpecError> {
        within("speed", self.speed.into(), 1, 10_000)?;
        within("driven_from", self.driven_from.unwrap_or(0), 0, YEAR_2100)?;
        within(
            "bytes_per_token_tenths",
            self.bytes_per_token_tenths.into(),
            10,
            100,
        )?;
        within(
            "count_tokens_per_minute",
            self.count_tokens_per_minute,
            1,
            PER_MINUTE_MAX,
        )?;
        self.limits.validate()?;
        for limits in self.class_limits.values() {
            limits.validate()?;
        }
        self.subscription.validate()?;
        self.cache.validate()?;
        self.latency.validate()?;
        self.answer.validate()?;
        for episode in &self.episodes {
            within("episodes.per_mille", episode.per_mille.into(), 0, 1_000)?;
            within("episodes.after_ms", episode.after_ms, 0, YEAR_MS)?;
            within("episodes.lasts_ms", episode.lasts_ms, 0, YEAR_MS)?;
        }
        for share in &self.faults {
            within("faults.per_mille", share.per_mille.into(), 0, 1_000)?;
        }
        let records = u64::try_from(self.log.records).unwrap_or(u64::MAX);
        within(
            "log.records",
            records,
            0,
            limits::WIRE_LOG_RECORDS_MAX as u64,
        )?;
        self.fixed.as_ref().map_or(Ok(()), FixedSpec::validate)
    }
}

/// The largest rate: 1,000 × the largest published one, and far from what integers hold.
const PER_MINUTE_MAX: u64 = 1_000_000_000;
/// The largest subscription window.
const UNITS_MAX: u64 = 1_000_000_000_000_000;
/// In seconds since 1970.
const YEAR_2100: u64 = 4_102_444_800;
/// Longer than any run.
const YEAR_MS: u64 = 365 * 86_400_000;

/// Rate limits of one credential and model class. All per minute, 1 to 1,000,000,000.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSpec {
    /// Requests, both dialects.
    pub requests_per_minute: u64,
    /// Anthropic's ITPM: `input_tokens + cache_creation_input_tokens`.
    pub input_tokens_per_minute: u64,
    /// Anthropic's OTPM.
    pub output_tokens_per_minute: u64,
    /// OpenAI's TPM.
    pub tokens_per_minute: u64,
    /// How much unused allowance is kept, in seconds of refill, 1 to 3,600. Real depths are not
    /// published; runs are reported for 60, 10 and 1.
    pub burst_seconds: u32,
}

impl Default for LimitSpec {
    /// Anthropic's published Scale tier for Opus 5; TPM alike.
    fn default() -> Self {
        Self {
            requests_per_minute: 10_000,
            input_tokens_per_minute: 10_000_000,
            output_tokens_per_minute: 2_000_000,
            tokens_per_minute: 10_000_000,
            burst_seconds: 60,
        }
    }
}

impl LimitSpec {
    fn validate(&self) -> Result<(), SpecError> {
        for (key, value) in [
            ("requests_per_minute", self.requests_per_minute),
            ("input_tokens_per_minute", self.input_tokens_per_minute),
            ("output_tokens_per_minute", self.output_tokens_per_minute),
            ("tokens_per_minute", self.tokens_per_minute),
        ] {
            within(key, value, 1, PER_MINUTE_MAX)?;
        }
        within("burst_seconds", self.burst_seconds.into(), 1, 3_600)
    }
}

/// Windows of a claude.ai login, in units (`world` rule 9). Sizes are not published: these are ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubscriptionSpec {
    /// Units per five-hour window, 1 to 10¹⁵.
    pub five_hour_units: u64,
    /// Units per week, 1 to 10¹⁵.
    pub seven_day_units: u64,
    /// Units per week of the models of `scoped_family`, 1 to 10¹⁵.
    pub scoped_units: u64,
    /// The label of that window in header names.
    pub scoped_label: String,
    /// The model family it counts: the word after `claude-`.
    pub scoped_family: String,
}

impl Default for SubscriptionSpec {
    fn default() -> Self {
        Self {
            five_hour_units: 200_000_000,
            seven_day_units: 2_000_000_000,
            scoped_units: 1_000_000_000,
            scoped_label: "7d_oi".into(),
            scoped_family: "fable".into(),
        }
    }
}

impl SubscriptionSpec {
    fn validate(&self) -> Result<(), SpecError> {
        within("five_hour_units", self.five_hour_units, 1, UNITS_MAX)?;
        within("seven_day_units", self.seven_day_units, 1, UNITS_MAX)?;
        within("scoped_units", self.scoped_units, 1, UNITS_MAX)?;
        let word = |it: &u8| it.is_ascii_lowercase() || it.is_ascii_digit() || *it == b'_';
        if self.scoped_label.is_empty() || !self.scoped_label.bytes().all(|it| word(&it)) {
            return Err(SpecError::Label(self.scoped_label.clone()));
        }
        Ok(())
    }
}

/// A bill that ends in refusals. Prices are nano-dollars per token; the defaults are claude-opus-5-5's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpendCapSpec {
    /// The cap, in nano-dollars. A call is refused once the bill has reached it; the call that
    /// reaches it is finished.
    pub nano_usd: u64,
    /// Plain input.
    pub input: u64,
    /// Output.
    pub output: u64,
    /// Writes to the five-minute cache.
    pub cache_write_5m: u64,
    /// Writes to the one-hour cache.
    pub cache_write_1h: u64,
    /// Reads from the cache.
    pub cache_read: u64,
}

impl Default for SpendCapSpec {
    fn default() -> Self {
        Self {
            nano_usd: 500_000_000_000,
            input: 4_000,
            output: 20_000,
            cache_write_5m: 5_000,
            cache_write_1h: 8_000,
            cache_read: 200,
        }
    }
}

/// The prompt cache's lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheSpec {
    /// Whether there is one.
    pub enabled: bool,
    /// Life of a default write, in seconds, 1 to 86,400; every read starts it anew.
    pub short_seconds: u32,
    /// Life of a write with `ttl: 1h`, in seconds, 1 to 86,400.
    pub long_seconds: u32,
}

impl Default for CacheSpec {
    fn default() -> Self {
        Self {
            enabled: true,
            short_seconds: 300,
            long_seconds: 3_600,
        }
    }
}

impl CacheSpec {
    fn validate(&self) -> Result<(), SpecError> {
        within("cache.short_seconds", self.short_seconds.into(), 1, 86_400)?;
        within("cache.long_seconds", self.long_seconds.into(), 1, 86_400)
    }
}

/// A linear time: base plus so much per token. Microseconds, each 0 to 600,000,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LineSpec {
    /// For every call.
    pub base_us: u64,
    /// Per output token.
    pub output_us: u64,
    /// Per 1,000 input tokens that were not read from the cache.
    pub counted_1k_us: u64,
    /// Per 1,000 input tokens of any kind.
    pub total_1k_us: u64,
}

impl LineSpec {
    fn validate(&self) -> Result<(), SpecError> {
        let most = 600_000_000;
        within("latency.*.base_us", self.base_us, 0, most)?;
        within("latency.*.output_us", self.output_us, 0, most)?;
        within("latency.*.counted_1k_us", self.counted_1k_us, 0, most)?;
        within("latency.*.total_1k_us", self.total_1k_us, 0, most)
    }
}

/// How long answers take; at once by default. No answer takes longer than ten minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LatencySpec {
    /// From the request to the first byte of the answer.
    pub first_byte: LineSpec,
    /// From the request to the last byte; never less than `first_byte`.
    pub whole: LineSpec,
}

impl LatencySpec {
    /// Fitted to recorded Claude Code sessions: 1.36 s + 0.0115 s/1k counted + 0.0124 s/1k total to the
    /// first byte; 1.52 s + 0.0139 s/output token + 0.0144 s/1k + 0.0150 s/1k in all.
    pub const fn measured() -> Self {
        Self {
            first_byte: LineSpec {
                base_us: 1_360_000,
                output_us: 0,
                counted_1k_us: 11_500,
                total_1k_us: 12_400,
            },
            whole: LineSpec {
                base_us: 1_520_000,
                output_us: 13_900,
                counted_1k_us: 14_400,
                total_1k_us: 15_000,
            },
        }
    }

    fn validate(&self) -> Result<(), SpecError> {
        self.first_byte.validate()?;
        self.whole.validate()
    }
}

/// The answer to a prompt without directives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerSpec {
    /// Its length in tokens, 1 to 200,000.
    pub tokens: u64,
    /// Tokens in one streamed event, 1 to 10,000.
    pub tokens_per_event: u32,
}

impl Default for AnswerSpec {
    fn default() -> Self {
        Self {
            tokens: 32,
            tokens_per_event: 8,
        }
    }
}

impl AnswerSpec {
    fn validate(&self) -> Result<(), SpecError> {
        within("answer.tokens", self.tokens, 1, limits::ANSWER_TOKENS_MAX)?;
        within(
            "answer.tokens_per_event",
            self.tokens_per_event.into(),
            1,
            10_000,
        )
    }
}

/// A time in which a share of calls fails. Times count from the provider's start, in its own time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpisodeSpec {
    /// When it begins, in milliseconds, up to a year.
    pub after_ms: u64,
    /// How long it lasts, in milliseconds, up to a year.
    pub lasts_ms: u64,
    /// What happens; `529` by default.
    #[serde(default = "overloaded")]
    pub fault: Fault,
    /// To how many calls in a thousand, 0 to 1,000; all by default.
    #[serde(default = "always")]
    pub per_mille: u32,
}

/// A fault that hits a share of all calls, at any time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultShareSpec {
    /// What happens.
    pub fault: Fault,
    /// To how many calls in a thousand, 0 to 1,000.
    pub per_mille: u32,
}

fn overloaded() -> Fault {
    Fault::new(crate::FaultKind::Overloaded)
}

const fn always() -> u32 {
    1_000
}

/// Prebuilt answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FixedSpec {
    /// Bytes of an answer that is not streamed, 512 to 1,048,576.
    pub answer_bytes: u32,
    /// Events of one that is, 12 to 10,000.
    pub stream_events: u32,
    /// Time between two events, in microseconds, 0 to 60,000,000.
    pub event_gap_us: u32,
}

impl Default for FixedSpec {
    fn default() -> Self {
        Self {
            answer_bytes: 1_024,
            stream_events: 40,
            event_gap_us: 0,
        }
    }
}

impl FixedSpec {
    fn validate(&self) -> Result<(), SpecError> {
        within("fixed.answer_bytes", self.answer_bytes.into(), 512, 1 << 20)?;
        within("fixed.stream_events", self.stream_events.into(), 12, 10_000)?;
        within(
            "fixed.event_gap_us",
            self.event_gap_us.into(),
            0,
            60_000_000,
        )
    }
}

/// What is kept of the calls that passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSpec {
    /// Newest records kept in memory, 0 to 1,000,000.
    pub records: usize,
    /// A file that every record is appended to, as a line of JSON.
    pub file: Option<PathBuf>,
}

impl Default for LogSpec {
    fn default() -> Self {
        Self {
            records: limits::WIRE_LOG_RECORDS_DEFAULT,
            file: None,
        }
    }
}

fn within(key: &'static str, value: u64, least: u64, most: u64) -> Result<(), SpecError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(SpecError::OutOfBounds {
        key,
        value,
        least,
        most,
    })
}

/// Why a spec cannot be served. The caller must change it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// A number outside its bounds.
    #[error("`{key}` is {value}: set it from {least} to {most}")]
    OutOfBounds {
        /// The field.
        key: &'static str,
        /// What it was.
        value: u64,
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },
    /// A window label that cannot be part of a header name.
    #[error("`subscription.scoped_label` is `{0}`: use lower-case letters, digits and underscores")]
    Label(String),
}

#[cfg(test)]
mod tests;
