//! A record as it is kept: without what is nothing in it, which is about a quarter of it. It is written, indexed
//! and packed for each call, and read as any other record.

use std::sync::Arc;

use tidegate_types::{CallId, NanoUsd, Priority, RequestClass, Timestamp};

use super::{CallRecord, Outcome, PhaseMicros};

/// The written form of a record that is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept<'a>(pub(crate) &'a CallRecord);

/// What a record without it is read with.
trait Absent {
    fn is_nothing(&self) -> bool;
}

macro_rules! nothing {
    ($($holds:ty: |$it:ident| $nothing:expr;)+) => {
        $(impl Absent for $holds {
            fn is_nothing(&self) -> bool {
                let $it = self;
                $nothing
            }
        })+
    };
}

nothing! {
    bool: |it| !it;
    u16: |it| *it == 0;
    u64: |it| *it == 0;
    NanoUsd: |it| it.is_zero();
    Arc<str>: |it| it.is_empty();
    PhaseMicros: |it| *it == PhaseMicros::default();
    CallId: |_it| false;
    Timestamp: |_it| false;
    RequestClass: |_it| false;
    Priority: |_it| false;
    Outcome: |_it| false;
}

impl<T> Absent for Option<T> {
    fn is_nothing(&self) -> bool {
        self.is_none()
    }
}

impl<T> Absent for Vec<T> {
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
}

impl Kept<'_> {
    /// Appends the record as a JSON object.
    pub(crate) fn write(self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let start = out.len();
        self.put_fields(out)?;
        // A record has an id at least: the first comma is where the object begins.
        out[start] = b'{';
        out.push(b'}');
        Ok(())
    }

    /// Appends `,"name":value` for each field that says something. What many calls have alike stands first: filters
    /// and compression pass over what they have just seen. Keys are words of ours, written as they are.
    fn put_fields(self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        macro_rules! written {
            ($($name:ident),+) => {{
                // Every field is named: one that comes later is not forgotten here.
                let CallRecord { usage, $($name),+ } = self.0;
                $(if !$name.is_nothing() {
                    out.extend_from_slice(concat!(",\"", stringify!($name), "\":").as_bytes());
                    serde_json::to_writer(&mut *out, $name)?;
                })+
                if let Some(usage) = usage {
                    out.extend_from_slice(b",\"usage\":");
                    serde_json::to_writer(&mut *out, &usage.sparse())?;
                }
            }};
        }
        written!(
            organisation,
            user,
            key,
            session,
            task,
            root_task,
            parent,
            task_type,
            class,
            priority,
            complexity,
            deadline,
            units,
            keyless,
            dialect,
            path,
            provider,
            platform,
            tried,
            model_asked,
            model_sent,
            stream,
            status,
            outcome,
            estimated,
            price_known,
            price_version,
            max_tokens_asked,
            max_tokens_sent,
            warnings,
            would_refuse,
            would_wait,
            trace_id,
            parent_span_id,
            id,
            at,
            reservation,
            request_id,
            span_id,
            cost,
            notional,
            expected,
            bound,
            body_bytes,
            answer_bytes,
            phases,
            overspend,
            retry_of
        );
        Ok(())
    }
}
