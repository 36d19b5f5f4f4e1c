//! The organisations' books: found, loaded, and written down.

use std::{collections::hash_map::Entry as Slot, sync::Arc};

use parking_lot::Mutex;
use tidegate_admission::Need;
use tidegate_ledger::{
    Books, CallEntry, Entry, LevelKey, Line, Path, PolicyEntry,
    journal::{self, Taking, TooLong},
};
use tidegate_types::{Caller, Mode};

use crate::{
    Engine,
    account::{Account, SharedAccount},
    call::Routed,
    journaling::Ticket,
    reserve::Holding,
};

/// The journal refused; the entry was not queued.
pub(crate) struct Unwritten;

/// The beginning of a reservation, on its way into the journal.
#[derive(Debug)]
pub(crate) struct Beginning {
    line: Line,
    ticket: Ticket,
}

/// What was booked and is on its way into the journal. It is there when this was dropped: whoever
/// lets others go first before that may find that they have written it.
#[derive(Debug)]
#[must_use = "dropped at once, it waits for the disk at once"]
pub struct ToJournal {
    engine: Arc<Engine>,
    ticket: Ticket,
}

impl ToJournal {
    /// All that was booked until now.
    pub(crate) fn until_now(engine: Arc<Engine>) -> Self {
        let ticket = engine.journaling.last();
        Self { engine, ticket }
    }

    /// Whether it is there, or could not be written: dropping it takes no time then.
    pub fn is_written(&self) -> bool {
        self.engine.journaling.is_tried(self.ticket)
    }
}

impl Drop for ToJournal {
    fn drop(&mut self) {
        self.engine.journal_up_to(self.ticket);
    }
}

impl Engine {
    /// The books of an organisation.
    pub(crate) fn books(&self, organisation: &Arc<str>) -> SharedAccount {
        let mut all = self.books.lock();
        match all.entry(Arc::clone(organisation)) {
            Slot::Occupied(it) => Arc::clone(it.get()),
            Slot::Vacant(it) => {
                let account = self.opened(organisation);
                Arc::clone(it.insert(Arc::new(Mutex::new(account))))
            }
        }
    }

    /// Resolves a path, and loads from the store the levels that were never asked for.
    pub(crate) fn loaded_path(
        &self,
        books: &Mutex<Account>,
        resolve: impl Fn(&mut Books) -> Path,
    ) -> Path {
        let missing = {
            let mut books = books.lock();
            let path = resolve(&mut books);
            if books.is_ready(&path) {
                return path;
            }
            books.missing_balances(path.entry())
        };
        self.load(books, &missing);
        resolve(&mut books.lock())
    }

    /// Takes over what the store says of these levels. A level that can't be read stays unknown,
    /// so that nothing is reserved on it.
    pub(crate) fn load(&self, books: &Mutex<Account>, missing: &[LevelKey]) {
        for key in missing {
            match self.stores.ledger.balance(key) {
                Ok(balance) => {
                    let told = self.told(key);
                    let mut books = books.lock();
                    books.recall(key, told);
                    let _known_already = books.load(key, balance.unwrap_or_default());
                }
                Err(unreadable) => self.writer.health().failed(&unreadable),
            }
        }
    }

    /// Queues an entry for the journal and the store. To be called under the lock of the
    /// organisation's books, so that entries are queued in the order in which the books changed;
    /// [`Self::journal`] follows when the lock is released.
    pub(crate) fn book(&self, line: Line) {
        self.queue(|frames| journal::encode_entry(&line, frames));
        self.durable.booked();
        self.writer.entry(line);
    }

    /// Queues a frame for the journal.
    fn queue(&self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), TooLong>) -> Ticket {
        let (encoded, ticket) = self.journaling.queue(encode);
        if let Err(too_long) = encoded {
            // Only a text beyond all bounds could be: the row in the store is then all there is.
            self.writer.health().failed(&too_long);
        }
        ticket
    }

    /// Returns when everything that was booked before is in the journal. Where it can't be
    /// written, the store may still be.
    pub(crate) fn journal(&self) {
        self.journal_up_to(self.journaling.last());
    }

    fn journal_up_to(&self, ticket: Ticket) {
        if let Err(refused) = self.journaling.write(ticket) {
            self.ledger_failed(&*refused);
        }
    }

    /// Journals the beginning of a reservation, and what it took of its platform's buckets.
    pub(crate) fn book_reserve(
        &self,
        entry: CallEntry,
        platform: &Arc<str>,
        need: &Need,
    ) -> Result<(), Unwritten> {
        self.booked(self.queue_reserve(entry, platform, need))
    }

    /// Queues the beginning of a reservation for the journal, and what it took of its platform's
    /// buckets. [`Self::booked`] says whether it got there.
    pub(crate) fn queue_reserve(
        &self,
        entry: CallEntry,
        platform: &Arc<str>,
        need: &Need,
    ) -> Beginning {
        let taking = Taking {
            reservation: entry.reservation,
            at: entry.at,
            platform: Arc::clone(platform),
            need: [
                need.units,
                need.requests,
                need.input_tokens,
                need.output_tokens,
                need.tokens,
                need.nano_usd,
            ],
        };
        let line = Line::new(Entry::Call(entry));
        let ticket = self.queue(|frames| {
            journal::encode_entry(&line, frames)?;
            journal::encode_taking(&taking, frames)
        });
        Beginning { line, ticket }
    }

    /// Returns when a beginning is in the journal, and queues it for the store.
    pub(crate) fn booked(&self, beginning: Beginning) -> Result<(), Unwritten> {
        match self.journaling.write(beginning.ticket) {
            Ok(()) => {
                self.durable.booked();
                self.writer.entry(beginning.line);
                Ok(())
            }
            Err(refused) => {
                self.ledger_failed(&*refused);
                Err(Unwritten)
            }
        }
    }

    /// Says so in the status, in the log and by its readiness.
    pub(crate) fn ledger_failed(&self, refused: &dyn std::error::Error) {
        self.writer.health().failed(refused);
        self.writer.wake();
        self.tell_failing();
    }

    /// Gives back what was never sent. Leaves no trace, as it was never journaled.
    pub fn give_back(&self, holding: Holding) {
        let now = self.clock.monotonic();
        let ended = holding.end(now, |gate, taken| gate.release(taken, now), Books::release);
        let _nothing = self.after(ended);
    }

    /// Puts other limits in force: in the books, and in the ledger, so that it can be verified.
    pub(crate) fn put_budgets(&self, policy: &Arc<tidegate_ledger::BudgetPolicy>) {
        let all: Vec<_> = self.books.lock().values().cloned().collect();
        let entry = Entry::Policy(PolicyEntry {
            at: self.clock.now(),
            limits: Arc::clone(policy.limits()),
        });
        self.book(Line::new(entry));
        self.journal();
        for books in all {
            books.lock().set_policy(Arc::clone(policy));
        }
    }
}

/// True where a limit in the way of the call is enforced, so that it may not pass unbooked.
pub(crate) fn binds(routed: &Routed, holding: &Holding) -> bool {
    !holding.enforced().is_empty() || enforces(routed)
}

fn enforces(routed: &Routed) -> bool {
    let caller: Caller = routed.call.principal.caller;
    let mut buckets = routed.platform.pool.buckets().iter();
    buckets.any(|it| it.enforcement.mode(caller) == Mode::Enforce)
}
