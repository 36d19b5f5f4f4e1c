//! Suites of tests that every backend of a port passes.

pub(crate) mod journal;
pub(crate) mod ledger;
pub(crate) mod records;

use std::sync::Arc;

use jiff::tz::TimeZone;
use tidegate_ledger::{
    CallEntry, Derived, Entry, EntryPath, Event, Levels, Limit, LimitTable, Period, PolicyEntry,
    Service, Settlement, Window,
};
use tidegate_types::{NanoUsd, ReservationId, Timestamp};

/// Makes one test of each named function of a suite, with a backend of its own.
macro_rules! suite {
    ($suite:ident, $new:expr, [$($name:ident),+ $(,)?]) => {
        mod $suite {
            use super::*;

            $(
                #[test]
                fn $name() {
                    // Some backends hold a directory that goes with them.
                    let (store, _directory) = $new;
                    $crate::contract::$suite::$name(&store);
                }
            )+
        }
    };
}
pub(crate) use suite;

/// 2026-07-14 10:00 UTC.
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_784_023_200);

pub(crate) fn path(task: &str) -> Arc<EntryPath> {
    Arc::new(EntryPath {
        organisation: "acme".into(),
        user: "ann".into(),
        task: Some(task.into()),
        service: Service::Llm,
        month: Window::at(Period::Month, &TimeZone::UTC, NOW),
        day: Window::at(Period::Day, &TimeZone::UTC, NOW),
        derived: Derived::default(),
    })
}

pub(crate) fn entry(reservation: u64, ordinal: u32, event: Event) -> Entry {
    Entry::Call(CallEntry {
        reservation: ReservationId::from_raw(reservation),
        ordinal,
        at: Timestamp(NOW.0 + reservation * 10 + u64::from(ordinal)),
        path: path("t1"),
        enforced: Levels::NONE,
        event,
    })
}

pub(crate) fn reserve(reservation: u64, bound: u64) -> Entry {
    let event = Event::Reserve {
        bound: NanoUsd(bound),
        expected: NanoUsd(bound / 2),
        would_refuse: Levels::NONE,
        asked: None,
    };
    entry(reservation, 0, event)
}

pub(crate) fn settle(reservation: u64, held: u64, cost: u64) -> Entry {
    let event = Event::Settle(Box::new(Settlement {
        held: NanoUsd(held),
        cost: NanoUsd(cost),
        notional: NanoUsd(2 * cost),
        platform: "sonnet".into(),
        ..Settlement::default()
    }));
    entry(reservation, 1, event)
}

pub(crate) fn limits(task_nanos: u64) -> Entry {
    let mut limits = LimitTable::default();
    limits.defaults.task = Limit::built_in(NanoUsd(task_nanos));
    Entry::Policy(PolicyEntry {
        at: NOW,
        limits: Arc::new(limits),
    })
}
