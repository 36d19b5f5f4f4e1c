//! What a [`LedgerStore`] promises.

use tidegate_ledger::{
    Balance, Entry, Event, LedgerStore, LevelKey, LevelKind, Row, StoreError,
    leases::{Grant, LeaseAsk},
    verify_store,
};
use tidegate_types::{NanoUsd, ReservationId, Timestamp};

use super::{NOW, entry, limits, path, reserve, settle};

/// The ledger's contract, for the backend that `$new` builds.
macro_rules! ledger_contract {
    ($new:expr) => {
        $crate::contract::suite!(
            ledger,
            $new,
            [
                an_empty_ledger_is_clean,
                what_is_appended_is_read_back_in_order,
                settling_below_the_hold_frees_the_rest,
                a_store_that_rested_goes_on,
                an_overrun_is_booked_in_full,
                appending_again_changes_nothing,
                another_entry_in_the_place_of_one_is_a_conflict,
                a_second_settlement_is_refused_and_changes_nothing,
                a_batch_is_appended_whole_or_not_at_all,
                limits_are_recorded_when_they_change,
                open_reservations_are_those_that_have_not_ended,
                an_expired_reservation_is_listed_until_it_is_corrected,
                the_history_of_a_reservation_is_its_own_rows,
                balances_are_listed_by_organisation_in_the_keys_order,
                the_latest_time_is_that_of_any_entry,
                a_lease_is_granted_within_what_is_left_and_returned,
            ]
        );
    };
}
pub(crate) use ledger_contract;

fn task() -> LevelKey {
    path("t1").keys().last().unwrap().clone()
}

fn stands(store: &dyn LedgerStore) -> (u64, u64) {
    let balance = store.balance(&task()).unwrap().unwrap_or_default();
    (balance.spent.0, balance.held.0)
}

fn assert_clean(store: &dyn LedgerStore) {
    let report = verify_store(store).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
}

fn refused(store: &dyn LedgerStore, entries: &[Entry]) -> String {
    let before = store.rows(0, usize::MAX).unwrap();
    let error = store.append(entries).unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
    assert_eq!(store.rows(0, usize::MAX).unwrap(), before);
    assert_clean(store);
    error.to_string()
}

pub(crate) fn an_empty_ledger_is_clean(store: &dyn LedgerStore) {
    assert_clean(store);
    assert_eq!(store.balance(&task()).unwrap(), None);
    assert_eq!(store.latest().unwrap(), None);
    assert!(store.open_reservations().unwrap().is_empty());
}

pub(crate) fn what_is_appended_is_read_back_in_order(store: &dyn LedgerStore) {
    let entries = [
        limits(500),
        reserve(1, 80),
        reserve(2, 10),
        settle(1, 80, 30),
    ];
    store.append(&entries[..2]).unwrap();
    store.append(&entries[2..]).unwrap();
    let rows = store.rows(0, usize::MAX).unwrap();
    let read: Vec<Entry> = rows.iter().map(|it| it.entry().unwrap()).collect();
    assert_eq!(read, entries);
    let seqs: Vec<u64> = rows.iter().map(|it| it.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4]);
    assert_eq!(store.rows(2, 2).unwrap(), rows[1..3]);
    assert_eq!(store.rows(5, 2).unwrap(), []);
    assert_clean(store);
}

pub(crate) fn settling_below_the_hold_frees_the_rest(store: &dyn LedgerStore) {
    store.append(&[reserve(1, 80)]).unwrap();
    assert_eq!(stands(store), (0, 80));
    store.append(&[settle(1, 80, 30)]).unwrap();
    assert_eq!(stands(store), (30, 0));
    for key in path("t1").keys() {
        let expected = Balance {
            spent: NanoUsd(30),
            notional: NanoUsd(60),
            ..Balance::default()
        };
        assert_eq!(store.balance(key).unwrap(), Some(expected), "{key}");
    }
    assert_clean(store);
}

pub(crate) fn a_store_that_rested_goes_on(store: &dyn LedgerStore) {
    store.append(&[reserve(1, 80)]).unwrap();
    assert_eq!(stands(store), (0, 80));
    store.rest();
    assert_eq!(stands(store), (0, 80));
    store.append(&[settle(1, 80, 30)]).unwrap();
    assert_eq!(stands(store), (30, 0));
    assert_clean(store);
}

pub(crate) fn an_overrun_is_booked_in_full(store: &dyn LedgerStore) {
    store.append(&[reserve(1, 10), settle(1, 10, 70)]).unwrap();
    assert_eq!(stands(store), (70, 0));
    let report = verify_store(store).unwrap();
    assert!(report.is_clean());
    assert_eq!(report.overruns[0].by, NanoUsd(60));
}

pub(crate) fn appending_again_changes_nothing(store: &dyn LedgerStore) {
    let entries = [
        limits(500),
        reserve(1, 80),
        settle(1, 80, 30),
        reserve(2, 5),
    ];
    store.append(&entries).unwrap();
    let rows = store.rows(0, usize::MAX).unwrap();
    store.append(&entries).unwrap();
    store.append(&entries[1..2]).unwrap();
    assert_eq!(store.rows(0, usize::MAX).unwrap(), rows);
    // A replay may end with what the store has not seen, also twice.
    store
        .append(&[
            reserve(2, 5),
            settle(2, 5, 5),
            reserve(2, 5),
            settle(2, 5, 5),
        ])
        .unwrap();
    assert_eq!(store.rows(0, usize::MAX).unwrap().len(), rows.len() + 1);
    assert_eq!(stands(store), (35, 0));
    assert_clean(store);
}

pub(crate) fn another_entry_in_the_place_of_one_is_a_conflict(store: &dyn LedgerStore) {
    store.append(&[reserve(1, 80)]).unwrap();
    let what = refused(store, &[reserve(1, 81)]);
    assert!(what.contains("another entry"), "{what}");
    store.append(&[settle(1, 80, 30)]).unwrap();
    refused(store, &[settle(1, 80, 31)]);
}

pub(crate) fn a_second_settlement_is_refused_and_changes_nothing(store: &dyn LedgerStore) {
    store.append(&[reserve(1, 80), settle(1, 80, 30)]).unwrap();
    let again = Event::Expire { held: NanoUsd(80) };
    let what = refused(store, &[entry(1, 2, again)]);
    assert!(what.contains("not open"), "{what}");
    refused(store, &[settle(7, 80, 30)]);
    assert_eq!(stands(store), (30, 0));
}

pub(crate) fn a_batch_is_appended_whole_or_not_at_all(store: &dyn LedgerStore) {
    store.append(&[reserve(1, 80)]).unwrap();
    let what = refused(store, &[reserve(2, 1), settle(1, 79, 30), reserve(3, 1)]);
    assert!(what.contains("stands at"), "{what}");
    refused(
        store,
        &[
            reserve(2, 1),
            reserve(4, 1),
            entry(
                2,
                3,
                Event::Extend {
                    by: NanoUsd(1),
                    until: None,
                },
            ),
        ],
    );
    assert_eq!(stands(store), (0, 80));
    // What follows does not suffer from what was refused.
    store.append(&[reserve(2, 1), settle(1, 80, 30)]).unwrap();
    assert_eq!(stands(store), (30, 1));
    assert_clean(store);
}

pub(crate) fn limits_are_recorded_when_they_change(store: &dyn LedgerStore) {
    store
        .append(&[limits(5), limits(5), limits(6), limits(5)])
        .unwrap();
    store.append(&[limits(5)]).unwrap();
    assert_eq!(store.rows(0, usize::MAX).unwrap().len(), 3);
}

pub(crate) fn open_reservations_are_those_that_have_not_ended(store: &dyn LedgerStore) {
    let until = Timestamp(NOW.0 + 900);
    store
        .append(&[
            reserve(1, 80),
            reserve(2, 10),
            entry(
                2,
                1,
                Event::Extend {
                    by: NanoUsd(5),
                    until: None,
                },
            ),
            entry(2, 2, Event::Unknown { until }),
            reserve(3, 7),
        ])
        .unwrap();
    store.append(&[settle(1, 80, 30)]).unwrap();
    let open = store.open_reservations().unwrap();
    let shown: Vec<_> = open
        .iter()
        .map(|it| {
            (
                it.reservation.raw(),
                it.held.0,
                it.next_ordinal,
                it.unknown_until,
            )
        })
        .collect();
    assert_eq!(shown, [(2, 15, 3, Some(until)), (3, 7, 1, None)]);
    assert_eq!(open[0].path, path("t1"));
}

pub(crate) fn an_expired_reservation_is_listed_until_it_is_corrected(store: &dyn LedgerStore) {
    let expire = |reservation, held| {
        entry(
            reservation,
            1,
            Event::Expire {
                held: NanoUsd(held),
            },
        )
    };
    store
        .append(&[reserve(1, 80), reserve(2, 10), expire(1, 80), expire(2, 10)])
        .unwrap();
    assert_eq!(stands(store), (90, 0));
    let listed = |store: &dyn LedgerStore| -> Vec<Entry> {
        let rows = store.uncorrected(9).unwrap();
        rows.iter().map(|it| it.entry().unwrap()).collect()
    };
    assert_eq!(listed(store), [expire(2, 10), expire(1, 80)]);
    assert_eq!(store.uncorrected(1).unwrap().len(), 1);
    let correct = |from, to| Event::Correct {
        from: NanoUsd(from),
        to: NanoUsd(to),
        by: "an operator".to_owned(),
    };
    refused(store, &[entry(1, 2, correct(79, 20))]);
    store.append(&[entry(1, 2, correct(80, 20))]).unwrap();
    assert_eq!(listed(store), [expire(2, 10)]);
    assert_eq!(stands(store), (30, 0));
    store.append(&[entry(1, 3, correct(20, 25))]).unwrap();
    assert_eq!(stands(store), (35, 0));
    assert_clean(store);
}

pub(crate) fn the_history_of_a_reservation_is_its_own_rows(store: &dyn LedgerStore) {
    store
        .append(&[reserve(1, 80), reserve(2, 1), settle(1, 80, 30)])
        .unwrap();
    let seqs = |id| -> Vec<u64> {
        let rows: Vec<Row> = store.history(ReservationId::from_raw(id)).unwrap();
        rows.iter().map(|it| it.seq).collect()
    };
    assert_eq!(seqs(1), [1, 3]);
    assert_eq!(seqs(2), [2]);
    assert_eq!(seqs(9), [0_u64; 0]);
}

pub(crate) fn balances_are_listed_by_organisation_in_the_keys_order(store: &dyn LedgerStore) {
    store.append(&[reserve(1, 80)]).unwrap();
    let kinds = |organisation| -> Vec<LevelKind> {
        let listed = store.balances(organisation).unwrap();
        listed.iter().map(|(key, _)| key.kind).collect()
    };
    let all = path("t1").kinds();
    assert_eq!(kinds(None), *all);
    assert_eq!(kinds(Some("acme")), *all);
    assert_eq!(kinds(Some("other")), []);
}

pub(crate) fn the_latest_time_is_that_of_any_entry(store: &dyn LedgerStore) {
    store.append(&[reserve(9, 80)]).unwrap();
    store.append(&[reserve(1, 80)]).unwrap();
    assert_eq!(store.latest().unwrap(), Some(Timestamp(NOW.0 + 90)));
}

pub(crate) fn a_lease_is_granted_within_what_is_left_and_returned(store: &dyn LedgerStore) {
    store
        .append(&[reserve(1, 80), reserve(2, 10), settle(2, 10, 5)])
        .unwrap();
    let ask = |holder: &str, amount| LeaseAsk {
        level: task(),
        holder: holder.to_owned(),
        limit: Some(NanoUsd(100)),
        amount: NanoUsd(amount),
        expires: Timestamp(NOW.0 + 10),
    };
    let ask_all = |asks: Vec<LeaseAsk>, at| -> Vec<Option<NanoUsd>> {
        let answers = store.grant_leases(asks, at).unwrap().into_iter();
        let short = answers.map(|it| match it {
            Grant::Granted(_) => None,
            Grant::Short { left } => Some(left),
        });
        short.collect()
    };
    // The second is decided with what the first was granted.
    let (first, second) = (ask("a", 10), ask("b", 6));
    assert_eq!(ask_all(vec![first, second], NOW), [None, Some(NanoUsd(5))]);
    let own_is_replaced = ask_all(vec![ask("a", 15)], NOW);
    assert_eq!(own_is_replaced, [None]);
    assert_eq!(store.leases().unwrap().len(), 1);
    let expired = ask_all(vec![ask("b", 15)], Timestamp(NOW.0 + 10));
    assert_eq!(expired, [None]);
    assert_eq!(store.leases().unwrap().len(), 2);
    let mut elsewhere = ask("a", 3);
    elsewhere.level.task = Some("another".into());
    let levels = [task(), elsewhere.level.clone()];
    assert_eq!(ask_all(vec![elsewhere], NOW), [None]);
    assert_eq!(store.return_leases("a", &levels).unwrap(), 2);
    assert_eq!(store.return_leases("a", &levels).unwrap(), 0);
    assert_eq!(store.leases().unwrap()[0].holder, "b");
}
