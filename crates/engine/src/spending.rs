//! What a caller has spent of the limit that would refuse it first, for clients that show it.

use std::sync::Arc;

use tidegate_ledger::{LevelKind, Service, Spending};
use tidegate_types::NanoUsd;

use crate::{Engine, call::Routed, identity::Principal};

/// What a caller spends from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The limit that would refuse it first; `None` where none with a window binds it, or where
    /// the ledger can't be read.
    pub tightest: Option<Spending>,
    /// What is settled on the user's month.
    pub month: NanoUsd,
}

impl Engine {
    /// What somebody spends from. The first time in a window the store is asked, after that only
    /// memory.
    pub fn account(&self, principal: &Principal) -> Account {
        let now = self.clock.now();
        let books = self.books(&principal.organisation);
        let path = self.loaded_path(&books, |it| {
            it.path(&principal.user, None, Service::Llm, now)
        });
        let books = books.lock();
        let month = books.spent(&path, LevelKind::UserMonth);
        Account {
            tightest: books.spending(&path, principal.caller, now),
            month: month.unwrap_or_default(),
        }
    }

    /// The same limit for a call that was sent. Memory alone is asked: where a window has just
    /// begun there may be nothing to say yet.
    pub fn spending(&self, routed: &Routed) -> Option<Spending> {
        let now = self.clock.now();
        let paying = routed.path.entry();
        let books = Arc::clone(&routed.books);
        let mut books = books.lock();
        // Found without allocating, unless a window has ended since the call began.
        let path = books.path(&paying.user, paying.task.as_deref(), paying.service, now);
        books.spending(&path, routed.call.principal.caller, now)
    }
}
