//! Which models share limits (rule 1).

/// The class whose buckets a model draws on.
pub fn model_class(model: &str) -> String {
    let undated = match model.rsplit_once('-') {
        Some((rest, date)) if date.len() == 8 && is_number(date) => rest,
        _ => model,
    };
    let Some(claude) = undated.strip_prefix("claude-") else {
        return undated.to_owned();
    };
    let mut parts = claude.split('-');
    let (family, major) = (parts.next().unwrap_or_default(), parts.next());
    let Some(major) = major.filter(|it| is_number(it) && !is_number(family)) else {
        return undated.to_owned();
    };
    match parts.next() {
        Some(minor) if family == "haiku" || (major, minor) == ("5", "5") => {
            format!("{family}-{major}-{minor}")
        }
        _ => format!("{family}-{major}"),
    }
}

/// The word after `claude-`, if there is one.
pub(super) fn model_family(model: &str) -> Option<&str> {
    model.strip_prefix("claude-")?.split('-').next()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit())
}

#[cfg(test)]
mod tests;
