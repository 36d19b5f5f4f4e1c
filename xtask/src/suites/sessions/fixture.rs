//! Sessions made up for where the recorded ones are absent: they grow as real ones do, some pauses outlive the prompt cache,
//! and a few prompts cost more than any task limit allows.

use std::time::Duration;

use tidegate_sim::trace::{Row, Session};
use tidegate_types::Tokens;

const SESSIONS: u32 = 16;
const CALLS: u32 = 90;

/// Calls of one prompt: some end soon, some go on for long.
const PROMPT_CALLS: [u32; 3] = [6, 24, 60];

pub(super) fn sessions() -> Vec<Session> {
    (0..SESSIONS).map(session).collect()
}

fn session(number: u32) -> Session {
    let trace = format!("made-up-{number}");
    let mut prompt_ends = 0;
    let mut prompts = (number..).map(|it| PROMPT_CALLS[it as usize % PROMPT_CALLS.len()]);
    let rows = (0..CALLS).map(|seq| {
        let begins = seq == prompt_ends;
        if begins {
            prompt_ends += prompts.next().unwrap_or(CALLS);
        }
        let growth = 1_900 + u64::from((seq * 37 + number * 11) % 1_300);
        let input = 24_000 + u64::from(seq) * growth;
        let cold = (seq + number) % 9 == 8;
        Row {
            trace: trace.clone(),
            agent: "main".to_owned(),
            seq,
            at: Duration::from_secs(u64::from(seq) * 20),
            streamed: seq % 5 == 0,
            model: String::new(),
            input: Tokens(input),
            output: Tokens(120 + u64::from((seq * 53 + number) % 900)),
            cached: Tokens(input.saturating_sub(growth + 2_000)),
            cache_age: (seq > 0).then(|| Duration::from_secs(if cold { 700 } else { 20 })),
            first_byte: None,
            api: Some(Duration::from_secs(9)),
            think: Duration::from_secs(11),
            stop: if seq + 1 == prompt_ends {
                "end_turn"
            } else {
                "tool_use"
            }
            .to_owned(),
            input_types: if begins { "text" } else { "tool_result" }.to_owned(),
            output_types: "text".to_owned(),
            line: u64::from(seq) + 2,
        }
    });
    let rows = rows.collect();
    Session {
        trace,
        rows,
        ..Session::default()
    }
}
