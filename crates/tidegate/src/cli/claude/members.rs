//! A JSON object as text, of which single members are replaced, added and taken out. Every other
//! byte stays where it is: order, spaces and keys that nobody here knows.

use std::ops::Range;

use serde_json::Value;

/// Why a text is no object that can be changed. The line counts from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unchangeable {
    #[error("line {line}: {problem}")]
    Syntax { line: usize, problem: String },
    #[error("line {line}: `{place}` must be an object, in braces")]
    NotAnObject { line: usize, place: String },
    #[error("line {line}: `{place}` must be a list, in brackets")]
    NotAList { line: usize, place: String },
}

/// One member of an object.
struct Member {
    key: String,
    /// From its key's first quote to its value's last byte.
    whole: Range<usize>,
    value: Range<usize>,
}

/// An object in a text.
struct Object {
    /// Between its braces.
    inside: Range<usize>,
    members: Vec<Member>,
}

/// A text that is one JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Members(String);

impl Members {
    /// An empty text is taken for an empty object.
    pub(super) fn of(text: &str) -> Result<Self, Unchangeable> {
        if text.trim().is_empty() {
            return Ok(Self("{}\n".to_owned()));
        }
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(_)) => Ok(Self(text.to_owned())),
            Ok(_) => Err(Unchangeable::NotAnObject {
                line: 1,
                place: "the file".to_owned(),
            }),
            Err(error) => Err(Unchangeable::Syntax {
                line: error.line(),
                problem: error.to_string(),
            }),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// The value at a path of keys.
    pub(super) fn get(&self, path: &[&str]) -> Option<Value> {
        let whole: Value = serde_json::from_str(&self.0).ok()?;
        let mut at = &whole;
        for key in path {
            at = at.get(key)?;
        }
        Some(at.clone())
    }

    /// The value at a path, as it is written.
    pub(super) fn raw(&self, path: &[&str]) -> Option<&str> {
        let (last, parents) = path.split_last()?;
        let object = self.object(parents).ok()??;
        let member = object.members.into_iter().rfind(|it| it.key == **last)?;
        Some(&self.0[member.value])
    }

    /// The list at a path; `None` where nothing is there.
    pub(super) fn list(&self, path: &[&str]) -> Result<Option<Vec<Value>>, Unchangeable> {
        match self.get(path) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(Unchangeable::NotAList {
                line: self.line(path),
                place: path.join("."),
            }),
        }
    }

    /// The line on which the value at a path begins.
    fn line(&self, path: &[&str]) -> usize {
        let raw = self.raw(path).unwrap_or_default();
        // Both are parts of one text.
        let before = (raw.as_ptr() as usize).saturating_sub(self.0.as_ptr() as usize);
        let before = self.0.get(..before).unwrap_or_default();
        before.matches('\n').count() + 1
    }

    /// Puts a value, written as JSON, at a path of one or two keys; an object on the way that is
    /// missing is added.
    pub(super) fn set(&mut self, path: &[&str], value: &str) -> Result<(), Unchangeable> {
        let Some((last, parents)) = path.split_last() else {
            return Ok(());
        };
        let Some(object) = self.object(parents)? else {
            self.set(parents, "{}")?;
            return self.set(path, value);
        };
        if let Some(there) = object.members.iter().rfind(|it| it.key == **last) {
            self.0.replace_range(there.value.clone(), value);
            return Ok(());
        }
        let key = Value::from(*last);
        if let (Some(first), Some(end)) = (object.members.first(), object.members.last()) {
            let space = &self.0[object.inside.start..first.whole.start];
            let space = if space.is_empty() { " " } else { space };
            let added = format!(",{space}{key}: {value}");
            self.0.insert_str(end.whole.end, &added);
        } else {
            let outer = self.indent(object.inside.start - 1).to_owned();
            let added = format!("\n{outer}  {key}: {value}\n{outer}");
            self.0.replace_range(object.inside, &added);
        }
        Ok(())
    }

    /// Takes out what is at a path; it need not be there.
    pub(super) fn remove(&mut self, path: &[&str]) {
        let Some((last, parents)) = path.split_last() else {
            return;
        };
        let Ok(Some(object)) = self.object(parents) else {
            return;
        };
        let found = object.members.iter().rposition(|it| it.key == **last);
        let Some(at) = found else {
            return;
        };
        let members = &object.members;
        let gone = match (at.checked_sub(1), members.get(at + 1)) {
            (None, None) => object.inside,
            (Some(before), _) => members[before].whole.end..members[at].whole.end,
            (None, Some(after)) => members[at].whole.start..after.whole.start,
        };
        self.0.replace_range(gone, "");
    }

    /// The object at a path; `None` where nothing is there.
    fn object(&self, path: &[&str]) -> Result<Option<Object>, Unchangeable> {
        let start = self.0.len() - self.0.trim_start().len();
        let mut object = read_object(&self.0, start);
        for key in path {
            let Some(member) = object.members.into_iter().rfind(|it| it.key == **key) else {
                return Ok(None);
            };
            if !self.0[member.value.clone()].starts_with('{') {
                let before = &self.0[..member.value.start];
                return Err(Unchangeable::NotAnObject {
                    line: before.matches('\n').count() + 1,
                    place: (*key).to_owned(),
                });
            }
            object = read_object(&self.0, member.value.start);
        }
        Ok(Some(object))
    }

    /// What the line of a byte begins with.
    fn indent(&self, at: usize) -> &str {
        let line = self.0[..at].rfind('\n').map_or(0, |it| it + 1);
        let rest = &self.0[line..at];
        let end = rest.len() - rest.trim_start().len();
        &rest[..end]
    }
}

/// The members of the object whose brace stands at `open`, in a text that is known to be JSON.
fn read_object(text: &str, open: usize) -> Object {
    let mut members = Vec::new();
    let mut at = space(text, open + 1);
    while text[at..].starts_with('"') {
        let key = at..string(text, at);
        let value = space(text, space(text, key.end) + 1);
        let value = value..end_of_value(text, value);
        members.push(Member {
            key: serde_json::from_str(&text[key.clone()]).unwrap_or_default(),
            whole: key.start..value.end,
            value: value.clone(),
        });
        at = space(text, value.end);
        if text[at..].starts_with(',') {
            at = space(text, at + 1);
        }
    }
    Object {
        inside: open + 1..at,
        members,
    }
}

/// Where the space that begins at `at` ends.
fn space(text: &str, at: usize) -> usize {
    text.len() - text[at..].trim_start_matches([' ', '\t', '\r', '\n']).len()
}

/// Where the string that begins at `at` ends.
fn string(text: &str, at: usize) -> usize {
    let mut escaped = false;
    for (place, byte) in text.bytes().enumerate().skip(at + 1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return place + 1,
            _ => {}
        }
    }
    text.len()
}

/// Where the value that begins at `at` ends.
fn end_of_value(text: &str, at: usize) -> usize {
    let mut depth = 0_usize;
    let mut place = at;
    while let Some(byte) = text.as_bytes().get(place) {
        match byte {
            b'"' => {
                place = string(text, place);
                if depth == 0 {
                    return place;
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return if depth == 1 { place + 1 } else { place },
            b'}' | b']' => depth -= 1,
            b',' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => return place,
            _ => {}
        }
        place += 1;
    }
    text.len()
}

#[cfg(test)]
mod tests;
