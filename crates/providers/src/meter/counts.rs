//! A usage object's counts, and what they mean in disjoint classes.

use tidegate_types::{Modifiers, NanoUsd, Tokens, Usage};

use super::Said;
use crate::{
    Dialect,
    decimal::scaled,
    json::{Cursor, Malformed, elements, fields, string, whole_number},
    request::apply_modifier,
};

/// Tokens of one kind that one answer is believed to have used: a hundred times the longest context there
/// is. Whatever tells more is broken, and one sum that it gets into is of no use to anybody any more.
const TOKENS_BELIEVED: u64 = 100_000_000;

/// Web searches that one answer is believed to have made: a model that searches all day makes fewer.
const SEARCHES_BELIEVED: u64 = 100_000;

/// What one answer is believed to have cost: more than so many tokens of the dearest model.
const COST_BELIEVED: NanoUsd = NanoUsd::from_usd(100_000);

/// Counts as the provider tells them: each is cumulative, so that what comes later replaces what
/// came before, and what is left out stays.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: u64,
    /// All cache writes.
    written: u64,
    /// The part of them that is told to live for minutes, and the part told to live longer.
    written_short: u64,
    written_long: u64,
    reasoning: u64,
    searches: u64,
    modifiers: Modifiers,
    said: Said,
    cost: Option<NanoUsd>,
    /// What a provider of the caller's own asked for beside `cost`.
    cost_upstream: NanoUsd,
    /// Cost is only the fee; the upstream's part is beside it.
    is_byok: bool,
    /// Samplings that the counts above leave out.
    beside: Beside,
}

/// Tokens of compactions, which Anthropic tells only in `iterations`.
#[derive(Clone, Copy, Debug, Default)]
struct Beside {
    input: u64,
    cache_read: u64,
    written_short: u64,
    written_long: u64,
    output: u64,
}

impl Counts {
    pub(super) const fn new() -> Self {
        Self {
            input: None,
            output: None,
            cache_read: 0,
            written: 0,
            written_short: 0,
            written_long: 0,
            reasoning: 0,
            searches: 0,
            modifiers: Modifiers {
                batch: false,
                fast: false,
                flex: false,
                regional: false,
            },
            said: Said {
                speed: false,
                geography: false,
            },
            cost: None,
            cost_upstream: NanoUsd::ZERO,
            is_byok: false,
            beside: Beside {
                input: 0,
                cache_read: 0,
                written_short: 0,
                written_long: 0,
                output: 0,
            },
        }
    }

    /// Whether the provider told both sides, and they can be.
    pub(super) fn are_told(&self) -> bool {
        self.input.is_some() && self.output.is_some() && self.are_believed()
    }

    pub(super) fn input_is_known(&self) -> bool {
        self.input.is_some() && self.are_believed()
    }

    /// Whether every figure is one that an answer can have. Where one isn't, the others prove nothing
    /// either.
    pub(super) fn are_believed(&self) -> bool {
        let beside = &self.beside;
        let tokens = [
            self.input.unwrap_or_default(),
            self.output.unwrap_or_default(),
            self.cache_read,
            self.written,
            self.written_short,
            self.written_long,
            self.reasoning,
            beside.input,
            beside.cache_read,
            beside.written_short,
            beside.written_long,
            beside.output,
        ];
        let costs = [self.cost.unwrap_or_default(), self.cost_upstream];
        tokens.into_iter().all(|it| it <= TOKENS_BELIEVED)
            && costs.into_iter().all(|it| it <= COST_BELIEVED)
            && self.searches <= SEARCHES_BELIEVED
    }

    pub(super) const fn said(&self) -> Said {
        self.said
    }

    pub(super) fn modifier(&mut self, key: &str, word: &[u8]) {
        self.said.speed |= matches!(key, "speed" | "service_tier");
        self.said.geography |= key == "inference_geo";
        apply_modifier(&mut self.modifiers, key, word);
    }

    pub(super) const fn add_search(&mut self) {
        self.searches = self.searches.saturating_add(1);
    }

    pub(super) fn at_least_searches(&mut self, searches: u64) {
        self.searches = self.searches.max(searches);
    }

    /// Takes in Anthropic's `usage`, of a message or of a `message_delta`.
    pub(super) fn absorb_anthropic(&mut self, usage: &[u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(usage);
        cursor.open(b'{', "a usage object")?;
        let mut first = true;
        while let Some(key) = cursor.next_key(&mut first)? {
            let value = cursor.value()?;
            match &*key {
                b"input_tokens" => replace_told(&mut self.input, value),
                b"output_tokens" => replace_told(&mut self.output, value),
                b"cache_read_input_tokens" => replace(&mut self.cache_read, value),
                b"cache_creation_input_tokens" => replace(&mut self.written, value),
                b"cache_creation" => {
                    let [short, long] = count_members(value, WRITES_BY_LIFE);
                    self.written_short = short.unwrap_or(self.written_short);
                    self.written_long = long.unwrap_or(self.written_long);
                }
                b"output_tokens_details" => {
                    let [thinking] = count_members(value, ["thinking_tokens"]);
                    self.reasoning = thinking.unwrap_or(self.reasoning);
                }
                b"server_tool_use" => {
                    let [searches] = count_members(value, ["web_search_requests"]);
                    self.searches = searches.unwrap_or(self.searches);
                }
                b"iterations" => self.beside = Beside::of(value),
                // Says nothing of the speed here.
                b"service_tier" => {
                    if let Some(word) = string(value) {
                        apply_modifier(&mut self.modifiers, "service_tier", word.raw);
                    }
                }
                b"speed" => self.modifier_value("speed", value),
                b"inference_geo" => self.modifier_value("inference_geo", value),
                b"cost" => self.cost = dollars(value),
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes in OpenAI's `usage`, of chat or of Responses.
    pub(super) fn absorb_openai(&mut self, usage: &[u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(usage);
        cursor.open(b'{', "a usage object")?;
        let mut first = true;
        while let Some(key) = cursor.next_key(&mut first)? {
            let value = cursor.value()?;
            match &*key {
                b"prompt_tokens" | b"input_tokens" => replace_told(&mut self.input, value),
                b"completion_tokens" | b"output_tokens" => replace_told(&mut self.output, value),
                b"prompt_tokens_details" | b"input_tokens_details" => self.input_details(value),
                b"completion_tokens_details" | b"output_tokens_details" => {
                    let [reasoning] = count_members(value, ["reasoning_tokens"]);
                    self.reasoning = reasoning.unwrap_or(self.reasoning);
                }
                b"cost" => self.cost = dollars(value),
                b"is_byok" => self.is_byok = value == b"true",
                b"cost_details" => {
                    let names = ["upstream_inference_cost"];
                    let [upstream] = fields(value, names).unwrap_or_default();
                    self.cost_upstream = upstream.and_then(dollars).unwrap_or_default();
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn input_details(&mut self, details: &[u8]) {
        let names = ["cached_tokens", "cache_write_tokens"];
        let [cached, written] = count_members(details, names);
        self.cache_read = cached.unwrap_or(self.cache_read);
        self.written = written.unwrap_or(self.written);
        let by_life = fields(details, ["cache_write_tokens_details"]).unwrap_or_default();
        if let [Some(by_life)] = by_life {
            let names = ["ttl_30m_tokens", "ttl_12h_tokens"];
            let [short, long] = count_members(by_life, names);
            self.written_short = short.unwrap_or(self.written_short);
            self.written_long = long.unwrap_or(self.written_long);
        }
    }

    fn modifier_value(&mut self, key: &str, value: &[u8]) {
        if let Some(word) = string(value) {
            self.modifier(key, word.raw);
        }
    }

    /// The counts in disjoint classes; `None` if the provider told nothing, or what cannot be.
    pub(super) fn usage(&self, dialect: Dialect) -> Option<Usage> {
        if (self.input.is_none() && self.output.is_none()) || !self.are_believed() {
            return None;
        }
        let (short, long) = split_writes(self.written, self.written_short, self.written_long);
        let told = self.input.unwrap_or_default();
        let input = match dialect {
            Dialect::Anthropic => told,
            // Cached and written input is part of what is told. Where it cannot be, the provider
            // counts apart, against the rule: then nothing is subtracted, so that nothing is free.
            Dialect::OpenAiChat | Dialect::OpenAiResponses => {
                let cached = self.cache_read.saturating_add(short).saturating_add(long);
                told.checked_sub(cached).unwrap_or(told)
            }
        };
        let cost = self.cost.map(|it| {
            let upstream = if self.is_byok {
                self.cost_upstream
            } else {
                NanoUsd::ZERO
            };
            it.saturating_add(upstream)
        });
        let beside = &self.beside;
        let output = self.output.unwrap_or_default();
        Some(Usage {
            input: Tokens(input.saturating_add(beside.input)),
            cache_read: Tokens(self.cache_read.saturating_add(beside.cache_read)),
            cache_write_5m: Tokens(short.saturating_add(beside.written_short)),
            cache_write_1h: Tokens(long.saturating_add(beside.written_long)),
            output: Tokens(output.saturating_add(beside.output)),
            reasoning: Tokens(self.reasoning),
            web_searches: self.searches,
            modifiers: self.modifiers,
            reported_cost: cost,
        })
    }
}

const WRITES_BY_LIFE: [&str; 2] = ["ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"];

impl Beside {
    /// Sums the compactions of `iterations`: their tokens are billed and in no other count.
    fn of(iterations: &[u8]) -> Self {
        let mut sum = Self::default();
        for iteration in elements(iterations) {
            let names = ["type", "cache_creation"];
            let [kind, creation] = fields(iteration, names).unwrap_or_default();
            if kind != Some(br#""compaction""#) {
                continue;
            }
            let names = [
                "input_tokens",
                "output_tokens",
                "cache_read_input_tokens",
                "cache_creation_input_tokens",
            ];
            let [input, output, read, written] =
                count_members(iteration, names).map(Option::unwrap_or_default);
            let by_life = count_members(creation.unwrap_or(b"{}"), WRITES_BY_LIFE);
            let [short, long] = by_life.map(Option::unwrap_or_default);
            let (short, long) = split_writes(written, short, long);
            sum.input = sum.input.saturating_add(input);
            sum.output = sum.output.saturating_add(output);
            sum.cache_read = sum.cache_read.saturating_add(read);
            sum.written_short = sum.written_short.saturating_add(short);
            sum.written_long = sum.written_long.saturating_add(long);
        }
        sum
    }
}

/// Writes by their life. What `total` has beyond the parts lives as long as the parts do, or for
/// minutes, the default, where neither part or both are told.
const fn split_writes(total: u64, short: u64, long: u64) -> (u64, u64) {
    let rest = total.saturating_sub(short.saturating_add(long));
    if short == 0 && long > 0 {
        (0, long.saturating_add(rest))
    } else {
        (short.saturating_add(rest), long)
    }
}

fn replace(place: &mut u64, value: &[u8]) {
    if let Some(count) = scaled_up(value, 0) {
        *place = count;
    }
}

fn replace_told(place: &mut Option<u64>, value: &[u8]) {
    *place = scaled_up(value, 0).or(*place);
}

fn count_members<const N: usize>(object: &[u8], names: [&str; N]) -> [Option<u64>; N] {
    let values = fields(object, names).unwrap_or([None; N]);
    values.map(|it| it.and_then(|it| scaled_up(it, 0)))
}

/// Dollars written as a JSON number, rounded up to a whole nano-dollar.
fn dollars(value: &[u8]) -> Option<NanoUsd> {
    scaled_up(value, 9).map(NanoUsd)
}

/// A JSON number times 10^`decimals`, rounded up, or the most that can be held, which nobody
/// [believes](Counts::are_believed). `None` for what is negative or no number.
fn scaled_up(literal: &[u8], decimals: u32) -> Option<u64> {
    // As nearly all counts are written.
    if decimals == 0
        && let Some(count) = whole_number(literal)
    {
        return Some(count);
    }
    if !literal.first()?.is_ascii_digit() {
        return None;
    }
    let number = scaled(std::str::from_utf8(literal).ok()?, decimals);
    let units = number.and_then(|it| it.units.checked_add(u64::from(!it.exact)));
    Some(units.unwrap_or(u64::MAX))
}
