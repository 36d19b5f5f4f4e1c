//! A record as it is kept: without what is nothing in it, which is about a quarter of it. It is written, indexed
//! and packed for each call, and read as any other record.

use std::sync::Arc;

use serde::{
    Serialize,
    ser::{SerializeMap as _, Serializer},
};
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

impl Serialize for Kept<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        macro_rules! written {
            ($($name:ident),+) => {{
                // Every field is named: one that comes later is not forgotten here.
                let CallRecord { usage, $($name),+ } = self.0;
                let mut map = serializer.serialize_map(None)?;
                $(if !$name.is_nothing() {
                    map.serialize_entry(stringify!($name), $name)?;
                })+
                if let Some(usage) = usage {
                    map.serialize_entry("usage", &usage.sparse())?;
                }
                map.end()
            }};
        }
        written!(
            id,
            at,
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
            cost,
            notional,
            expected,
            bound,
            price_known,
            price_version,
            reservation,
            request_id,
            trace_id,
            span_id,
            parent_span_id,
            phases,
            body_bytes,
            answer_bytes,
            max_tokens_asked,
            max_tokens_sent,
            would_refuse,
            would_wait,
            warnings,
            overspend,
            retry_of
        )
    }
}
