//! Finds `cache_control` in a block's JSON and leaves it out: moving a breakpoint changes no prefix.

use std::borrow::Cow;

use memchr::memmem;

use crate::world::Life;

const KEY: &[u8] = br#""cache_control""#;

/// The block's bytes without `cache_control`, and the life it asks for.
///
/// A breakpoint is the key outside a string, with an object of type `ephemeral`; a tool whose schema has a
/// property of that name has none.
pub(super) fn split_cache_control(raw: &str) -> (Cow<'_, [u8]>, Option<Life>) {
    let bytes = raw.as_bytes();
    let (mut rest, mut life, mut kept) = (Vec::new(), None, 0);
    for at in memmem::find_iter(bytes, KEY) {
        let escaped = at > 0 && bytes[at - 1] == b'\\';
        let Some((end, found)) =
            breakpoint(bytes, at + KEY.len()).filter(|_| !escaped && at >= kept)
        else {
            continue;
        };
        life = Some(found);
        let (from, upto) = with_comma(bytes, at, end);
        rest.extend_from_slice(&bytes[kept..from.max(kept)]);
        kept = upto;
    }
    if life.is_none() {
        return (Cow::Borrowed(bytes), None);
    }
    rest.extend_from_slice(&bytes[kept..]);
    (Cow::Owned(rest), life)
}

/// The life that the JSON of a `cache_control` asks for, if it is a breakpoint.
pub(super) fn life_of(object: &str) -> Option<Life> {
    let bytes = object.as_bytes();
    memmem::find(bytes, br#""ephemeral""#)?;
    Some(match memmem::find(bytes, br#""1h""#) {
        Some(_) => Life::Long,
        None => Life::Short,
    })
}

/// After the key: the end of its object and the life asked for.
fn breakpoint(bytes: &[u8], mut at: usize) -> Option<(usize, Life)> {
    let blank = |it: &u8| matches!(it, b' ' | b'\n' | b'\t' | b'\r');
    at += bytes[at..].iter().take_while(|it| blank(it)).count();
    if bytes.get(at) != Some(&b':') {
        return None;
    }
    at += 1;
    at += bytes[at..].iter().take_while(|it| blank(it)).count();
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    let end = at + memchr::memchr(b'}', &bytes[at..])? + 1;
    let object = std::str::from_utf8(&bytes[at..end]).ok()?;
    Some((end, life_of(object)?))
}

/// Widens a range by the comma before it, or else the one after it.
fn with_comma(bytes: &[u8], from: usize, upto: usize) -> (usize, usize) {
    let blank = |it: &&u8| matches!(it, b' ' | b'\n' | b'\t' | b'\r');
    let before = bytes[..from].iter().rev().take_while(blank).count();
    if from > before && bytes[from - before - 1] == b',' {
        return (from - before - 1, upto);
    }
    let after = bytes[upto..].iter().take_while(blank).count();
    if bytes.get(upto + after) == Some(&b',') {
        return (from, upto + after + 1);
    }
    (from, upto)
}

#[cfg(test)]
mod tests;
