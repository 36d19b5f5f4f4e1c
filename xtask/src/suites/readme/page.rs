//! A page as its tests see it: blocks that are run, what they are to print, and what is only named.

use anyhow::{Context as _, bail};

/// What stands before the words of a mark.
const MARK: &str = "<!-- test: ";

/// What begins and ends a block.
const FENCE: &str = "```";

/// A block to be run, or not to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// Where its text begins, from 1.
    pub(super) line: usize,
    pub(super) language: Language,
    pub(super) text: String,
    pub(super) mark: Mark,
    /// The `text` block right below it: lines that it prints, in this order.
    pub(super) shows: Option<String>,
}

/// What a block is written in. Blocks in other languages are pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// Commands.
    Shell,
    /// A program.
    Python,
    /// A configuration.
    Toml,
}

/// What the comment above a block says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing: it ends by itself, with success.
    Run,
    /// `serve ADDRESS`: it goes on, and answers at this address of the page.
    Serve(String),
    /// `none because REASON`: it can't be run.
    None(String),
}

/// The blocks of a page, in order.
///
/// # Errors
/// A mark that says nothing we know, or stands above no block; a block without an end.
pub(super) fn blocks(page: &str) -> anyhow::Result<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut mark = None;
    // Whether nothing stands between the last block and here.
    let mut is_below = false;
    let mut lines = (1..).zip(page.lines());
    while let Some((line, text)) = lines.next() {
        if let Some(words) = text.strip_prefix(MARK) {
            let read = read_mark(words).with_context(|| format!("line {line}"))?;
            if mark.replace((line, read)).is_some() {
                bail!("line {line}: a mark above a mark");
            }
        } else if let Some(language) = text.strip_prefix(FENCE) {
            let inside = until_fence(&mut lines).with_context(|| format!("line {line}"))?;
            let said = mark.take();
            let language = match language {
                "sh" => Language::Shell,
                "python" => Language::Python,
                "toml" => Language::Toml,
                other => {
                    if said.is_some() {
                        bail!("line {line}: nothing marks a block of `{other}`");
                    }
                    if let Some(last) = blocks.last_mut().filter(|_| is_below && other == "text") {
                        last.shows = Some(inside);
                    }
                    continue;
                }
            };
            blocks.push(Block {
                line: line + 1,
                language,
                text: inside,
                mark: said.map_or(Mark::Run, |(_, it)| it),
                shows: None,
            });
            is_below = true;
        } else if !text.trim().is_empty() {
            if let Some((line, _)) = mark {
                bail!("line {line}: a mark above no block");
            }
            is_below = false;
        }
    }
    Ok(blocks)
}

fn read_mark(words: &str) -> anyhow::Result<Mark> {
    let words = words.strip_suffix("-->").context("a mark without an end")?;
    if let Some(address) = words.strip_prefix("serve ") {
        return Ok(Mark::Serve(address.trim().to_owned()));
    }
    match words.strip_prefix("none because ").map(str::trim) {
        Some(why) if !why.is_empty() => Ok(Mark::None(why.to_owned())),
        _ => bail!(
            "`{}` is no mark: write `serve ADDRESS` or `none because REASON`",
            words.trim()
        ),
    }
}

fn until_fence<'a>(lines: &mut impl Iterator<Item = (usize, &'a str)>) -> anyhow::Result<String> {
    let mut inside = String::new();
    for (_, text) in lines {
        if text == FENCE {
            return Ok(inside);
        }
        inside.push_str(text);
        inside.push('\n');
    }
    bail!("a block without an end")
}

/// What stands between backticks in running text, in order.
pub(super) fn spans(page: &str) -> Vec<&str> {
    let mut is_inside = false;
    let mut spans = Vec::new();
    for text in page.lines() {
        if text.starts_with(FENCE) {
            is_inside = !is_inside;
        } else if !is_inside {
            // Between the first and the second, the third and the fourth, …
            spans.extend(text.split('`').skip(1).step_by(2));
        }
    }
    spans
}

/// Suites that a page names as `suite` and the name between backticks.
pub(super) fn suites(page: &str) -> Vec<&str> {
    let after = page.split("suite `").skip(1);
    after.filter_map(|it| it.split('`').next()).collect()
}

/// The first line of `expected` that `output` does not show where it should: after the lines that
/// stand above it. In a line, `…` stands for anything; runs of spaces count as one.
pub(super) fn missing<'a>(expected: &'a str, output: &str) -> Option<&'a str> {
    let mut rest = output.lines();
    expected
        .lines()
        .filter(|it| !it.trim().is_empty())
        .find(|wanted| !rest.any(|line| is_like(wanted, line)))
}

fn is_like(wanted: &str, line: &str) -> bool {
    let plain = |it: &str| it.split_whitespace().collect::<Vec<_>>().join(" ");
    let (wanted, line) = (plain(wanted), plain(line));
    // What stands for anything stands for the spaces around it too.
    let mut pieces = wanted.split('…').map(str::trim);
    let Some(mut rest) = pieces.next().and_then(|it| line.strip_prefix(it)) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}
