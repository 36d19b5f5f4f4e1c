//! The prompt cache: which prefix of a request was seen, and is still alive (rules 11 to 13).

use std::{hash::BuildHasher, time::Duration};

use foldhash::fast::FixedState;
use tidegate_types::{Timestamp, Tokens, Usage};

use super::{Account, Call, Family, Map};
use crate::{
    limits::{
        CACHE_ENTRIES_MAX, CACHE_LOOKBACK_BLOCKS, CACHE_PREFIX_TOKENS_MIN, OPENAI_CACHE_STEP_TOKENS,
    },
    spec::CacheSpec,
};

/// How long a write lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// Five minutes, Anthropic's default.
    Short,
    /// An hour, `ttl: 1h`.
    Long,
}

/// One block of a request, in cache order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Stands for the content of this block and all before it.
    pub chain: u64,
    /// Bytes of this block and all before it.
    pub end: u64,
    /// A breakpoint after it.
    pub breakpoint: Option<Life>,
}

impl Block {
    /// A request's blocks from whose they are, what they hold and their breakpoints. Equal beginnings
    /// have equal chains.
    pub fn chain<'a>(
        parts: impl IntoIterator<Item = (&'static str, &'a [u8], Option<Life>)>,
    ) -> Vec<Self> {
        let hasher = FixedState::default();
        let (mut chain, mut end) = (0_u64, 0_u64);
        let blocks = parts.into_iter().map(|(role, bytes, breakpoint)| {
            chain = hasher.hash_one((chain, role, bytes));
            end = end.saturating_add(bytes.len() as u64);
            Self {
                chain,
                end,
                breakpoint,
            }
        });
        blocks.collect()
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    life: Duration,
    dies: Timestamp,
}

/// What a call reads and what it will have written once its answer begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Count {
    pub(super) usage: Usage,
    pub(super) writes: Vec<(u64, Life)>,
}

#[derive(Debug)]
pub(super) struct PromptCache {
    enabled: bool,
    short: Duration,
    long: Duration,
    entries: Map<u64, Entry>,
}

impl PromptCache {
    pub(super) fn new(spec: &CacheSpec) -> Self {
        Self {
            enabled: spec.enabled,
            short: Duration::from_secs(spec.short_seconds.into()),
            long: Duration::from_secs(spec.long_seconds.into()),
            entries: Map::default(),
        }
    }

    /// Counts a call's input, and starts the lives of what it reads anew.
    pub(super) fn count(&mut self, call: &Call, tenths: u32, now: Timestamp) -> Count {
        let tokens = |bytes: u64| tokens_of(bytes, tenths);
        let total = tokens(call.blocks.last().map_or(0, |it| it.end));
        let breakpoints = self.breakpoints(call, tenths);
        let Some(&(last, _)) = breakpoints.last() else {
            return plain(total);
        };
        let key = |index: usize| key_of(call.account, &call.model, call.blocks[index].chain);
        let read = self.longest_read(call, &breakpoints, now);
        let read_tokens = read.map_or(0, |it| tokens(call.blocks[it].end));
        if let Some(read) = read {
            for index in 0..=read {
                self.refresh(key(index), now);
            }
        }
        if call.family == Family::OpenAi {
            let cached = read_tokens / OPENAI_CACHE_STEP_TOKENS * OPENAI_CACHE_STEP_TOKENS;
            let mut count = plain(total - cached);
            count.usage.cache_read = Tokens(cached);
            count.writes = breakpoints
                .iter()
                .map(|&(at, life)| (key(at), life))
                .collect();
            return count;
        }
        let mut count = plain(total - tokens(call.blocks[last].end));
        count.usage.cache_read = Tokens(read_tokens);
        let mut from = read_tokens;
        for &(at, life) in breakpoints
            .iter()
            .filter(|it| read.is_none_or(|read| it.0 > read))
        {
            let upto = tokens(call.blocks[at].end);
            let written = match life {
                Life::Short => &mut count.usage.cache_write_5m,
                Life::Long => &mut count.usage.cache_write_1h,
            };
            *written = Tokens(written.0 + (upto - from));
            from = upto;
            count.writes.push((key(at), life));
        }
        count
    }

    /// Makes what a call wrote readable.
    pub(super) fn write(&mut self, writes: &[(u64, Life)], now: Timestamp) {
        if self.entries.len() + writes.len() > CACHE_ENTRIES_MAX {
            self.entries.retain(|_, it| it.dies > now);
        }
        for &(key, life) in writes {
            let life = match life {
                Life::Short => self.short,
                Life::Long => self.long,
            };
            let dies = now.after(life);
            if self.entries.len() < CACHE_ENTRIES_MAX {
                self.entries.insert(key, Entry { life, dies });
            }
        }
    }

    /// Makes the prefix up to a block of a call readable.
    pub(super) fn warm(&mut self, call: &Call, at: usize, now: Timestamp) {
        if let Some(block) = call.blocks.get(at) {
            let key = key_of(call.account, &call.model, block.chain);
            self.write(&[(key, Life::Short)], now);
        }
    }

    /// Positions and lives of the breakpoints whose prefix is long enough.
    fn breakpoints(&self, call: &Call, tenths: u32) -> Vec<(usize, Life)> {
        let long_enough =
            |it: &Block| tokens_of(it.end, tenths) >= CACHE_PREFIX_TOKENS_MIN && self.enabled;
        let life = |it: &Block| match call.family {
            Family::Anthropic => it.breakpoint,
            Family::OpenAi => Some(Life::Short),
        };
        let blocks = call.blocks.iter().enumerate();
        blocks
            .filter(|(_, it)| long_enough(it))
            .filter_map(|(at, it)| Some((at, life(it)?)))
            .collect()
    }

    fn longest_read(
        &self,
        call: &Call,
        breakpoints: &[(usize, Life)],
        now: Timestamp,
    ) -> Option<usize> {
        let alive = |index: usize| {
            let key = key_of(call.account, &call.model, call.blocks[index].chain);
            self.entries.get(&key).is_some_and(|it| it.dies > now)
        };
        let reach = |at: usize| (at.saturating_sub(CACHE_LOOKBACK_BLOCKS)..=at).rev();
        breakpoints
            .iter()
            .rev()
            .find_map(|&(at, _)| reach(at).find(|&it| alive(it)))
    }

    fn refresh(&mut self, key: u64, now: Timestamp) {
        if let Some(entry) = self.entries.get_mut(&key).filter(|it| it.dies > now) {
            entry.dies = now.after(entry.life);
        }
    }
}

fn plain(input: u64) -> Count {
    Count {
        usage: Usage {
            input: Tokens(input),
            ..Usage::default()
        },
        writes: Vec::new(),
    }
}

fn key_of(account: Account, model: &str, chain: u64) -> u64 {
    FixedState::default().hash_one((account, model, chain))
}

/// Tokens of so many bytes, rounded up (rule 13).
pub(crate) fn tokens_of(bytes: u64, tenths_per_token: u32) -> u64 {
    bytes.saturating_mul(10).div_ceil(tenths_per_token.into())
}

#[cfg(test)]
mod tests;
