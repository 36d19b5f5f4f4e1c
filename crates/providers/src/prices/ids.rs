//! The names a model goes by: what can be taken off a model id without meaning another model.

/// Longest model id that is looked at more closely; longer ones are no ids.
const ID_BYTES_MAX: usize = 256;

/// A model id as some platform writes it, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Normalised {
    /// Who makes the model, where the id says so: `anthropic` of `openrouter/anthropic/claude-opus-5-5`.
    pub(super) vendor: Option<String>,
    /// What rows may call it, the longest name first.
    pub(super) names: Vec<String>,
}

/// Takes `model` apart, in this order; each step that changes something adds a name:
///
/// 1. lower case; what stands before the last `/`, or before `anthropic.` (Bedrock), names the
///    vendor; what follows `:`, `@` or `[` is a variant, version or context size (of
///    `ft:MODEL:ORGANISATION:…` the first two parts stay); Bedrock's `-v1`
/// 2. without a date: `-20260901`, `-2026-09-01`
/// 3. without `-latest`
/// 4. with `-` for the dots of a version: `claude-opus-4.5`
///
/// Nothing for an id that is too long.
pub(super) fn normalised(model: &str) -> Normalised {
    if model.len() > ID_BYTES_MAX {
        return Normalised::default();
    }
    let lower = model.trim().to_ascii_lowercase();
    let (vendor, name) = match lower.rsplit_once('/') {
        Some((path, name)) => (path.rsplit(['/', ':']).next(), name),
        None => (None, lower.as_str()),
    };
    let (vendor, name) = match name.split_once("anthropic.") {
        Some((_region, name)) => (Some("anthropic"), name),
        None => (vendor, name),
    };
    let mut names: Vec<String> = Vec::new();
    let mut add = |name: &str| {
        if !name.is_empty() && names.iter().all(|it| it != name) {
            names.push(name.to_owned());
        }
    };
    let name = without_variant(name);
    add(name);
    let undated = without_date(name);
    add(undated);
    let plain = undated.strip_suffix("-latest").unwrap_or(undated);
    add(plain);
    add(&plain.replace('.', "-"));
    Normalised {
        vendor: vendor.map(str::to_owned),
        names,
    }
}

fn without_variant(name: &str) -> &str {
    let kept = if name.starts_with("ft:") { 2 } else { 1 };
    let end = name
        .match_indices(':')
        .nth(kept - 1)
        .map_or(name.len(), |(at, _)| at);
    let name = &name[..end];
    let name = name.split(['@', '[']).next().unwrap_or(name);
    match name.rsplit_once("-v") {
        Some((rest, version)) if is_digits(version) => rest,
        _ => name,
    }
}

fn without_date(name: &str) -> &str {
    let Some((rest, last)) = name.rsplit_once('-') else {
        return name;
    };
    if last.len() == 8 && is_digits(last) {
        return rest;
    }
    let parts = rest.rsplit_once('-').and_then(|(rest, month)| {
        let (name, year) = rest.rsplit_once('-')?;
        let shape = year.len() == 4 && month.len() == 2 && last.len() == 2;
        (shape && [year, month, last].into_iter().all(is_digits)).then_some(name)
    });
    parts.unwrap_or(name)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit())
}

#[cfg(test)]
mod tests;
