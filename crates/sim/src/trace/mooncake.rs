//! Mooncake's traces: `timestamp` (ms), `input_length`, `output_length`, `hash_ids`, an object for each call.
//!
//! Each id stands for 512 tokens with all that goes before them: two prompts that have an id in common begin alike up to
//! there. Which call had a block last is kept in mind for each, so that it is known what a later one could read.

use std::{collections::HashMap, time::Duration};

use foldhash::fast::RandomState;
use serde_json::Value;
use tidegate_types::Tokens;

use super::{
    Format, Loaded, Reading, Shared, TraceError,
    azure::SORTED,
    fields::{Object, Objects, Place},
    source::Source,
    traffic::{Arrivals, MODEL, Taken, within_memory},
};
use crate::limits::TRACE_BLOCKS_MAX;

/// Tokens that an id stands for.
const BLOCK_TOKENS: u64 = 512;

pub(super) fn load(source: Source, reading: &Reading) -> Result<Loaded, TraceError> {
    let path = source.path;
    let mut objects = Objects::new(&path, source.reader);
    let mut arrivals = Arrivals::new(reading);
    let mut blocks = Blocks::default();
    let mut passed_over = 0;
    while let Some((line, map)) = objects.next()? {
        let place = Place { path: &path, line };
        let object = Object {
            place,
            map: &map,
            within: "",
        };
        let remedy = "write milliseconds since the trace began, a whole number";
        let at = Duration::from_millis(object.whole("timestamp", remedy)?);
        let input = object.tokens("input_length")?;
        let ids = ids(&object)?;
        match arrivals.take(at, MODEL, (input, object.tokens("output_length")?)) {
            Taken::At(place) => {
                let shared = blocks.take(&ids, place, input);
                if let Some(arrival) = arrivals.last_mut() {
                    arrival.shared = shared;
                }
            }
            Taken::Other => passed_over += 1,
            Taken::Late => break,
            Taken::Early => return Err(object.wrong("timestamp", SORTED)),
        }
        within_memory(&path, arrivals.len())?;
        if blocks.0.len() > TRACE_BLOCKS_MAX {
            let reason = format!(
                "here are more than {TRACE_BLOCKS_MAX} different blocks, which is the most that are held at once: ask for fewer hours"
            );
            return Err(place.error(reason));
        }
    }
    Ok(arrivals.loaded(Format::Mooncake, passed_over))
}

fn ids(object: &Object<'_>) -> Result<Vec<u64>, TraceError> {
    let list = object.map.get("hash_ids").and_then(Value::as_array);
    let ids = list.and_then(|it| it.iter().map(Value::as_u64).collect());
    ids.ok_or_else(|| object.wrong("hash_ids", "write a list of whole numbers"))
}

/// Which call had each block last.
#[derive(Default)]
struct Blocks(HashMap<u64, u32, RandomState>);

impl Blocks {
    /// What a call shares with those before it. From here on, it is the last one to have had its blocks.
    fn take(&mut self, ids: &[u64], place: u32, input: Tokens) -> Option<Shared> {
        let known = ids.iter().map_while(|it| self.0.get(it).copied());
        let (length, with) = known.fold((0_u64, None), |(n, _), it| (n + 1, Some(it)));
        for id in ids {
            self.0.insert(*id, place);
        }
        // The last token is always read anew: without it there is nothing to answer.
        let most = input.0.saturating_sub(1);
        let tokens = Tokens(length.saturating_mul(BLOCK_TOKENS).min(most));
        with.filter(|_| tokens.0 > 0)
            .map(|with| Shared { with, tokens })
    }
}
