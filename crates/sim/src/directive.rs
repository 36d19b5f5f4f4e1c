//! What a prompt, or the `x-sim` header, can ask of the emulator.
//!
//! | directive | effect |
//! |---|---|
//! | `sim:say TEXT` | answers with the rest of the line |
//! | `sim:tokens N` | answers with text of N tokens |
//! | `sim:think TEXT` | a thinking block with the rest of the line, before the answer |
//! | `sim:tool NAME {json}` | calls that tool, if the request offers it; several make one answer with several calls |
//! | `sim:sleep-ms N` | the answer begins N ms later |
//! | `sim:stream-ms N` | the answer takes at least N ms from its first byte to its last |
//! | `sim:fault KIND[=N][*TIMES]` | fails, see [`Fault`] |
//! | `sim:next` | what follows is for the next turn |
//!
//! The newest text of a user that contains a directive counts. `sim:next` cuts it into steps: the first
//! step answers that text, the second answers after one turn of the assistant (so after the results of its
//! tools), and so on; after the last step the answer is ordinary text. Text that only resembles a directive is
//! text. Several directives may stand on a line, except after `sim:say` and `sim:think`.
//!
//! Headers, which win over the prompt: `x-sim` holds directives for every turn; `x-sim-fault` holds a fault;
//! `x-sim-usage: input=N,cache_read=N,cache_write_5m=N,cache_write_1h=N,output=N,reasoning=N` replaces
//! every count of the answer, those not named with 0 ([`parse_usage`]).

use std::time::Duration;

use tidegate_types::{Tokens, Usage};

use crate::{Fault, limits};

/// What stands behind `sim:` in a directive; `docs/emulated-provider.md` says what each does.
pub const WORDS: [&str; 8] = [
    "say",
    "tokens",
    "think",
    "tool",
    "sleep-ms",
    "stream-ms",
    "fault",
    "next",
];

/// A tool to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// Its name.
    pub name: String,
    /// Its input, as JSON.
    pub input: String,
}

/// What one answer is asked to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// Its text.
    pub say: Option<String>,
    /// Its length in tokens, where no text is given.
    pub tokens: Option<u64>,
    /// What is thought before.
    pub think: Option<String>,
    /// The tools it calls.
    pub tools: Vec<ToolCall>,
    /// How much later it begins.
    pub sleep: Duration,
    /// How long it streams, at least.
    pub stream_for: Duration,
    /// How it fails.
    pub fault: Option<Fault>,
}

/// The steps that a text asks for; none if it holds no directive.
pub fn steps(text: &str) -> Vec<Directives> {
    let mut steps = vec![Directives::default()];
    let mut found = false;
    let mut rest = text;
    while let Some(at) = rest.find("sim:") {
        rest = &rest[at + "sim:".len()..];
        let (word, after) = split_word(rest);
        if !WORDS.contains(&word) {
            continue;
        }
        if word == "next" {
            found = true;
            steps.push(Directives::default());
            rest = after;
        } else if let Some(step) = steps.last_mut()
            && let Some(consumed) = step.read(word, after)
        {
            found = true;
            rest = consumed;
        }
    }
    if found { steps } else { Vec::new() }
}

impl Directives {
    /// Takes in one directive; what follows it, or `None` if it is none.
    fn read<'a>(&mut self, word: &str, after: &'a str) -> Option<&'a str> {
        match word {
            "say" => {
                let (line, rest) = split_line(after);
                self.say = Some(clip(line).to_owned());
                Some(rest)
            }
            "think" => {
                let (line, rest) = split_line(after);
                self.think = Some(clip(line).to_owned());
                Some(rest)
            }
            "tool" => self.read_tool(after),
            _ => {
                let (argument, rest) = split_word(after.trim_start_matches(' '));
                self.read_number(word, argument).then_some(rest)
            }
        }
    }

    fn read_number(&mut self, word: &str, argument: &str) -> bool {
        if word == "fault" {
            self.fault = argument.parse().ok().or(self.fault);
            return argument.parse::<Fault>().is_ok();
        }
        let digits = argument.trim_end_matches(|it: char| !it.is_ascii_digit());
        let Ok(number) = digits.parse::<u64>() else {
            return false;
        };
        let wait = Duration::from_millis(number).min(limits::WAIT_MAX);
        match word {
            "tokens" => self.tokens = Some(number.clamp(1, limits::ANSWER_TOKENS_MAX)),
            "sleep-ms" => self.sleep = wait,
            "stream-ms" => self.stream_for = wait,
            _ => return false,
        }
        true
    }

    fn read_tool<'a>(&mut self, after: &'a str) -> Option<&'a str> {
        let (name, rest) = split_word(after.trim_start_matches(' '));
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<serde_json::Value>();
        let input = values.next()?.ok().filter(serde_json::Value::is_object)?;
        if name.is_empty() || self.tools.len() >= limits::TOOL_CALLS_MAX {
            return None;
        }
        self.tools.push(ToolCall {
            name: name.to_owned(),
            input: input.to_string(),
        });
        rest.get(values.byte_offset()..)
    }
}

fn split_word(text: &str) -> (&str, &str) {
    let end = text.find(|it: char| it.is_whitespace() || it == '"' || it == '<');
    text.split_at(end.unwrap_or(text.len()))
}

fn split_line(text: &str) -> (&str, &str) {
    let (line, rest) = text.split_at(text.find('\n').unwrap_or(text.len()));
    (line.trim(), rest)
}

fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(limits::SAY_BYTES_MAX)]
}

/// Why a scripted usage cannot be read. The sender must change it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "x-sim-usage: `{0}` is not one of input, cache_read, cache_write_5m, cache_write_1h, output, reasoning \
     with a number up to 1,000,000,000 after `=`"
)]
pub struct ParseUsageError(String);

/// More than any context window, and far from what sums can hold.
const SCRIPTED_TOKENS_MAX: u64 = 1_000_000_000;

/// Reads `input=12,output=7`.
pub fn parse_usage(text: &str) -> Result<Usage, ParseUsageError> {
    let mut usage = Usage::default();
    for part in text.split(',').filter(|it| !it.trim().is_empty()) {
        let refuse = || ParseUsageError(part.chars().take(60).collect());
        let (word, number) = part.split_once('=').ok_or_else(refuse)?;
        let tokens: u64 = number.trim().parse().map_err(|_| refuse())?;
        let field = match word.trim() {
            "input" => &mut usage.input,
            "cache_read" => &mut usage.cache_read,
            "cache_write_5m" => &mut usage.cache_write_5m,
            "cache_write_1h" => &mut usage.cache_write_1h,
            "output" => &mut usage.output,
            "reasoning" => &mut usage.reasoning,
            _ => return Err(refuse()),
        };
        if tokens > SCRIPTED_TOKENS_MAX {
            return Err(refuse());
        }
        *field = Tokens(tokens);
    }
    Ok(usage)
}

/// Writes what [`parse_usage`] reads.
pub fn format_usage(usage: &Usage) -> String {
    format!(
        "input={},cache_read={},cache_write_5m={},cache_write_1h={},output={},reasoning={}",
        usage.input.0,
        usage.cache_read.0,
        usage.cache_write_5m.0,
        usage.cache_write_1h.0,
        usage.output.0,
        usage.reasoning.0
    )
}

#[cfg(test)]
mod tests;
