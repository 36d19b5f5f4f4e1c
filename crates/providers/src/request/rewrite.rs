//! Changes named values of a body and leaves every other byte as it is.

use std::ops::Range;

use crate::{Dialect, RequestFacts, request::StreamOptions};

/// What is to be changed in a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrite<'a> {
    /// The cap on generated tokens that is sent upstream.
    pub output_cap: Option<u64>,
    /// The model's name as the platform knows it.
    pub model: Option<&'a str>,
    /// Ask for the chunk that tells a chat stream's usage. Without effect on calls that are not
    /// streamed, and in the other dialects, which always tell it.
    pub include_usage: bool,
}

/// The body with the named values changed, byte for byte the same elsewhere; `None` where nothing
/// changes, so that nothing is copied.
///
/// `facts` must be those that [`scan`](crate::scan) found in this very body. A cap that the body
/// does not set is put in front of its first key: `max_tokens` (Anthropic), `max_completion_tokens`
/// (chat; the reasoning models refuse the older name), `max_output_tokens` (Responses).
pub fn rewrite(
    dialect: Dialect,
    body: &[u8],
    facts: &RequestFacts,
    change: &Rewrite<'_>,
) -> Option<Vec<u8>> {
    let edits = [
        change
            .output_cap
            .and_then(|it| cap_edit(dialect, facts, it)),
        change.model.and_then(|it| model_edit(facts, it)),
        usage_edit(dialect, facts).filter(|_| change.include_usage),
    ];
    let mut edits: Vec<Edit> = edits.into_iter().flatten().collect();
    if edits.is_empty() {
        return None;
    }
    edits.sort_by_key(|it| it.place.start);
    let growth: usize = edits.iter().map(|it| it.text.len()).sum();
    let mut out = Vec::with_capacity(body.len() + growth);
    let mut from = 0;
    for edit in &edits {
        out.extend_from_slice(body.get(from..edit.place.start).unwrap_or_default());
        out.extend_from_slice(edit.text.as_bytes());
        from = edit.place.end;
    }
    out.extend_from_slice(body.get(from..).unwrap_or_default());
    Some(out)
}

struct Edit {
    place: Range<usize>,
    text: String,
}

impl Edit {
    fn insert(at: usize, text: String) -> Self {
        Self {
            place: at..at,
            text,
        }
    }

    const fn replace(place: Range<usize>, text: String) -> Self {
        Self { place, text }
    }
}

fn cap_edit(dialect: Dialect, facts: &RequestFacts, cap: u64) -> Option<Edit> {
    if let Some(old) = &facts.output_cap {
        let changed = old.value != cap;
        return changed.then(|| Edit::replace(old.digits.clone(), cap.to_string()));
    }
    if let Some(null) = &facts.places.null_cap {
        return Some(Edit::replace(null.clone(), cap.to_string()));
    }
    let key = match dialect {
        Dialect::Anthropic => "max_tokens",
        Dialect::OpenAiChat => "max_completion_tokens",
        Dialect::OpenAiResponses => "max_output_tokens",
    };
    // The body has at least its model, so a comma is right.
    let text = format!(r#""{key}":{cap},"#);
    Some(Edit::insert(facts.places.top, text))
}

fn model_edit(facts: &RequestFacts, model: &str) -> Option<Edit> {
    if facts.model == model {
        return None;
    }
    let quoted = serde_json::Value::from(model).to_string();
    let inner = quoted.get(1..quoted.len() - 1)?;
    Some(Edit::replace(facts.model_span.clone(), inner.to_owned()))
}

fn usage_edit(dialect: Dialect, facts: &RequestFacts) -> Option<Edit> {
    if dialect != Dialect::OpenAiChat || !facts.stream || facts.include_usage == Some(true) {
        return None;
    }
    let asked = r#"{"include_usage":true}"#;
    Some(match &facts.places.stream_options {
        StreamOptions::Absent => {
            let text = format!(r#""stream_options":{asked},"#);
            Edit::insert(facts.places.top, text)
        }
        StreamOptions::Null(null) => Edit::replace(null.clone(), asked.to_owned()),
        StreamOptions::Object { inside, empty } => {
            let comma = if *empty { "" } else { "," };
            Edit::insert(*inside, format!(r#""include_usage":true{comma}"#))
        }
        StreamOptions::IncludeUsage(written) => Edit::replace(written.clone(), "true".to_owned()),
    })
}
