use super::*;
use crate::contract::{
    journal::journal_contract,
    ledger::ledger_contract,
    records::{calls_contract, records_contract},
};

ledger_contract!((MemoryStore::default(), ()));
records_contract!((MemoryStore::default(), ()));
calls_contract!((MemoryStore::default(), ()));
journal_contract!((MemoryJournal::default(), ()));

#[test]
fn a_checkpoint_forgets_what_is_before_it() {
    let journal = MemoryJournal::default();
    let position = journal.append(b"abc").unwrap();
    journal.append(b"def").unwrap();
    journal.checkpoint(position).unwrap();
    assert_eq!(journal.read_back().unwrap().segments, [b"def"]);
}
