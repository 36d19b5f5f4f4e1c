//! Attributes: values of any shape, told apart into columns and one JSON object.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use tidegate_observe::redact::REDACTED;

use crate::{
    Rules,
    convention::{self, CACHE_READ, CACHE_WRITE, INPUT, Meaning, Slot, WORDS, meaning},
    limits::{ATTRIBUTES_MAX, DEPTH_MAX, NAME_CHARS_MAX, OBJECT_BYTES_MAX, VALUE_BYTES_MAX},
    names::{Names, holds_secrets, write_name},
    text::Json,
    wire::{Fields, Malformed},
};

/// A value of any shape (`AnyValue`).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Any<'a> {
    Nothing,
    Text(Cow<'a, str>),
    Flag(bool),
    Integer(i64),
    Double(f64),
    List(Fields<'a>),
    Map(Fields<'a>),
    Bytes(&'a [u8]),
}

impl PartialEq for Fields<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<'a> Any<'a> {
    pub(crate) fn of(mut fields: Fields<'a>) -> Result<Self, Malformed> {
        let mut it = Self::Nothing;
        while let Some((number, value)) = fields.next()? {
            it = match number {
                1 => Self::Text(value.text()?),
                2 => Self::Flag(value.number()? != 0),
                3 => Self::Integer(value.number()?.cast_signed()),
                4 => Self::Double(value.double()?),
                5 => Self::List(value.message()?),
                6 => Self::Map(value.message()?),
                7 => Self::Bytes(value.bytes()?),
                _ => it,
            };
        }
        Ok(it)
    }

    /// As a name: a text or a number.
    fn name(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            Self::Integer(number) => Some(Cow::Owned(number.to_string())),
            _ => None,
        }
    }

    /// As a whole number, which some senders write as a text.
    fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

/// One attribute: its name and value, as they lie on the wire.
fn key_and_value(mut fields: Fields<'_>) -> Result<(&[u8], Fields<'_>), Malformed> {
    let (mut key, mut held) = (&[][..], Fields(&[]));
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => key = value.bytes()?,
            2 => held = value.message()?,
            _ => {}
        }
    }
    Ok((key, held))
}

/// The same, read.
fn key_value(fields: Fields<'_>) -> Result<(Cow<'_, str>, Any<'_>), Malformed> {
    let (key, value) = key_and_value(fields)?;
    Ok((String::from_utf8_lossy(key), Any::of(value)?))
}

/// What has columns of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known<'a> {
    pub(crate) service: Option<Cow<'a, str>>,
    pub(crate) version: Option<Cow<'a, str>>,
    pub(crate) host: Option<Cow<'a, str>>,
    pub(crate) process: Option<i64>,
    pub(crate) thread: Option<Cow<'a, str>>,
    pub(crate) session: Option<Cow<'a, str>>,
    pub(crate) task: Option<Cow<'a, str>>,
    pub(crate) request: Option<Cow<'a, str>>,
    pub(crate) event: Option<Cow<'a, str>>,
}

impl<'a> Known<'a> {
    fn slot(&mut self, slot: Slot) -> Option<&mut Option<Cow<'a, str>>> {
        Some(match slot {
            Slot::Service => &mut self.service,
            Slot::Version => &mut self.version,
            Slot::Host => &mut self.host,
            Slot::Thread => &mut self.thread,
            Slot::Session => &mut self.session,
            Slot::Task => &mut self.task,
            Slot::Request => &mut self.request,
            Slot::Event => &mut self.event,
            Slot::Process => return None,
        })
    }
}

/// What was not kept of values that were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Texts that were cut, and values that were left out for their number, size or depth.
    pub values: u64,
    /// Prompts and answers that were withheld.
    pub withheld: u64,
}

/// Reads the attributes of one thing after another.
#[derive(Debug)]
pub(crate) struct Attributes<'a, 'r> {
    rules: &'r Rules,
    pub(crate) cut: &'r mut Cut,
    /// Whether names are those of Claude Code.
    pub(crate) claude_code: bool,
    pub(crate) known: Known<'a>,
    names: Names<'a>,
    /// The members so far, without the braces around them.
    pub(crate) json: Json,
    /// How long they may become.
    most: usize,
    count: usize,
    /// Values under older words, which give way to the latest.
    older: Vec<(usize, Any<'a>)>,
    /// Which of [`WORDS`] are written, the first as the lowest bit.
    written: u32,
    /// Tokens without, from and for the cache, where Claude Code says the first.
    tokens: [Option<i64>; 3],
    left_out: u64,
}

const _: () = assert!(WORDS.len() <= 32, "one bit for each word");

impl<'a, 'r> Attributes<'a, 'r> {
    pub(crate) fn new(rules: &'r Rules, cut: &'r mut Cut) -> Self {
        Self {
            rules,
            cut,
            claude_code: false,
            known: Known::default(),
            names: Names::new(),
            json: Json::default(),
            most: OBJECT_BYTES_MAX,
            count: 0,
            older: Vec::new(),
            written: 0,
            tokens: [None; 3],
            left_out: 0,
        }
    }

    /// Begins with the attributes of the next thing, of which at most so many bytes are kept.
    pub(crate) fn begin(&mut self, most: usize) {
        self.most = most;
        self.known = Known::default();
        self.json.clear();
        self.older.clear();
        (self.count, self.written, self.left_out) = (0, 0, 0);
        self.tokens = [None; 3];
    }

    /// One attribute, as a message.
    pub(crate) fn add(&mut self, fields: Fields<'a>) -> Result<(), Malformed> {
        let (key, sent) = key_and_value(fields)?;
        self.count += 1;
        if self.count > ATTRIBUTES_MAX {
            self.leave_out(1);
            return Ok(());
        }
        let name = self.names.place(key, self.claude_code, self.rules);
        match self.names[name].meaning {
            Some(Meaning::Column(slot)) => self.column(slot, name, Any::of(sent)?),
            Some(Meaning::Content) if !self.rules.content => self.withhold(name),
            Some(Meaning::Content) | None => self.plain(name, sent),
            Some(Meaning::Uncached) => {
                let value = Any::of(sent)?;
                let Some(tokens) = value.integer() else {
                    return self.member(name, &value);
                };
                self.tokens[0] = Some(tokens);
                Ok(())
            }
            Some(Meaning::Word(word)) if !self.names[name].is_word(word) => {
                self.older.push((word, Any::of(sent)?));
                Ok(())
            }
            Some(Meaning::Word(word)) if convention::is_count(WORDS[word]) => {
                self.word(word, &Any::of(sent)?)
            }
            Some(Meaning::Word(word)) => {
                if self.is_first(word) {
                    self.plain(name, sent)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Puts in what waited for the end, and how many attributes are not here, the sender's own count of
    /// such included.
    pub(crate) fn finish(&mut self, dropped: u64) -> Result<(), Malformed> {
        for (word, value) in std::mem::take(&mut self.older) {
            self.word(word, &value)?;
        }
        if let [Some(uncached), read, written] = self.tokens {
            let all = uncached
                .saturating_add(read.unwrap_or(0))
                .saturating_add(written.unwrap_or(0));
            if let Some(word) = WORDS.iter().position(|it| *it == INPUT) {
                self.word(word, &Any::Integer(all))?;
            }
        }
        let missing = dropped.saturating_add(self.left_out);
        if missing > 0 {
            self.json.name("dropped_attributes");
            self.json.unsigned(missing);
        }
        Ok(())
    }

    /// Counts what is not kept.
    pub(crate) fn leave_out(&mut self, values: u64) {
        self.left_out = self.left_out.saturating_add(values);
        self.cut.values += values;
    }

    fn column(&mut self, slot: Slot, key: usize, value: Any<'a>) -> Result<(), Malformed> {
        if slot == Slot::Process {
            match value.integer() {
                Some(number) if self.known.process.is_none() => self.known.process = Some(number),
                _ => return self.member(key, &value),
            }
            return Ok(());
        }
        let free = self.known.slot(slot).is_some_and(|it| it.is_none());
        if !free {
            return match (self.known.slot(slot), &value) {
                // Said twice in other words.
                (Some(Some(known)), Any::Text(text)) if known == text => Ok(()),
                _ => self.member(key, &value),
            };
        }
        match value {
            Any::Text(_) | Any::Integer(_) => {
                let name = value.name().map(|it| self.rules.name(it));
                if let Some(place) = self.known.slot(slot) {
                    *place = name;
                }
                Ok(())
            }
            other => self.member(key, &other),
        }
    }

    fn word(&mut self, word: usize, value: &Any<'a>) -> Result<(), Malformed> {
        let name = WORDS[word];
        if !self.is_first(word) {
            return Ok(());
        }
        let place = self
            .names
            .place(name.as_bytes(), self.claude_code, self.rules);
        if let Some(count) = value.integer().filter(|_| convention::is_count(name)) {
            match name {
                CACHE_READ => self.tokens[1] = Some(count),
                CACHE_WRITE => self.tokens[2] = Some(count),
                _ => {}
            }
            return self.member(place, &Any::Integer(count));
        }
        self.member(place, value)
    }

    /// Whether a word is not written yet; from here on it is.
    fn is_first(&mut self, word: usize) -> bool {
        let bit = 1 << word;
        let first = self.written & bit == 0;
        self.written |= bit;
        first
    }

    fn withhold(&mut self, key: usize) -> Result<(), Malformed> {
        self.cut.withheld += 1;
        self.member(key, &Any::Text(Cow::Borrowed(WITHHELD)))
    }

    /// A member that is what was sent. Most say the same as in the record before: then it is written
    /// as it was there.
    fn plain(&mut self, key: usize, sent: Fields<'a>) -> Result<(), Malformed> {
        let before = self.json.len();
        if let Some(member) = self.names[key].again(sent.0) {
            self.json.comma();
            self.json.raw(member);
            self.keep_within(before);
            return Ok(());
        }
        let cut = *self.cut;
        self.member(key, &Any::of(sent)?)?;
        if *self.cut == cut {
            let written = self.json.as_str().get(before..).unwrap_or_default();
            let member = written.strip_prefix(',').unwrap_or(written);
            self.names[key].remember(sent.0, member);
        }
        Ok(())
    }

    fn member(&mut self, key: usize, value: &Any<'a>) -> Result<(), Malformed> {
        let before = self.json.len();
        let name = &self.names[key];
        self.json.comma();
        self.json.raw(name.written.as_str());
        self.cut.values += u64::from(name.is_cut);
        let mut values = Values::new(self.rules, &mut *self.cut, &mut self.json);
        values.most = before + VALUE_BYTES_MAX;
        values.of_name(value, name.is_secret, 0)?;
        self.keep_within(before);
        Ok(())
    }

    /// Takes back what was written after it was so long, if that is more than is kept.
    fn keep_within(&mut self, before: usize) {
        if self.json.len() > self.most {
            self.json.truncate(before);
            self.leave_out(1);
        }
    }
}

/// What stands where a prompt or an answer was.
pub(crate) const WITHHELD: &str = "[withheld]";

/// Writes values as JSON, clean and bounded.
pub(crate) struct Values<'v> {
    pub(crate) rules: &'v Rules,
    pub(crate) cut: &'v mut Cut,
    pub(crate) json: &'v mut Json,
    /// How long the text may become with the value that is being written.
    most: usize,
}

impl<'v> Values<'v> {
    /// With a bound on all that is written.
    pub(crate) fn new(rules: &'v Rules, cut: &'v mut Cut, json: &'v mut Json) -> Self {
        Self {
            rules,
            cut,
            json,
            most: 0,
        }
    }

    /// A member with its name.
    pub(crate) fn member(&mut self, key: &str, value: &Any<'_>) -> Result<(), Malformed> {
        self.most = self.json.len() + VALUE_BYTES_MAX;
        self.named(key, value, 0)
    }

    /// A value alone, of at most so many bytes.
    pub(crate) fn value(&mut self, value: &Any<'_>, most: usize) -> Result<(), Malformed> {
        self.most = self.json.len() + most;
        self.any(value, 0)
    }

    /// Attributes as members of an object.
    pub(crate) fn attribute(&mut self, fields: Fields<'_>) -> Result<(), Malformed> {
        let (key, value) = key_value(fields)?;
        match meaning(&key, false) {
            Some(Meaning::Content) if !self.rules.content => {
                self.cut.withheld += 1;
                self.member(&key, &Any::Text(Cow::Borrowed(WITHHELD)))
            }
            _ => self.member(&key, &value),
        }
    }

    fn named(&mut self, key: &str, value: &Any<'_>, depth: usize) -> Result<(), Malformed> {
        self.json.comma();
        self.cut.values += u64::from(write_name(key, self.rules, self.json));
        self.of_name(value, holds_secrets(key), depth)
    }

    /// A value whose name is written, and may be one of secrets.
    fn of_name(&mut self, value: &Any<'_>, is_secret: bool, depth: usize) -> Result<(), Malformed> {
        match value {
            Any::Text(_) | Any::Bytes(_) | Any::List(_) | Any::Map(_) if is_secret => {
                self.json.text(REDACTED, usize::MAX);
                Ok(())
            }
            other => self.any(other, depth),
        }
    }

    fn any(&mut self, value: &Any<'_>, depth: usize) -> Result<(), Malformed> {
        match value {
            Any::Nothing => self.json.raw("null"),
            Any::Flag(it) => self.json.flag(*it),
            Any::Integer(it) => self.json.integer(*it),
            Any::Double(it) => self.json.double(*it),
            Any::Text(text) => {
                let clean = self.rules.redactor.redact(text);
                self.text(&clean);
            }
            Any::Bytes(bytes) => {
                let room = self.room() / 4 * 3;
                let kept = &bytes[..bytes.len().min(room)];
                self.cut.values += u64::from(kept.len() < bytes.len());
                self.text(&BASE64_STANDARD.encode(kept));
            }
            Any::List(_) | Any::Map(_) if depth == DEPTH_MAX => {
                self.cut.values += 1;
                self.json.raw("\"…\"");
            }
            Any::List(items) => self.list(*items, depth)?,
            Any::Map(members) => self.map(*members, depth)?,
        }
        Ok(())
    }

    fn list(&mut self, mut items: Fields<'_>, depth: usize) -> Result<(), Malformed> {
        self.json.raw("[");
        while let Some((number, item)) = items.next()? {
            if number != 1 {
                continue;
            }
            let item = Any::of(item.message()?)?;
            if self.room() == 0 {
                self.cut.values += 1;
                break;
            }
            self.json.comma();
            self.any(&item, depth + 1)?;
        }
        self.json.raw("]");
        Ok(())
    }

    fn map(&mut self, mut members: Fields<'_>, depth: usize) -> Result<(), Malformed> {
        self.json.raw("{");
        while let Some((number, member)) = members.next()? {
            if number != 1 {
                continue;
            }
            let (key, value) = key_value(member.message()?)?;
            if self.room() == 0 {
                self.cut.values += 1;
                break;
            }
            self.named(&key, &value, depth + 1)?;
        }
        self.json.raw("}");
        Ok(())
    }

    fn text(&mut self, text: &str) {
        let room = self.room();
        self.cut.values += u64::from(self.json.text(text, room));
    }

    fn room(&self) -> usize {
        self.most.saturating_sub(self.json.len())
    }
}

/// What is read of texts before they are kept.
impl Rules {
    /// A text without secrets.
    pub(crate) fn clean<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        match text {
            Cow::Borrowed(text) => self.redactor.redact(text),
            Cow::Owned(text) => Cow::Owned(self.redactor.redact(&text).into_owned()),
        }
    }

    /// A name without secrets, as long as names are.
    pub(crate) fn name<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        let clean = self.clean(text);
        if clean.len() <= NAME_CHARS_MAX {
            return clean;
        }
        match clean.char_indices().nth(NAME_CHARS_MAX) {
            Some((end, _)) => Cow::Owned(clean[..end].to_owned()),
            None => clean,
        }
    }
}
