use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// A request of blocks with so many tokens each (at one byte per token in tenths of 10) and breakpoints.
fn call(family: Family, model: &str, blocks: &[(&'static str, usize, Option<Life>)]) -> Call {
    let texts: Vec<String> = blocks
        .iter()
        .map(|(mark, length, _)| mark.repeat(*length))
        .collect();
    let parts = texts
        .iter()
        .zip(blocks)
        .map(|(text, it)| ("user", text.as_bytes(), it.2));
    Call {
        family,
        account: Account {
            fingerprint: 7,
            login: false,
        },
        model: model.into(),
        blocks: Block::chain(parts),
        output: Tokens(1),
        max_tokens: None,
        scripted: None,
    }
}

fn anthropic(blocks: &[(&'static str, usize, Option<Life>)]) -> Call {
    call(Family::Anthropic, "claude-opus-5-5", blocks)
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn cache() -> PromptCache {
    PromptCache::new(&CacheSpec::default())
}

/// Counts a call, and has it written as its answer begins: (plain, read, short, long).
fn run(cache: &mut PromptCache, call: &Call, seconds: u64) -> (u64, u64, u64, u64) {
    let count = cache.count(call, 10, at(seconds));
    cache.write(&count.writes, at(seconds));
    let usage = count.usage;
    (
        usage.input.0,
        usage.cache_read.0,
        usage.cache_write_5m.0,
        usage.cache_write_1h.0,
    )
}

const SHORT: Option<Life> = Some(Life::Short);
const LONG: Option<Life> = Some(Life::Long);

#[test]
fn rule_11_a_prefix_is_written_then_read_and_what_follows_is_plain() {
    let mut cache = cache();
    let first = anthropic(&[("a", 2_000, SHORT), ("b", 100, None)]);
    assert_eq!(run(&mut cache, &first, 0), (100, 0, 2_000, 0));
    assert_eq!(run(&mut cache, &first, 1), (100, 2_000, 0, 0));
    let other = anthropic(&[("x", 2_000, SHORT), ("b", 100, None)]);
    assert_eq!(run(&mut cache, &other, 2), (100, 0, 2_000, 0));
}

#[test]
fn rule_11_a_growing_conversation_reads_what_the_last_turn_wrote() {
    let mut cache = cache();
    let first = anthropic(&[("a", 2_000, SHORT)]);
    let second = anthropic(&[("a", 2_000, None), ("b", 50, None), ("c", 30, SHORT)]);
    run(&mut cache, &first, 0);
    assert_eq!(run(&mut cache, &second, 1), (0, 2_000, 80, 0));
    assert_eq!(run(&mut cache, &second, 2), (0, 2_080, 0, 0));
}

#[test]
fn rule_11_a_write_further_back_than_twenty_blocks_is_not_found() {
    let grown = |more: usize| {
        let mut blocks = vec![("a", 2_000, None)];
        blocks.extend(std::iter::repeat_n(("b", 1, None), more));
        blocks.last_mut().unwrap().2 = SHORT;
        anthropic(&blocks)
    };
    let mut cache = cache();
    run(&mut cache, &anthropic(&[("a", 2_000, SHORT)]), 0);
    let read =
        |cache: &mut PromptCache, more| cache.count(&grown(more), 10, at(1)).usage.cache_read.0;
    assert_eq!(read(&mut cache, 20), 2_000);
    assert_eq!(read(&mut cache, 21), 0);
}

#[test]
fn rule_11_lives_are_five_minutes_and_an_hour_and_a_read_starts_them_anew() {
    let mut cache = cache();
    let short = anthropic(&[("a", 2_000, SHORT)]);
    let long = anthropic(&[("b", 2_000, LONG)]);
    assert_eq!(run(&mut cache, &short, 0), (0, 0, 2_000, 0));
    assert_eq!(run(&mut cache, &long, 0), (0, 0, 0, 2_000));
    assert_eq!(run(&mut cache, &short, 299), (0, 2_000, 0, 0));
    assert_eq!(run(&mut cache, &short, 598), (0, 2_000, 0, 0));
    assert_eq!(run(&mut cache, &short, 898), (0, 0, 2_000, 0));
    assert_eq!(run(&mut cache, &long, 3_599), (0, 2_000, 0, 0));
    assert_eq!(run(&mut cache, &long, 7_199), (0, 0, 0, 2_000));
}

#[test]
fn rule_11_each_part_lives_as_long_as_the_breakpoint_that_closes_it_says() {
    let mixed = anthropic(&[("a", 2_000, LONG), ("b", 500, SHORT), ("c", 9, None)]);
    let mut cache = cache();
    assert_eq!(run(&mut cache, &mixed, 0), (9, 0, 500, 2_000));
    assert_eq!(run(&mut cache, &mixed, 301), (9, 2_000, 500, 0));
}

#[test]
fn rule_11_a_short_prefix_is_never_cached() {
    let mut cache = cache();
    let short = anthropic(&[("a", 1_023, SHORT)]);
    let enough = anthropic(&[("a", 1_024, SHORT)]);
    for seconds in 0..2 {
        assert_eq!(run(&mut cache, &short, seconds), (1_023, 0, 0, 0));
    }
    assert_eq!(run(&mut cache, &enough, 2), (0, 0, 1_024, 0));
}

#[test]
fn rule_11_credentials_and_models_share_nothing() {
    let mut cache = cache();
    let blocks = [("a", 2_000, SHORT)];
    let mine = anthropic(&blocks);
    let mut theirs = mine.clone();
    theirs.account.fingerprint = 8;
    let other_model = call(Family::Anthropic, "claude-sonnet-5-5", &blocks);
    run(&mut cache, &mine, 0);
    assert_eq!(run(&mut cache, &theirs, 1).1, 0);
    assert_eq!(run(&mut cache, &other_model, 1).1, 0);
    assert_eq!(run(&mut cache, &mine, 1).1, 2_000);
}

#[test]
fn rule_12_openai_caches_by_itself_in_steps_of_128() {
    let mut cache = cache();
    let first = call(Family::OpenAi, "gpt-5", &[("a", 2_000, None)]);
    let second = call(
        Family::OpenAi,
        "gpt-5",
        &[("a", 2_000, None), ("b", 10, None)],
    );
    assert_eq!(run(&mut cache, &first, 0), (2_000, 0, 0, 0));
    assert_eq!(run(&mut cache, &second, 1), (2_010 - 1_920, 1_920, 0, 0));
}

#[test]
fn a_full_cache_forgets_the_dead_and_then_learns_nothing() {
    let mut cache = cache();
    let keys = |from: u64| (from..from + CACHE_ENTRIES_MAX as u64).map(|it| (it, Life::Short));
    let (old, new): (Vec<_>, Vec<_>) = (keys(0).collect(), keys(1_000_000).collect());
    cache.write(&old, at(0));
    cache.write(&new, at(1));
    assert!(cache.entries.len() <= CACHE_ENTRIES_MAX);
    assert!(!cache.entries.contains_key(&new[0].0));
    cache.write(&new, at(301));
    assert!(cache.entries.contains_key(&new[0].0));
}

proptest! {
    #[test]
    fn rule_13_the_parts_add_up_to_all_input(
        blocks in proptest::collection::vec((1_usize..3_000, 0_u8..3), 1..12),
        tenths in 10_u32..100,
        wait in 0_u64..400,
    ) {
        let life = |it: u8| match it { 0 => None, 1 => SHORT, _ => LONG };
        let blocks: Vec<_> = blocks.iter().map(|&(length, it)| ("a", length, life(it))).collect();
        let bytes: usize = blocks.iter().map(|it| it.1).sum();
        let whole = anthropic(&blocks);
        let half = anthropic(&blocks[..blocks.len().div_ceil(2)]);
        let mut cache = cache();
        let count = cache.count(&half, tenths, at(0));
        cache.write(&count.writes, at(0));
        let count = cache.count(&whole, tenths, at(0).after(Duration::from_secs(wait)));
        prop_assert_eq!(count.usage.input_total().0, tokens_of(bytes as u64, tenths));
    }
}
