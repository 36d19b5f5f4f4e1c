//! What goes wrong where nobody can tell of it: on the writer's thread, in a drop. Looked after once a second, told once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tidegate_observe::event;

use crate::Engine;

/// What was told so far.
#[derive(Debug)]
pub(crate) struct Alarms {
    /// That the ledger can't be written.
    failing: AtomicBool,
    /// Calls that had passed unbooked before that.
    unbooked: AtomicU64,
    failures: AtomicU64,
    contradictions: AtomicU64,
    dropped: AtomicU64,
}

impl Alarms {
    /// `dropped` reservations are another engine's.
    pub(crate) fn new(dropped: u64) -> Self {
        Self {
            failing: AtomicBool::default(),
            unbooked: AtomicU64::default(),
            failures: AtomicU64::default(),
            contradictions: AtomicU64::default(),
            dropped: AtomicU64::new(dropped),
        }
    }
}

/// By how much a count has grown since it was last looked at.
fn growth(seen: &AtomicU64, now: u64) -> u64 {
    now.saturating_sub(seen.swap(now, Ordering::Relaxed))
}

impl Engine {
    /// Says that the ledger can't be written, unless that was said already.
    pub(crate) fn tell_failing(&self) {
        if self.alarms.failing.swap(true, Ordering::Relaxed) {
            return;
        }
        let unbooked = self.registry.unbooked_calls.with([]).value();
        self.alarms.unbooked.store(unbooked, Ordering::Relaxed);
        let reason = self.writer.health().why().unwrap_or_default();
        self.report(&event::LedgerUnwritable { reason: &reason });
    }

    /// Tells what has happened since the last look.
    pub(crate) fn look_after(&self) {
        let health = self.writer.health();
        let failures = growth(&self.alarms.failures, health.failures());
        self.registry.failed_commits.with([]).add(failures);
        if !health.is_writable() {
            self.tell_failing();
        } else if self.alarms.failing.swap(false, Ordering::Relaxed) {
            let unbooked = self.registry.unbooked_calls.with([]).value();
            let before = self.alarms.unbooked.load(Ordering::Relaxed);
            self.report(&event::LedgerWritable {
                unbooked_calls: unbooked.saturating_sub(before),
            });
        }
        let contradictions = growth(&self.alarms.contradictions, health.contradictions());
        self.tell_broken("L2", contradictions, "entries contradicted the ledger");
        let dropped = growth(&self.alarms.dropped, self.dropped());
        self.tell_broken("S1", dropped, "reservations were dropped unsettled");
    }

    fn tell_broken(&self, invariant: &str, times: u64, what: &str) {
        if times > 0 {
            let seen = format!("{times} {what}");
            self.report(&event::InvariantBroken {
                invariant,
                seen: &seen,
            });
        }
    }
}
