//! From a message to a batch: resources, scopes, and their records.

use std::{borrow::Cow, sync::Arc};

use tidegate_observe::{
    redact::Redactor,
    telemetry::{Batch, Kind, RowWriter},
};
use tidegate_types::Timestamp;

use crate::{
    attributes::{Attributes, Cut, Known},
    convention::is_claude_code,
    limits::{BATCH_BYTES_MAX, OBJECT_BYTES_MAX, RECORDS_MAX, RESOURCE_BYTES_MAX},
    logs, metrics, spans,
    text::Json,
    wire::{Fields, Malformed},
};

/// What a request brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Log records and events.
    Logs,
    /// Spans.
    Traces,
    /// Points of metrics.
    Metrics,
}

impl Signal {
    /// The written form, as in the paths of OTLP over HTTP.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }

    /// What its records become.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Logs => Kind::Logs,
            Self::Traces => Kind::Spans,
            Self::Metrics => Kind::Metrics,
        }
    }
}

/// Who sends, by the key and by nothing that is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The organisation that its records belong to.
    pub organisation: Arc<str>,
    /// The user.
    pub user: Arc<str>,
}

/// What is kept of what is sent.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// What is removed from every text.
    pub redactor: Redactor,
    /// Whether prompts and answers are kept.
    pub content: bool,
}

/// A request, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The records that are taken.
    pub batch: Batch,
    /// Records that are not, by why.
    pub rejected: Rejected,
    /// What is not kept of records that are.
    pub cut: Cut,
}

/// Records that are not taken, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// Spans without a valid id of their own or of a trace.
    pub invalid: u64,
    /// Beyond what one request may bring.
    pub beyond: u64,
}

impl Rejected {
    /// All of them.
    pub fn records(&self) -> u64 {
        self.invalid.saturating_add(self.beyond)
    }

    /// Why, for people; empty where none was rejected.
    pub fn reason(&self) -> String {
        let mut reasons = Vec::new();
        if self.beyond > 0 {
            reasons.push(format!(
                "{} are beyond the {RECORDS_MAX} records or {} MiB of one request: send smaller batches",
                self.beyond,
                BATCH_BYTES_MAX >> 20
            ));
        }
        if self.invalid > 0 {
            reasons.push(format!(
                "{} have no valid id: a trace's has 16 bytes and a span's 8, not all of them zero",
                self.invalid
            ));
        }
        reasons.join("; ")
    }
}

/// Reads a request (`Export…ServiceRequest`) in Protocol Buffers. Times that can't be are corrected
/// when the batch is taken in; a record without any has `now`.
///
/// # Errors
/// Bytes that are no such message. Nothing of them is taken.
pub fn decode(
    signal: Signal,
    message: &[u8],
    from: &Sender,
    rules: &Rules,
    now: Timestamp,
) -> Result<Decoded, Malformed> {
    let mut cut = Cut::default();
    let mut run = Run {
        batch: Batch::new(signal.kind()),
        from,
        rules,
        now,
        attributes: Attributes::new(rules, &mut cut),
        object: Json::default(),
        rejected: Rejected::default(),
    };
    let mut request = Fields(message);
    while let Some((number, value)) = request.next()? {
        if number == 1 {
            run.resource(signal, value.message()?)?;
        }
    }
    let Run {
        batch, rejected, ..
    } = run;
    Ok(Decoded {
        batch,
        rejected,
        cut,
    })
}

/// A request that is being read.
pub(crate) struct Run<'a, 'r> {
    pub(crate) batch: Batch,
    pub(crate) from: &'r Sender,
    pub(crate) rules: &'r Rules,
    pub(crate) now: Timestamp,
    pub(crate) attributes: Attributes<'a, 'r>,
    /// For whole objects, one after another.
    pub(crate) object: Json,
    pub(crate) rejected: Rejected,
}

/// What all records of a scope share.
#[derive(Debug, Default)]
pub(crate) struct Origin<'a> {
    pub(crate) known: Known<'a>,
    /// The scope's name.
    pub(crate) component: Cow<'a, str>,
    pub(crate) claude_code: bool,
    /// What else both say, as members of an object.
    pub(crate) members: String,
}

impl<'a> Run<'a, '_> {
    /// All records of a resource. What it says may come after them.
    fn resource(&mut self, signal: Signal, fields: Fields<'a>) -> Result<(), Malformed> {
        self.attributes.begin(RESOURCE_BYTES_MAX);
        self.attributes.claude_code = false;
        let mut look = fields;
        while let Some((number, value)) = look.next()? {
            if number == 1 {
                self.attributes_of(value.message()?, 1)?;
            }
        }
        self.attributes.finish(0)?;
        let known = std::mem::take(&mut self.attributes.known);
        let mut members = String::new();
        enclose(&mut members, "resource", self.attributes.json.as_str());
        let mut scopes = fields;
        while let Some((number, value)) = scopes.next()? {
            if number == 2 {
                self.scope(signal, value.message()?, (&known, &members))?;
            }
        }
        Ok(())
    }

    fn scope(
        &mut self,
        signal: Signal,
        fields: Fields<'a>,
        (known, members): (&Known<'a>, &str),
    ) -> Result<(), Malformed> {
        let mut origin = Origin {
            known: known.clone(),
            members: members.to_owned(),
            ..Origin::default()
        };
        self.attributes.begin(RESOURCE_BYTES_MAX);
        let mut look = fields;
        while let Some((number, value)) = look.next()? {
            if number == 1 {
                self.scope_itself(value.message()?, &mut origin)?;
            }
        }
        self.attributes.finish(0)?;
        enclose(&mut origin.members, "scope", self.attributes.json.as_str());
        self.attributes.claude_code = origin.claude_code;
        let mut records = fields;
        while let Some((number, value)) = records.next()? {
            if number == 2 {
                let record = value.message()?;
                match signal {
                    Signal::Logs => logs::read(self, record, &origin)?,
                    Signal::Traces => spans::read(self, record, &origin)?,
                    Signal::Metrics => metrics::read(self, record, &origin)?,
                }
            }
        }
        Ok(())
    }

    fn scope_itself(
        &mut self,
        mut fields: Fields<'a>,
        origin: &mut Origin<'a>,
    ) -> Result<(), Malformed> {
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => {
                    origin.component = self.rules.name(value.text()?);
                    origin.claude_code = is_claude_code(&origin.component);
                }
                2 => {
                    let version = self.rules.name(value.text()?);
                    if !version.is_empty() {
                        self.attributes.json.name("version");
                        self.attributes.json.text(&version, usize::MAX);
                    }
                }
                3 => self.attributes.add(value.message()?)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The attributes of a message that has them in the field of this number.
    fn attributes_of(&mut self, mut fields: Fields<'a>, field: u64) -> Result<(), Malformed> {
        while let Some((number, value)) = fields.next()? {
            if number == field {
                self.attributes.add(value.message()?)?;
            }
        }
        Ok(())
    }

    /// Begins a record's attributes, unless the request has brought enough: then it is rejected.
    pub(crate) fn has_room(&mut self) -> bool {
        if self.batch.rows() >= RECORDS_MAX || self.batch.bytes() >= BATCH_BYTES_MAX {
            self.rejected.beyond += 1;
            return false;
        }
        self.attributes.begin(OBJECT_BYTES_MAX);
        true
    }

    /// Makes one object of a record's attributes and of what its origin says; empty where neither
    /// says anything.
    pub(crate) fn finish(&mut self, origin: &Origin<'_>, dropped: u64) -> Result<(), Malformed> {
        self.attributes.finish(dropped)?;
        self.object.clear();
        let own = self.attributes.json.as_str();
        if own.is_empty() && origin.members.is_empty() {
            return Ok(());
        }
        self.object.raw("{");
        self.object.raw(own);
        if !own.is_empty() && !origin.members.is_empty() {
            self.object.raw(",");
        }
        self.object.raw(&origin.members);
        self.object.raw("}");
        Ok(())
    }
}

/// The columns in which a kind has whose a record is and where it comes from; nothing where it has
/// no such column.
pub(crate) struct Places {
    pub(crate) organisation: usize,
    pub(crate) user: usize,
    pub(crate) component: usize,
    pub(crate) service: usize,
    pub(crate) host: usize,
    pub(crate) version: usize,
    pub(crate) session: usize,
    pub(crate) task: Option<usize>,
    pub(crate) request: Option<usize>,
}

impl Places {
    /// Says in a row whose it is and where it comes from, by what the record itself says, else its
    /// resource.
    pub(crate) fn fill(
        &self,
        row: &mut RowWriter<'_>,
        from: &Sender,
        known: &Known<'_>,
        origin: &Origin<'_>,
    ) {
        row.text(self.organisation, &from.organisation);
        row.text(self.user, &from.user);
        set(row, self.component, &origin.component);
        let shared = &origin.known;
        for (column, own, shared) in [
            (Some(self.service), &known.service, &shared.service),
            (Some(self.host), &known.host, &shared.host),
            (Some(self.version), &known.version, &shared.version),
            (Some(self.session), &known.session, &shared.session),
            (self.task, &known.task, &shared.task),
            (self.request, &known.request, &shared.request),
        ] {
            if let (Some(column), Some(name)) = (column, own.as_ref().or(shared.as_ref())) {
                set(row, column, name);
            }
        }
    }
}

/// Sets a text where there is one.
pub(crate) fn set(row: &mut RowWriter<'_>, column: usize, text: &str) {
    if !text.is_empty() {
        row.text(column, text);
    }
}

/// Adds `"name":{members}` where there are any.
fn enclose(to: &mut String, name: &str, members: &str) {
    if members.is_empty() {
        return;
    }
    if !to.is_empty() {
        to.push(',');
    }
    to.extend(["\"", name, "\":{", members, "}"]);
}

/// The id of a trace: 16 bytes, not all of them zero.
pub(crate) fn trace_id(bytes: &[u8]) -> Option<u128> {
    let id = u128::from_be_bytes(bytes.try_into().ok()?);
    (id != 0).then_some(id)
}

/// The id of a span, as its column has it: 8 bytes, not all of them zero.
pub(crate) fn span_id(bytes: &[u8]) -> Option<i64> {
    let id = i64::from_be_bytes(bytes.try_into().ok()?);
    // The one id that stands for none among integers is not worth a type of its own.
    (id != 0 && id != i64::MIN).then_some(id)
}

#[cfg(test)]
mod tests;
